"""A table: the series of one family, one row each, in parallel arrays."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent.model import Collected, Exemplar, Family, Update
from agent.store.caps import Caps

DEAD = 1 << 62
"""In `Table.changed`: the row's series has ended and its records wait to be taken out of the pages."""

# https://prometheus.io/docs/concepts/data_model/
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")

LEDGER = "ledger"
"""The scope of series that the ledger feeds: one that is refused or evicted comes back as soon as it is added to."""

ROW_BYTES = 300
"""Bytes of a row beside its text: index entry, key, row number, array cells (measured, CPython 3.11)."""


class Ticks:
    """The store's own clock: counts changes, so that a page can tell what came after it was sent."""

    __slots__ = ("ends", "now")

    def __init__(self) -> None:
        self.now = 0
        self.ends = 0
        """How many series have ended."""


class Scope:
    """What series were reported as part of: a scrape target, a collector x project, or a whole source."""

    __slots__ = ("confirmed", "feed", "held", "interval", "live", "lost_until", "name", "number", "prolonged_until", "rows")

    def __init__(self, feed: Feed, name: str, number: int) -> None:
        self.feed = feed
        self.name = name
        self.number = number
        self.interval = 0.0
        """Its poller's interval, seconds: a series may miss 2.5 of them."""
        self.confirmed = 0.0
        """When it was last confirmed without a listing."""
        self.prolonged_until = 0.0
        """Nothing of it expires before this: its poller is failing."""
        self.lost_until = 0.0
        """From then on a refused or evicted series of it may come back: ask for a full listing once."""
        self.rows: dict[Table, array[int]] = {}
        """Row numbers it had, by table; stale ones are dropped when read or when they are most of them."""
        self.live = 0
        """Its live rows."""
        self.held = 0
        """Collects under way that go by its number."""

    def lose(self, until: float) -> None:
        """A series of it was refused or evicted and may come back at `until`."""
        self.lost_until = min(self.lost_until, until) if self.lost_until else until

    def take(self, table: Table, row: int) -> None:
        """One more live row, whose `Table.scope` names this scope."""
        self.live += 1
        rows = self.rows.get(table)
        if rows is None:
            rows = self.rows[table] = array("I")
        elif len(rows) > 2 * self.live + 64:
            mine = {old for old in rows if table.scope[old] == self.number and table.changed[old] != DEAD} - {row}
            rows = self.rows[table] = array("I", sorted(mine))
        rows.append(row)


class Started(NamedTuple):
    """Since when the counters of a flush group count."""

    ms: int = 0
    """Milliseconds since the epoch; 0 = not known."""
    learnt: int = 0
    """The store's tick when that was learnt."""


_NEVER = Started()


class Feed:
    """One source's share of the store: its naming, its tables, its scopes and its caps."""

    def __init__(
        self,
        name: str,
        prefix: str = "",
        custom_labels: Iterable[tuple[str, str]] = (),
        max_series: int = 0,
        max_series_per_project: int = 0,
    ) -> None:
        self.name = name
        self.prefix = prefix
        self.custom_labels = tuple(custom_labels)
        self.caps = Caps(max_series, max_series_per_project)
        self.tables: dict[tuple[Family, str], Table] = {}
        """By family and flush group."""
        self.scopes: dict[str, Scope] = {}
        self.removed = False
        self._started: dict[str, Started] = {}

    @property
    def series(self) -> int:
        """Live series; a histogram row counts as the series it is sent as."""
        return self.caps.series

    def identity(self, family: Family) -> tuple[str, str, tuple[str, ...], tuple[tuple[str, str], ...], tuple[float, ...]]:
        """What makes series of a family the same after a restart: name, kind, label names, constant labels, buckets."""
        constants = dict(self.custom_labels) | dict(family.constants)
        return self.prefix + family.name, family.kind.value, family.labels, tuple(constants.items()), family.buckets

    def started(self, group: str) -> Started:
        """Since when its counters of a flush group count."""
        return self._started.get(group, _NEVER)

    def learn(self, collected: Collected, now: float, ticks: Ticks) -> None:
        """Take over what a collect says of that; a start that is yet to come says nothing."""
        ms = int(collected.started * 1000) if 0 < collected.started <= now else 0
        if ms and ms != self.started(collected.group).ms:
            ticks.now += 1
            self._started[collected.group] = Started(ms, ticks.now)

    def exemplify(self, collected: Collected, ticks: Ticks) -> None:
        """Take over the exemplars of a collect whose updates are applied; those that are known are not new."""
        for family, labels, exemplar in collected.exemplars:
            table = self.tables.get((family, collected.group))
            row = None if table is None else table.index.get(labels)
            if table is not None and row is not None and table.exemplars.get(row, (0, None))[1] != exemplar:
                table.exemplars[row] = (ticks.now, exemplar)

    def unstart(self, ms: int, tick: int) -> None:
        """The clock is back at `ms`: a start later than that says nothing any more."""
        for group, started in self._started.items():
            if started.ms > ms:
                self._started[group] = Started(0, tick)


class Table:
    """The rows of one family of one feed in one flush group.

    A scalar row has one value, a histogram row `len(buckets) + 3`: the buckets, +Inf, sum, count, which is
    the order of its records in a page (+Inf and count are one number, kept twice so that a page is written
    from one slice). Rows are never moved; a row is used again once no page and no reader holds it.
    """

    def __init__(self, feed: Feed, family: Family, group: str, default_ttl: float) -> None:
        constants = dict(feed.custom_labels) | dict(family.constants)
        names = (*family.labels, *constants)
        self.name = feed.prefix + family.name
        if not METRIC_NAME.match(self.name):
            raise ValueError(f"metric name {self.name!r} does not match {METRIC_NAME.pattern}")
        for name in names:
            if not _LABEL.match(name):
                raise ValueError(f"{self.name}: label name {name!r} does not match {_LABEL.pattern}")
        if len(set(family.labels)) != len(family.labels):
            raise ValueError(f"{self.name}: a label name is declared twice")
        self.feed = feed
        self.family = family
        self.group = group
        self.constants = tuple((k, v) for k, v in constants.items() if v and k not in family.labels)
        self.exposition_name = feed.prefix + (family.exposition_name or family.name)
        self.ttl = default_ttl if family.ttl_seconds is None else family.ttl_seconds
        self.width = len(family.buckets) + 3 if family.buckets else 1
        self.arity = len(family.labels)
        self.key = (self.name, self.constants, frozenset(family.labels))
        """Tables with equal keys can hold the same series."""
        self.index: dict[tuple[str, ...], int] = {}
        """Label values -> row, live rows only."""
        self.labels: list[tuple[str, ...]] = []
        self.values = array("d")
        self.at = array("d")
        self.updated = array("d")
        self.changed = array("q")
        """The store's tick at the last change of value, or DEAD."""
        self.scope = array("I")
        self.exemplars: dict[int, tuple[int, Exemplar]] = {}
        """Row -> the store's tick when its exemplar came, and that; only where a view sends them."""
        self.free: list[int] = []
        self.next_expiry = 0.0
        self.empty_since: float | None = None

    @property
    def unused(self) -> bool:
        """Whether no series lives in it and no page holds a row of it."""
        return len(self.free) == len(self.labels)

    def cells(self, value: float | Sequence[float]) -> array[float]:
        """An update's value as this table keeps it. Raises ValueError where the shape is wrong."""
        if isinstance(value, (int, float)):
            if self.width != 1:
                raise ValueError(f"{self.name}: a histogram takes {self.width - 1} numbers, got one")
            return array("d", (value if value == value else math.nan,))  # a NaN of ours never has the marker's bits
        if self.width == 1 or len(value) != self.width - 1:
            raise ValueError(f"{self.name}: got {len(value)} numbers, expected {1 if self.width == 1 else self.width - 1}")
        row = array("d", [cell if cell == cell else math.nan for cell in value])
        row.append(row[-2])
        return row

    def write(self, row: int, value: float | Sequence[float], tick: int) -> None:
        """Replace a row's cells, noting a change. Raises ValueError where the shape is wrong."""
        cells = self.cells(value)
        start, end = row * self.width, (row + 1) * self.width
        if cells != self.values[start:end]:
            self.values[start:end] = cells
            self.changed[row] = tick

    def add(self, labels: tuple[str, ...], value: array[float], at: float, now: float, tick: int, scope: int) -> int:
        """A new row, in a free place if there is one; returns its number."""
        if self.free:
            row = self.free.pop()
            self.labels[row] = labels
            self.values[row * self.width : (row + 1) * self.width] = value
            self.at[row], self.updated[row], self.changed[row], self.scope[row] = at, now, tick, scope
        else:
            row = len(self.labels)
            self.labels.append(labels)
            self.values.extend(value)
            self.at.append(at)
            self.updated.append(now)
            self.changed.append(tick)
            self.scope.append(scope)
        self.index[labels] = row
        return row

    def end(self, row: int) -> None:
        """The row's series is over; its place stays taken until the pages have let go of it."""
        del self.index[self.labels[row]]
        self.exemplars.pop(row, None)
        self.changed[row] = DEAD
        self.updated[row] = math.inf  # out of the way of every search for the longest silent

    def row_values(self, row: int) -> array[float]:
        """The row's cells, in wire order."""
        return self.values[row * self.width : (row + 1) * self.width]

    def cost(self, labels: tuple[str, ...]) -> int:
        """Estimated bytes of a row, pages apart."""
        return ROW_BYTES + 8 * (self.width + len(labels)) + sum(map(len, labels))

    def label_pairs(self, labels: tuple[str, ...]) -> list[tuple[str, str]]:
        """(name, value) of every label that a row has, in declared order, without `__name__`."""
        pairs = [(k, v) for k, v in zip(self.family.labels, labels, strict=True) if v]
        return pairs + list(self.constants)


def same_shape(update: Update, arity: int) -> bool:
    """Whether an update has one text value per label of its family."""
    labels = update.labels
    return len(labels) == arity and set(map(type, labels)) <= {str}
