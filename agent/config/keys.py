"""Which keys a section has: walks the types of pydantic models, so that nothing lists keys twice."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agent.secret import Secret

Path = tuple[Any, ...]
"""Keys from the top of the configuration: text, and whole numbers for places in lists."""

_LISTS = (list, tuple, set, frozenset)


def unwrap(annotation: Any) -> Any:
    """The type itself, without `Annotated` and `| None`."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            rest = [argument for argument in get_args(annotation) if argument is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation


def fields(annotation: Any) -> Mapping[str, FieldInfo]:
    """The keys of a section; nothing for anything else."""
    kind = unwrap(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields
    return {}


def is_mapping(annotation: Any) -> bool:
    """A mapping with free keys, such as labels."""
    kind = unwrap(annotation)
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def is_list(annotation: Any) -> bool:
    """A list of anything."""
    kind = unwrap(annotation)
    return (get_origin(kind) or kind) in _LISTS


def is_container(annotation: Any) -> bool:
    """A section, a mapping or a list: what an empty value in a file means nothing for."""
    return bool(fields(annotation)) or is_mapping(annotation) or is_list(annotation)


def is_secret(annotation: Any) -> bool:
    """Whether a secret stands anywhere in a value of this type."""
    kind = unwrap(annotation)
    if kind is Secret:
        return True
    return any(is_secret(argument) for argument in get_args(kind) if argument is not Ellipsis)


def step(annotation: Any, part: Any) -> Any:
    """The type one key (or list place) further in; None where there is no such key."""
    found = fields(annotation)
    if found:
        field = found.get(part)
        return field.annotation if field else None
    arguments = get_args(unwrap(annotation))
    if is_mapping(annotation) and len(arguments) == 2:
        return arguments[1]
    if is_list(annotation) and isinstance(part, int) and arguments:
        return arguments[0]
    return None


def follow(annotation: Any, path: Path) -> Any:
    """The type at `path` below a section of type `annotation`; None where there is no such key."""
    for part in path:
        annotation = step(annotation, part)
    return annotation


def leaves(annotation: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every key that takes a value, as (path, type): sections are walked, mappings and lists are one value."""
    for name, field in fields(annotation).items():
        if fields(field.annotation):
            yield from leaves(field.annotation, (*path, name))
        else:
            yield (*path, name), field.annotation
