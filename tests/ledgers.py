"""What tests of the ledger share: series, observations and batches in few words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.ledger.batch import Add, Batch, Committed, Counted, Happening, Item, SeriesId, Shape
from agent.ledger.sqlite import SqliteLedger

NOW = 1_795_239_000.0
NOW_MS = 1_795_239_000_000
COUNTER = Shape("jobs_total", "counter", ("name",))
HISTOGRAM = Shape("job_seconds", "histogram", ("name",), (("site", "b"),), (1.0, 10.0))
EVENT = Shape("job_event", "gauge", ("name",))


def series(name: str = "a", shape: Shape = COUNTER, source: str = "s") -> SeriesId:
    """A series of one label."""
    return SeriesId(source, shape, (name,))


def counted(key: str, *adds: tuple[SeriesId, float], born: bool = False) -> Counted:
    """An observation that adds so much to these series."""
    return Counted(key, [Add(which, value, born) for which, value in adds])


def event(key: str, which: SeriesId, at_ms: int, value: float = 1.0, run: str = "") -> Counted:
    """An observation that is one event."""
    return Counted(key, [], [Happening(which, value, at_ms, (("run_id", run),) if run else ())])


def item(*what: Counted, notes: Sequence[tuple[str, str | None]] = (), source: str = "s") -> Item:
    """What one caller commits."""
    return Item(source, what, notes)


class Book:
    """A ledger and the lease on it."""

    def __init__(self, path: Path | None = None) -> None:
        self.ledger = SqliteLedger(path)
        self.epoch = self.ledger.lease()

    def commit(self, *items: Item, now: float = NOW, birth_ms: int = NOW_MS, last_flush_ms: int = 0) -> Committed:
        """One transaction."""
        return self.ledger.commit(Batch(items, now, last_flush_ms, birth_ms), self.epoch)

    def totals(self, source: str = "s") -> dict[str, list[float]]:
        """Label `name` -> cells, of everything a source has counted."""
        return {total.series.labels[0]: list(total.cells) for total in self.ledger.load(source, 0.0)}

    def again(self) -> Book:
        """The next life."""
        self.ledger.close()
        return Book(self.ledger.path)
