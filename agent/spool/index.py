"""What is pending, in order: counted, handed out and given up, whichever place its bytes are in."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from heapq import merge

from agent.model import Block
from agent.spool.entry import Stats
from agent.spool.order import Sequences, Watermark


class Place(IntEnum):
    """How safe a block is."""

    MEMORY = 0
    WRITTEN = 1
    SYNCED = 2
    GONE = 3
    """It is finished, whatever came of it."""


class Record:
    """What is known of one block without its payload. `segment` and `offset` say where on disk its frame stands."""

    __slots__ = ("block", "created", "events", "flush", "offset", "place", "samples", "segment", "sequence", "since", "size")

    def __init__(self, sequence: int, size: int, samples: int, created: float, events: bool) -> None:
        self.sequence = sequence
        self.size = size
        """Bytes of payload."""
        self.samples = samples
        self.created = created
        self.events = events
        self.flush = 0
        self.since = 0.0
        """When it was put, on the queue's clock."""
        self.block: Block | None = None
        self.place = Place.MEMORY
        self.segment = 0
        self.offset = 0

    @classmethod
    def of(cls, sequence: int, block: Block, since: float = 0.0) -> Record:
        """A record of a block in memory."""
        record = cls(sequence, len(block.payload), block.samples, block.created, block.events)
        record.flush, record.since, record.block = block.flush, since, block
        return record


class Index:
    """Everything pending; each operation costs about the same however much there is."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.taken: set[int] = set()
        self.bytes = 0
        self.samples = 0
        self.memory = 0
        """Bytes of payload that are nowhere but in memory."""
        self._plain = Sequences()
        self._events = Sequences()
        self._unaccepted = Watermark()
        self._unspooled = Watermark()
        self._unsynced = Watermark()

    def add(self, record: Record) -> None:
        """One more is pending, in memory or found on disk."""
        self.records[record.sequence] = record
        self.bytes += record.size
        self.samples += record.samples
        self._free(record).add(record.sequence)
        self._unaccepted.add(record.flush)
        if record.place < Place.WRITTEN:
            self.memory += record.size
            self._unspooled.add(record.flush)
        if record.place < Place.SYNCED:
            self._unsynced.add(record.flush)

    def moved(self, record: Record, place: Place) -> None:
        """A pending block is safer than before."""
        if record.place < Place.WRITTEN <= place:
            self.memory -= record.size
            self._unspooled.remove(record.flush)
        if record.place < Place.SYNCED <= place:
            self._unsynced.remove(record.flush)
        record.place = place

    def remove(self, sequence: int) -> Record:
        """One is finished. Raises KeyError when it is not pending."""
        record = self.records.pop(sequence)
        self.bytes -= record.size
        self.samples -= record.samples
        self.taken.discard(sequence)
        self._free(record).discard(sequence)
        self._unaccepted.remove(record.flush)
        self.moved(record, Place.GONE)
        record.block = None
        return record

    def first(self, after: int = 0) -> Record | None:
        """The oldest that is not taken and whose sequence is above `after`."""
        found = [sequence for free in (self._plain, self._events) if (sequence := free.first(after)) is not None]
        return self.records[min(found)] if found else None

    def least_wanted(self, after: int = 0) -> Record | None:
        """The one to give up first of those above `after`: the oldest that is not taken, events last."""
        sequence = self._plain.first(after) or self._events.first(after)
        return None if sequence is None else self.records[sequence]

    def take(self, record: Record) -> None:
        """It is on its way."""
        self._free(record).discard(record.sequence)
        self.taken.add(record.sequence)

    def requeue(self, sequence: int) -> None:
        """It is not on its way any more. Raises KeyError when it was not taken."""
        self.taken.remove(sequence)
        self._free(self.records[sequence]).add(sequence)

    def ascending(self) -> Iterator[Record]:
        """Everything pending, oldest first; not to be changed meanwhile."""
        for sequence in merge(self._plain.above(), self._events.above(), sorted(self.taken)):
            yield self.records[sequence]

    def stats(self) -> Stats:
        """What is pending right now, taken or not."""
        oldest = next(self.ascending(), None)
        return Stats(
            len(self.records),
            self.bytes,
            self.samples,
            oldest.created if oldest else None,
            self.bytes - self.memory,
            self._unaccepted.done,
            self._unspooled.done,
            self._unsynced.done,
        )

    def _free(self, record: Record) -> Sequences:
        return self._events if record.events else self._plain
