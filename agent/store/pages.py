"""Pages: what a view of the store sends, kept encoded from one flush to the next.

A page is one future request: up to 10,000 records of rows in birth order. A walk visits every page of
one flush group and renders those that changed or are due for a heartbeat. Pages hold row numbers, never
values: values are read from the tables when the page is written.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from agent.model import Protocol
from agent.store.body import Body, LineBody, RecordBody
from agent.store.claims import Heirs, Place
from agent.store.encode import Encoder, LabelRules, LineEncoder, RecordEncoder
from agent.store.relabel import Relabelling
from agent.store.table import DEAD, Table, Ticks

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

    __slots__ = ("body", "records", "runs", "seen", "sent", "sent_at")

    def __init__(self, body: Body) -> None:
        self.body = body
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

    def add(self, table: Table, row: int, records: list[bytes]) -> None:
        """Append a newborn row's records."""
        last = self.runs[-1] if self.runs else None
        if last is not None and last.table is table:
            last.append(row)
        else:
            self.runs.append(Run(table, array("I", (row,))))
        self.body.extend(records)
        self.records += len(records)

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
        self.sent_at = min(self.sent_at, other.sent_at)

    def parts(self) -> Iterator[tuple[int, array[float]]]:
        """(first record, values) of each run."""
        first = 0
        for run in self.runs:
            values = run.values()
            yield first, values
            first += len(values)

    def fragmented(self) -> bool:
        """Whether writing it costs more in runs than in records."""
        rows = sum(len(run.rows) for run in self.runs)
        return (
            len(self.runs) > 8
            and rows < FRAGMENTED_ROWS * len(self.runs)
            and len({run.table for run in self.runs}) < len(self.runs)
        )

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


class View:
    """What sinks with equal protocol, labels and rules share: one set of pages.

    Synchronous; one walk per group at a time.
    """

    def __init__(self, protocol: Protocol, labels: LabelRules, ticks: Ticks) -> None:
        self.protocol = protocol
        own = LabelRules() if labels.relabels else labels
        self._encoder: Encoder = RecordEncoder(own) if protocol is Protocol.REMOTE_WRITE else LineEncoder(own)
        self.relabelling = Relabelling(labels, self._encoder) if labels.relabels else None
        self._ticks = ticks
        self._groups: dict[str, Group] = {}

    @property
    def refused(self) -> Counter[str]:
        """Series that rules refused at birth, by reason; whoever counts them takes them away."""
        return Counter() if self.relabelling is None else self.relabelling.refused

    @property
    def size(self) -> int:
        """Bytes held by all pages."""
        return sum(page.body.size for group in self._groups.values() for page in group.pages)

    def group(self, name: str) -> Group:
        """The pages of a flush group, made on first use."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(self._ticks.ends)
        return group

    def drop_group(self, name: str) -> None:
        """Forget a flush group that has no series left."""
        self._groups.pop(name, None)

    def _body(self) -> Body:
        return RecordBody() if self.protocol is Protocol.REMOTE_WRITE else LineBody()

    def born(self, table: Table, row: int) -> int:
        """Encode a new row into a page that no walk is on; returns the bytes it took: none where rules refuse it."""
        group = self.group(table.group)
        if self.relabelling is None:
            records = self._encoder.encode(table, table.labels[row])
        else:
            records = self.relabelling.records(table, row)
            if not records:
                return 0
        size = sum(map(len, records)) + 4 * len(records)
        page = group.open
        if page is None or not page.takes(len(records), size):
            page = group.open = Page(self._body())
            group.pages.append(page)
        page.add(table, row, records)
        return size

    def forget(self, table: Table) -> None:
        """Drop what is kept for a table whose feed is gone."""
        (self.relabelling or self._encoder).forget(table)

    def take_for_sent(self) -> None:
        """The receiver knows these series from another view, so each is owed a marker when it ends."""
        for group in self._groups.values():
            for page in group.pages:
                page.sent = page.records

    def endings(self, timestamp_ms: int) -> Iterator[Rendered]:
        """A marker for every series that was ever sent from this view: it is about to go, and its labels with it."""
        for group in self._groups.values():
            for page in group.pages:
                if page.sent:
                    payload, samples = page.body.select([(0, page.sent)]).markers(timestamp_ms)
                    if samples:
                        yield Rendered(payload, samples, samples)

    def walk(self, name: str, timestamp_ms: int, now: float, heartbeat: float, heirs: Heirs) -> Iterator[Rendered | None]:
        """Write the pages of a group, one a step; None is a page that need not be sent.

        `heartbeat` in seconds: an unchanged page younger than that is not sent; 0 sends everything. Markers
        of ended series come last, in requests of their own; a walk that is closed early loses them. Raises
        RuntimeError when a walk is on already.
        """
        group = self.group(name)
        if group.walking:
            raise RuntimeError(f"group {name!r}: a walk is already on")
        group.walking = True
        group.open = None
        if self.relabelling is not None:
            heirs = partial(self.relabelling.heirs, born=self.born, others=heirs)
        ends, indebted = self._ticks.ends, set(group.indebted)
        try:
            _coalesce(group)
            owed: list[Body] = []
            for page in list(group.pages):
                yield self._visit(group, page, owed, timestamp_ms, now, heartbeat, heirs)
            for body in _packed(owed):
                payload, samples = body.markers(timestamp_ms)
                yield Rendered(payload, samples, samples)
            group.clean = ends
            group.indebted -= indebted  # every page they can be in was visited
        finally:
            group.walking = False
            group.pages = [page for page in group.pages if page.records]
            if group.pages:
                group.open = group.pages[-1]

    def _visit(
        self, group: Group, page: Page, owed: list[Body], timestamp_ms: int, now: float, heartbeat: float, heirs: Heirs
    ) -> Rendered | None:
        newest = max(run.newest_change() for run in page.runs)
        if newest == DEAD or page.fragmented():
            old = page.body
            spans = page.rebuild(heirs, group, self._inherit)
            if spans and self.protocol is Protocol.REMOTE_WRITE:
                owed.append(old.select(spans))
            if not page.records:
                return None
            newest = max(run.newest_change() for run in page.runs)
        if newest <= page.seen and now - page.sent_at < heartbeat:
            return None
        payload, samples = page.body.render(page.parts(), timestamp_ms)
        page.seen = self._ticks.now
        page.sent = page.records
        page.sent_at = now
        return Rendered(payload, samples)

    def _inherit(self, place: Place) -> None:
        self.group(place[0].group).indebted.add(place)


def _coalesce(group: Group) -> None:
    """Join neighbours that fit into one request: births and ends leave small pages behind."""
    pages: list[Page] = []
    for page in group.pages:
        if pages and pages[-1].takes(page.records, page.body.size):
            pages[-1].join(page)
        else:
            pages.append(page)
    group.pages = pages


def _packed(bodies: list[Body]) -> Iterator[Body]:
    """The same records in as few requests as they fit."""
    packed: Body | None = None
    for body in bodies:
        if packed is not None and packed.size + body.size > PAGE_BYTES:
            yield packed
            packed = None
        if packed is None:
            packed = body
        else:
            packed.join(body)
    if packed is not None:
        yield packed
