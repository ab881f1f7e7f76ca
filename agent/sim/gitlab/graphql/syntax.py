"""What a GraphQL query is made of, as https://spec.graphql.org/October2021/ has it for queries."""

from __future__ import annotations

from typing import NamedTuple


class At(NamedTuple):
    """Where in the text, both from 1."""

    line: int
    column: int


class Ref(NamedTuple):
    """A variable's name where a value may stand."""

    name: str


class Word(NamedTuple):
    """An enum's value as it is written in a query."""

    name: str


Value = None | bool | int | float | str | Ref | Word | list["Value"] | dict[str, "Value"]
"""A value as written: strings are `str`, words `Word`, variables `Ref`."""


class Argument(NamedTuple):
    """`name: value`."""

    name: str
    value: Value
    at: At


class Directive(NamedTuple):
    """`@name(arguments)`."""

    name: str
    arguments: tuple[Argument, ...]
    at: At


class Field(NamedTuple):
    """`alias: name(arguments) { selections }`."""

    alias: str
    """The key in the answer: the name where there is no alias."""
    name: str
    arguments: tuple[Argument, ...]
    directives: tuple[Directive, ...]
    selections: tuple[Selection, ...]
    at: At


class Spread(NamedTuple):
    """`...name`."""

    name: str
    directives: tuple[Directive, ...]
    at: At


class Inline(NamedTuple):
    """`... on type { selections }`; without a type its own surroundings' one."""

    type: str
    directives: tuple[Directive, ...]
    selections: tuple[Selection, ...]
    at: At


Selection = Field | Spread | Inline


class Variable(NamedTuple):
    """`$name: type = default`."""

    name: str
    type: str
    """Without spaces, such as [ID!]!"""
    default: Value
    has_default: bool
    at: At


class Operation(NamedTuple):
    """`query name(variables) { selections }`."""

    kind: str
    """query, mutation or subscription."""
    name: str
    variables: tuple[Variable, ...]
    selections: tuple[Selection, ...]
    at: At


class Fragment(NamedTuple):
    """`fragment name on type { selections }`."""

    name: str
    type: str
    selections: tuple[Selection, ...]
    at: At


class Document(NamedTuple):
    """All that one request's text defines."""

    operations: tuple[Operation, ...]
    fragments: dict[str, Fragment]
