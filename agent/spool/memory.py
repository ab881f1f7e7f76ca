"""A bounded queue in memory: what waits is gone with the process. For `state_dir: none`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from agent.model import Block
from agent.spool.entry import Entry, Stats
from agent.spool.index import Index, Record


class MemoryQueue:
    """Blocks in order, at most `max_bytes` of payload; a new one drops the oldest that is not taken, events last.

    A block that is larger than `max_bytes` alone is dropped at once.
    """

    def __init__(self, max_bytes: int) -> None:
        self.last = 0
        self._max_bytes = max_bytes
        self._index = Index()
        self._losses: Counter[str] = Counter()

    def put(self, item: Block) -> None:
        """Add the newest block."""
        self.last += 1
        self._index.add(Record.of(self.last, item))
        while self._index.bytes > self._max_bytes and (record := self._index.least_wanted()) is not None:
            self._losses["queue_full"] += self._index.remove(record.sequence).samples

    def take(self, after: int = 0) -> Entry[Block] | None:
        """The oldest block above `after` that is not taken."""
        record = self._index.first(after)
        if record is None or record.block is None:
            return None
        self._index.take(record)
        return Entry(record.sequence, record.block)

    def ack(self, sequence: int) -> None:
        """Forget a taken block. Raises KeyError when it was not taken."""
        self._index.taken.remove(sequence)
        self._index.remove(sequence)

    def requeue(self, sequence: int) -> None:
        """Give a taken block back to its place. Raises KeyError when it was not taken."""
        self._index.requeue(sequence)

    def listen(self, wake: Callable[[], None]) -> None:
        """Nothing becomes takeable here but by `put` and `requeue`."""

    def losses(self) -> Mapping[str, int]:
        """Samples that had to leave since the last call."""
        losses, self._losses = self._losses, Counter()
        return losses

    def stats(self) -> Stats:
        """What is pending, taken blocks included."""
        return self._index.stats()
