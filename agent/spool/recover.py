"""What the segments and the cursor of an earlier life hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agent.errors import ConfigError
from agent.spool import cursor
from agent.spool.files import Files
from agent.spool.index import Index, Place, Record
from agent.spool.order import Finished
from agent.spool.scan import Damage, Frame, scan, version
from agent.spool.segment import VERSION, Header
from agent.spool.writer import numbers_in, path_of

MOST_MISSING = 100_000
"""Sequences looked at to tell whether anything of a damaged stretch was still wanted."""


@dataclass(frozen=True)
class Recovered:
    """What a queue begins with."""

    last: int
    next_segment: int
    index: Index
    finished: Finished
    left: dict[int, int]
    """Segment -> its frames that are still wanted."""
    losses: Counter[str]
    damages: int
    """Damaged places that held something which was wanted, or may have."""


def recover(files: Files, folder: Path) -> Recovered:
    """Read what is there. Raises ConfigError for files of a later version, OSError for a folder that cannot be read."""
    numbers = numbers_in(files, folder)
    raw = cursor.read(files, folder)
    known = cursor.version_of(raw)
    if known is not None and known > cursor.VERSION:
        raise _too_new(folder / cursor.NAME, known)
    found = cursor.decode(raw)
    finished, last = (found.finished, found.last) if found is not None else (Finished(), 0)
    index, left, gaps, unreadable = Index(), dict[int, int](), list[Gap](), 0
    for number in numbers:
        path = path_of(folder, number)
        try:
            later = version(files, path)
            if later is not None and later > VERSION:
                raise _too_new(path, later)
            reading = _Segment(number, finished, index, left)
            for item in scan(files, path):
                reading.take(item)
        except OSError:
            unreadable += 1  # it cannot be read at all: it stays, and the rest is read
            left[number] = left.get(number, 0) + 1
            continue
        reading.end()
        gaps += reading.gaps
        last = max(last, reading.last)
    lost, damages = _lost(gaps, finished, index)
    losses = Counter({"corrupt": lost} if lost else {})
    return Recovered(last, max(numbers, default=0) + 1, index, finished, left, losses, damages + unreadable)


class Gap(NamedTuple):
    """A damaged stretch: the sequences that may have stood in it, and the samples that did."""

    sequences: range
    samples: int


def _lost(gaps: Sequence[Gap], finished: Finished, index: Index) -> tuple[int, int]:
    """(samples, places) of the stretches that held something wanted; noted as finished, so that they count once.

    After all segments were read: what could not be synced was written again into a later one.
    """
    samples = places = 0
    for gap in gaps:
        missing = [sequence for sequence in gap.sequences if sequence not in finished and sequence not in index.records]
        if missing:
            samples += gap.samples
            places += 1
        for sequence in missing:
            finished.add(sequence)
    return samples, places


class _Segment:
    """One segment while it is read."""

    def __init__(self, number: int, finished: Finished, index: Index, left: dict[int, int]) -> None:
        self._number = number
        self._finished = finished
        self._index = index
        self._left = left
        self._left[number] = 0
        self._before = 0
        """Samples of the frames so far, the lost ones too."""
        self._frames = 0
        self._damage: Damage | None = None
        self.last = 0
        self.gaps: list[Gap] = []

    def take(self, item: Frame | Damage) -> None:
        """The next frame or damaged stretch."""
        if isinstance(item, Damage):
            self._damage = item if self._damage is None else self._damage._replace(known=self._damage.known + item.known)
            return
        header = item.header
        if self._damage is not None or header.ordinal > self._frames:
            first = self.last + 1
            end = min(header.sequence, first + MOST_MISSING)
            self.gaps.append(Gap(range(first, end), max(0, header.before - self._before)))
            self._damage = None
        self._before, self._frames = header.before + header.samples, header.ordinal + 1
        self.last = max(self.last, header.sequence)
        if header.sequence in self._finished:
            return
        if header.sequence in self._index.records:
            # It was written again because its sync failed: only the later one is sure to be whole.
            self._left[self._index.remove(header.sequence).segment] -= 1
        self._index.add(_record(header, self._number, item.offset))
        self._left[self._number] += 1

    def end(self) -> None:
        """The segment is read: what was torn off at its end is told by the headers that can still be read."""
        for header in self._damage.known if self._damage is not None else ():
            self.gaps.append(Gap(range(header.sequence, header.sequence + 1), header.samples))
            self.last = max(self.last, header.sequence)


def _record(header: Header, segment: int, offset: int) -> Record:
    record = Record(header.sequence, header.length, header.samples, header.created, header.events)
    record.place, record.segment, record.offset = Place.SYNCED, segment, offset
    return record


def _too_new(path: Path, found: int) -> ConfigError:
    return ConfigError(
        [f"{path}: format version {found}, this cipush reads up to {VERSION}; start the newer cipush, or move the folder away"]
    )
