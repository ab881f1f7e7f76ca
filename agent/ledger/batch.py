"""What goes into a ledger and comes out of it. No storage's types, so that any storage can be behind it."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Shape(NamedTuple):
    """What makes a family's series the same series after a restart; a change of it begins new ones."""

    name: str
    """With its source's prefix."""
    kind: str
    """A `Kind`'s value."""
    labels: tuple[str, ...]
    constants: tuple[tuple[str, str], ...] = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram; () = every series is one number."""

    def __hash__(self) -> int:
        return hash(self.name)  # of all the rest it would be made anew each time: a shape is looked up for every series

    @property
    def cells(self) -> int:
        """Numbers a series has: the buckets' cumulative counts, the count and the sum; or one."""
        return len(self.bounds) + 2 if self.bounds else 1

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(self, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Shape:
        """The reverse. Raises ValueError for what `text` did not write."""
        try:
            name, kind, labels, constants, bounds = json.loads(text)
            shape = cls(name, kind, tuple(labels), tuple((key, value) for key, value in constants), tuple(map(float, bounds)))
            if shape.text() == text and all(isinstance(word, str) for word in (name, kind, *labels, *sum(shape.constants, ()))):
                return shape
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a shape: {error}") from error
        raise ValueError(f"not a shape: {text[:100]!a}")


class SeriesId(NamedTuple):
    """One series, for good."""

    source: str
    shape: Shape
    labels: tuple[str, ...]
    """One value per name in `shape.labels`."""


class Add(NamedTuple):
    """What one observation adds to one series."""

    series: SeriesId
    value: float
    """To a counter; or one observation of a histogram."""
    born: bool
    """Whether the store does not have the series, so that receivers have to be told where it begins."""


class Happening(NamedTuple):
    """One event: a sample with its own time."""

    series: SeriesId
    value: float
    timestamp_ms: int
    """As wanted; an event that is not after its series' last comes 1 ms after that."""
    exemplar: tuple[tuple[str, str], ...] = ()


class Counted(NamedTuple):
    """One observation, ready to be committed."""

    key: str
    adds: Sequence[Add]
    happenings: Sequence[Happening] = ()


class Move(NamedTuple):
    """A poller's cursor goes on, if it is still where the poller found it."""

    source: str
    poller: str
    expected: str | None
    """None = there was none yet."""
    value: str


@dataclass(frozen=True, slots=True)
class Item:
    """What one caller wants committed, all or nothing."""

    source: str
    counted: Sequence[Counted] = ()
    notes: Sequence[tuple[str, str | None]] = ()
    """(key, value); None = forget it."""
    move: Move | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Items that share a transaction."""

    items: Sequence[Item]
    now: float
    """Seconds since the epoch."""
    last_flush_ms: int
    """Sample time of the newest interval flush: a restart must not go behind it."""
    birth_ms: int
    """Sample time of the birth rows in this batch."""


class Taken(NamedTuple):
    """What became of an item that was committed."""

    new: int
    repeated: int
    """Observations whose key was known."""


class Outgoing(NamedTuple):
    """A row of the outbox: one sample, or one histogram's, that history sinks are owed beside the flushes."""

    number: int
    """Rows are numbered in the order of their commits."""
    series: SeriesId
    timestamp_ms: int
    cells: array[float]
    exemplar: tuple[tuple[str, str], ...] = ()
    event: bool = False
    """Whether it is an event; else a birth row."""


class Total(NamedTuple):
    """What one series has come to."""

    series: SeriesId
    cells: array[float]
    updated: float
    """When it was last added to, seconds since the epoch."""


@dataclass(slots=True)
class Committed:
    """What a batch came to."""

    results: list[Taken | Exception] = field(default_factory=list)
    """One per item, in order. An exception: nothing of that item was taken, and why."""
    totals: dict[SeriesId, array[float]] = field(default_factory=dict)
    """The new cells of every series that was added to."""
    outgoing: list[Outgoing] = field(default_factory=list)


class Standing(NamedTuple):
    """How far each sink has come with the outbox."""

    acknowledged: Mapping[str, int]
    """Sink -> the number of the newest row that it, or its queue on disk, has for good."""
    forgiven: int
    """Rows that sinks which are gone were owed."""
