"""Plain values as JSON text."""

from __future__ import annotations

import json
from functools import lru_cache
from time import gmtime

DAY = 86_400


@lru_cache(maxsize=65_536)
def text(value: str | None) -> str:
    """A text or null."""
    return json.dumps(value)


@lru_cache(maxsize=4_096)
def _day(day: int) -> str:
    moment = gmtime(day * DAY)
    return f'"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}T'


@lru_cache(maxsize=DAY)
def _clock(at: int) -> str:
    return f'{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}Z"'


def moment(seconds: int | None) -> str:
    """A time or null: whole seconds of UTC, as GraphQL has them."""
    if seconds is None:
        return "null"
    day, rest = divmod(seconds, DAY)
    return _day(day) + _clock(rest)


def number(value: float | None) -> str:
    """A number or null."""
    return "null" if value is None else repr(value)


def floating(value: float | None) -> str:
    """A number with a fraction, or null."""
    return "null" if value is None else repr(float(value))


def truth(value: bool) -> str:
    """true or false."""
    return "true" if value else "false"


@lru_cache(maxsize=64)
def word(value: str) -> str:
    """An enum's value."""
    return f'"{value.upper()}"'
