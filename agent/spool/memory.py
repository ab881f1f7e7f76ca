"""A bounded queue in memory: what waits is gone with the process. For `state_dir: none`."""

from __future__ import annotations

from collections import OrderedDict

from agent.model import Block
from agent.spool.entry import Entry, Stats


class MemoryQueue:
    """Blocks in order, at most `max_bytes` of payload; a new one drops the oldest that is not taken.

    A block that is larger than `max_bytes` alone is dropped at once.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pending: OrderedDict[int, Block] = OrderedDict()
        self._taken: set[int] = set()
        self._bytes = 0
        self._samples = 0
        self._last = 0

    def put(self, item: Block) -> int:
        """Add the newest block; returns the samples of those that had to leave."""
        self._last += 1
        self._pending[self._last] = item
        self._bytes += len(item.payload)
        self._samples += item.samples
        dropped = 0
        while self._bytes > self._max_bytes and (oldest := self._oldest()) is not None:
            dropped += self._remove(oldest).samples
        return dropped

    def take(self) -> Entry[Block] | None:
        """The oldest block that is not taken."""
        sequence = self._oldest()
        if sequence is None:
            return None
        self._taken.add(sequence)
        return Entry(sequence, self._pending[sequence])

    def ack(self, sequence: int) -> None:
        """Forget a taken block. Raises KeyError when it was not taken."""
        self._taken.remove(sequence)
        self._remove(sequence)

    def requeue(self, sequence: int) -> None:
        """Give a taken block back to its place. Raises KeyError when it was not taken."""
        self._taken.remove(sequence)

    def stats(self) -> Stats:
        """What is pending, taken blocks included."""
        oldest = next(iter(self._pending.values()), None)
        return Stats(len(self._pending), self._bytes, self._samples, oldest.created if oldest else None)

    def _oldest(self) -> int | None:
        # Few are taken at a time, so this looks at few.
        return next((sequence for sequence in self._pending if sequence not in self._taken), None)

    def _remove(self, sequence: int) -> Block:
        block = self._pending.pop(sequence)
        self._bytes -= len(block.payload)
        self._samples -= block.samples
        return block
