"""Pages: what a view of the store sends, kept encoded from one flush to the next.

A page is one future request: up to 10,000 records of rows in birth order. A walk visits every page of
one flush group and renders those that changed or are due for a heartbeat. Pages hold row numbers, never
values: values are read from the tables when the page is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from agent.model import Protocol
from agent.store.beside import Once, written
from agent.store.body import Body, LineBody, RecordBody
from agent.store.body2 import RecordBody2
from agent.store.claims import Heirs, Place
from agent.store.describe import Descriptions
from agent.store.encode import Encoder, LabelRules, LineEncoder, RecordEncoder
from agent.store.encode2 import RecordEncoder2
from agent.store.page import PAGE_BYTES, PAGE_RECORDS, Group, Page, Rendered
from agent.store.relabel import Relabelling
from agent.store.table import DEAD, Table, Ticks

__all__ = ["PAGE_BYTES", "PAGE_RECORDS", "Rendered", "View"]

_BODIES: dict[Protocol, Callable[[], Body]] = {
    Protocol.REMOTE_WRITE: RecordBody,
    Protocol.REMOTE_WRITE_2: RecordBody2,
    Protocol.IMPORT: LineBody,
}


class View:
    """What sinks with equal protocol, labels and rules share: one set of pages.

    Synchronous; one walk per group at a time.
    """

    def __init__(self, protocol: Protocol, labels: LabelRules, ticks: Ticks, native_histograms: bool = False) -> None:
        self.protocol = protocol
        self._encoder = _encoder(protocol, LabelRules() if labels.relabels else labels, native_histograms)
        self.relabelling = Relabelling(labels, self._encoder) if labels.relabels else None
        self._descriptions = Descriptions(self._encoder) if isinstance(self._encoder, RecordEncoder) else None
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
        if self._descriptions is not None:
            self._descriptions.drop_group(name)

    def born(self, table: Table, row: int) -> int:
        """Encode a new row into a page that no walk is on; returns the bytes it took: none where rules refuse it."""
        group = self.group(table.group)
        records = self._records(table, row)
        if not records:
            return 0
        size = sum(map(len, records)) + 4 * len(records)
        page = group.open
        if page is None or not page.takes(table.width, size):
            page = group.open = Page(_BODIES[self.protocol](), self._ticks.now)
            group.pages.append(page)
        before = page.body.size
        page.add(table, row, records)
        return page.body.size - before

    def _records(self, table: Table, row: int) -> Sequence[Any]:
        if self.relabelling is None:
            return self._encoder.encode(table, table.labels[row])
        return self.relabelling.records(table, row)

    def beside(self, rows: Iterable[Once]) -> Iterator[Rendered]:
        """Samples with times of their own, beside the pages, in requests of a page's size at the most."""
        return written(_BODIES[self.protocol], self._once, rows)

    def _once(self, table: Table, labels: tuple[str, ...], is_event: bool) -> Sequence[Any]:
        if self.relabelling is None:
            return self._encoder.encode(table, labels)
        return self.relabelling.once(table, labels, is_event)

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
                known = page.known(group)
                if known:
                    payload, samples = page.body.select(known).markers(timestamp_ms)
                    if samples:
                        yield Rendered(payload, samples, samples)

    def described(self, name: str, now: float) -> Iterator[Rendered]:
        """What families of a flush group are, where the protocol says so beside the samples, and it is time to."""
        if self._descriptions is not None:
            for payload in self._descriptions.due(name, now):
                yield Rendered(payload, 0, metadata=True)

    def walk(self, name: str, timestamp_ms: int, now: float, heartbeat: float, heirs: Heirs) -> Iterator[Rendered | None]:
        """Write the pages of a group, one a step; None is a page that need not be sent. The first step writes none: from
        there on what is born is not part of this walk.

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
            pages = list(group.pages)
            yield None
            for page in pages:
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
            if spans and self.protocol is not Protocol.IMPORT:
                owed.append(old.select(spans))
            if not page.records:
                return None
            newest = max(run.newest_change() for run in page.runs)
        if newest <= page.seen and now - page.sent_at < heartbeat:
            return None
        if self.protocol is Protocol.REMOTE_WRITE_2 and page.outdated():
            page.renew(_BODIES[self.protocol](), self._records, self._ticks.now)
        if isinstance(page.body, RecordBody2):
            page.body.exemplars = dict(page.exemplars())
        payload, samples = page.body.render(page.parts(), timestamp_ms)
        page.seen = self._ticks.now
        page.sent = page.records
        page.sent_at = now
        return Rendered(payload, samples)

    def _inherit(self, place: Place) -> None:
        self.group(place[0].group).indebted.add(place)


def _encoder(protocol: Protocol, rules: LabelRules, native_histograms: bool) -> Encoder:
    if protocol is Protocol.REMOTE_WRITE_2:
        return RecordEncoder2(rules, native_histograms)
    return RecordEncoder(rules) if protocol is Protocol.REMOTE_WRITE else LineEncoder(rules)


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
