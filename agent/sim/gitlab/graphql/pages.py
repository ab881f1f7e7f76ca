"""Pages of lists: cursors that say after which element to go on (https://docs.gitlab.com/api/graphql/#pagination)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.sim.gitlab.graphql.complexity import PAGE
from agent.sim.gitlab.graphql.run import FieldError


class Rows(NamedTuple):
    """All elements of a list that is asked for in pages."""

    things: Sequence[Any]
    keys: Sequence[int]
    """One for each, rising or falling throughout; what is gone or new between two pages shifts nothing."""
    is_falling: bool = False


class Page(NamedTuple):
    """Some of them."""

    things: Sequence[Any]
    keys: Sequence[int]
    has_next: bool
    has_previous: bool
    total: int
    """Of the whole list."""


def in_order(things: Sequence[Any]) -> Rows:
    """Elements without numbers of their own."""
    return Rows(things, range(len(things)))


def cursor(key: int) -> str:
    """The place of an element, which is nobody's business but the server's."""
    return base64.urlsafe_b64encode(json.dumps({"id": str(key)}).encode()).decode().rstrip("=")


def _key(text: str) -> int:
    try:
        padded = text + "=" * (-len(text) % 4)
        return int(json.loads(base64.b64decode(padded, b"-_", validate=True))["id"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise FieldError("Please provide a valid cursor") from None


def page(rows: Rows, given: Mapping[str, Any]) -> Page:
    """The page that the arguments ask for. Raises FieldError."""
    total = len(rows.keys)
    if not given and total <= PAGE:
        return Page(rows.things, rows.keys, False, False, total)
    first, last = given.get("first"), given.get("last")
    if first is not None and last is not None:
        raise FieldError("Can only provide either `first` or `last`, not both")
    sign = -1 if rows.is_falling else 1
    begin, end = 0, total
    if "after" in given:
        key = sign * _key(given["after"])
        begin = next((place for place, each in enumerate(rows.keys) if sign * each > key), end)
    if "before" in given:
        key = sign * _key(given["before"])
        end = next((place for place, each in enumerate(rows.keys) if sign * each >= key), end)
    start, stop = begin, max(begin, end)
    if last is not None:
        start = max(start, stop - min(max(last, 0), PAGE))
    else:
        stop = min(stop, start + min(max(PAGE if first is None else first, 0), PAGE))
    return Page(rows.things[start:stop], rows.keys[start:stop], stop < total, start > 0, total)
