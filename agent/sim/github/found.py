"""What the API's answers are made of: pages of lists, and things that are built only when somebody has not seen them yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from agent.sim.github.access import Caller

MAX_PER_PAGE = 100
DEFAULT_PER_PAGE = 30
Thing = TypeVar("Thing")


class RequestError(Exception):
    """The request is answered with an error. The message is the answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Call(NamedTuple):
    """One request as the resources see it."""

    path: Mapping[str, str]
    """The variable parts of the path."""
    query: Mapping[str, str]
    caller: Caller
    now: float


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to be."""

    version: object
    """Its ETag is made of the `repr` of this: what is equal has not changed."""
    build: Callable[[], object]
    """The JSON to be."""
    next: Mapping[str, str] | None = None
    """Query parameters of the next page; None = it is the last."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def page(call: Call, things: Sequence[Thing]) -> tuple[Sequence[Thing], Mapping[str, str] | None]:
    """(the page asked for, parameters of the next one)."""
    per_page, number = per_page_of(call), max(1, whole(call, "page", 1))
    shown = things[(number - 1) * per_page : number * per_page]
    return shown, {**call.query, "page": str(number + 1)} if number * per_page < len(things) else None


def per_page_of(call: Call) -> int:
    """How many things a page holds."""
    return min(MAX_PER_PAGE, max(1, whole(call, "per_page", DEFAULT_PER_PAGE)))


def whole(call: Call, name: str, default: int) -> int:
    """A query parameter that is a number; nonsense counts as not given, as with GitHub."""
    text = call.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else default


def created_range(text: str) -> tuple[float, float]:
    """(first, last) second of a `created` filter: `>=A`, `>A`, `<=B`, `<B`, `A..B`, `A`; A and B dates or times.

    Syntax: https://docs.github.com/en/search-github/getting-started-with-searching-on-github/understanding-the-search-syntax.
    Raises RequestError (422) for anything else.
    """
    first, separator, last = text.partition("..")
    if separator:
        return (_time(first)[0] if first != "*" else 0.0), (_time(last)[1] if last != "*" else float("inf"))
    for sign in (">=", "<=", ">", "<"):
        if text.startswith(sign):
            begins, ends = _time(text[len(sign) :])
            return {">=": (begins, float("inf")), ">": (ends + 1, float("inf")), "<=": (0.0, ends), "<": (0.0, begins - 1)}[sign]
    return _time(text)


def _time(text: str) -> tuple[float, float]:
    """(first, last) second that it names: a time is one, a date has a day of them."""
    try:
        if len(text) == len("2026-03-02"):
            begins = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
            return begins, begins + 86_399
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(422, f"created: not a time: {text[:40]!r}") from error
    at = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    return at, at
