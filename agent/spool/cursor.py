"""The cursor file: what of the segments is finished. Without it blocks are sent again, never lost."""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from agent.spool.files import Files
from agent.spool.order import Finished
from agent.spool.segment import MAX_SEQUENCE

NAME = "cursor"
_NEW = "cursor.new"
VERSION = 1
_MAGIC = b"\xc1\xffcipushC"
_START = Struct("<9s3xIQQI")
"""Magic, version, the last sequence given out, the oldest that is not finished, how many ranges follow."""
_RANGE = Struct("<QQ")
MAX_BYTES = 64 << 20
"""A longer file is not ours."""


class Cursor(NamedTuple):
    """What a cursor file tells."""

    last: int
    """The newest sequence given out when it was written."""
    finished: Finished


def encode(last: int, finished: Finished) -> bytes:
    """The file's bytes."""
    ranges = finished.ranges()
    parts = [_START.pack(_MAGIC, VERSION, last, finished.floor + 1, len(ranges)), *(_RANGE.pack(*pair) for pair in ranges)]
    data = b"".join(parts)
    return data + crc32(data).to_bytes(4, "little")


def version_of(data: bytes) -> int | None:
    """The version the file tells; None when it is damaged, whatever version it is."""
    if len(data) < _START.size + 4 or data[: len(_MAGIC)] != _MAGIC or crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
        return None
    return int(_START.unpack_from(data)[1])


def decode(data: bytes) -> Cursor | None:
    """What a file of this version tells; None when it is damaged."""
    if version_of(data) != VERSION:
        return None
    _, _, last, oldest, count = _START.unpack_from(data)
    if len(data) != _START.size + count * _RANGE.size + 4 or not 0 < oldest <= last + 1 <= MAX_SEQUENCE:
        return None
    ranges = tuple((first, end) for first, end in _RANGE.iter_unpack(data[_START.size : -4]))
    before = oldest
    for first, end in ranges:
        if not before < first <= end <= last:
            return None
        before = end + 1
    return Cursor(last, Finished(oldest - 1, ranges))


def write(files: Files, folder: Path, data: bytes, sync: bool) -> None:
    """Replace the cursor file in one step; with `sync` it is safe from a power cut afterwards. Raises OSError."""
    new = folder / _NEW
    handle = files.create(new)
    try:
        files.append(handle, data)
        if sync:
            files.fsync(handle)
    finally:
        files.close(handle)
    files.rename(new, folder / NAME)
    if sync:
        files.sync_folder(folder)


def read(files: Files, folder: Path) -> bytes:
    """The file's bytes; b"" when there is none that could be read."""
    try:
        return files.read(folder / NAME, 0, MAX_BYTES)
    except OSError:
        return b""
