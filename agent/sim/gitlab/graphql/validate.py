"""What is wrong with a query before it is run, in graphql-ruby's words (https://graphql-ruby.org/queries/executing_queries)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.sim.gitlab.graphql import values
from agent.sim.gitlab.graphql.schema import Known, Schema, named
from agent.sim.gitlab.graphql.syntax import (
    Argument,
    At,
    Directive,
    Document,
    Field,
    Inline,
    Operation,
    Ref,
    Selection,
    Spread,
    Value,
    Variable,
    Word,
)
from agent.sim.gitlab.graphql.trouble import Json, QueryError

MAX_ERRORS = 5
TYPENAME = Known("__typename", "String!", {})
"""The field that every type has."""

Path = tuple[str, ...]


def errors(document: Document, schema: Schema) -> list[QueryError]:
    """The first few of them."""
    check = _Check(document, schema)
    found: list[QueryError] = []
    for error in check.all():
        found.append(error)
        if len(found) == MAX_ERRORS:
            break
    return found


@dataclass
class _Check:
    document: Document
    schema: Schema
    spread: set[str] = field(default_factory=set)
    """Fragments that are used."""
    uses: dict[str, list[tuple[Ref, str, str, At]]] = field(default_factory=dict)
    """(variable, argument's name and type, place) by the operation or fragment that it stands in, as `_inside` has it."""
    inside: str = ""
    """What is being read: ":name" of a fragment, or an operation's name."""
    spreads: dict[str, set[str]] = field(default_factory=dict)
    """Fragments by what they are used in."""

    def all(self) -> Iterator[QueryError]:
        for operation in self.document.operations:
            if operation.kind != "query":
                yield QueryError(f"Schema is not configured for {operation.kind}s", operation.at)
                continue
            self.inside = operation.name
            root = "query " + operation.name if operation.name else "query"
            yield from self._declared(operation)
            yield from self._selections(operation.selections, "Query", (root,))
        for name, fragment in self.document.fragments.items():
            self.inside = f":{name}"
            if fragment.type not in self.schema.types:
                text = f"No such type {fragment.type}, so it can't be a fragment condition"
                yield _error(text, fragment.at, (f"fragment {name}",), code="undefinedType", typeName=fragment.type)
                continue
            yield from self._selections(fragment.selections, fragment.type, (f"fragment {name}",))
        yield from self._fragments()
        for operation in self.document.operations:
            yield from self._variables(operation)

    def _declared(self, operation: Operation) -> Iterator[QueryError]:
        for each in operation.variables:
            if not values.is_input(each.type, self.schema):
                text = f"{named(each.type)} isn't a defined input type (on ${each.name})"
                code = {"code": "variableRequiresValidType", "typeName": each.type, "variableName": each.name}
                yield _error(text, each.at, ("query " + operation.name,), **code)

    def _selections(self, selections: tuple[Selection, ...], type_name: str, path: Path) -> Iterator[QueryError]:
        for each in selections:
            yield from self._directives(each.directives, path)
            if isinstance(each, Field):
                yield from self._field(each, type_name, (*path, each.alias))
            elif isinstance(each, Spread):
                yield from self._spread(each, type_name, path)
            else:
                yield from self._inline(each, type_name, path)

    def _field(self, each: Field, type_name: str, path: Path) -> Iterator[QueryError]:
        known = TYPENAME if each.name == "__typename" else self.schema.types[type_name].get(each.name)
        if known is None:
            text = f"Field '{each.name}' doesn't exist on type '{type_name}'"
            yield _error(text, each.at, path, code="undefinedField", typeName=type_name, fieldName=each.name)
            return
        yield from self._arguments(each, known, path)
        shown = known.type.rstrip("!")
        if self.schema.is_leaf(known.named):
            if each.selections:
                names = ", ".join(f'"{one.name}"' for one in each.selections if isinstance(one, Field))
                text = f"Selections can't be made on scalars (field '{each.name}' returns {shown} but has selections [{names}])"
                yield _mismatch(text, each, path, shown)
        elif not each.selections:
            hint = f"Did you mean '{each.name} {{ ... }}'?"
            text = f"Field must have selections (field '{each.name}' returns {shown} but has no selections. {hint})"
            yield _mismatch(text, each, path, shown)
        else:
            yield from self._selections(each.selections, known.named, path)

    def _arguments(self, each: Field, known: Known, path: Path) -> Iterator[QueryError]:
        given = {argument.name for argument in each.arguments}
        for argument in each.arguments:
            expected = known.arguments.get(argument.name)
            if expected is None:
                text = f"Field '{each.name}' doesn't accept argument '{argument.name}'"
                code = {"code": "argumentNotAccepted", "name": each.name, "typeName": "Field", "argumentName": argument.name}
                yield _error(text, argument.at, (*path, argument.name), **code)
            else:
                yield from self._argument(f"Field '{each.name}'", argument, expected, path)
        missing = [name for name, expected in known.arguments.items() if expected.endswith("!") and name not in given]
        if missing:
            text = f"Field '{each.name}' is missing required arguments: {', '.join(missing)}"
            code = {"code": "missingRequiredArguments", "className": "Field", "name": each.name, "arguments": ", ".join(missing)}
            yield _error(text, each.at, path, **code)

    def _argument(self, owner: str, argument: Argument, expected: str, path: Path) -> Iterator[QueryError]:
        self.uses.setdefault(self.inside, []).extend(
            (ref, argument.name, of_type, argument.at) for ref, of_type in _refs(argument.value, expected)
        )
        try:
            if not isinstance(argument.value, Ref):
                values.written(argument.value, expected, self.schema, _Anything())
        except values.BadValueError:
            text = f"Argument '{argument.name}' on {owner} has an invalid value ({_shown(argument.value)}). "
            code = {"code": "argumentLiteralsIncompatible", "typeName": owner.split()[0], "argumentName": argument.name}
            yield _error(f"{text}Expected type '{expected}'.", argument.at, (*path, argument.name), **code)

    def _directives(self, directives: tuple[Directive, ...], path: Path) -> Iterator[QueryError]:
        for each in directives:
            if each.name not in ("include", "skip"):
                text = f"Directive @{each.name} is not defined"
                yield _error(text, each.at, path, code="undefinedDirective", directiveName=each.name)
                continue
            if not any(argument.name == "if" for argument in each.arguments):
                text = f"Directive '{each.name}' is missing required arguments: if"
                code = {"code": "missingRequiredArguments", "className": "Directive", "name": each.name, "arguments": "if"}
                yield _error(text, each.at, path, **code)
            for argument in each.arguments:
                yield from self._argument(f"Directive '{each.name}'", argument, "Boolean!", path)

    def _spread(self, each: Spread, type_name: str, path: Path) -> Iterator[QueryError]:
        fragment = self.document.fragments.get(each.name)
        self.spread.add(each.name)
        self.spreads.setdefault(self.inside, set()).add(each.name)
        if fragment is None:
            text = f"Fragment {each.name} was used, but not defined"
            yield _error(text, each.at, (*path, f"... {each.name}"), code="useAndDefineFragment", fragmentName=each.name)
        elif fragment.type in self.schema.types and fragment.type != type_name:
            text = f"Fragment {each.name} on {fragment.type} can't be spread inside {type_name}"
            yield _error(text, each.at, path, code="cannotSpreadFragment", typeName=fragment.type, parentName=type_name)

    def _inline(self, each: Inline, type_name: str, path: Path) -> Iterator[QueryError]:
        if each.type and each.type not in self.schema.types:
            text = f"No such type {each.type}, so it can't be a fragment condition"
            yield _error(text, each.at, path, code="undefinedType", typeName=each.type)
        elif each.type and each.type != type_name:
            text = f"Fragment on {each.type} can't be spread inside {type_name}"
            yield _error(text, each.at, path, code="cannotSpreadFragment", typeName=each.type, parentName=type_name)
        else:
            yield from self._selections(each.selections, type_name, path)

    def _fragments(self) -> Iterator[QueryError]:
        for name, fragment in self.document.fragments.items():
            path = (f"fragment {name}",)
            if name not in self.spread:
                text = f"Fragment {name} was defined, but not used"
                yield _error(text, fragment.at, path, code="useAndDefineFragment", fragmentName=name)
            if f":{name}" in self._within(f":{name}"):
                text = f"Fragment {name} contains an infinite loop"
                yield _error(text, fragment.at, path, code="infiniteLoop", fragmentName=name)

    def _within(self, start: str) -> set[str]:
        """What of `uses` belongs to an operation or fragment: the fragments below it."""
        found: set[str] = set()
        waiting = [start]
        while waiting:
            for name in self.spreads.get(waiting.pop(), ()):
                if f":{name}" not in found:
                    found.add(f":{name}")
                    waiting.append(f":{name}")
        return found

    def _variables(self, operation: Operation) -> Iterator[QueryError]:
        declared = {each.name: each for each in operation.variables}
        shown = operation.name or "anonymous query"
        path = ("query " + operation.name if operation.name else "query",)
        used = set()
        for inside in (operation.name, *sorted(self._within(operation.name))):
            for ref, argument, expected, at in self.uses.get(inside, ()):
                used.add(ref.name)
                if ref.name not in declared:
                    text = f"Variable ${ref.name} is used by {shown} but not declared"
                    yield _error(text, at, path, code="variableNotDefined", variableName=ref.name)
                elif wrong := values.mismatch(declared[ref.name], expected):
                    yield _variable_mismatch(wrong, declared[ref.name], argument, expected, at, path)
        for name, each in declared.items():
            if name not in used:
                text = f"Variable ${name} is declared by {shown} but not used"
                yield _error(text, each.at, path, code="variableNotUsed", variableName=name)


class _Anything(dict[str, object]):
    """Variables whose values are not known yet."""


def _refs(value: Value, expected: str) -> Iterator[tuple[Ref, str]]:
    """The variables in a value, and the types that are expected of them."""
    if isinstance(value, Ref):
        yield value, expected
    elif isinstance(value, list):
        inner = expected.rstrip("!")
        for each in value:
            yield from _refs(each, inner[1:-1] if inner.startswith("[") else expected)


def _shown(value: Value) -> str:
    """A value as it was written, more or less."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return value.name if isinstance(value, Word) else json.dumps(value, default=str)


def _error(text: str, at: At, path: Path, **extensions: str) -> QueryError:
    return QueryError(text, at, path=path, extensions=extensions)


def _mismatch(text: str, each: Field, path: Path, shown: str) -> QueryError:
    return _error(text, each.at, path, code="selectionMismatch", nodeName=f"field '{each.name}'", typeName=shown)


def _variable_mismatch(wrong: str, variable: Variable, argument: str, expected: str, at: At, path: Path) -> QueryError:
    text = f"{wrong} on variable ${variable.name} and argument {argument} ({variable.type} / {expected})"
    extensions: Json = {"code": "variableMismatch", "variableName": variable.name, "typeName": variable.type}
    return _error(text, at, (*path, argument), **extensions, argumentName=argument, errorMessage=wrong)
