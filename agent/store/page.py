"""One page: some runs of rows, their encoded records, and what of them was sent."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.model import Exemplar
from agent.store.body import Body
from agent.store.claims import Heirs, Place
from agent.store.table import DEAD, Table

PAGE_RECORDS = 10_000
PAGE_BYTES = 2 << 20
FRAGMENTED_ROWS = 16
"""A page whose runs are shorter than this on average is put in table order at its next visit."""


class Run:
    """Rows of one table that lie together in a page."""

    __slots__ = ("rows", "straight", "table")

    def __init__(self, table: Table, rows: array[int]) -> None:
        self.table = table
        self.rows = rows
        self.straight = not rows or rows == array("I", range(rows[0], rows[0] + len(rows)))
        """Whether the rows are consecutive, as births leave them: then slices serve."""

    def append(self, row: int) -> None:
        """One more row."""
        self.straight = self.straight and row == self.rows[-1] + 1
        self.rows.append(row)

    def extend(self, other: Run) -> None:
        """The rows of a later run of the same table."""
        self.straight = self.straight and other.straight and other.rows[0] == self.rows[-1] + 1
        self.rows.extend(other.rows)

    def newest_change(self) -> int:
        """The last tick at which a value changed; DEAD when a row has ended."""
        changed, rows = self.table.changed, self.rows
        if self.straight:
            return max(changed[rows[0] : rows[-1] + 1])
        return max(map(changed.__getitem__, rows))

    def values(self) -> array[float]:
        """All cells, record by record."""
        values, rows, width = self.table.values, self.rows, self.table.width
        if self.straight:
            return values[rows[0] * width : (rows[-1] + 1) * width]
        if width == 1:
            return array("d", map(values.__getitem__, rows))
        out = array("d")
        for row in rows:
            out.extend(values[row * width : (row + 1) * width])
        return out


class Page:
    """Some runs and their encoded records."""

    __slots__ = ("body", "encoded", "records", "runs", "seen", "sent", "sent_at")

    def __init__(self, body: Body, tick: int) -> None:
        self.body = body
        self.encoded = tick
        """The store's tick since when its records are as they are."""
        self.runs: list[Run] = []
        self.records = 0
        self.sent = 0
        """The first so many records have been sent at least once."""
        self.seen = -1
        """The store's tick when it was last sent."""
        self.sent_at = float("-inf")

    def takes(self, records: int, size: int) -> bool:
        """Whether so much more fits into one request."""
        return not self.records or (self.records + records <= PAGE_RECORDS and self.body.size + size <= PAGE_BYTES)

    def add(self, table: Table, row: int, records: Sequence[Any]) -> None:
        """Append a newborn row's records."""
        last = self.runs[-1] if self.runs else None
        if last is not None and last.table is table:
            last.append(row)
        else:
            self.runs.append(Run(table, array("I", (row,))))
        self.body.extend(records, table.feed.started(table.group).ms)
        self.records += table.width

    def join(self, other: Page) -> None:
        """Take over a later page's records; only the last of a group's pages may hold unsent ones."""
        for run in other.runs:
            if self.runs and self.runs[-1].table is run.table:
                self.runs[-1].extend(run)
            else:
                self.runs.append(run)
        self.body.join(other.body)
        if self.sent == self.records:
            self.sent += other.sent
        self.records += other.records
        self.seen = min(self.seen, other.seen)
        self.encoded = min(self.encoded, other.encoded)
        self.sent_at = min(self.sent_at, other.sent_at)

    def parts(self) -> Iterator[tuple[int, array[float]]]:
        """(first record, values) of each run."""
        first = 0
        for run in self.runs:
            values = run.values()
            yield first, values
            first += len(values)

    def exemplars(self) -> Iterator[tuple[int, Exemplar]]:
        """(record, exemplar) of all that came since it was last sent."""
        first = 0
        for run in self.runs:
            known = run.table.exemplars
            if known:
                for number, row in enumerate(run.rows):
                    tick, exemplar = known.get(row, (self.seen, None))
                    if tick > self.seen and exemplar is not None:
                        yield first + number * run.table.width, exemplar
            first += len(run.rows) * run.table.width

    def outdated(self) -> bool:
        """Whether since when its counters count was learnt after its records were encoded."""
        return any(run.table.feed.started(run.table.group).learnt > self.encoded for run in self.runs)

    def renew(self, body: Body, records: Callable[[Table, int], Sequence[Any]], tick: int) -> None:
        """Encode all rows anew, into `body`."""
        for run in self.runs:
            started_ms = run.table.feed.started(run.table.group).ms
            for row in run.rows:
                body.extend(records(run.table, row), started_ms)
        self.body, self.encoded = body, tick

    def fragmented(self) -> bool:
        """Whether writing it costs more in runs than in records."""
        rows = sum(len(run.rows) for run in self.runs)
        return (
            len(self.runs) > 8
            and rows < FRAGMENTED_ROWS * len(self.runs)
            and len({run.table for run in self.runs}) < len(self.runs)
        )

    def known(self, group: Group) -> list[tuple[int, int]]:
        """The record spans of series that a receiver has: sent from here, or from the row that this one inherited from."""
        spans = [(0, self.sent)] if self.sent else []
        first = 0
        for run in self.runs if group.indebted else ():
            for row in run.rows:
                if first >= self.sent and (run.table, row) in group.indebted:
                    spans.append((first, first + run.table.width))
                first += run.table.width
        return spans

    def rebuild(self, heirs: Heirs, group: Group, inherit: Callable[[Place], None]) -> list[tuple[int, int]]:
        """Take out ended rows, put the rest in table order; returns the record spans whose series are owed a marker.

        The spans refer to the old body, which the caller still holds. A series that was never sent is owed none,
        neither is one that lives again in another row: that row inherits the debt.
        """
        order: dict[Table, tuple[array[int], list[tuple[int, int]]]] = {}
        owed: list[tuple[int, int]] = []
        first = 0
        for run in self.runs:
            table = run.table
            rows, spans = order.setdefault(table, (array("I"), []))
            for row in run.rows:
                end = first + table.width
                if table.changed[row] != DEAD:
                    rows.append(row)
                    if spans and spans[-1][1] == first:
                        spans[-1] = (spans[-1][0], end)
                    else:
                        spans.append((first, end))
                else:
                    places, records = heirs(table, row)
                    if first < self.sent or (table, row) in group.indebted:
                        for place in places:
                            inherit(place)
                        owed += [(first + number, first + number + 1) for number in records]
                first = end
        kept = [span for _, spans in order.values() for span in spans]
        self.body = self.body.select(kept)
        self.runs = [Run(table, rows) for table, (rows, _) in order.items() if rows]
        self.records = sum(end - start for start, end in kept)
        self.sent = self.records  # every caller sends a page that held unsent records: they count as changed
        return owed


class Group:
    """The pages of one flush group in one view."""

    __slots__ = ("clean", "indebted", "open", "pages", "walking")

    def __init__(self, clean: int) -> None:
        self.pages: list[Page] = []
        self.open: Page | None = None
        self.walking = False
        self.clean = clean
        """Every row that ended before this count of ends is out of these pages."""
        self.indebted: set[Place] = set()
        """Rows not sent yet, of series that were sent from an earlier row: they are owed a marker all the same."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One page written: an uncompressed request. `payload` is only good until the walk goes on."""

    payload: bytes | bytearray
    samples: int
    markers: int = 0
    metadata: bool = False
    """Whether it says what families are: it has no sample then."""
