"""A queue that survives the process: blocks wait in memory first, and on disk once they have waited.

A healthy receiver takes blocks before they are due, so nothing is written. Files are touched in three steps: what to
do is decided on the event loop, done in a thread, and noted on the event loop: a sync may take seconds.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any
from zlib import crc32

import anyio
import anyio.to_thread

from agent.model import Block
from agent.plugin import Fsync
from agent.spool import cursor
from agent.spool.entry import Entry, Head, Stats
from agent.spool.files import Files
from agent.spool.index import Place, Record
from agent.spool.recover import Recovered
from agent.spool.report import QueueReport
from agent.spool.segment import FRAME_BYTES, decode_header, fits
from agent.spool.writer import Done, Order, Writer

log = logging.getLogger(__name__)

MEMORY_MAX_BYTES = 16 << 20
"""Unwritten payload beyond this is written at once, whatever the policy says."""
STUCK_MAX_BYTES = 64 << 20
"""Unwritten payload beyond this is dropped, oldest first: the disk does not take it."""
BATCH_BYTES = 8 << 20
"""Written by one order at the most, so that what is synced is known soon."""
MOST_READS = 5
"""A block that cannot be read so often is given up: it holds up all others."""
AGAIN_SECONDS = 5.0
"""After an error of the disk the next try takes place so much later."""


class DiskQueue:
    """Blocks in order, in memory and in segments below `folder`. Made by `agent.spool.folder.open_queue`.

    `monotonic`: the event loop's clock, on which it waits; another where there is no event loop.
    """

    def __init__(
        self,
        files: Files,
        folder: Path,
        found: Recovered,
        report: QueueReport,
        reserve_bytes: int,
        *,
        max_bytes: int,
        fsync: Fsync,
        fsync_interval_seconds: float,
        monotonic: Callable[[], float] = anyio.current_time,
    ) -> None:
        self.last = found.last
        self.folder = folder
        self.max_bytes = max_bytes
        self._files = files
        self._monotonic = monotonic
        self._report = report
        self._fsync = fsync
        self._interval = fsync_interval_seconds
        self.writer = Writer(files, folder, found.next_segment, reserve_bytes)
        self._index = found.index
        self._finished = found.finished
        self._left = found.left
        """Segment -> frames in it that are still wanted."""
        self._cursor_due = bool(found.index.records or found.left)
        self._cursor_at = 0.0
        """On the event loop's clock: when the cursor is to be written, where it is due."""
        self._fresh: deque[Record] = deque()
        """Blocks that are nowhere but in memory, oldest first; some are finished meanwhile."""
        self._losses: Counter[str] = Counter(found.losses)
        self._wake: Callable[[], None] = lambda: None
        self._changed = anyio.Event()
        self._not_before = 0.0
        """On the event loop's clock: the disk failed, and is left alone until then."""
        self._unreadable: Counter[int] = Counter()
        """Sequence -> how often its segment could not be read."""
        self._read_again: float | None = None
        """When the lane is woken to try again, on the queue's clock."""
        self._trim()

    # -- what a lane asks --------------------------------------------------------------------------

    def put(self, item: Block) -> None:
        """Add the newest block; it is in memory, and on disk once it is due."""
        self.last += 1
        if not fits(item):
            self._finished.add(self.last)
            self._losses["too_large"] += item.samples
            return
        record = Record.of(self.last, item, self._monotonic())
        self._index.add(record)
        self._fresh.append(record)
        self._trim()
        self._changed.set()

    def take(self, after: int = 0) -> Entry[Block] | None:
        """The oldest block above `after` that may be sent and whose bytes are what they were."""
        while (record := self._index.first(after)) is not None:
            if self._fsync is Fsync.ALWAYS and record.place < Place.SYNCED and not self._report.problem:
                return None  # on a disk that takes nothing it would never be: then better sent than kept
            try:
                record.block = record.block or self._read(record)
            except OSError as error:
                # Too many open files, a disk that is gone for a moment: the block is not.
                self._report.unreadable(self.writer.path(record.segment), error)
                self._unreadable[record.sequence] += 1
                if self._unreadable[record.sequence] < MOST_READS:
                    self._read_again = self._monotonic() + AGAIN_SECONDS
                    self._changed.set()
                    return None
            if record.block is None:
                self._losses["corrupt"] += record.samples
                self._report.corrupt(self.folder, record)
                self._finish(record)
                continue
            self._index.take(record)
            return Entry(record.sequence, record.block)
        return None

    def ack(self, sequence: int) -> None:
        """Forget a taken block."""
        self._index.taken.remove(sequence)
        self._finish(self._index.records[sequence])

    def requeue(self, sequence: int) -> None:
        """Give a taken block back to its place; what is on disk leaves memory."""
        self._index.requeue(sequence)
        record = self._index.records[sequence]
        if record.place >= Place.WRITTEN and (record.place >= Place.SYNCED or self._fsync is Fsync.NEVER):
            record.block = None

    def listen(self, wake: Callable[[], None]) -> None:
        """With fsync `always` a block may be taken once it is synced: then `wake` is called."""
        self._wake = wake

    def losses(self) -> Mapping[str, int]:
        """Samples given up since the last call, by reason."""
        losses, self._losses = self._losses, Counter()
        return losses

    def stats(self) -> Stats:
        """What is pending, taken blocks included."""
        return self._index.stats()

    @property
    def is_kept(self) -> bool:
        """Whether everything that waits is on disk."""
        return not self._index.memory

    # -- what people ask ---------------------------------------------------------------------------

    @property
    def problem(self) -> str:
        """Why nothing can be kept on disk right now, or ""."""
        return self._report.problem

    def heads(self, count: int) -> list[Head]:
        """The oldest blocks, at most `count`; one whose bytes are damaged is left out."""
        found: list[Head] = []
        for record in self._index.ascending():
            if len(found) >= count:
                break
            try:
                block = record.block or self._read(record)
            except OSError:
                continue
            if block is not None:
                found.append(Head.of(record.sequence, block))
        return found

    def drop(self, upto: int | None) -> int:
        """Give up everything that is not on its way, to sequence `upto` or all; the samples."""
        samples = 0
        for record in list(self._index.ascending()):
            if upto is not None and record.sequence > upto:
                break
            if record.sequence not in self._index.taken:
                samples += record.samples
                self._finish(record)
        self._losses["by_hand"] += samples
        self._changed.set()
        return samples

    # -- the disk ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep what waits on disk until cancelled."""
        while True:
            if self._read_again is not None and self._monotonic() >= self._read_again:
                self._read_again = None
                self._wake()
            self._changed = anyio.Event()
            wait = self._due_in(self._monotonic())
            if wait > 0:
                again = self._read_again
                with anyio.move_on_after(wait if again is None else max(0.0, min(wait, again - self._monotonic()))):
                    await self._changed.wait()
                continue
            order = self.plan(self._monotonic())
            self.note(order, await anyio.to_thread.run_sync(self.writer.perform, order))

    def _due_in(self, now: float) -> float:
        """Seconds until something is to be written; infinite = nothing is."""
        fresh = self._oldest_fresh()
        due: float | None = None
        if fresh is not None:
            pressed = self._fsync is Fsync.ALWAYS or self._index.memory > MEMORY_MAX_BYTES
            due = now if pressed else fresh.since + self._interval
        if self._cursor_due:
            due = self._cursor_at if due is None else min(due, self._cursor_at)
        return inf if due is None else max(due, self._not_before) - now

    def plan(self, now: float, *, everything: bool = False) -> Order:
        """What is to be written at `now`, on the event loop's clock."""
        blocks, size = [], 0
        pressed = everything or self._fsync is Fsync.ALWAYS or self._index.memory > MEMORY_MAX_BYTES
        for record in self._fresh:
            if record.place is not Place.MEMORY or record.block is None:
                continue
            if not everything and size and size + record.size > BATCH_BYTES:
                break
            if not pressed and now - record.since < self._interval:
                break
            blocks.append((record.sequence, record.block))
            size += record.size
        sync = everything or self._fsync is not Fsync.NEVER
        # The segment that is written is let go of only when nothing is to be written into it.
        idle = not blocks and (everything or not self._index.records)
        unneeded = [number for number, left in self._left.items() if not left and (idle or number != self.writer.current)]
        pointer = cursor.encode(self.last, self._finished) if self._cursor_due or unneeded else None
        self._cursor_due = False  # what is finished from here on is not in it
        return Order(blocks, sync, pointer, unneeded)

    def note(self, order: Order, done: Done) -> None:
        """Take in what came of an order."""
        now = self._monotonic()
        if order.cursor is not None and not done.cursor:
            self._point()
        for sequence, segment, offset in done.written if done.synced or (done.error is None and not order.sync) else ():
            self._left.setdefault(segment, 0)
            record = self._index.records.get(sequence)
            if record is None or record.place is not Place.MEMORY:
                self._point()  # accepted while it was being written: its frame is not wanted
                continue
            self._left[segment] += 1
            record.segment, record.offset = segment, offset
            self._index.moved(record, Place.SYNCED if order.sync else Place.WRITTEN)
            if sequence not in self._index.taken:
                record.block = None
        for number in done.begun:
            self._left.setdefault(number, 0)
        for number in done.removed:
            self._left.pop(number, None)
        self._not_before = now + AGAIN_SECONDS if done.error is not None else 0.0
        self._report.performed(self.folder, done)
        self._trim()
        self._wake()

    def close(self) -> None:
        """Put everything unsent on disk and let go of the files; where there is no event loop to hold up."""
        orders, done = self._unsaved(), None
        with suppress(StopIteration):
            while True:
                done = self.writer.perform(orders.send(done))
        self.writer.close()

    async def aclose(self) -> None:
        """The same, in a thread: a sync may take seconds."""
        orders, done = self._unsaved(), None
        with suppress(StopIteration):
            while True:
                done = await anyio.to_thread.run_sync(self.writer.perform, orders.send(done))
        self.writer.close()

    def _unsaved(self) -> Generator[Order, Any, None]:
        """Orders that put everything on disk, one after the other; each is sent what came of it."""
        while True:
            order = self.plan(inf, everything=True)
            if not order.blocks and order.cursor is None and not order.unneeded:
                return
            done: Done = yield order
            self.note(order, done)
            if done.error is not None or not self._cursor_due:
                return

    def _oldest_fresh(self) -> Record | None:
        while self._fresh and self._fresh[0].place is not Place.MEMORY:
            self._fresh.popleft()
        return self._fresh[0] if self._fresh else None

    def _finish(self, record: Record) -> None:
        on_disk = record.place in (Place.WRITTEN, Place.SYNCED)
        self._index.remove(record.sequence)
        self._unreadable.pop(record.sequence, None)
        self._finished.add(record.sequence)
        if on_disk:
            self._left[record.segment] -= 1
            self._point()
            self._changed.set()

    def _point(self) -> None:
        """The cursor is to be written, an interval after the first reason for it."""
        if not self._cursor_due:
            self._cursor_due, self._cursor_at = True, self._monotonic() + self._interval

    def _trim(self) -> None:
        """Give up the oldest until the bounds hold."""
        while self._index.bytes > self.max_bytes and (record := self._index.least_wanted()) is not None:
            self._losses["queue_full"] += record.samples
            self._finish(record)
        # A sync that hangs says nothing: then memory itself is the sign.
        most = STUCK_MAX_BYTES if self._report.problem else 4 * STUCK_MAX_BYTES
        while self._index.memory > most and (stuck := self._oldest_stuck()) is not None:
            self._losses["disk"] += stuck.samples
            self._finish(stuck)

    def _oldest_stuck(self) -> Record | None:
        waiting = (record for record in self._fresh if record.place is Place.MEMORY)
        free = [record for record in waiting if record.sequence not in self._index.taken]
        return next((record for record in free if not record.events), free[0] if free else None)

    def _read(self, record: Record) -> Block | None:
        """A block from its segment; None where the bytes are not what was written, or are gone. Raises OSError."""
        try:
            data = self._files.read(self.writer.path(record.segment), record.offset, FRAME_BYTES + record.size)
        except FileNotFoundError:
            return None
        return block_in(data, record)


def block_in(data: bytes, record: Record) -> Block | None:
    """The block of a frame's bytes; None where they are not what was written."""
    header = decode_header(data)
    payload = data[FRAME_BYTES:]
    if header is None or header.sequence != record.sequence or len(payload) != header.length:
        return None
    return header.block(payload, record.flush) if crc32(payload) == header.checksum else None
