"""The ledger in one SQLite file, or in memory where nothing is kept.

One process writes to it; every change of a commit is in one transaction. Calls come from the event loop and from the
committer's thread, one at a time.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from agent.errors import FencedError, LedgerError
from agent.ledger import schema
from agent.ledger.batch import (
    Add,
    Batch,
    Committed,
    Happening,
    Item,
    Move,
    Outgoing,
    Standing,
    Taken,
    Total,
)
from agent.ledger.rows import Rows, Touched, check

KEY_SECONDS = 35 * 86400.0
"""How long a key is known after its commit. GitHub lets runs be repeated for 30 days
(https://docs.github.com/en/actions/managing-workflow-runs/re-running-workflows-and-jobs)."""
SERIES_SECONDS = 400 * 86400.0
"""How long a total is kept after it was last added to: a year's dashboards see no reset."""
_BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""The latter for the text of an error about damage."""
PIECE = 2000
"""Rows deleted at once."""


class SqliteLedger:
    """See `agent.ledger.base.Ledger`. `path` None: in memory, where `copy_of` another is what it begins with.

    Raises ConfigError for a file that cannot be used.
    """

    def __init__(self, path: Path | None, copy_of: Path | None = None) -> None:
        self.path = path
        self._lock = Lock()
        self._database, self.problem = schema.opened(path) if copy_of is None else (schema.copied(copy_of), "")
        """`problem`: why the file of an earlier life was set aside, or ""."""
        self._rows = Rows(self._database)
        self._file = _identity(path)
        self.last_flush_ms = self._rows.meta("last_flush_ms")

    def lease(self) -> int:
        """A new epoch."""
        with self._changing(None):
            epoch = self._rows.meta("epoch") + 1
            self._rows.set_meta("epoch", epoch)
        return epoch

    def load(self, source: str, since: float) -> list[Total]:
        """Totals added to since then; events have none."""
        with self._reading():
            return list(self._rows.totals(source, since))

    def notes(self, source: str) -> dict[str, str]:
        """By key."""
        with self._reading():
            return dict(self._database.execute("SELECT key, value FROM notes WHERE source = ?", (source,)))

    def cursor(self, source: str, poller: str) -> str | None:
        """Where a poller has come to."""
        with self._reading():
            return self._rows.cursor(source, poller)

    def commit(self, batch: Batch, epoch: int) -> Committed:
        """One transaction; a savepoint each."""
        committed = Committed()
        with self._changing(epoch):
            touched = Touched(batch, self._rows.last_number())
            for item in batch.items:
                shapes = len(self._rows.known)
                self._database.execute("SAVEPOINT item")
                try:
                    committed.results.append(self._take(item, batch.now, touched))
                except (LedgerError, ValueError) as error:
                    self._database.execute("ROLLBACK TO item")
                    self._rows.forget_after(shapes)
                    committed.results.append(error)
                self._database.execute("RELEASE item")
            self._rows.write(touched)
            if batch.last_flush_ms > self.last_flush_ms:
                self._rows.set_meta("last_flush_ms", batch.last_flush_ms)
            committed.outgoing = touched.outgoing
        self.last_flush_ms = max(self.last_flush_ms, batch.last_flush_ms)
        committed.totals = touched.totals
        return committed

    def settle_sinks(self, names: Iterable[str], epoch: int) -> Standing:
        """Configured sinks, by name."""
        wanted, forgiven = set(names), 0
        with self._changing(epoch):
            last = self._rows.last_number()
            known = dict(self._database.execute("SELECT name, acknowledged FROM sinks"))
            for name in known.keys() - wanted:
                (owed,) = self._database.execute("SELECT count(*) FROM outbox WHERE number > ?", (known[name],)).fetchone()
                forgiven += owed
                self._database.execute("DELETE FROM sinks WHERE name = ?", (name,))
            for name in wanted - known.keys():
                self._database.execute("INSERT INTO sinks VALUES (?, ?)", (name, last))
            self._rows.delete_acknowledged()
            return Standing({name: known.get(name, last) for name in wanted}, forgiven)

    def outbox(self, after: int, limit: int) -> list[Outgoing]:
        """Rows in order."""
        with self._reading():
            return list(self._rows.outgoing(after, limit))

    def acknowledge(self, standing: Mapping[str, int], epoch: int) -> None:
        """Delete what every sink has."""
        with self._changing(epoch):
            self._database.executemany(
                "UPDATE sinks SET acknowledged = max(acknowledged, ?) WHERE name = ?",
                [(number, name) for name, number in standing.items()],
            )
            self._rows.delete_acknowledged()

    def prune(self, now: float, epoch: int) -> bool:
        """Keys, series and notes that nobody will ask for."""
        with self._changing(epoch):
            gone = 0
            for statement, age in (
                ("DELETE FROM keys WHERE at < ? AND rowid IN (SELECT rowid FROM keys ORDER BY rowid LIMIT ?)", KEY_SECONDS),
                (
                    "DELETE FROM notes WHERE (source, key) IN (SELECT source, key FROM notes WHERE at < ? LIMIT ?)",
                    KEY_SECONDS,
                ),
                (
                    "DELETE FROM series WHERE (shape, labels) IN (SELECT shape, labels FROM series WHERE updated < ? LIMIT ?)",
                    SERIES_SECONDS,
                ),
            ):
                gone = max(gone, self._database.execute(statement, (now - age, PIECE)).rowcount)
            return gone >= PIECE

    def size(self) -> int:
        """Bytes of the file, without its log."""
        with self._reading():
            (pages,) = self._database.execute("PRAGMA page_count").fetchone()
            (size,) = self._database.execute("PRAGMA page_size").fetchone()
            return int(pages * size)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    # -- one item ------------------------------------------------------------------------------------

    def _take(self, item: Item, now: float, touched: Touched) -> Taken:
        """Raises LedgerError and ValueError before anything outside the savepoint has changed."""
        if item.move is not None:
            self._move(item.move)
        for key, value in item.notes:
            if value is None:
                self._database.execute("DELETE FROM notes WHERE source = ? AND key = ?", (item.source, key))
            else:
                self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)", (item.source, key, value, now))
        for counted in item.counted:
            check(counted)
        new = [counted for counted in item.counted if self._is_new(counted.key, now)]
        for counted in new:
            for add in counted.adds:
                self._add(add, touched)
            for happening in counted.happenings:
                self._happen(happening, touched)
        return Taken(len(new), len(item.counted) - len(new))

    def _is_new(self, key: str, now: float) -> bool:
        return self._database.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (key, now)).rowcount == 1

    def _move(self, move: Move) -> None:
        found = self._rows.cursor(move.source, move.poller)
        if found != move.expected:
            raise LedgerError(f"source {move.source}, poller {move.poller}: somebody else has moved its cursor meanwhile")
        self._database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (*move[:2], move.value))

    def _add(self, add: Add, touched: Touched) -> None:
        series = add.series
        cells = touched.totals.get(series)
        if cells is None:
            cells = touched.totals[series] = self._rows.row(series)[0]
        if add.born and series not in touched.born:
            touched.born.add(series)
            touched.put(series, touched.batch.birth_ms, cells[:])
        if series.shape.bounds:
            for place in range(bisect_left(series.shape.bounds, add.value), len(cells) - 1):
                cells[place] += 1
            cells[-1] += add.value
        else:
            cells[0] += add.value

    def _happen(self, happening: Happening, touched: Touched) -> None:
        series = happening.series
        last = touched.last_ms.get(series)
        if last is None:
            last = self._rows.row(series)[1]
        at = touched.last_ms[series] = max(happening.timestamp_ms, last + 1)
        touched.put(series, at, array("d", (happening.value,)), happening.exemplar, is_event=True)

    # -- transactions ----------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except _BROKEN as error:
                raise LedgerError(f"the ledger {self.path} cannot be read: {error}") from error

    @contextmanager
    def _changing(self, epoch: int | None) -> Iterator[None]:
        """A transaction; `epoch` must be the newest lease's."""
        with self._lock:
            shapes = len(self._rows.known)
            if _identity(self.path) != self._file:
                raise LedgerError(f"the ledger {self.path} was removed or replaced under the agent; restart it")
            try:
                self._database.execute("BEGIN IMMEDIATE")
                if epoch is not None and self._rows.meta("epoch") != epoch:
                    raise FencedError(f"another agent has taken over the ledger {self.path}; stop one of them")
                yield
                self._database.execute("COMMIT")
            except BaseException as error:
                self._roll_back(shapes)
                if isinstance(error, _BROKEN):
                    raise LedgerError(f"the ledger {self.path} does not take what was counted: {error}") from error
                raise

    def _roll_back(self, shapes: int) -> None:
        self._rows.forget_after(shapes)
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        except sqlite3.Error:  # a disk that is gone: the next transaction tells
            pass


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Which file it is, for good; None = none."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)
