"""Remote-write 1.0 records: one finished `TimeSeries` per series, written in place on every flush.

A record is the bytes protobuf would make for one element of `WriteRequest.timeseries`, labels first and
one sample last. The sample's value (fixed64) and its millisecond time (a varint of six bytes for every
time from 1971 to 2109) have fixed places, so that a flush overwrites 15 bytes a series and encodes
nothing. Field numbers: Prometheus remote-write 1.0 specification; `tests/test_wire_remote_write.py`
holds the bytes against the generated classes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from agent.model import Exemplar, Kind

FIRST_MS = 1 << 35
"""Smallest time whose varint has six bytes (1971-02-02)."""
LAST_MS = (1 << 42) - 1
"""Largest such time (2109-05-15)."""
VALUE_TO_END = 15
"""Bytes from a record's value to its end: the value, the time's tag, the time."""

TYPES = {
    Kind.COUNTER: 1,
    Kind.GAUGE: 2,
    Kind.HISTOGRAM: 3,
    Kind.GAUGEHISTOGRAM: 4,
    Kind.SUMMARY: 5,
    Kind.INFO: 6,
    Kind.STATESET: 7,
}
"""Numbers of `MetricMetadata.MetricType`, the same in 2.0; unknown is 0, which is left out."""

_BYTE = [bytes((number,)) for number in range(0x80)]
_SAMPLE = b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6)

pack_value = struct.Struct("<d7s").pack_into
"""(buffer, offset of the value, value, `tail(ms)`): one sample, in place."""
pack_stale = struct.Struct("<Q7s").pack_into
"""The same with the value as raw bits, for staleness markers: a float could lose the payload."""


def varint(number: int) -> bytes:
    """Protobuf's base-128 encoding of a non-negative integer."""
    if number < 0x80:
        return _BYTE[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(tag: bytes, inner: bytes) -> bytes:
    """A length-delimited field."""
    return tag + varint(len(inner)) + inner


def metadata(family_name: str, kind: Kind, help: str, unit: str) -> bytes:
    """What one family is, as a field of a `WriteRequest`; names and texts as `label` encodes them."""
    texts = ((b"\x12", family_name), (b"\x22", help), (b"\x2a", unit))
    inner = b"".join([field(tag, text.encode("utf-8", "replace")) for tag, text in texts if text])
    return field(b"\x1a", (b"\x08" + varint(TYPES[kind]) if kind in TYPES else b"") + inner)


def label_head(name: str) -> bytes:
    """The part of a `Label` that its name decides, up to its value's length."""
    key = name.encode()
    return b"\x0a" + varint(len(key)) + key + b"\x12"


def label(head: bytes, value: str) -> bytes:
    """One `Label` as a field of a `TimeSeries`. Lone surrogates become `?`: UTF-8 has no bytes for them."""
    text = value.encode("utf-8", "replace")
    size = len(text)
    inner = len(head) + 1 + size
    if inner < 0x80:
        return b"\x0a" + _BYTE[inner] + head + _BYTE[size] + text
    length = varint(size)
    return b"\x0a" + varint(len(head) + len(length) + size) + head + length + text


def record(labels: bytes) -> bytes:
    """A whole record with a sample still to be written; `labels` are `label()`s joined, sorted by name."""
    return b"\x0a" + varint(len(labels) + len(_SAMPLE)) + labels + _SAMPLE


def with_exemplar(record: bytes, exemplar: Exemplar) -> bytes:
    """The same record with an exemplar in front of its sample: fields may come in any order, and the sample stays last.

    Raises ValueError for a time that `tail` refuses.
    """
    labels = b"".join([label(label_head(name), value) for name, value in exemplar.labels])
    value = b"\x11" + struct.pack("<d", exemplar.value) + b"\x18" + tail(exemplar.timestamp_ms)[1:]
    at = 1
    while record[at] > 0x7F:
        at += 1
    whole = record[at + 1 : -len(_SAMPLE)] + field(b"\x1a", labels + value)
    return b"\x0a" + varint(len(whole) + len(_SAMPLE)) + whole + _SAMPLE


def tail(timestamp_ms: int) -> bytes:
    """What follows a value in a record: the time's tag and its six bytes.

    Raises ValueError for a time whose varint is shorter or longer.
    """
    if not FIRST_MS <= timestamp_ms <= LAST_MS:
        raise ValueError(f"timestamp {timestamp_ms} ms is outside 1971-2109: is the system clock set?")
    return b"\x10" + varint(timestamp_ms)


def spans(payload: Sequence[int] | bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each top-level field of an uncompressed request; raises ValueError when it is cut."""
    at, size = 0, len(payload)
    while at < size:
        start = at
        if payload[at] & 7 != 2:
            raise ValueError(f"byte {at}: not a length-delimited field")
        at += 1
        length = shift = 0
        while True:
            if at >= size or shift > 28:
                raise ValueError(f"byte {at}: cut inside a length")
            byte = payload[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        at += length
        if at > size:
            raise ValueError(f"byte {start}: a field of {length} bytes runs past the end")
        yield start, at
