"""Sets of sequences and flush numbers that stay quick with a hundred thousand members."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from heapq import heappop, heappush

_SHIFT = 9
"""Sequences that differ only in the lowest bits share a bucket: 512 of them at the most."""


class Sequences:
    """A sorted set of sequences. Every operation costs at most a bucket and the list of buckets."""

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._buckets: dict[int, list[int]] = {}

    def add(self, sequence: int) -> None:
        """Put in a sequence that is not in yet."""
        key = sequence >> _SHIFT
        bucket = self._buckets.get(key)
        if bucket is None:
            insort(self._keys, key)
            self._buckets[key] = [sequence]
        else:
            insort(bucket, sequence)

    def discard(self, sequence: int) -> None:
        """Take out a sequence, if it is in."""
        key = sequence >> _SHIFT
        bucket = self._buckets.get(key, [])
        at = bisect_left(bucket, sequence)
        if at == len(bucket) or bucket[at] != sequence:
            return
        del bucket[at]
        if not bucket:
            del self._buckets[key]
            del self._keys[bisect_left(self._keys, key)]

    def first(self, after: int = 0) -> int | None:
        """The lowest member above `after`."""
        return next(self.above(after), None)

    def above(self, after: int = 0) -> Iterator[int]:
        """All members above `after`, ascending; not to be changed meanwhile."""
        key = (after + 1) >> _SHIFT
        for i in range(bisect_left(self._keys, key), len(self._keys)):
            bucket = self._buckets[self._keys[i]]
            for at in range(bisect_right(bucket, after), len(bucket)):
                yield bucket[at]


class Finished:
    """Which sequences are finished: all up to `floor`, and ranges beyond it. What is not given out yet is in none."""

    def __init__(self, floor: int = 0, ranges: tuple[tuple[int, int], ...] = ()) -> None:
        self.floor = floor
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def __contains__(self, sequence: int) -> bool:
        at = bisect_right(self._firsts, sequence) - 1
        return sequence <= self.floor or (at >= 0 and sequence <= self._lasts[at])

    def add(self, sequence: int) -> None:
        """One more is finished."""
        self.add_range(sequence, sequence)

    def add_range(self, first: int, last: int) -> None:
        """All from `first` to `last` are finished; none of them was before."""
        if first > last:
            return
        firsts, lasts = self._firsts, self._lasts
        at = bisect_left(firsts, first)
        if at < len(firsts) and firsts[at] == last + 1:
            firsts[at] = first
        else:
            firsts.insert(at, first)
            lasts.insert(at, last)
        if at and lasts[at - 1] == first - 1:
            lasts[at - 1] = lasts[at]
            del firsts[at], lasts[at]
        if firsts[0] == self.floor + 1:
            self.floor = lasts[0]
            del firsts[0], lasts[0]

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """(first, last) of each range beyond the floor, ascending."""
        return tuple(zip(self._firsts, self._lasts, strict=True))


class Watermark:
    """The lowest of many flush numbers that come and go."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._heap: list[int] = []

    def add(self, flush: int) -> None:
        """One more block of this flush is open."""
        count = self._counts.get(flush, 0)
        if not count:
            heappush(self._heap, flush)
        self._counts[flush] = count + 1

    def remove(self, flush: int) -> None:
        """One block of this flush is done."""
        if self._counts[flush] == 1:
            del self._counts[flush]
        else:
            self._counts[flush] -= 1

    @property
    def done(self) -> int | None:
        """Nothing of the flushes up to this number is open; None = nothing is open at all."""
        while self._heap and self._heap[0] not in self._counts:
            heappop(self._heap)
        return self._heap[0] - 1 if self._heap else None
