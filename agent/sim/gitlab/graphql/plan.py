"""A query as it will be run: fragments spread, directives obeyed, arguments filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agent.sim.gitlab.graphql import values
from agent.sim.gitlab.graphql.parser import MAX_DEPTH
from agent.sim.gitlab.graphql.schema import Known, Schema
from agent.sim.gitlab.graphql.syntax import At, Document, Field, Operation, Selection, Spread
from agent.sim.gitlab.graphql.trouble import QueryError
from agent.sim.gitlab.graphql.validate import TYPENAME

MAX_NODES = 5_000
"""Fields of a query with its fragments spread; none of so many is within the complexity that is allowed."""


class Node(NamedTuple):
    """One field that was asked for."""

    key: str
    """Its name in the answer."""
    known: Known
    owner: str
    """The type it is a field of."""
    arguments: Mapping[str, Any]
    """Those that were given, null ones left out."""
    children: tuple[Node, ...]
    at: At


def operation(document: Document, name: str) -> Operation:
    """The operation that is to be run. Raises QueryError."""
    if not name and len(document.operations) > 1:
        raise QueryError("An operation name is required", None)
    found = next((each for each in document.operations if not name or each.name == name), None)
    if found is None:
        raise QueryError(f'No operation named "{name}"', None)
    return found


def plan(document: Document, asked: Operation, variables: Mapping[str, Any], schema: Schema) -> tuple[Node, ...]:
    """What a valid operation selects. Raises QueryError for conflicts of keys and for variables that do not do."""
    return _Planner(document, variables, schema).nodes([asked.selections], "Query")


class _Planner:
    def __init__(self, document: Document, variables: Mapping[str, Any], schema: Schema) -> None:
        self._document = document
        self._variables = variables
        self._schema = schema
        self._left = MAX_NODES

    def nodes(self, sets: list[tuple[Selection, ...]], type_name: str, depth: int = 1) -> tuple[Node, ...]:
        """The fields of one object, out of all the selections that are made on it."""
        if depth > MAX_DEPTH:
            raise QueryError(f"Query has depth of more than {MAX_DEPTH}", None)
        fields: dict[str, list[Field]] = {}
        for selections in sets:
            for each in self._fields(selections, set()):
                fields.setdefault(each.alias, []).append(each)
        return tuple(self._node(found, type_name, depth) for found in fields.values())

    def _node(self, fields: list[Field], type_name: str, depth: int) -> Node:
        self._left -= 1
        if self._left < 0:
            raise QueryError(f"Query has more than {MAX_NODES} fields", None)
        first = fields[0]
        known = TYPENAME if first.name == "__typename" else self._schema.types[type_name][first.name]
        arguments = self._arguments(first, known)
        for other in fields[1:]:
            if other.name != first.name:
                raise QueryError(f"Field '{first.alias}' has a field conflict: {first.name} or {other.name}?", first.at)
            if self._arguments(other, known) != arguments:
                raise QueryError(f"Field '{first.alias}' has an argument conflict", first.at)
        children = self.nodes([each.selections for each in fields], known.named, depth + 1) if first.selections else ()
        return Node(first.alias, known, type_name, arguments, children, first.at)

    def _fields(self, selections: tuple[Selection, ...], seen: set[str]) -> Iterator[Field]:
        for each in selections:
            if not self._is_wanted(each):
                continue
            if isinstance(each, Field):
                yield each
            elif not isinstance(each, Spread):
                yield from self._fields(each.selections, seen)
            elif each.name not in seen:
                seen.add(each.name)
                yield from self._fields(self._document.fragments[each.name].selections, seen)

    def _is_wanted(self, each: Selection) -> bool:
        for directive in each.directives:
            condition = next(argument.value for argument in directive.arguments if argument.name == "if")
            if bool(values.written(condition, "Boolean!", self._schema, self._variables)) is (directive.name == "skip"):
                return False
        return True

    def _arguments(self, each: Field, known: Known) -> dict[str, Any]:
        found = {}
        for argument in each.arguments:
            value = values.written(argument.value, known.arguments[argument.name], self._schema, self._variables)
            if value is not None:
                found[argument.name] = value
        return found
