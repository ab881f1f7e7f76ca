"""Samples that are sent once, with times of their own: where a series begins, and events."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from agent.model import Exemplar
from agent.store.body import Body, RecordBody
from agent.store.body2 import RecordBody2
from agent.store.page import PAGE_BYTES, PAGE_RECORDS, Rendered
from agent.store.table import Table
from agent.wire import remote_write

Encode = Callable[[Table, tuple[str, ...], bool], Sequence[Any]]
"""A row's records in a view's format, in wire order; none for a series that is not sent. The last says whether it is an event."""


class Once(NamedTuple):
    """One sample, or one histogram's."""

    table: Table
    """What its series are called; it need not be in the store."""
    labels: tuple[str, ...]
    cells: array[float]
    """As `Table.cells` makes them."""
    timestamp_ms: int
    exemplar: Exemplar | None = None
    event: bool = False
    """Whether it stands alone; else it says where a series of the store begins."""


def written(make: Callable[[], Body], encode: Encode, rows: Iterable[Once]) -> Iterator[Rendered]:
    """Requests that hold these rows in order."""
    body = make()
    parts: list[tuple[int, array[float], int]] = []
    records = 0
    for row in rows:
        found = encode(row.table, row.labels, row.event)
        if not found:
            continue
        if records and (records + row.table.width > PAGE_RECORDS or body.size > PAGE_BYTES):
            yield Rendered(*body.stamped(parts))
            body, parts, records = make(), [], 0
        if row.exemplar is not None and isinstance(body, RecordBody):
            found = [remote_write.with_exemplar(record, row.exemplar) for record in found]
        if row.exemplar is not None and isinstance(body, RecordBody2):
            body.exemplars[records] = row.exemplar
        body.extend(found)
        parts.append((records, row.cells, row.timestamp_ms))
        records += row.table.width
    if parts:
        yield Rendered(*body.stamped(parts))
