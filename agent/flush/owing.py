"""What the flush sends beside the series of the store: where ledger-fed series begin, and events."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from agent.ledger.batch import Outgoing, Shape
from agent.model import Exemplar, Family, Kind
from agent.store.beside import Once
from agent.store.page import Rendered
from agent.store.pages import View
from agent.store.store import Store
from agent.store.table import Feed, Table

log = logging.getLogger(__name__)


class Owing(Protocol):
    """What the flush asks of the outbox."""

    def owed(self, sink: str) -> Sequence[Outgoing]:
        """What was not handed over yet."""
        ...

    def hand_over(self, sink: str, upto: int, flush: int) -> None:
        """Rows up to a number were given to the sink's lane, with a flush."""
        ...


class Nothing:
    """Of an agent without a ledger."""

    def owed(self, _sink: str) -> Sequence[Outgoing]:
        """Nothing."""
        return ()

    def hand_over(self, _sink: str, _upto: int, _flush: int) -> None:
        """Never called."""


class Extra(NamedTuple):
    """One request to be sent beside the pages."""

    rendered: Rendered
    timestamp_ms: int
    """The newest sample time in it."""
    events: bool


class Tables:
    """Tables for rows: the store's own, or where it has none of that shape any more, one that is in no store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._apart: dict[tuple[str, Shape], Table] = {}

    def extras(self, view: View, rows: Sequence[Outgoing], latest_ms: int) -> Iterator[Extra]:
        """Requests with these rows: birth rows first, none of them later than `latest_ms`, then events."""
        known = {
            (feed.name, Shape(*feed.identity(table.family))): table
            for feed in self._store.feeds.values()
            for table in feed.tables.values()
            if not table.group
        }
        for events in (False, True):
            chosen = [row for row in rows if row.event is events]
            newest = max((row.timestamp_ms if events else min(row.timestamp_ms, latest_ms) for row in chosen), default=0)
            for rendered in view.beside(self._chosen(chosen, known, latest_ms)):
                yield Extra(rendered, newest, events)

    def _chosen(self, rows: Sequence[Outgoing], known: dict[tuple[str, Shape], Table], latest_ms: int) -> Iterator[Once]:
        for row in rows:
            source, shape, labels = row.series
            table = known.get((source, shape)) or self._apart.get((source, shape))
            try:
                if table is None:
                    table = self._apart[source, shape] = _table(source, shape)
                value = table.cells(tuple(row.cells) if len(row.cells) > 1 else row.cells[0])
            except ValueError as error:
                log.error("a row of the outbox cannot be sent, and is left out: %s", error)
                continue
            if row.event:
                exemplar = Exemplar(row.exemplar, row.cells[0], row.timestamp_ms) if row.exemplar else None
                yield Once(table, labels, value, row.timestamp_ms, exemplar, True)
            elif next(self._store.elsewhere(table, labels), None) is None:
                # A clock that was put right since must not let a series begin after its samples.
                yield Once(table, labels, value, min(row.timestamp_ms, latest_ms))


def _table(source: str, shape: Shape) -> Table:
    family = Family(shape.name, Kind(shape.kind), "", labels=shape.labels, constants=shape.constants, buckets=shape.bounds)
    return Table(Feed(source), family, "", 0.0)
