"""One entry of the queue on its way: what is left to send of it, and how it is taken apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic

from agent.model import Block, Retry
from agent.spool.entry import Entry, Item
from agent.wire.probe import probe
from agent.wire.split import halves, single

MOST_SPLITS = 256
"""Halvings of one block; what is refused as too large after that is dropped whole, or a receiver that
refuses everything would be asked twice for every sample."""
MOST_BISECTIONS = 32
"""Requests that may be spent on finding what is bad in one refused block."""
POISON_TRIES = 5
POISON_SECONDS = 60.0
"""So many server errors over so long a time may be the block's own fault."""
POISON_MEMORY_SECONDS = 600.0
"""How long a block that was at fault makes the next one suspect at once."""


@dataclass(slots=True)
class Parcel(Generic[Item]):
    """An entry and its parts; a part that is to be sent again stays the first."""

    entry: Entry[Item]
    parts: deque[Item] = field(default_factory=deque)
    splits: int = 0
    asked: int = 0
    """Requests spent on finding what is bad in it."""
    bad: bool = False
    """The receiver refused it, or a part of it: from now on every request is counted in `asked`."""
    in_doubt: bool = False
    """A form was not understood, and the simpler one was refused too: it was the data, not the form."""
    fallen: bool = False
    """It was put into a simpler form: it stays there."""
    failures: int = 0
    failing_since: float = 0.0
    proof: Item | None = None
    """A sample of it that was accepted while the whole met server errors."""
    doubted: Item | None = None
    """The part of it that the last server error was for, while it is taken apart."""

    def __post_init__(self) -> None:
        self.parts.append(self.entry.item)

    @property
    def begun(self) -> bool:
        """Whether something would be forgotten if it were begun anew."""
        return bool(self.splits or self.bad or self.fallen or self.failures)

    def halve(self, *, largest: int) -> bool:
        """Put the first part's halves in its place; False where it is one record or was halved `largest` times.

        Raises ValueError for bytes that are none of ours.
        """
        part = self.parts[0]
        if not isinstance(part, Block) or self.splits >= largest:
            return False
        found = halves(part)
        if len(found) < 2:
            return False
        self.splits += 1
        self.parts.popleft()
        self.parts.extendleft(reversed(found))
        return True

    def bisect(self) -> bool:
        """Halve a refused part; False where the requests do not suffice to try everything that would be left.

        So every part is sent at least once, and what was never refused is never dropped.
        """
        self.bad = True
        if self.asked + len(self.parts) + 1 > MOST_BISECTIONS:
            return False
        return self.halve(largest=MOST_SPLITS)

    def is_suspect(self, outcome: Retry, now: float, *, lately: bool) -> bool:
        """Note a failed try; whether the block itself may be what the receiver fails at.

        `lately`: another block was, not long ago. Then a second try is enough, or a series that is bad in every flush would
        cost a minute of each, and the queue would never get shorter.
        """
        if len(outcome.code) != 3 or outcome.code[0] != "5":
            self.failures = 0
            return False
        if not self.failures:
            self.failing_since = now
        self.failures += 1
        if lately:
            return self.failures > 1
        return self.failures >= POISON_TRIES and now - self.failing_since >= POISON_SECONDS

    def probes(self, now: float) -> Iterator[Item]:
        """Samples to tell a bad block from a receiver that is down, or whose storage is.

        Single records of the block first: a sample that is sent twice is the same sample, and out of order with
        nothing. Then a fresh one of our own, for a block of which nothing is accepted.
        """
        part = self.parts[0]
        if isinstance(part, Block):
            with suppress(ValueError):
                if part.samples > 1:
                    # A record of metadata alone is accepted by a receiver that can store no sample.
                    yield from (found for found in (single(part, 0), single(part, -1)) if found.samples)
                yield probe(part, int(now * 1000))
