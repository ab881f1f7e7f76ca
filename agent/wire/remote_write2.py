"""Remote-write 2.0 records: one finished `TimeSeries` per series, its labels as references into a table of symbols.

The sample's value and time have the same fixed places as in a 1.0 record; a start time and the metadata,
which do not change from flush to flush, follow. Field numbers: remote-write 2.0-rc.4 specification;
`tests/test_wire_remote_write2.py` holds the bytes against the generated classes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from agent.model import STALE_NAN_BITS, Exemplar, Kind
from agent.wire.remote_write import FIRST_MS, LAST_MS, TYPES, VALUE_TO_END, field, varint

CUSTOM_BUCKETS = -53
"""The schema of a histogram whose buckets have any bounds (Prometheus, `histogram.CustomBucketsSchema`)."""
START_BYTES = 7
"""Bytes of a sample's start time, its tag included."""

_CUMULATIVE = (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY)
_SAMPLE = b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6)
_STARTED = b"\x12\x17\x09" + bytes(8) + b"\x10" + bytes(6) + b"\x18"
_SCHEMA = b"\x20" + varint((-CUSTOM_BUCKETS << 1) - 1)
_LARGEST = 2.0**62
_STALE_SUM = struct.pack("<Q", STALE_NAN_BITS)


class About:
    """What all series of one sample name share beside labels; compared by identity.

    `bounds`: the upper bounds of a native histogram's buckets without +Inf, () for what is sent as samples.
    """

    __slots__ = ("bounds", "custom", "help", "kind", "spans", "unit")

    def __init__(self, kind: Kind, help: str, unit: str, bounds: Sequence[float] = ()) -> None:
        self.kind = kind
        self.help = help
        self.unit = unit
        self.bounds = tuple(bounds)
        self.spans = field(b"\x5a", b"\x10" + varint(len(bounds) + 1))
        """What only the bounds decide of a histogram: one span of buckets, +Inf the last, and the custom values."""
        self.custom = field(b"\x82\x01", struct.pack(f"<{len(bounds)}d", *bounds))

    def started(self, started_ms: int) -> int:
        """`started_ms` where values of this kind count from some time on, and it fits its place; else 0."""
        return started_ms if self.kind in _CUMULATIVE and FIRST_MS <= started_ms <= LAST_MS else 0

    def metadata(self, symbols: Symbols) -> bytes:
        """The `metadata` field of a series."""
        inner = b"\x08" + varint(TYPES[self.kind]) if self.kind in TYPES else b""
        inner += b"\x18" + symbols[self.help] if self.help else b""
        inner += b"\x20" + symbols[self.unit] if self.unit else b""
        return field(b"\x2a", inner) if inner else b""


class Symbols(dict[str, bytes]):
    """The strings of one request, each once, by its reference as a varint; looking one up adds it."""

    def __init__(self) -> None:
        super().__init__({"": b"\0"})
        self.encoded = bytearray(b"\x22\0")
        """All of them as fields of the request."""

    def __missing__(self, text: str) -> bytes:
        data = text.encode("utf-8", "replace")
        clean = data.decode()
        if clean != text:  # a lone surrogate, which UTF-8 has no bytes for, is a question mark
            return self[clean]
        reference = self[text] = varint(len(self))
        self.encoded += field(b"\x22", data)
        return reference


class MoreSymbols(dict[str, bytes]):
    """What one request adds to the symbols of a page; looking one up adds it here, where the page has it not."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self.encoded = bytearray()

    def __missing__(self, text: str) -> bytes:
        known = self._symbols.get(text)
        if known is not None:
            return known
        data = text.encode("utf-8", "replace")
        clean = data.decode()
        if clean != text:
            return self[clean]
        reference = self[text] = varint(len(self._symbols) + len(self))
        self.encoded += field(b"\x22", data)
        return reference


def exemplar(found: Exemplar, symbols: Mapping[str, bytes]) -> bytes:
    """The `exemplars` field of a series."""
    labels = references([text for pair in found.labels for text in pair], symbols) if found.labels else b""
    value = struct.pack("<d", found.value)
    return field(b"\x22", labels + (b"\x11" + value if any(value) else b"") + b"\x18" + varint(found.timestamp_ms))


def references(texts: Iterable[str], symbols: Mapping[str, bytes]) -> bytes:
    """The `labels_refs` field of a series, or of an exemplar: names and values in turn."""
    return field(b"\x0a", b"".join(map(symbols.__getitem__, texts)))


def numbers(packed: bytes | bytearray) -> list[int]:
    """Varints that follow each other."""
    if packed.isascii():
        return list(packed)
    found, number, shift = [], 0, 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(number)
            number = shift = 0
    return found


def length(buffer: Sequence[int] | bytes | bytearray, at: int) -> tuple[int, int]:
    """Where what is announced at `at`, in bytes of our own, begins, and how long it is."""
    size = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, size
        shift += 7


def record(labels: bytes, started_ms: int, metadata: bytes) -> tuple[bytes, int]:
    """A whole record with a sample still to be written, and how far before its end that sample's value is."""
    if started_ms:
        sample = _STARTED + varint(started_ms)
        rest = VALUE_TO_END + START_BYTES + len(metadata)
    else:
        sample, rest = _SAMPLE, VALUE_TO_END + len(metadata)
    return field(b"\x2a", labels + sample + metadata), rest


def native(about: About, cells: Sequence[float], timestamp_ms: int, started_ms: int) -> bytes:
    """A histogram row as the `histograms` field of a series: cumulative buckets, +Inf, sum, count.

    Empty where the row is no histogram: a count that is not whole, or smaller than that of a narrower bucket.
    """
    counts = cells[: len(about.bounds) + 1]
    if not all(0 <= count < _LARGEST and count == int(count) for count in counts):
        return b""
    buckets = [int(counts[0]), *(int(above) - int(below) for below, above in pairwise(counts))]
    if min(buckets) < 0:
        return b""
    deltas = [buckets[0], *(later - earlier for earlier, later in pairwise(buckets))]
    packed = field(b"\x62", b"".join([varint(delta << 1 if delta >= 0 else (-delta << 1) - 1) for delta in deltas]))
    total = struct.pack("<d", cells[len(counts)])
    return _histogram(int(counts[-1]), total, about.spans + packed, timestamp_ms, about.custom, started_ms)


def native_stale(about: About, timestamp_ms: int, started_ms: int) -> bytes:
    """A staleness marker of a histogram: its sum has the marker's bits."""
    return _histogram(0, _STALE_SUM, b"", timestamp_ms, about.custom, started_ms)


def _histogram(count: int, total: bytes, buckets: bytes, timestamp_ms: int, custom: bytes, started_ms: int) -> bytes:
    head = b"\x08" + varint(count) + (b"\x19" + total if any(total) else b"")
    zeros = b"\x30\0"  # no observation is near zero in custom buckets, and the field says so
    started = b"\x88\x01" + varint(started_ms) if started_ms else b""
    return field(b"\x1a", head + _SCHEMA + zeros + buckets + b"\x78" + varint(timestamp_ms) + custom + started)
