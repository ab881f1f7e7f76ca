"""The configuration while it is put together: plain values, and beside each the place it was written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from agent.config import keys
from agent.config.keys import Path
from agent.config.problems import Problems


class Tree:
    """Values by section and key, with their origins."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.origins: dict[Path, str] = {}

    def merge(self, values: Mapping[str, Any], origin: Callable[[Path], str], path: Path = ()) -> None:
        """Lay `values` over what is there: mappings merge, the rest, lists too, is replaced; null leaves a mapping alone."""
        for key, value in values.items():
            here = (*path, key)
            old = self.get(here)
            if isinstance(value, Mapping) and isinstance(old, dict):
                self.origins[here] = origin(here)
                self.merge(value, origin, here)
            elif not (value is None and isinstance(old, dict)):
                self.assign(here, value, origin(here))
                for below in _paths(value, here):
                    self.origins[below] = origin(below)

    def assign(self, path: Path, value: Any, origin: str) -> None:
        """Replace what is at `path`; sections on the way are made."""
        at: dict[Any, Any] = self.data
        for part in path[:-1]:
            inner = at.get(part)
            if not isinstance(inner, dict):
                inner = at[part] = {}
            at = inner
        at[path[-1]] = _plain(value)
        for stale in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[stale]
        for below in _paths(value, path):
            self.origins[below] = origin
        self.origins[path] = origin

    def get(self, path: Path) -> Any:
        """What is at `path`; None for nothing."""
        at: Any = self.data
        for part in path:
            if not isinstance(at, Mapping) or part not in at:
                return None
            at = at[part]
        return at


def tidy(value: Any, annotation: Any, path: Path, problems: Problems) -> Any:
    """`value` without empty sections (`queue:` with nothing below means its defaults); true and false are no numbers."""
    if isinstance(value, bool) and keys.unwrap(annotation) in (int, float):
        problems.at(path, f"must be a number (got {str(value).lower()})")
        return 1  # any number: this load has failed already
    if isinstance(value, dict):
        kept = {key: (item, keys.step(annotation, key)) for key, item in value.items()}
        return {
            key: tidy(item, kind, (*path, key), problems)
            for key, (item, kind) in kept.items()
            if not (item is None and kind is not None and keys.is_container(kind))
        }
    if isinstance(value, list):
        return [tidy(item, keys.step(annotation, at), (*path, at), problems) for at, item in enumerate(value)]
    return value


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a valid section, sections and mappings opened, lists of sections too."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from walk(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (BaseModel, Mapping)) for item in value):
        for at, item in enumerate(value):
            yield from walk(item, (*path, at))
    else:
        yield path, value


def finite(value: object) -> bool:
    """Whether `value` is anything but an infinite or undefined number."""
    return not isinstance(value, float) or math.isfinite(value)


def _paths(value: Any, path: Path) -> Iterator[Path]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
