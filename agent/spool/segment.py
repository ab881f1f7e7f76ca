"""The format of a segment: a header that tells the version, then frames, each one block.

All numbers are little-endian. A frame's header has a checksum of its own, so that its length can be trusted before its
payload is read; it holds the payload's checksum, so both are covered. `before` and `ordinal` say what the frames
ahead of it in the same segment hold: what a damaged stretch cost is told by the frame behind it.
"""

from __future__ import annotations

from math import isfinite
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from agent.model import Block, Encoding, Protocol

VERSION = 1
SEGMENT_MAGIC = b"\xc1\xffcipushQ"
FRAME_MAGIC = b"\xc1\xffq\x01"
"""No UTF-8 text holds the bytes C1 or FF, so no label that stands uncompressed in a payload looks like a frame."""

_SEGMENT = Struct("<9s3xII")
SEGMENT_BYTES = _SEGMENT.size
_FRAME = Struct("<4sIQdqIIQIBBBxII")
FRAME_BYTES = _FRAME.size

MAX_PAYLOAD = 64 << 20
"""Bytes. Request bodies are a few MiB; a length beyond is damage, whatever its checksum says."""
MAX_SEQUENCE = 1 << 62
_MAX_32 = (1 << 32) - 1

_PROTOCOLS = (Protocol.REMOTE_WRITE, Protocol.REMOTE_WRITE_2, Protocol.IMPORT, Protocol.TEXT)
_ENCODINGS = (Encoding.IDENTITY, Encoding.SNAPPY, Encoding.GZIP, Encoding.ZSTD)
"""A code is the place in these: append only."""
_EVENTS = 1


class Header(NamedTuple):
    """What stands before a payload."""

    length: int
    sequence: int
    created: float
    timestamp_ms: int
    samples: int
    group: int
    before: int
    """Samples in the frames ahead of this one in its segment."""
    ordinal: int
    """How many frames are ahead of this one in its segment."""
    protocol: Protocol
    encoding: Encoding
    events: bool
    checksum: int
    """CRC-32 of the payload."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of the whole frame."""
        return FRAME_BYTES + self.length

    def block(self, payload: bytes, flush: int = 0) -> Block:
        """The block this frame holds."""
        return Block(
            payload,
            self.protocol,
            self.encoding,
            self.samples,
            self.timestamp_ms,
            self.created,
            flush,
            self.group,
            self.events,
        )


def segment_header() -> bytes:
    """The first bytes of every segment."""
    start = _SEGMENT.pack(SEGMENT_MAGIC, VERSION, 0)[:-4]
    return start + crc32(start).to_bytes(4, "little")


def segment_version(start: bytes) -> int | None:
    """The version a segment's first SEGMENT_BYTES tell; None when they are damaged. This part never changes."""
    if len(start) < SEGMENT_BYTES:
        return None
    magic, version, checksum = _SEGMENT.unpack_from(start)
    if magic != SEGMENT_MAGIC or checksum != crc32(start[: SEGMENT_BYTES - 4]):
        return None
    return int(version)


def encode(sequence: int, block: Block, before: int, ordinal: int) -> bytes:
    """One frame. Raises ValueError for a block that no frame can hold."""
    if not fits(block):
        raise ValueError(f"a block of {len(block.payload)} bytes and {block.samples} samples does not fit a frame")
    start = _FRAME.pack(
        FRAME_MAGIC,
        len(block.payload),
        sequence,
        block.created,
        block.timestamp_ms,
        block.samples,
        block.group,
        before,
        ordinal,
        _PROTOCOLS.index(block.protocol),
        _ENCODINGS.index(block.encoding),
        _EVENTS if block.events else 0,
        crc32(block.payload),
        0,
    )[:-4]
    return b"".join((start, crc32(start).to_bytes(4, "little"), block.payload))


def fits(block: Block) -> bool:
    """Whether a frame can hold the block."""
    return (
        len(block.payload) <= MAX_PAYLOAD
        and 0 <= block.samples <= _MAX_32
        and 0 <= block.group <= _MAX_32
        and abs(block.timestamp_ms) < 1 << 63
        and isfinite(block.created)
    )


def decode_header(data: bytes, at: int = 0) -> Header | None:
    """The header that stands at `at`; None when none does, or a damaged one."""
    end = at + FRAME_BYTES
    if len(data) < end or data[at : at + 4] != FRAME_MAGIC:
        return None
    if crc32(data[at : end - 4]) != int.from_bytes(data[end - 4 : end], "little"):
        return None
    _, length, sequence, created, stamp, samples, group, before, ordinal, protocol, encoding, flags, checksum, _ = (
        _FRAME.unpack_from(data, at)
    )
    if length > MAX_PAYLOAD or not 0 < sequence <= MAX_SEQUENCE or not isfinite(created):
        return None
    if protocol >= len(_PROTOCOLS) or encoding >= len(_ENCODINGS):
        return None
    return Header(
        length,
        sequence,
        created,
        stamp,
        samples,
        group,
        before,
        ordinal,
        _PROTOCOLS[protocol],
        _ENCODINGS[encoding],
        bool(flags & _EVENTS),
        checksum,
    )
