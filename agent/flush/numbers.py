"""Every flush has a number, so that one can ask how far a sink has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from zlib import crc32

RECENT = 100
"""Flushes remembered with their times."""


class Flushed(NamedTuple):
    """One flush."""

    number: int
    timestamp_ms: int
    group: str
    """"" = the interval's."""


class Numbers:
    """Counts flushes from 1 since the agent started; groups flush beside each other, so they may end in another order."""

    def __init__(self) -> None:
        self._last = 0
        self.open: set[int] = set()
        """Begun and not ended."""
        self.recent: deque[Flushed] = deque(maxlen=RECENT)

    @property
    def complete(self) -> int:
        """Every flush up to this number has handed over all its blocks."""
        return min(self.open) - 1 if self.open else self._last

    @contextmanager
    def flush(self, timestamp_ms: int, group: str) -> Iterator[Flushed]:
        """Number a flush that takes place while the block runs."""
        self._last += 1
        this = Flushed(self._last, timestamp_ms, group)
        self.open.add(this.number)
        try:
            yield this
        finally:
            self.open.discard(this.number)
            self.recent.append(this)


def group_code(group: str) -> int:
    """How a block names its flush group."""
    return crc32(group.encode("utf-8", "replace"))
