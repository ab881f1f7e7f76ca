"""GraphQL queries from text: what https://spec.graphql.org/October2021/ has for queries, with graphql-ruby's complaints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from agent.sim.gitlab.graphql.syntax import (
    Argument,
    At,
    Directive,
    Document,
    Field,
    Fragment,
    Inline,
    Operation,
    Ref,
    Selection,
    Spread,
    Value,
    Variable,
    Word,
)
from agent.sim.gitlab.graphql.trouble import QueryError

MAX_DEPTH = 100
"""Of braces, brackets and values in one another; more is refused before Python's own limit is met."""


class _Token(NamedTuple):
    kind: str
    text: str
    at: At


_KINDS = {
    "{": "LCURLY",
    "}": "RCURLY",
    "(": "LPAREN",
    ")": "RPAREN",
    "[": "LBRACKET",
    "]": "RBRACKET",
    ":": "COLON",
    "$": "VAR_SIGN",
    "@": "DIR_SIGN",
    "=": "EQUALS",
    "!": "BANG",
    "|": "PIPE",
    "&": "AMP",
    "...": "ELLIPSIS",
}
_KEYWORDS = frozenset({"query", "mutation", "subscription", "fragment", "on", "true", "false", "null"})
_TOKEN = re.compile(
    r"""(?P<blank>[\s,\ufeff]+|\#[^\n\r]*)
    |(?P<mark>\.\.\.|[{}()\[\]:$@=!|&])
    |(?P<name>[A-Za-z_]\w*)
    |(?P<float>-?(?:0|[1-9]\d*)(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+))
    |(?P<int>-?(?:0|[1-9]\d*))
    |(?P<block>\"{3}.*?\"{3})
    |(?P<string>"(?:[^"\\\n\r]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*")""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)


def parse(text: str) -> Document:
    """The operations and fragments of a query. Raises QueryError where it is none."""
    return _Parser(text).document()


def _tokens(text: str) -> list[_Token]:
    found, place, line, start = [], 0, 1, 0
    while place < len(text):
        at = At(line, place - start + 1)
        matched = _TOKEN.match(text, place)
        if matched is None:
            raise QueryError(f"Expected NAME, actual: UNKNOWN_CHAR ({json.dumps(text[place])}) at [{at.line}, {at.column}]", at)
        kind, part = str(matched.lastgroup), matched.group()
        if kind == "mark":
            kind = _KINDS[part]
        elif kind == "name":
            kind = part.upper() if part in _KEYWORDS else "IDENTIFIER"
        if kind != "blank":
            found.append(_Token(kind.upper(), part, at))
        place = matched.end()
        if newlines := part.count("\n"):
            line += newlines
            start = matched.start() + part.rindex("\n") + 1
    found.append(_Token("(none)", "", At(line, place - start + 1)))
    return found


class _Parser:
    """Reads one text, token by token."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._place = 0
        self._depth = 0

    def document(self) -> Document:
        """All of it."""
        operations: list[Operation] = []
        fragments: dict[str, Fragment] = {}
        if self._at("(none)"):
            raise QueryError("Unexpected end of document", None)
        while not self._at("(none)"):
            if self._at("FRAGMENT"):
                fragment = self._fragment()
                if fragment.name in fragments:
                    raise QueryError(f'Fragment name "{fragment.name}" must be unique', fragment.at)
                fragments[fragment.name] = fragment
            else:
                operations.append(self._operation())
        return Document(tuple(operations), fragments)

    def _operation(self) -> Operation:
        token = self._token
        if token.kind == "LCURLY":
            return Operation("query", "", (), self._selections(), token.at)
        if token.kind not in ("QUERY", "MUTATION", "SUBSCRIPTION"):
            raise self._unexpected("LCURLY")
        self._take()
        name = "" if self._at("LPAREN") or self._at("LCURLY") else self._name()
        variables: list[Variable] = []
        if self._skip("LPAREN"):
            while not self._skip("RPAREN"):
                variables.append(self._variable())
        return Operation(token.text, name, tuple(variables), self._selections(), token.at)

    def _variable(self) -> Variable:
        at = self._expect("VAR_SIGN").at
        name = self._name()
        self._expect("COLON")
        type_name = self._type()
        if self._skip("EQUALS"):
            return Variable(name, type_name, self._value(), True, at)
        return Variable(name, type_name, None, False, at)

    def _type(self) -> str:
        if self._skip("LBRACKET"):
            self._deeper()
            inner = f"[{self._type()}]"
            self._depth -= 1
            self._expect("RBRACKET")
        else:
            inner = self._name()
        return f"{inner}!" if self._skip("BANG") else inner

    def _fragment(self) -> Fragment:
        at = self._expect("FRAGMENT").at
        name = self._name()
        self._expect("ON")
        return Fragment(name, self._name(), self._selections(), at)

    def _selections(self) -> tuple[Selection, ...]:
        self._expect("LCURLY")
        self._deeper()
        found = [self._selection()]
        while not self._skip("RCURLY"):
            found.append(self._selection())
        self._depth -= 1
        return tuple(found)

    def _selection(self) -> Selection:
        at = self._token.at
        if self._skip("ELLIPSIS"):
            if self._token.kind in ("ON", "DIR_SIGN", "LCURLY"):
                named = self._name() if self._skip("ON") else ""
                return Inline(named, self._directives(), self._selections(), at)
            return Spread(self._name(), self._directives(), at)
        alias = name = self._name()
        if self._skip("COLON"):
            name = self._name()
        arguments, directives = self._arguments(), self._directives()
        return Field(alias, name, arguments, directives, self._selections() if self._at("LCURLY") else (), at)

    def _directives(self) -> tuple[Directive, ...]:
        found = []
        while self._at("DIR_SIGN"):
            at = self._take().at
            found.append(Directive(self._name(), self._arguments(), at))
        return tuple(found)

    def _arguments(self) -> tuple[Argument, ...]:
        found: list[Argument] = []
        if self._skip("LPAREN"):
            while not self._skip("RPAREN"):
                at = self._token.at
                name = self._name()
                self._expect("COLON")
                found.append(Argument(name, self._value(), at))
        return tuple(found)

    def _value(self) -> Value:
        token = self._token
        if token.kind in _LITERALS:
            return self._literal(self._take())
        if token.kind == "IDENTIFIER" or token.text in _KEYWORDS:
            return Word(self._take().text)
        if self._skip("LBRACKET"):
            return self._list()
        if self._skip("LCURLY"):
            return self._object()
        if self._skip("VAR_SIGN"):
            return Ref(self._name())
        raise self._unexpected("VALUE")

    def _literal(self, token: _Token) -> Value:
        try:
            return _LITERALS[token.kind](token.text)
        except ValueError:  # a number of thousands of digits
            raise QueryError(f"Expected VALUE, actual: {token.kind} ({token.text[:20]}...)", token.at) from None

    def _list(self) -> list[Value]:
        self._deeper()
        found: list[Value] = []
        while not self._skip("RBRACKET"):
            found.append(self._value())
        self._depth -= 1
        return found

    def _object(self) -> dict[str, Value]:
        self._deeper()
        found: dict[str, Value] = {}
        while not self._skip("RCURLY"):
            name = self._name()
            self._expect("COLON")
            found[name] = self._value()
        self._depth -= 1
        return found

    @property
    def _token(self) -> _Token:
        return self._tokens[self._place]

    def _at(self, kind: str) -> bool:
        return self._tokens[self._place].kind == kind

    def _take(self) -> _Token:
        token = self._tokens[self._place]
        self._place += token.kind != "(none)"
        return token

    def _skip(self, kind: str) -> bool:
        return self._at(kind) and bool(self._take())

    def _expect(self, kind: str) -> _Token:
        if not self._at(kind):
            raise self._unexpected(kind)
        return self._take()

    def _name(self) -> str:
        token = self._token
        if token.kind != "IDENTIFIER" and token.text not in _KEYWORDS:
            raise self._unexpected("NAME")
        return self._take().text

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise QueryError("This query is too deeply nested to execute.", self._token.at)

    def _unexpected(self, expected: str) -> QueryError:
        kind, text, at = self._token
        where = f"at [{at.line}, {at.column}]"
        return QueryError(f"Expected {expected}, actual: {kind} ({json.dumps(text, ensure_ascii=False)}) {where}", at)


_LITERALS: dict[str, Callable[[str], Value]] = {
    "INT": int,
    "FLOAT": float,
    "STRING": json.loads,
    "BLOCK": lambda text: text[3:-3].strip(),
    "TRUE": lambda _text: True,
    "FALSE": lambda _text: False,
    "NULL": lambda _text: None,
}
