"""What one collect brings while it is gathered, and when it has brought enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from agent.errors import CollectError
from agent.model import Collected, Note, Observation, Update
from agent.net.words import escaped

MAX_OBSERVATIONS = 5000
"""A collect that has so many ends, and the next goes on."""
SPARE = 0.3
"""Share of its time that a collect leaves for what is under way when it stops beginning anything new."""
MAX_PROBLEMS = 5
"""Named on the status page; of the others the number."""


class Digest(Protocol):
    """What the engine made of something."""

    @property
    def observations(self) -> Sequence[Observation]:
        """What happened."""
        ...

    @property
    def notes(self) -> Sequence[Note]:
        """What has to be known again after a restart."""
        ...

    @property
    def updates(self) -> Sequence[Update]:
        """Gauges that go with them."""
        ...


@dataclass
class Gathered:
    """Observations, notes and problems of one collect."""

    stop_at: float
    """By the event loop's clock; see `stop_at`."""
    observations: list[Observation] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)
    updates: list[Update] = field(default_factory=list)
    problems: list[CollectError] = field(default_factory=list)
    is_limited: bool = False
    """Whether GitHub's limit is used up."""
    listed: int = 0
    """Lists that could be read."""

    @property
    def is_over(self) -> bool:
        """Whether nothing new is to be begun."""
        return self.is_limited or len(self.observations) >= MAX_OBSERVATIONS or anyio.current_time() >= self.stop_at

    def add(self, digest: Digest) -> None:
        """Something was read."""
        self.observations += digest.observations
        self.updates += digest.updates
        self.notes.update({note.key: note for note in digest.notes})

    def failed(self, where: str, error: CollectError) -> None:
        """Something could not be read; the rest goes on, but for a limit."""
        if error.kind == "rate_limit":
            if not self.is_limited:
                self.problems.append(error)
            self.is_limited = True
        else:
            self.problems.append(CollectError(error.kind, f"{where}: {error}"))

    def collected(self, cursor: str, words: Sequence[str]) -> Collected:
        """All of it; `words`: further problems. Raises CollectError where there were problems and no list could be read."""
        if self.problems and not self.listed:
            raise self.problems[0]
        said = [word for word in (*words, *map(str, self.problems)) if word]
        more = f"; and {len(said) - MAX_PROBLEMS} more" if len(said) > MAX_PROBLEMS else ""
        problem = escaped("; ".join(said[:MAX_PROBLEMS])) + more
        notes = list(self.notes.values())
        return Collected(self.updates, observations=self.observations, notes=notes, cursor=cursor, problem=problem)


def stop_at() -> float:
    """When a collect that begins now has used so much of its time that nothing new is to be begun."""
    now, deadline = anyio.current_time(), anyio.current_effective_deadline()
    return now + (deadline - now) * (1 - SPARE)
