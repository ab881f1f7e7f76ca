"""Writes frames into segments, in whatever thread it is called; the queue decides what and when."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOSPC
from pathlib import Path
from typing import NamedTuple

from agent.model import Block
from agent.spool import cursor
from agent.spool.files import Files
from agent.spool.segment import FRAME_BYTES, SEGMENT_BYTES, encode, segment_header

SEGMENT_MAX_BYTES = 8 << 20
"""A segment that has reached this gets no more frames; whole segments are what a drain gives back to the disk."""
SUFFIX = ".seg"


class Order(NamedTuple):
    """What is to be written: decided by the queue, in its own thread."""

    blocks: Sequence[tuple[int, Block]]
    """(sequence, block), ascending."""
    sync: bool
    cursor: bytes | None
    """The cursor file's new content, written after the blocks are safe."""
    unneeded: Sequence[int]
    """Segments to remove, after the cursor says that nothing in them is wanted."""


class Written(NamedTuple):
    """Where a block's frame stands."""

    sequence: int
    segment: int
    offset: int


@dataclass
class Done:
    """What came of an order: as much of it as could be done."""

    written: list[Written] = field(default_factory=list)
    synced: bool = False
    """All that was written is synced."""
    cursor: bool = False
    removed: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    """Segments made for it."""
    error: OSError | None = None
    bytes: int = 0
    fsyncs: int = 0


class Writer:
    """The end of the log. Belongs to one thread at a time.

    `first`: the number of the next segment, above every one there is.
    """

    def __init__(self, files: Files, folder: Path, first: int, reserve_bytes: int) -> None:
        self._files = files
        self._folder = folder
        self._next = first
        self._reserve = reserve_bytes
        self._handle: int | None = None
        self.current = 0
        """The segment that is written; 0 = none."""
        self._size = 0
        self._samples = 0
        self._frames = 0

    def path(self, number: int) -> Path:
        """A segment's file."""
        return path_of(self._folder, number)

    def perform(self, order: Order) -> Done:
        """Do as much of an order as the disk allows; never raises."""
        done = Done()
        try:
            self._write(order, done)
            if order.sync and done.written:
                self._sync(done)
            done.synced = order.sync
            if order.cursor is not None:
                cursor.write(self._files, self._folder, order.cursor, order.sync)
                done.cursor = True
            self._remove(order, done)
        except OSError as error:
            done.error = error
            # After a failed write or fsync nobody knows what the segment holds: nothing more goes into it.
            self._leave()
            with suppress(OSError):
                self._remove(order, done)  # what nobody wants may be what fills the disk
        return done

    def _remove(self, order: Order, done: Done) -> None:
        for number in order.unneeded:
            if number == self.current:
                self._leave()
            self._files.unlink(path_of(self._folder, number))
            done.removed.append(number)

    def close(self) -> None:
        """Let go of the segment."""
        self._leave()

    def _write(self, order: Order, done: Done) -> None:
        for sequence, block in order.blocks:
            needed = self._reserve + FRAME_BYTES + SEGMENT_BYTES + len(block.payload)
            if self._files.space(self._folder).free < needed:
                raise OSError(ENOSPC, f"less than {needed:,} bytes are free")
            if self._handle is None or self._size >= SEGMENT_MAX_BYTES:
                if self._handle is not None and order.sync and done.written:
                    self._sync(done)
                self._begin(done)
            assert self._handle is not None
            frame = encode(sequence, block, self._samples, self._frames)
            self._files.append(self._handle, frame)
            done.written.append(Written(sequence, self.current, self._size))
            done.bytes += len(frame)
            self._size += len(frame)
            self._samples += block.samples
            self._frames += 1

    def _begin(self, done: Done) -> None:
        self._leave()
        number = self._next
        self._next += 1
        done.begun.append(number)
        self._handle = self._files.create(path_of(self._folder, number))
        self._files.append(self._handle, segment_header())
        self.current, self._size, self._samples, self._frames = number, SEGMENT_BYTES, 0, 0

    def _sync(self, done: Done) -> None:
        assert self._handle is not None
        self._files.fsync(self._handle)
        self._files.sync_folder(self._folder)
        done.fsyncs += 1

    def _leave(self) -> None:
        if self._handle is not None:
            handle, self._handle, self.current = self._handle, None, 0
            with suppress(OSError):
                self._files.close(handle)


def path_of(folder: Path, number: int) -> Path:
    """A segment's file."""
    return folder / f"{number:016x}{SUFFIX}"


def numbers_in(files: Files, folder: Path) -> list[int]:
    """The segments that are there, ascending. Raises OSError."""
    found = []
    for name in files.names(folder):
        stem = name.removesuffix(SUFFIX)
        if name.endswith(SUFFIX) and len(stem) == 16 and set(stem) <= set("0123456789abcdef"):
            found.append(int(stem, 16))
    return sorted(found)
