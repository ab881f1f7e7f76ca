"""Content-Encodings: packed once per page and encoding in use, unpacked within bounds."""

from __future__ import annotations

import zlib

import cramjam
import snappy

from agent.model import Encoding

MAX_BODY_BYTES = 64 << 20
"""An unpacked body larger than this is not one of ours: a page holds 2 MiB, or one series longer than that."""

_GZIP_LEVEL = 1
"""Level 1 costs a third of level 6 and gives up a tenth of the size on metric text."""
_ZSTD_LEVEL = 1
"""Measured on pages of 10,000 records: level 1 is the smallest body for its time (3.5 and 17 bytes a sample);
negative levels are no faster and larger, from level 3 on it takes longer and gains nothing."""
_VARINT_BYTES = 5  # enough for 32 bits of size
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_FIRST_GUESS = 1 << 20
_MAX_MEMBERS = 100


def compress(payload: bytes | bytearray, encoding: Encoding) -> bytes:
    """`payload` as the body of a request. The same bytes in give the same bytes out."""
    if encoding is Encoding.SNAPPY:
        # the raw block format: remote-write forbids the framed one (specification 1.0, "Protocol")
        compressed: bytes = snappy.compress(payload)
        return compressed
    if encoding is Encoding.ZSTD:
        return bytes(cramjam.zstd.compress(payload, level=_ZSTD_LEVEL))
    if encoding is Encoding.GZIP:
        packer = zlib.compressobj(_GZIP_LEVEL, wbits=31)  # 31: a gzip header, without a time in it
        return packer.compress(payload) + packer.flush()
    return bytes(payload)


def decompress(payload: bytes, encoding: Encoding, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body of a request unpacked, whoever wrote it. Never takes more memory than about `max_bytes`.

    Raises ValueError for what is no such body, is cut, or unpacks to more than `max_bytes`.
    """
    if encoding is Encoding.SNAPPY:
        return _unsnappy(payload, max_bytes)
    if encoding is Encoding.ZSTD:
        return _unzstd(payload, max_bytes)
    if encoding is Encoding.GZIP:
        return _gunzip(payload, max_bytes)
    if len(payload) > max_bytes:
        raise ValueError(f"a body of {len(payload)} bytes, the limit is {max_bytes}")
    return payload


def _unsnappy(payload: bytes, max_bytes: int) -> bytes:
    # A block begins with its unpacked size as a varint: look before leaping.
    size = 0
    for shift, byte in enumerate(payload[:_VARINT_BYTES]):
        size |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            break
    else:
        raise ValueError("not a snappy block: it does not begin with its size")
    if size > max_bytes:
        raise ValueError(f"snappy block unpacks to {size} bytes, the limit is {max_bytes}")
    try:
        return bytes(snappy.uncompress(payload))
    except snappy.UncompressError as error:
        raise ValueError("not a snappy block (the framed format is forbidden)") from error


def _unzstd(payload: bytes, max_bytes: int) -> bytes:
    if not payload.startswith(_ZSTD_MAGIC):
        raise ValueError("not zstd")
    announced = _zstd_size(payload)
    if announced is not None and announced > max_bytes:
        raise ValueError(f"zstd frame unpacks to {announced} bytes, the limit is {max_bytes}")
    # A frame need not tell its size, and several may follow each other: then the room is doubled until it does.
    room = min(announced or max(_ZSTD_FIRST_GUESS, 4 * len(payload)), max_bytes)
    while True:
        unpacked = bytearray(room + 1)  # one more: a full buffer says that there is more to come
        try:
            size = cramjam.zstd.decompress_into(payload, unpacked)
        except cramjam.DecompressionError as error:
            if "write whole buffer" not in str(error):
                raise ValueError(f"not zstd: {error}") from error
            size = room + 1
        if size <= room:
            return bytes(memoryview(unpacked)[:size])
        if room >= max_bytes:
            raise ValueError(f"zstd unpacks to more than the limit, {max_bytes} bytes")
        room = min(4 * room, max_bytes)


def _zstd_size(payload: bytes) -> int | None:
    """What the first frame says its content's size is, or None (RFC 8878, 3.1.1.1)."""
    if len(payload) < 5:
        return None
    descriptor = payload[4]
    flag, single = descriptor >> 6, descriptor >> 5 & 1
    if not flag and not single:
        return None
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(payload[at : at + (1 << flag)], "little")
    return size + 256 if flag == 1 else size


def _gunzip(payload: bytes, max_bytes: int) -> bytes:
    """Up to a hundred members."""
    parts: list[bytes] = []
    left = max_bytes
    while payload:
        if len(parts) == _MAX_MEMBERS:
            raise ValueError(f"gzip of more than {_MAX_MEMBERS} members")
        member = zlib.decompressobj(wbits=31)
        try:
            parts.append(member.decompress(payload, left + 1))
        except zlib.error as error:
            raise ValueError(f"not gzip: {error}") from error
        left -= len(parts[-1])
        if left < 0:
            raise ValueError(f"gzip unpacks to more than {max_bytes} bytes, the limit")
        if not member.eof:
            raise ValueError("gzip ends too early")
        payload = member.unused_data
    return b"".join(parts)
