"""Arguments' values: from what a query writes and its variables hold to what the resolvers take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from agent.sim.gitlab.graphql.schema import SCALARS, Schema, named
from agent.sim.gitlab.graphql.syntax import Ref, Value, Variable, Word
from agent.sim.gitlab.graphql.trouble import QueryError

MAX_INT = 2**31 - 1
_GID = re.compile(r"gid://gitlab/([\w:]+)/(\d{1,18})", re.ASCII)


class BadValueError(ValueError):
    """A value that is not of its type; the message says why."""


def gid(text: str, of_type: str) -> int:
    """The number in a global id of that type. Raises BadValueError."""
    found = _GID.fullmatch(text)
    if found is None:
        raise BadValueError(f'"{text}" is not a valid Global ID')
    if found[1] != of_type:
        raise BadValueError(f'"{text}" does not represent an instance of {of_type}')
    return int(found[2])


def written(value: Value, type_name: str, schema: Schema, variables: Mapping[str, Any]) -> Any:
    """A value as a query writes it. Raises BadValueError; a variable that was not given stands for null."""
    if isinstance(value, Ref):
        return variables.get(value.name)
    if isinstance(value, Word):
        if named(type_name) not in schema.enums:
            raise BadValueError("a word, where there is no enum")
        return _wrapped(value.name, type_name, schema, variables)
    if isinstance(value, str) and named(type_name) in schema.enums:
        raise BadValueError("a string, where an enum's value is expected")
    return _wrapped(value, type_name, schema, variables)


def _wrapped(value: Any, type_name: str, schema: Schema, variables: Mapping[str, Any] | None) -> Any:
    """A value of any type; without `variables` it is one that came as JSON."""
    if type_name.endswith("!"):
        if value is None:
            raise BadValueError("Expected value to not be null")
        type_name = type_name[:-1]
    if value is None:
        return None
    if type_name.startswith("["):
        inner = type_name[1:-1]
        values = value if isinstance(value, list) else [value]
        if variables is None:
            return [_wrapped(each, inner, schema, None) for each in values]
        return [written(each, inner, schema, variables) for each in values]
    return _single(value, type_name, schema)


def _single(value: Any, type_name: str, schema: Schema) -> Any:
    if type_name in schema.enums:
        if value not in schema.enums[type_name]:
            raise BadValueError(f"Expected {value!r} to be one of: {', '.join(schema.enums[type_name])}")
        return value
    kind = type(value)
    if type_name == "Boolean" and kind is bool:
        return value
    if type_name == "Int" and kind is int and abs(value) <= MAX_INT:
        return value
    if type_name == "ID" and kind in (str, int):
        return str(value)
    if kind is str and type_name not in ("Boolean", "Int", "ID"):
        return _text(value, type_name)
    raise BadValueError(f"Could not coerce value {value!r} to {type_name}")


def _text(value: str, type_name: str) -> Any:
    if type_name == "CiPipelineID":
        return gid(value, "Ci::Pipeline")
    try:
        if type_name == "Time":
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if type_name == "Date":
            return date.fromisoformat(value)
    except (ValueError, OverflowError):
        raise BadValueError(f'"{value}" is not a valid {type_name}') from None
    return value


def variables(declared: tuple[Variable, ...], given: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The variables' values, by name; those that were not given and have no default are left out. Raises QueryError."""
    found: dict[str, Any] = {}
    for each in declared:
        try:
            if each.name in given:
                found[each.name] = _wrapped(given[each.name], each.type, schema, None)
            elif each.has_default:
                found[each.name] = written(each.default, each.type, schema, {})
            elif each.type.endswith("!"):
                raise BadValueError("Expected value to not be null")
        except BadValueError as error:
            problem = {"path": [], "explanation": str(error)}
            message = f"Variable ${each.name} of type {each.type} was provided invalid value"
            extensions = {"value": given.get(each.name), "problems": [problem]}
            raise QueryError(message, each.at, extensions=extensions) from None
    return found


def is_input(type_name: str, schema: Schema) -> bool:
    """Whether a variable may be of that type."""
    return named(type_name) in SCALARS or named(type_name) in schema.enums


def mismatch(variable: Variable, expected: str) -> str:
    """What keeps a variable from standing where a value of that type is expected; "" = nothing."""
    if named(variable.type) != named(expected):
        return "Type mismatch"
    if variable.type.count("[") != expected.count("["):
        return "List dimension mismatch"
    has_value = variable.type.endswith("!") or (variable.has_default and variable.default is not None)
    if expected.endswith("!") and not has_value:
        return "Nullability mismatch"
    if "!]" in expected and "!]" not in variable.type:
        return "Nullability mismatch"
    return ""
