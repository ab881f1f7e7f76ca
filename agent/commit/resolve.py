"""From what a source observed to what the ledger adds up: which series, folded or not, known to the store or not."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from agent.ledger.batch import Add, Counted, Happening, SeriesId, Shape
from agent.model import Family, Increment, Observation
from agent.store.caps import folded
from agent.store.store import Store
from agent.store.table import Feed

MOST_OUT = 100_000
"""Refused series that are remembered."""

Series = tuple[Family, tuple[str, ...]]


class _Resolved(NamedTuple):
    """One series of a batch."""

    series: SeriesId
    born: bool
    is_folded: bool


class Resolver:
    """Looks at the store, and keeps what a batch adds to from ending meanwhile. One batch at a time: `begin`, then `end` each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shapes: dict[tuple[Feed, Family], Shape] = {}
        self.families: dict[tuple[Feed, Shape], Family] = {}
        """The reverse of what was asked for so far."""
        self._now = 0.0
        self._new: set[tuple[Feed, Series]] = set()
        """Series that this batch brings."""
        self._found: dict[tuple[Feed, Family, tuple[str, ...]], _Resolved] = {}
        """What this batch has added to so far: much of it is added to again and again."""
        self.out: set[tuple[Feed, Series]] = set()
        """Series that the store has refused. While it can take none, receivers are not told where they begin."""
        self.folded: Counter[str] = Counter()
        """Observations that went into an overflow, by source; whoever counts them takes them away."""

    def begin(self, now: float) -> None:
        """A batch comes; `now` in seconds since the epoch."""
        self._now = now

    def end(self) -> None:
        """It is in the store, or failed."""
        for feed in {feed for feed, _ in self._new}:
            feed.caps.coming.clear()
        self._new.clear()
        self._found.clear()

    def counted(self, feed: Feed, observation: Observation) -> Counted:
        """An observation as the ledger takes it."""
        adds = [self._add(feed, increment) for increment in observation.increments]
        happenings = [
            Happening(SeriesId(feed.name, self.shape(feed, e.family), e.labels), e.value, int(e.at * 1000), e.exemplar)
            for e in observation.events
        ]
        return Counted(observation.key, adds, happenings)

    def is_live(self, feed: Feed, family: Family, labels: tuple[str, ...]) -> bool:
        """Whether the store has it."""
        table = feed.tables.get((family, ""))
        return table is not None and labels in table.index

    def forget(self, feed: Feed) -> None:
        """The source is gone."""
        self._shapes = {key: shape for key, shape in self._shapes.items() if key[0] is not feed}
        self.families = {key: family for key, family in self.families.items() if key[0] is not feed}
        self.out = {key for key in self.out if key[0] is not feed}

    def _add(self, feed: Feed, increment: Increment) -> Add:
        family, labels, value = increment
        found = self._found.get((feed, family, labels))
        if found is None:
            found = self._found[feed, family, labels] = self._resolve(feed, family, labels)
        if found.is_folded:
            self.folded[feed.name] += 1
        return Add(found.series, value, found.born)

    def _resolve(self, feed: Feed, family: Family, labels: tuple[str, ...]) -> _Resolved:
        """Which series it is, folded or not, and whether the store has it."""
        width, is_folded = _width(family), False
        live = self._touch(feed, family, labels)
        if not live and family.wide and (excess := feed.caps.excess(family, labels, width)):
            feed.caps.say(excess, family, labels, self._now)
            labels = folded(family, labels)
            live = self._touch(feed, family, labels)
            is_folded = True
        series = (feed, (family, labels))
        if not live and series not in self._new:
            self._new.add(series)
            feed.caps.come(family, labels, width)
        born = not live and not (series in self.out and self._refuses(feed, width))
        return _Resolved(SeriesId(feed.name, self.shape(feed, family), labels), born, is_folded)

    def _refuses(self, feed: Feed, width: int) -> bool:
        return bool(feed.caps.max_series and feed.series + width > feed.caps.max_series) or self._store.is_full(width)

    def applied(self, feed: Feed, family: Family, labels: tuple[str, ...]) -> None:
        """The store was given it; note whether it has taken it."""
        if self.is_live(feed, family, labels):
            self.out.discard((feed, (family, labels)))
        elif len(self.out) < MOST_OUT:
            self.out.add((feed, (family, labels)))

    def _touch(self, feed: Feed, family: Family, labels: tuple[str, ...]) -> bool:
        """Whether the store has it; it then does not end before the transaction does."""
        table = feed.tables.get((family, ""))
        row = None if table is None else table.index.get(labels)
        if table is None or row is None:
            return False
        table.updated[row] = max(table.updated[row], self._now)
        return True

    def shape(self, feed: Feed, family: Family) -> Shape:
        """What the ledger knows a family of a source by."""
        shape = self._shapes.get((feed, family))
        if shape is None:
            shape = self._shapes[feed, family] = Shape(*feed.identity(family))
            self.families[feed, shape] = family  # events too: they have a shape, though no series in the store
        return shape


def _width(family: Family) -> int:
    """Series that one row of the family is sent as."""
    return len(family.buckets) + 3 if family.buckets else 1
