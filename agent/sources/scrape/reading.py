"""What one scrape says, read with the help of the one before: known text is compared, not parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import NamedTuple

from anyio.lowlevel import checkpoint

from agent.errors import CollectError
from agent.model import Exemplified, Family, Update
from agent.secret import redact
from agent.sources.scrape import parse
from agent.sources.scrape.lines import Lines
from agent.sources.scrape.naming import Announcements, Naming

STEP = 2_000
"""Lines between two chances for others to run: parsing that many takes about 5 ms."""
_INFINITY = float("inf")
_SHORT = 25
"""Characters of the longest number that `repr` writes (`-2.2250738585072014e-308`), and one more."""
_ENDS = (b"}", b" ", b"\t")
_BLANKS = (b" ", b"\t")
_BLANK = {ord(" ")}
_NUMBERS = parse.DIGITS + b","
_START = "process_start_time_seconds"
"""Since when all counters of a process count (Prometheus documentation, "Writing client libraries")."""
_STAMPED = 1
_DUPLICATE = 2


_update = partial(tuple.__new__, Update)
"""An update from its five fields: without the call in Python that a named tuple's own constructor is."""


class Known(NamedTuple):
    """A series as it stands in the exposition: where in the line the text before its value ends, and what that means."""

    end: int
    family: Family
    labels: tuple[str, ...]


class _Step(NamedTuple):
    """Lines that changed: where they stand, what they were samples of, as they are and as they were."""

    places: list[int]
    entries: list[Known]
    new: list[bytes]
    old: list[bytes]


@dataclass(frozen=True, slots=True)
class Reading:
    """One exposition, line by line; never changed once it is made."""

    lines: list[bytes]
    known: list[Known | None]
    """What each line is a sample of; None for comments and blank lines."""
    flags: bytearray
    """Of each line: whether it has a timestamp, whether an earlier line is the same series."""
    samples: int

    @property
    def stamped(self) -> int:
        """Samples with a timestamp."""
        return sum(self.flags.count(flag) for flag in (_STAMPED, _STAMPED | _DUPLICATE))

    @property
    def duplicates(self) -> int:
        """Samples left out because an earlier line is the same series."""
        return sum(self.flags.count(flag) for flag in (_DUPLICATE, _STAMPED | _DUPLICATE))


@dataclass(frozen=True, slots=True)
class News:
    """What is new in a reading, and whether that is every series there is."""

    reading: Reading
    updates: list[Update]
    whole: bool
    started: float = 0.0
    """When the target's process began, seconds since the epoch; 0 = it does not say."""
    exemplars: Sequence[Exemplified] = ()
    """Of the lines that are new or different."""


class Reader:
    """Reads the expositions of one target, whose scope is `scope`.

    `reserved`: names of label-less series that are not the target's to set. `max_samples`: 0 = no limit.
    """

    def __init__(self, scope: str, naming: Naming, reserved: frozenset[str], max_samples: int) -> None:
        self._scope = scope
        self._naming = naming
        self._reserved = reserved
        self._max_samples = max_samples
        self._last: Reading | None = None
        """The last full reading: a cache of what its heads mean."""
        self._start: Family | None = None
        self._started = 0.0

    async def read(self, arrived: Lines, previous: Reading | None, at: float) -> News:
        """What arrived against `previous`, what was read before; None: list everything. `at`: the time of the updates.

        `arrived` is finished and was made with the lines of `previous`. Raises CollectError, kinds `parse` and
        `samples`, naming the line.
        """
        if previous is not None and len(arrived.lines) == len(previous.lines):
            news = await self._changes(arrived, previous, at)
            if news is not None:
                self._last = news.reading
                return news
        return await self._listing(arrived.lines, at)

    async def _changes(self, arrived: Lines, previous: Reading, at: float) -> News | None:
        """The values that differ; None where more than values does."""
        lines, changed, olds = arrived.lines, arrived.changed, previous.lines
        known, flags = previous.known, bytearray(previous.flags)
        updates: list[Update] = []
        try:
            for first in range(0, len(changed), STEP):
                places = changed[first : first + STEP]
                entries = [entry for entry in map(known.__getitem__, places) if entry is not None]
                if len(entries) < len(places):
                    return None
                step = _Step(places, entries, [lines[place] for place in places], [olds[place] for place in places])
                found = self._plain(step, flags, at)
                updates += self._each(step, flags, at) if found is None else found
                await checkpoint()
        except parse.LineError:
            return None  # another series, or a broken line: the listing tells which
        return News(Reading(lines, known, flags, previous.samples), updates, False, self._started_of(updates))

    def _plain(self, step: _Step, flags: bytearray, at: float) -> Sequence[Update] | None:
        """The updates where every line has the shape that nearly all have: the same series, one blank, a decimal number.

        None where one has not. The hot loop of a scrape: whole steps go through C at once.
        """
        if any(map(flags.__getitem__, step.places)):
            return None
        ends, families, labels = zip(*step.entries, strict=True)
        values = [end + 1 for end in ends]
        heads = [line[:end] for line, end in zip(step.new, values, strict=True)]
        if heads != [line[:end] for line, end in zip(step.old, values, strict=True)] or {head[-1] for head in heads} != _BLANK:
            return None
        texts = [line[end:] for line, end in zip(step.new, values, strict=True)]
        if max(map(len, texts)) >= _SHORT or b",".join(texts).translate(None, _NUMBERS):
            return None
        try:
            numbers = list(map(float, texts))
        except ValueError:
            return None
        if not -_INFINITY < min(numbers) <= max(numbers) < _INFINITY:
            return None
        return list(map(_update, zip(families, labels, numbers, repeat(at), repeat(self._scope))))

    def _each(self, step: _Step, flags: bytearray, at: float) -> Iterator[Update]:
        """The updates line by line. Raises LineError."""
        for place, (end, family, labels), line, old in zip(*step, strict=True):
            if line[:end] != old[:end]:
                raise parse.LineError("another series")
            value, stamped = _value_after(line, end)
            flags[place] = flags[place] & _DUPLICATE | stamped
            if not flags[place] & _DUPLICATE:
                yield Update(family, labels, value, at, self._scope)

    async def _listing(self, lines: list[bytes], at: float) -> News:
        """Everything; heads seen before cost one look-up."""
        walk = _Walk(self._naming, _heads(self._last), self._reserved, len(lines), self._scope, at)
        for first in range(0, len(lines), STEP):
            walk.take(lines, first, min(first + STEP, len(lines)))
            if self._max_samples and walk.samples > self._max_samples:
                raise CollectError("samples", f"more samples than max_samples, {self._max_samples}")
            await checkpoint()
        self._naming.keep(set(walk.seen))
        reading = self._last = Reading(lines, walk.known, walk.flags, walk.samples)
        self._start = next((family for family, rows in walk.seen.items() if family.name == _START and () in rows), None)
        self._started = 0.0
        return News(reading, walk.updates, True, self._started_of(walk.updates))

    def _started_of(self, updates: list[Update]) -> float:
        if self._start is not None:
            start = self._start
            self._started = next((float(u.value) for u in updates if u.family is start), self._started)  # type: ignore[arg-type]
        return self._started


class _Walk:
    """A full reading in progress."""

    def __init__(
        self, naming: Naming, heads: dict[bytes, Known], reserved: frozenset[str], lines: int, scope: str, at: float
    ) -> None:
        self._naming = naming
        self._scope = scope
        self._at = at
        self._heads = heads
        self._reserved = reserved
        self._announced = Announcements()
        self._family: Family | None = None
        self._rows: set[tuple[str, ...]] = set()
        self.seen: dict[Family, set[tuple[str, ...]]] = {}
        """The label values of every series so far."""
        self.known: list[Known | None] = [None] * lines
        self.flags = bytearray(lines)
        self.samples = 0
        self.updates: list[Update] = []

    def take(self, lines: list[bytes], first: int, end: int) -> None:
        """Read lines `first` to `end`. Raises CollectError naming a bad one."""
        place = first
        try:
            for place in range(first, end):
                line = lines[place]
                start = line.lstrip(b" \t")[:1]
                if start == b"#":
                    self._announced.note(line)
                elif start:
                    self._sample(place, line)
        except parse.LineError as error:
            where = f"line {place + 1}: {error}: {redact(parse.quoted(lines[place]))}"
            raise CollectError("parse", where) from None

    def _sample(self, place: int, line: bytes) -> None:
        head, _, text = line.rpartition(b" ")
        entry = self._heads.get(head)
        if entry is not None:
            value = parse.number(text)
        else:
            entry, value = self._unknown(place, line)
        self.known[place] = entry
        self.samples += 1
        _, family, labels = entry
        if family is not self._family:
            self._family = family
            self._rows = self.seen.setdefault(family, set())
        if labels in self._rows or (not labels and family.name in self._reserved):
            self.flags[place] |= _DUPLICATE
            return
        self._rows.add(labels)
        self.updates.append(Update(family, labels, value, self._at, self._scope))

    def _unknown(self, place: int, line: bytes) -> tuple[Known, float]:
        """A line whose head is new, or is not all before the last space."""
        name, labels, end = parse.head(line)
        tail = parse.tail(line, end)
        if tail.stamped:
            self.flags[place] |= _STAMPED
        head = line[: tail.start]
        if head.endswith(b" "):
            head = head[:-1]
        elif not head.endswith((b"}", b"\t")):
            raise parse.LineError("no space before the value")
        entry = self._heads.get(head)
        if entry is None:
            entry = Known(len(head), *self._naming.series(name, labels, self._announced))
        return entry, tail.value


def _heads(reading: Reading | None) -> dict[bytes, Known]:
    """What the text before each value meant in a reading."""
    if reading is None:
        return {}
    return {line[: entry.end]: entry for line, entry in zip(reading.lines, reading.known, strict=True) if entry is not None}


def _value_after(line: bytes, end: int) -> tuple[float, int]:
    """Value and flag of a line whose name and labels end at `end`. Raises LineError where it is another series, or broken."""
    text = line[end + 1 :]
    if line[end : end + 1] == b" " and len(text) < _SHORT and not text.strip(parse.DIGITS):
        try:
            value = float(text)
        except ValueError:
            raise parse.LineError("the value is not a number") from None
        if -_INFINITY < value < _INFINITY:
            return value, 0
    # `a` is the head of `a 1`, not of `a1 5`
    if line[end - 1 : end] not in _ENDS and line[end : end + 1] not in _BLANKS:
        raise parse.LineError("another series")
    tail = parse.tail(line, end)
    return tail.value, _STAMPED if tail.stamped else 0
