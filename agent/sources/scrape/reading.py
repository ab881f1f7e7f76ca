"""What one scrape says, read with the help of the one before: known text is compared, not parsed."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne
from typing import NamedTuple

from anyio.lowlevel import checkpoint

from agent.errors import CollectError
from agent.model import Family
from agent.secret import redact
from agent.sources.scrape import parse
from agent.sources.scrape.naming import Announcements, Naming

STEP = 2_000
"""Lines between two chances for others to run: parsing that many takes about 5 ms."""
_STAMPED = 1
_DUPLICATE = 2


class Known(NamedTuple):
    """A series as it stands in the exposition: the text before its value, and what that means."""

    head: bytes
    family: Family
    labels: tuple[str, ...]


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
    """What is new in a reading: the values of `series`, and whether that is every series there is."""

    reading: Reading
    series: Sequence[Known]
    values: Sequence[float]
    whole: bool


class Reader:
    """Reads the expositions of one target. `reserved`: names of label-less series that are not the target's to set."""

    def __init__(self, naming: Naming, reserved: frozenset[str], max_samples: int) -> None:
        self._naming = naming
        self._reserved = reserved
        self._max_samples = max_samples
        self._heads: dict[bytes, Known] = {}
        """A cache: every head of the last full reading."""

    async def read(self, body: bytes, previous: Reading | None) -> News:
        """`body` against `previous`, what was read before; None: list everything.

        Raises CollectError, kinds `parse` and `samples`, naming the line.
        """
        lines = body.split(b"\n")
        await checkpoint()
        if previous is not None and len(lines) == len(previous.lines):
            news = await self._changes(lines, previous)
            if news is not None:
                return news
        return await self._listing(lines)

    async def _changes(self, lines: list[bytes], previous: Reading) -> News | None:
        """The values that differ; None where more than values does."""
        changed = array("I", compress(range(len(lines)), map(ne, lines, previous.lines)))
        await checkpoint()
        known, flags = previous.known, bytearray(previous.flags)
        series: list[Known] = []
        values: list[float] = []
        for first in range(0, len(changed), STEP):
            for place in changed[first : first + STEP]:
                entry = known[place]
                if entry is None:
                    return None
                value = _fast_value(lines[place], entry.head)
                if value is None:
                    slow = _slow_value(lines[place], entry.head)
                    if slow is None:
                        return None
                    value = slow.value
                    flags[place] = flags[place] & _DUPLICATE | slow.stamped
                else:
                    flags[place] &= _DUPLICATE
                if not flags[place] & _DUPLICATE:
                    series.append(entry)
                    values.append(value)
            await checkpoint()
        return News(Reading(lines, known, flags, previous.samples), series, values, False)

    async def _listing(self, lines: list[bytes]) -> News:
        """Everything; heads seen before cost one look-up."""
        walk = _Walk(self._naming, self._heads, self._reserved, len(lines))
        for first in range(0, len(lines), STEP):
            walk.take(lines, first, min(first + STEP, len(lines)))
            if self._max_samples and walk.samples > self._max_samples:
                raise CollectError("samples", f"more samples than max_samples, {self._max_samples}")
            await checkpoint()
        self._heads = walk.heads
        self._naming.keep({entry.family for entry in walk.series})
        return News(Reading(lines, walk.known, walk.flags, walk.samples), walk.series, walk.values, True)


class _Walk:
    """A full reading in progress."""

    def __init__(self, naming: Naming, heads: dict[bytes, Known], reserved: frozenset[str], lines: int) -> None:
        self._naming = naming
        self._old = heads
        self._reserved = reserved
        self._announced = Announcements()
        self._seen: set[tuple[Family, tuple[str, ...]]] = set()
        self.heads: dict[bytes, Known] = {}
        self.known: list[Known | None] = [None] * lines
        self.flags = bytearray(lines)
        self.samples = 0
        self.series: list[Known] = []
        self.values: list[float] = []

    def take(self, lines: list[bytes], first: int, end: int) -> None:
        """Read lines `first` to `end`. Raises CollectError naming a bad one."""
        place = first
        try:
            for place in range(first, end):
                line = lines[place]
                start = line.lstrip(b" \t\r")[:1]
                if start == b"#":
                    self._announced.note(line)
                elif start:
                    self._sample(place, line)
        except parse.LineError as error:
            where = f"line {place + 1}: {error}: {redact(parse.quoted(lines[place]))}"
            raise CollectError("parse", where) from None

    def _sample(self, place: int, line: bytes) -> None:
        head, _, text = line.rpartition(b" ")
        entry = self._old.get(head)
        if entry is not None and not text.strip(b"0123456789."):
            value = parse.number(text)
        else:
            entry, value = self._unknown(place, line)
        self.heads[entry.head] = self.known[place] = entry
        self.samples += 1
        identity = entry[1:]
        if identity in self._seen or (not entry.labels and entry.family.name in self._reserved):
            self.flags[place] |= _DUPLICATE
            return
        self._seen.add(identity)
        self.series.append(entry)
        self.values.append(value)

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
        entry = self._old.get(head) or self.heads.get(head)
        if entry is None:
            entry = Known(head, *self._naming.series(name, labels, self._announced))
        return entry, tail.value


def _fast_value(line: bytes, head: bytes) -> float | None:
    """The value of a line that is `head`, a space and a plain number; else None."""
    start, _, text = line.rpartition(b" ")
    if start != head or text.strip(b"0123456789.eE+-"):
        return None
    try:
        return parse.number(text)
    except parse.LineError:
        return None


def _slow_value(line: bytes, head: bytes) -> parse.Tail | None:
    """The value of any other line that begins with `head`; None where it is no such line, or a broken one."""
    if not line.startswith(head):
        return None
    # `a` is the head of `a 1`, not of `a1 5`
    if not head.endswith((b"}", b" ", b"\t")) and line[len(head) : len(head) + 1] not in (b" ", b"\t"):
        return None
    try:
        return parse.tail(line, len(head))
    except parse.LineError:
        return None


def complete_openmetrics(body: bytes) -> bool:
    """Whether an OpenMetrics exposition is all there: it ends in `# EOF`."""
    return body.rstrip(b"\r\n").endswith(b"# EOF")
