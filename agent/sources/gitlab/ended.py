"""Pipelines that counted, and at which end: what ends after that is a retry.

The first end is told again whenever its pipeline is heard of within a day, for its commit may have failed; a note goes
with it, so that the next life tells a retry from a first end as well.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from agent.model import Note
from agent.sources.gitlab.now import KEEP_SECONDS, numbered
from agent.sources.gitlab.objects import Pipeline

ENDED = "ended:"
"""Notes by pipeline."""
MOST = 100_000
"""The oldest are forgotten first; a retry of one of those is not counted."""
FIRM_SECONDS = 86400.0
"""A commit that has failed for so long fails for good."""


class Ended(NamedTuple):
    """The first end of a pipeline."""

    finished: int
    """Seconds since the epoch by GitLab's clock; 0 = GitLab does not tell, as of those that were skipped."""
    heard: float
    """When it was heard of, by the agent's clock."""
    is_registered: bool
    """Whether it was there before its project was counted."""


class Endings:
    """By pipeline."""

    def __init__(self) -> None:
        self._ended: OrderedDict[int, Ended] = OrderedDict()
        self._firsts: OrderedDict[int, Pipeline] = OrderedDict()
        """As they were at their first end; those of the last day."""

    def restore(self, notes: Mapping[str, str]) -> None:
        """Take up what an earlier life noted; broken notes are left out."""
        found = []
        for number, value in numbered(notes, ENDED):
            try:
                finished, heard, registered = json.loads(value)
                if isinstance(finished, int):
                    found.append((number, Ended(finished, float(heard), bool(registered))))
            except (ValueError, TypeError, RecursionError, OverflowError):
                continue
        self._ended.update(sorted(found, key=lambda item: item[1].heard))

    def get(self, number: int) -> Ended | None:
        """When it first ended; None = it has not, as far as is known."""
        return self._ended.get(number)

    def first(self, number: int) -> Pipeline | None:
        """What it was like then, if that was within the last day."""
        return self._firsts.get(number)

    def is_before_end(self, pipeline: Pipeline) -> bool:
        """Whether this is older word of a pipeline than that of its first end. What was in one second is older."""
        first = self._firsts.get(pipeline.id)
        return first is not None and pipeline.updated <= first.updated

    def put(self, pipeline: Pipeline, now: float, *, is_registered: bool) -> None:
        """It has ended, for the first time."""
        self._ended[pipeline.id] = Ended(pipeline.finished or 0, now, is_registered)
        self._firsts[pipeline.id] = pipeline

    def note(self, number: int) -> Note:
        """What the next life has to know of it."""
        finished, heard, registered = self._ended[number]
        return Note(f"{ENDED}{number}", json.dumps([finished, heard, int(registered)], separators=(",", ":")))

    def expire(self, now: float) -> Iterator[Note]:
        """Forget what is old, or too much."""
        while self._firsts:
            number = next(iter(self._firsts))
            if number in self._ended and now - self._ended[number].heard <= FIRM_SECONDS:
                break
            del self._firsts[number]
        while self._ended:
            number, ended = next(iter(self._ended.items()))
            if now - ended.heard <= KEEP_SECONDS and len(self._ended) <= MOST:
                return
            del self._ended[number]
            yield Note(f"{ENDED}{number}", None)
