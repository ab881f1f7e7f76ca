"""The rows of the ledger's tables, read and written one by one inside somebody else's transaction."""

from __future__ import annotations

import json
import logging
import sqlite3
from array import array
from collections.abc import Iterator
from math import isfinite

from agent.ledger.batch import Batch, Counted, Outgoing, SeriesId, Shape, Total

log = logging.getLogger(__name__)

_NOTHING = Shape("", "", ())


class Rows:
    """What SQL there is beside transactions. Methods raise sqlite3.Error."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._shapes: dict[tuple[str, Shape], int] = {}
        self.known: dict[int, tuple[str, Shape]] = {}
        """(source, shape) by number, in the order of the numbers."""
        for number, source, text in database.execute("SELECT number, source, text FROM shapes ORDER BY number"):
            self._remember(number, source, Shape.parse(text))

    def totals(self, source: str, since: float) -> Iterator[Total]:
        """Those of a source that were added to since then; events have none."""
        for number, (name, shape) in list(self.known.items()):
            if name != source:
                continue
            for labels, cells, updated in self._database.execute(
                "SELECT labels, cells, updated FROM series WHERE shape = ? AND updated >= ?", (number, since)
            ):
                texts, numbers = _texts(labels, shape), _cells(cells, shape)
                if texts is not None and numbers is not None and isinstance(updated, float):
                    yield Total(SeriesId(source, shape, texts), numbers, updated)

    def write(self, touched: Touched) -> None:
        """Keep what the transaction came to."""
        now = touched.batch.now
        texts = {series: _text(series.labels) for series in (*touched.totals, *touched.last_ms)}
        rows = [(self.number(series), texts[series], cells.tobytes(), now, 0) for series, cells in touched.totals.items()]
        rows += [(self.number(series), texts[series], b"", now, last) for series, last in touched.last_ms.items()]
        self._database.executemany(
            "INSERT OR REPLACE INTO series (shape, labels, cells, updated, last_ms) VALUES (?, ?, ?, ?, ?)", rows
        )
        self._database.executemany(
            "INSERT INTO outbox (number, shape, labels, at_ms, cells, exemplar, event) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    number,
                    self.number(series),
                    texts[series],
                    at_ms,
                    cells.tobytes(),
                    json.dumps(exemplar) if exemplar else "",
                    is_event,
                )
                for number, series, at_ms, cells, exemplar, is_event in touched.outgoing
            ),
        )

    def row(self, series: SeriesId) -> tuple[array[float], int]:
        """(cells, last event's time) of a series; zeros where there is none yet, or it is damaged."""
        row: tuple[object, object] | None = self._database.execute(
            "SELECT cells, last_ms FROM series WHERE shape = ? AND labels = ?", (self.number(series), _text(series.labels))
        ).fetchone()
        cells = None if row is None else _cells(row[0], series.shape)
        zeros = array("d", bytes(8 * series.shape.cells))
        return cells or zeros, row[1] if row is not None and isinstance(row[1], int) else 0

    def number(self, series: SeriesId) -> int:
        """Of the series' shape; a new one is kept."""
        number = self._shapes.get(series[:2])
        if number is None:
            text = series.shape.text()
            self._database.execute("INSERT OR IGNORE INTO shapes (source, text) VALUES (?, ?)", (series.source, text))
            (number,) = self._database.execute(
                "SELECT number FROM shapes WHERE source = ? AND text = ?", (series.source, text)
            ).fetchone()
            self._remember(number, series.source, series.shape)
        return number

    def _remember(self, number: int, source: str, shape: Shape) -> None:
        self._shapes[source, shape] = number
        self.known[number] = (source, shape)

    def outgoing(self, after: int, limit: int) -> Iterator[Outgoing]:
        """Rows of the outbox with higher numbers than `after`; `limit` -1 = all. One that is damaged is left out."""
        for number, shape, labels, at_ms, cells, exemplar, event in self._database.execute(
            "SELECT number, shape, labels, at_ms, cells, exemplar, event FROM outbox WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        ):
            source, form = self.known.get(shape, ("", _NOTHING))
            texts, pairs, numbers = _texts(labels, form), _pairs(exemplar), _cells(cells, form)
            if texts is None or pairs is None or numbers is None or not isinstance(at_ms, int):
                log.error("row %d of the ledger's outbox is damaged: left out", number)
                continue
            yield Outgoing(number, SeriesId(source, form, texts), at_ms, numbers, pairs, bool(event))

    def delete_acknowledged(self) -> None:
        """Rows that every sink has; all of them where there is no sink."""
        (least,) = self._database.execute("SELECT min(acknowledged) FROM sinks").fetchone()
        self._database.execute("DELETE FROM outbox WHERE number <= ?", (self.last_number() if least is None else least,))

    def last_number(self) -> int:
        """Of the newest row of the outbox that there ever was; 0 = there was none."""
        row: tuple[int] | None = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        return row[0] if row else 0

    def cursor(self, source: str, poller: str) -> str | None:
        """Where a poller has come to."""
        row: tuple[str] | None = self._database.execute(
            "SELECT value FROM cursors WHERE source = ? AND poller = ?", (source, poller)
        ).fetchone()
        return row[0] if row else None

    def meta(self, name: str) -> int:
        """A number that is kept once; 0 = never set."""
        row: tuple[object] | None = self._database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row and isinstance(row[0], int) else 0

    def set_meta(self, name: str, value: int) -> None:
        """Keep it."""
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def forget_after(self, count: int) -> None:
        """Of the shapes, keep the first so many: the others were rolled back."""
        for number in list(self.known)[count:]:
            self._shapes.pop(self.known.pop(number), None)


class Touched:
    """What the transaction has changed so far."""

    def __init__(self, batch: Batch, last_number: int) -> None:
        self.batch = batch
        self.outgoing: list[Outgoing] = []
        """New rows of the outbox, whose numbers follow `last_number`."""
        self._last_number = last_number
        self.totals: dict[SeriesId, array[float]] = {}
        self.last_ms: dict[SeriesId, int] = {}
        self.born: set[SeriesId] = set()

    def put(
        self,
        series: SeriesId,
        at_ms: int,
        cells: array[float],
        exemplar: tuple[tuple[str, str], ...] = (),
        *,
        is_event: bool = False,
    ) -> None:
        """A new row of the outbox."""
        number = self._last_number + len(self.outgoing) + 1
        self.outgoing.append(Outgoing(number, series, at_ms, cells, exemplar, is_event))


def check(counted: Counted) -> None:
    """Raises ValueError for what could not be written, or would spoil a total."""
    for add in counted.adds:
        if not isfinite(add.value) or len(add.series.labels) != len(add.series.shape.labels):
            raise ValueError(f"{counted.key}: {add.series.shape.name} takes one finite number and a value for each of its labels")
        if add.value < 0 and not add.series.shape.bounds:
            raise ValueError(f"{counted.key}: the counter {add.series.shape.name} cannot go back by {-add.value:g}")
    for happening in counted.happenings:
        if not isfinite(happening.value) or happening.timestamp_ms <= 0:
            raise ValueError(f"{counted.key}: {happening.series.shape.name} takes a finite number and a time")
    counted.key.encode()


def _text(labels: tuple[str, ...]) -> str:
    """Label values as they are kept: JSON. Most have nothing in them that JSON would write otherwise."""
    joined = '", "'.join(labels)
    if joined.isascii() and joined.isprintable() and "\\" not in joined and joined.count('"') == 2 * len(labels) - 2:
        return f'["{joined}"]'
    return json.dumps(labels)


def _texts(labels: str, shape: Shape) -> tuple[str, ...] | None:
    """Label values as they are kept; None where they are damaged."""
    try:
        found = json.loads(labels)
    except (ValueError, TypeError, RecursionError):
        return None
    fits = isinstance(found, list) and len(found) == len(shape.labels) and all(isinstance(text, str) for text in found)
    return tuple(found) if fits else None


def _cells(data: object, shape: Shape) -> array[float] | None:
    """Cells as they are kept; None where they are damaged, or an event's, which has none."""
    return array("d", data) if isinstance(data, bytes) and len(data) == 8 * shape.cells else None


def _pairs(exemplar: str) -> tuple[tuple[str, str], ...] | None:
    """Labels of an exemplar as they are kept; None where they are damaged."""
    try:
        return tuple((str(key), str(value)) for key, value in json.loads(exemplar)) if exemplar else ()
    except (ValueError, TypeError, RecursionError):
        return None
