"""Finds the frames of a segment, damaged or not, without reading more payloads than it must.

Headers are trusted by their own checksum, and payloads are checked when they are handed out. Only where a frame is not
followed by another one is its payload checked here, and the search for the next frame goes on behind its header:
bytes that were cut out shift everything after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from agent.spool.files import Files
from agent.spool.segment import FRAME_BYTES, FRAME_MAGIC, SEGMENT_BYTES, Header, decode_header, segment_version

_WINDOW = 1 << 16
_CHECKED_TWICE = 4
"""Payload bytes that turn out damaged are looked through again, up to this many times the segment's size in all;
beyond it a damaged frame is skipped whole, or a hostile file of nested frames would be read for hours."""


class Frame(NamedTuple):
    """A frame whose header is whole."""

    offset: int
    header: Header


class Damage(NamedTuple):
    """A stretch that holds no frame."""

    offset: int
    length: int
    known: tuple[Header, ...] = ()
    """Headers in it that could still be read."""


class _Reader:
    """Reads a file through a window, so that a search costs one system call per window."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._start = 0
        self._data = b""
        self.size = files.size(path)

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer at the end; small ones come out of the window."""
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._data):
            self._start, self._data = offset, self._files.read(self._path, offset, max(size, min(_WINDOW, self.size - offset)))
            begin = 0
        return self._data[begin : begin + size]

    def header(self, offset: int) -> Header | None:
        """The header at `offset` of a frame that ends within the file, or is cut off by its end."""
        return decode_header(self.at(offset, FRAME_BYTES))

    def intact(self, frame: Frame) -> bool:
        """Whether a frame's payload is what its header says."""
        offset, left, checksum = frame.offset + FRAME_BYTES, frame.header.length, 0
        if offset + left > self.size:
            return False
        while left:
            part = self._files.read(self._path, offset, min(left, _WINDOW))
            if not part:
                return False
            checksum = crc32(part, checksum)
            offset, left = offset + len(part), left - len(part)
        return checksum == frame.header.checksum

    def next_frame(self, offset: int) -> int:
        """Where the next whole header at or after `offset` stands; the size of the file when there is none."""
        while offset + FRAME_BYTES <= self.size:
            window = self.at(offset, min(_WINDOW, self.size - offset))
            found = window.find(FRAME_MAGIC)
            while found >= 0:
                if self.header_in(window, found, offset) is not None:
                    return offset + found
                found = window.find(FRAME_MAGIC, found + 1)
            offset += max(1, len(window) - len(FRAME_MAGIC) + 1)
        return self.size

    def header_in(self, window: bytes, found: int, offset: int) -> Header | None:
        """The header at `found` in a window read at `offset`; the one that reaches beyond it is read anew."""
        if found + FRAME_BYTES <= len(window):
            return decode_header(window, found)
        return decode_header(self._files.read(self._path, offset + found, FRAME_BYTES))


def version(files: Files, path: Path) -> int | None:
    """The format version a segment tells; None when its first bytes are damaged. Raises OSError."""
    return segment_version(files.read(path, 0, SEGMENT_BYTES))


def scan(files: Files, path: Path) -> Iterator[Frame | Damage]:
    """Frames and damaged stretches in the order of the file. Raises OSError.

    A damaged frame in the middle may come out as a `Frame`: its payload must be checked when it is read.
    """
    reader = _Reader(files, path)
    offset = 0
    if segment_version(reader.at(0, SEGMENT_BYTES)) is None:
        offset = reader.next_frame(0)
        # A segment's header holds nothing: where the first frame follows as it should, nothing was lost.
        if offset != SEGMENT_BYTES:
            yield Damage(0, offset)
    else:
        offset = SEGMENT_BYTES
    yield from _frames(reader, offset)


def _frames(reader: _Reader, offset: int) -> Iterator[Frame | Damage]:
    previous: Frame | None = None
    budget = _CHECKED_TWICE * reader.size
    while offset < reader.size or previous is not None:
        header = reader.header(offset)
        if header is not None:
            if previous is not None:
                yield previous
            previous = Frame(offset, header)
            offset += header.frame_bytes
            continue
        start = offset
        known: tuple[Header, ...] = ()
        if previous is not None:
            if reader.intact(previous):
                yield previous
                previous = None
                continue
            start, known = previous.offset, (previous.header,)
            budget -= previous.header.length
            offset = previous.offset + FRAME_BYTES if budget > 0 else offset
            previous = None
        offset = min(max(reader.next_frame(offset), start + 1), reader.size)
        yield Damage(start, offset - start, known)
