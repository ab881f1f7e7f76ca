"""Halves of a finished request body, for receivers that find it too large (413).

Bodies may come back from a disk, so they are bounded and checked like anything foreign.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import snappy

from agent.model import Block, Encoding, Protocol
from agent.wire.remote_write import spans

MAX_BODY_BYTES = 64 << 20
"""An unpacked body larger than this is not one of ours: a page holds 2 MiB."""
GZIP_LEVEL = 1
_SERIES_TAG = 0x0A  # WriteRequest.timeseries, field 1
_SAMPLES_TAG = 0x12  # TimeSeries.samples, field 2, length-delimited
_VARINT_BYTES = 5  # enough for MAX_BODY_BYTES


def halves(block: Block) -> tuple[Block, ...]:
    """Two new blocks with the records of `block`, in order; the block alone when it has just one record.

    Raises ValueError for bytes that are no such body.
    """
    body = _unpack(block)
    parts = _records(body) if block.protocol is Protocol.REMOTE_WRITE else body.splitlines(keepends=True)
    if len(parts) < 2:
        return (block,)
    count = _count_samples if block.protocol is Protocol.REMOTE_WRITE else _count_values
    middle = len(parts) // 2
    return _block(block, parts[:middle], count), _block(block, parts[middle:], count)


def _block(block: Block, parts: Sequence[bytes], count: Callable[[bytes], int]) -> Block:
    # The time stays the whole block's newest: it may be early for one half, never late.
    return replace(block, payload=_pack(b"".join(parts), block.encoding), samples=sum(count(part) for part in parts))


def _records(body: bytes) -> list[bytes]:
    return [body[start:end] for start, end in spans(body)]


def _count_samples(record: bytes) -> int:
    """The samples inside one top-level record of a write request: its fields after tag and length."""
    if record[0] != _SERIES_TAG:
        return 0
    at = 1
    while record[at] & 0x80:
        at += 1
    inner = record[at + 1 :]
    return sum(1 for start, _ in spans(inner) if inner[start] == _SAMPLES_TAG)


def _count_values(line: bytes) -> int:
    try:
        return len(json.loads(line)["values"])
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("not a line of an import") from error


def _pack(body: bytes, encoding: Encoding) -> bytes:
    if encoding is Encoding.SNAPPY:
        packed: bytes = snappy.compress(body)
        return packed
    return gzip.compress(body, GZIP_LEVEL, mtime=0) if encoding is Encoding.GZIP else body


def _unpack(block: Block) -> bytes:
    if block.encoding is Encoding.SNAPPY:
        return _unpack_snappy(block.payload)
    if block.encoding is Encoding.GZIP:
        return _unpack_gzip(block.payload)
    return block.payload


def _unpack_snappy(payload: bytes) -> bytes:
    # A snappy block begins with its unpacked length as a varint: look before leaping.
    length = 0
    for i, byte in enumerate(payload[:_VARINT_BYTES]):
        length |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            break
    if length > MAX_BODY_BYTES:
        raise ValueError(f"a body of {length} bytes is larger than any of ours")
    try:
        body: bytes = snappy.uncompress(payload)
    except snappy.UncompressError as error:
        raise ValueError("not a snappy block") from error
    return body


def _unpack_gzip(payload: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(payload, MAX_BODY_BYTES)
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from error
    if not unpacker.eof:
        raise ValueError("a gzip body that is cut, or larger than any of ours")
    return body
