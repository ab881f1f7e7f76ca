"""The two forms in which a page holds its records between flushes.

A body is the labels of some series, already encoded, in page order. It knows how to put values and a
time beside them, how to keep only some of its records, and nothing of tables, time or views.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Protocol

from agent.model import STALE_NAN_BITS
from agent.wire import remote_write, vm_import

Spans = Sequence[tuple[int, int]]
"""(first, end) record numbers, in the order wanted."""


class Body(Protocol):
    """Encoded labels of a run of records."""

    @property
    def size(self) -> int:
        """Bytes held."""
        ...

    def extend(self, records: Sequence[Any], started_ms: int = 0) -> None:
        """Append records that the encoder of the same protocol made; `started_ms`: since when counts count, 0 = not known."""
        ...

    def join(self, other: Body) -> None:
        """Append all of another body of the same form."""
        ...

    def select(self, spans: Spans) -> Body:
        """A new body of these records, in this order."""
        ...

    def render(self, parts: Iterable[tuple[int, array[float]]], timestamp_ms: int) -> tuple[bytes | bytearray, int]:
        """The uncompressed request and its number of samples. `parts`: (first record, values from there)."""
        ...

    def stamped(self, parts: Iterable[tuple[int, array[float], int]]) -> tuple[bytes | bytearray, int]:
        """`render` where each part has a time of its own: (first record, values from there, milliseconds)."""
        ...

    def markers(self, timestamp_ms: int) -> tuple[bytes | bytearray, int]:
        """A request that ends every series in the body, and its samples; empty where there are no markers."""
        ...


class RecordBody:
    """Remote-write 1.0: finished records in one buffer, each value's offset beside it."""

    __slots__ = ("buffer", "offsets")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.offsets = array("I")

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self.buffer) + 4 * len(self.offsets)

    def extend(self, records: Sequence[bytes], started_ms: int = 0) -> None:  # noqa: ARG002  cannot be said in this form
        """Append encoded records."""
        for record in records:
            self.buffer += record
            self.offsets.append(len(self.buffer) - remote_write.VALUE_TO_END)

    def join(self, other: Body) -> None:
        """Append all of another body of this form."""
        assert isinstance(other, RecordBody)
        base = len(self.buffer)
        self.buffer += other.buffer
        self.offsets.extend(array("I", [base + offset for offset in other.offsets]))

    def select(self, spans: Spans) -> RecordBody:
        """These records in this order, in a body of its own."""
        body = RecordBody()
        for first, end in spans:
            start = self.offsets[first - 1] + remote_write.VALUE_TO_END if first else 0
            shift = len(body.buffer) - start
            body.buffer += self.buffer[start : self.offsets[end - 1] + remote_write.VALUE_TO_END]
            body.offsets.extend([offset + shift for offset in self.offsets[first:end]])
        body.buffer = bytearray(bytes(body.buffer))  # growing over-allocates by an eighth
        return body

    def render(self, parts: Iterable[tuple[int, array[float]]], timestamp_ms: int) -> tuple[bytearray, int]:
        """Values and time put in place; the buffer is good until the next call."""
        return self.stamped((first, values, timestamp_ms) for first, values in parts)

    def stamped(self, parts: Iterable[tuple[int, array[float], int]]) -> tuple[bytearray, int]:
        """Values and times put in place; the buffer is good until the next call."""
        buffer = repeat(self.buffer)
        for first, values, timestamp_ms in parts:
            tail = repeat(remote_write.tail(timestamp_ms))
            # one call in C per sample, none in Python: this line is the flush
            deque(map(remote_write.pack_value, buffer, self.offsets[first : first + len(values)], values, tail), 0)
        return self.buffer, len(self.offsets)

    def markers(self, timestamp_ms: int) -> tuple[bytearray, int]:
        """Every record as a staleness marker."""
        tail = remote_write.tail(timestamp_ms)
        for offset in self.offsets:
            remote_write.pack_stale(self.buffer, offset, STALE_NAN_BITS, tail)
        return self.buffer, len(self.offsets)


class LineBody:
    """`/api/v1/import`: each record is the start of a JSON line, up to the value."""

    __slots__ = ("prefixes", "size")

    def __init__(self) -> None:
        self.prefixes: list[bytes] = []
        self.size = 0

    def extend(self, records: Sequence[bytes], started_ms: int = 0) -> None:  # noqa: ARG002  cannot be said in this form
        """Append encoded records."""
        self.prefixes.extend(records)
        self.size += sum(map(len, records)) + 41 * len(records)

    def join(self, other: Body) -> None:
        """Append all of another body of this form."""
        assert isinstance(other, LineBody)
        self.extend(other.prefixes)

    def select(self, spans: Spans) -> LineBody:
        """These records in this order, in a body of its own."""
        body = LineBody()
        for first, end in spans:
            body.extend(self.prefixes[first:end])
        return body

    def render(self, parts: Iterable[tuple[int, array[float]]], timestamp_ms: int) -> tuple[bytes, int]:
        """Values and time put in place; the buffer is good until the next call."""
        return self.stamped((first, values, timestamp_ms) for first, values in parts)

    def stamped(self, parts: Iterable[tuple[int, array[float], int]]) -> tuple[bytes, int]:
        """Lines with values and times."""
        bodies, written = [], 0
        for first, values, timestamp_ms in parts:
            text, skipped = vm_import.lines(self.prefixes[first : first + len(values)], values, timestamp_ms)
            bodies.append(text)
            written += len(values) - skipped
        return b"".join(bodies), written

    def markers(self, timestamp_ms: int) -> tuple[bytes, int]:  # noqa: ARG002  the Protocol's shape
        """Nothing: see below."""
        return b"", 0  # JSON import cannot carry the marker's bits: a series ends there by absence
