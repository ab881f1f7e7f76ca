"""A bounded queue in memory: what waits is gone with the process. For `state_dir: none`."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping

from agent.model import Block
from agent.spool.entry import Entry, Stats


class MemoryQueue:
    """Blocks in order, at most `max_bytes` of payload; a new one drops the oldest that is not taken, events last.

    A block that is larger than `max_bytes` alone is dropped at once.
    """

    def __init__(self, max_bytes: int) -> None:
        self.last = 0
        self._max_bytes = max_bytes
        self._pending: OrderedDict[int, Block] = OrderedDict()
        self._taken: set[int] = set()
        self._bytes = 0
        self._samples = 0
        self._losses: Counter[str] = Counter()

    def put(self, item: Block) -> None:
        """Add the newest block."""
        self.last += 1
        self._pending[self.last] = item
        self._bytes += len(item.payload)
        self._samples += item.samples
        while self._bytes > self._max_bytes and (oldest := self._least_wanted()) is not None:
            self._losses["queue_full"] += self._remove(oldest).samples

    def take(self, after: int = 0) -> Entry[Block] | None:
        """The oldest block above `after` that is not taken."""
        # Few are taken at a time, and what is after a mark is near the end: either walk looks at few.
        sequence = self._oldest() if not after else self._first_after(after)
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

    def listen(self, wake: Callable[[], None]) -> None:
        """Nothing becomes takeable here but by `put` and `requeue`."""

    def losses(self) -> Mapping[str, int]:
        """Samples that had to leave since the last call."""
        losses, self._losses = self._losses, Counter()
        return losses

    def stats(self) -> Stats:
        """What is pending, taken blocks included."""
        oldest = next(iter(self._pending.values()), None)
        if oldest is None:
            return Stats()
        flush = min(block.flush for block in self._pending.values()) - 1
        return Stats(
            len(self._pending),
            self._bytes,
            self._samples,
            oldest.created,
            accepted_flush=flush,
            spooled_flush=flush,
            synced_flush=flush,
        )

    def _oldest(self) -> int | None:
        return next((sequence for sequence in self._pending if sequence not in self._taken), None)

    def _first_after(self, after: int) -> int | None:
        first = None
        for sequence in reversed(self._pending):
            if sequence <= after:
                break
            if sequence not in self._taken:
                first = sequence
        return first

    def _least_wanted(self) -> int | None:
        """The oldest block that may leave: one without events where there is one."""
        free = [sequence for sequence in self._pending if sequence not in self._taken]
        return next((sequence for sequence in free if not self._pending[sequence].events), free[0] if free else None)

    def _remove(self, sequence: int) -> Block:
        block = self._pending.pop(sequence)
        self._bytes -= len(block.payload)
        self._samples -= block.samples
        return block
