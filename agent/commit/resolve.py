"""From what a source observed to what the ledger adds up: which series, folded or not, known to the store or not."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from agent.ledger.batch import Add, Counted, Happening, SeriesId, Shape, Total
from agent.model import Family, Increment, Observation
from agent.store.store import Store
from agent.store.table import Feed

OVERFLOW = "overflow"
"""The value that wide labels of folded series have."""
ROOM = 0.9
"""The share of a source's `max_series` that series with labels of their own may take; the rest is for what they fold into."""

MOST_OUT = 100_000
"""Refused series that are remembered."""

Series = tuple[Family, tuple[str, ...]]


class _Resolved(NamedTuple):
    """One series of a batch."""

    series: SeriesId
    born: bool
    is_folded: bool


class Resolver:
    """Looks at the store, and keeps what a batch adds to from ending meanwhile. One batch at a time: `begin` before each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shapes: dict[tuple[Feed, Family], Shape] = {}
        self.families: dict[tuple[Feed, Shape], Family] = {}
        """The reverse of what was asked for so far."""
        self._projects: dict[tuple[Feed, str], set[Series]] = {}
        """Series of families with wide labels, by the project they are of; some may have ended."""
        self._coming: Counter[Feed] = Counter()
        """Series that this batch brings to each feed."""
        self._now = 0.0
        self._new: set[tuple[Feed, Series]] = set()
        self._found: dict[tuple[Feed, Family, tuple[str, ...]], _Resolved] = {}
        """What this batch has added to so far: much of it is added to again and again."""
        self.out: set[tuple[Feed, Series]] = set()
        """Series that the store has refused. While it can take none, receivers are not told where they begin."""
        self.folded: Counter[str] = Counter()
        """Observations that went into an overflow, by source; whoever counts them takes them away."""

    def begin(self, now: float) -> None:
        """The last batch is in the store, or failed; `now` in seconds since the epoch."""
        self._now = now
        self._coming.clear()
        self._new.clear()
        self._found.clear()

    def counted(self, feed: Feed, observation: Observation) -> Counted:
        """An observation as the ledger takes it."""
        adds = [self._add(feed, increment, observation.project) for increment in observation.increments]
        happenings = [
            Happening(SeriesId(feed.name, self.shape(feed, e.family), e.labels), e.value, int(e.at * 1000), e.exemplar)
            for e in observation.events
        ]
        return Counted(observation.key, adds, happenings)

    def restored(self, feed: Feed, family: Family, total: Total) -> None:
        """A series of an earlier life is in the store again."""
        self._belongs(feed, (family, total.series.labels), total.project)

    def is_live(self, feed: Feed, family: Family, labels: tuple[str, ...]) -> bool:
        """Whether the store has it."""
        table = feed.tables.get((family, ""))
        return table is not None and labels in table.index

    def forget(self, feed: Feed) -> None:
        """The source is gone."""
        self._shapes = {key: shape for key, shape in self._shapes.items() if key[0] is not feed}
        self.families = {key: family for key, family in self.families.items() if key[0] is not feed}
        self._projects = {key: series for key, series in self._projects.items() if key[0] is not feed}
        self.out = {key for key in self.out if key[0] is not feed}

    def _add(self, feed: Feed, increment: Increment, project: str) -> Add:
        family, labels, value = increment
        found = self._found.get((feed, family, labels))
        if found is None:
            found = self._found[feed, family, labels] = self._resolve(feed, family, labels, project)
        if found.is_folded:
            self.folded[feed.name] += 1
        return Add(found.series, value, found.born, project)

    def _resolve(self, feed: Feed, family: Family, labels: tuple[str, ...], project: str) -> _Resolved:
        """Which series it is, folded or not, and whether the store has it."""
        is_folded = False
        live = self._touch(feed, family, labels)
        if not live and family.wide and (feed, (family, labels)) not in self._new and self._is_full(feed, family, project):
            labels = tuple([OVERFLOW if name in family.wide else text for name, text in zip(family.labels, labels, strict=True)])
            live = self._touch(feed, family, labels)
            is_folded = True
        elif family.wide:
            self._belongs(feed, (family, labels), project)
        if not live and (feed, (family, labels)) not in self._new:
            self._new.add((feed, (family, labels)))
            self._coming[feed] += _width(family)
        born = not live and not ((feed, (family, labels)) in self.out and self._refuses(feed, _width(family)))
        return _Resolved(SeriesId(feed.name, self.shape(feed, family), labels), born, is_folded)

    def _refuses(self, feed: Feed, width: int) -> bool:
        return bool(feed.max_series and feed.series + width > feed.max_series) or self._store.is_full(width)

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

    def _is_full(self, feed: Feed, family: Family, project: str) -> bool:
        width = _width(family)
        if feed.max_series and feed.series + self._coming[feed] + width > ROOM * feed.max_series:
            return True
        limit = feed.max_series_per_project
        if not (limit and project):
            return False
        members = self._projects.get((feed, project), set())
        if sum(_width(known) for known, _ in members) + width <= limit:
            return False
        members = {m for m in members if self.is_live(feed, *m) or (feed, m) in self._new}
        self._projects[feed, project] = members
        return sum(_width(known) for known, _ in members) + width > limit

    def _belongs(self, feed: Feed, series: Series, project: str) -> None:
        if feed.max_series_per_project and project and series[0].wide and OVERFLOW not in series[1]:
            self._projects.setdefault((feed, project), set()).add(series)

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
