"""What one scrape says, read with the help of the one before: known text is compared, not parsed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from operator import ne
from typing import NamedTuple

from anyio.lowlevel import checkpoint

from agent.errors import CollectError
from agent.model import Family, Update
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
    """What is new in a reading, and whether that is every series there is."""

    reading: Reading
    updates: list[Update]
    whole: bool


class Reader:
    """Reads the expositions of one target, whose scope is `scope`.

    `reserved`: names of label-less series that are not the target's to set. `max_samples`: 0 = no limit.
    """

    def __init__(self, scope: str, naming: Naming, reserved: frozenset[str], max_samples: int) -> None:
        self._scope = scope
        self._naming = naming
        self._reserved = reserved
        self._max_samples = max_samples
        self._heads: dict[bytes, Known] = {}
        """A cache: every head of the last full reading."""

    async def read(self, body: bytes, previous: Reading | None, at: float) -> News:
        """`body` against `previous`, what was read before; None: list everything. `at`: the time of the updates.

        Raises CollectError, kinds `parse` and `samples`, naming the line.
        """
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n").removesuffix(b"\r")
        lines = body.split(b"\n")
        await checkpoint()
        if previous is not None and len(lines) == len(previous.lines):
            news = await self._changes(lines, previous, at)
            if news is not None:
                return news
        return await self._listing(lines, at)

    async def _changes(self, lines: list[bytes], previous: Reading, at: float) -> News | None:
        """The values that differ; None where more than values does."""
        changed = list(compress(range(len(lines)), map(ne, lines, previous.lines)))
        await checkpoint()
        known, flags, scope = previous.known, bytearray(previous.flags), self._scope
        updates: list[Update] = []
        try:
            for first in range(0, len(changed), STEP):
                for place in changed[first : first + STEP]:
                    entry = known[place]
                    if entry is None:
                        return None
                    line = lines[place]
                    # The hot loop of a scrape: the shape that nearly every line has is settled right here.
                    head, _, text = line.rpartition(b" ")
                    if head == entry.head:
                        value, stamped = parse.number(text), 0
                    else:
                        value, stamped = _value_after(line, entry.head)
                    flag = flags[place]
                    if flag != stamped:
                        flags[place] = flag & _DUPLICATE | stamped
                        if flag & _DUPLICATE:
                            continue
                    updates.append(Update(entry.family, entry.labels, value, at, scope))
                await checkpoint()
        except parse.LineError:
            return None  # another series, or a broken line: the listing tells which
        return News(Reading(lines, known, flags, previous.samples), updates, False)

    async def _listing(self, lines: list[bytes], at: float) -> News:
        """Everything; heads seen before cost one look-up."""
        walk = _Walk(self._naming, self._heads, self._reserved, len(lines), self._scope, at)
        for first in range(0, len(lines), STEP):
            walk.take(lines, first, min(first + STEP, len(lines)))
            if self._max_samples and walk.samples > self._max_samples:
                raise CollectError("samples", f"more samples than max_samples, {self._max_samples}")
            await checkpoint()
        self._heads = walk.heads
        self._naming.keep({update.family for update in walk.updates})
        return News(Reading(lines, walk.known, walk.flags, walk.samples), walk.updates, True)


class _Walk:
    """A full reading in progress."""

    def __init__(
        self, naming: Naming, heads: dict[bytes, Known], reserved: frozenset[str], lines: int, scope: str, at: float
    ) -> None:
        self._naming = naming
        self._scope = scope
        self._at = at
        self._old = heads
        self._reserved = reserved
        self._announced = Announcements()
        self._seen: set[tuple[Family, tuple[str, ...]]] = set()
        self.heads: dict[bytes, Known] = {}
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
        entry = self._old.get(head)
        if entry is not None:
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
        self.updates.append(Update(entry.family, entry.labels, value, self._at, self._scope))

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


def _value_after(line: bytes, head: bytes) -> tuple[float, int]:
    """Value and flag of a line that begins with `head`. Raises LineError where it is another series, or broken."""
    # `a` is the head of `a 1`, not of `a1 5`
    after = line[len(head) : len(head) + 1]
    if not line.startswith(head) or not (head.endswith((b"}", b" ", b"\t")) or after in (b" ", b"\t")):
        raise parse.LineError("another series")
    tail = parse.tail(line, len(head))
    return tail.value, _STAMPED if tail.stamped else 0


def complete_openmetrics(body: bytes) -> bool:
    """Whether an OpenMetrics exposition is all there: it ends in `# EOF`."""
    return body.rstrip(b"\r\n").endswith(b"# EOF")
