"""Observations that were told apart from their own delivery: nobody delivers them again if their commit fails."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from agent.model import Note
from agent.sources.github.counting import Counted

MOST = 100_000
"""Jobs; the oldest are given up first."""


class Unsettled:
    """Jobs that were counted after they had waited, told again at every turn until one of those is known to be committed."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[int, tuple[int, Counted]] = OrderedDict()
        """Job id -> (the first turn that tells it, as what)."""
        self._turn = 1

    def __contains__(self, job_id: int) -> bool:
        """Whether a job was counted, and the ledger may not have it yet: its note must not become another's."""
        return job_id in self._jobs

    def add(self, job_id: int, counted: Counted) -> None:
        """It was counted just now."""
        self._jobs[job_id] = (self._turn, counted)
        self._jobs.move_to_end(job_id)
        while len(self._jobs) > MOST:
            self._jobs.popitem(last=False)

    def drop(self, turn: int) -> None:
        """That turn, and so all before it, is in the ledger."""
        while self._jobs and next(iter(self._jobs.values()))[0] <= turn:
            self._jobs.popitem(last=False)

    def told(self) -> Sequence[Counted]:
        """All of them."""
        return [counted for _, counted in self._jobs.values()]

    def notes(self) -> Iterator[Note]:
        """They wait no more."""
        return (Note(f"job:{job_id}", None) for job_id in self._jobs)

    def turn(self) -> int:
        """The number of the turn that ends now."""
        self._turn += 1
        return self._turn - 1
