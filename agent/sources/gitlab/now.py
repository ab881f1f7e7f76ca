"""Pipelines that have not ended: which of them are asked for, and what the next life has to know of them again.

Whatever is held here ends by itself after a while. Notes are given anew each time a pipeline is heard of, for the commit
that was to take them may have failed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from agent.model import Note
from agent.sources.gitlab import labels
from agent.sources.gitlab.objects import Job, Pipeline

OPEN = "open:"
"""Notes by pipeline."""
MOST = 100_000
"""The oldest are given up first."""
KEEP_SECONDS = 30 * 86400.0
"""How long one is waited for. The ledger knows keys for a little longer, so that what ends late does not count twice."""

K = TypeVar("K")
Standing = dict[str, tuple[int, int]]
"""Label `status` -> (how many, when the oldest of them was created)."""


class Open(NamedTuple):
    """A pipeline that has not ended."""

    project: int
    created: int
    heard: float
    """When it was first heard of, by the agent's clock."""
    place: str
    """What at most so many are followed of: a ref, or the children of one pipeline."""
    is_registered: bool
    """Whether it was there before its project was counted."""
    is_followed: bool = True
    status: str = ""
    """"" = not heard since the agent's start."""
    updated: int = 0
    jobs: Standing | None = None
    """Of its jobs, as they were last read, those that had not ended."""


class Unfinished:
    """By pipeline. `most_per_place`: how many of one place are followed, the newest."""

    def __init__(self, most_per_place: int) -> None:
        self._most_per_place = most_per_place
        self._open: OrderedDict[int, Open] = OrderedDict()
        """By when they were first heard of."""
        self._projects: dict[int, set[int]] = {}
        self._followed: dict[tuple[int, str], set[int]] = {}
        """By project and place."""
        self.abandoned = 0
        """Given up, since the agent's start."""

    def restore(self, notes: Mapping[str, str]) -> None:
        """Take up what an earlier life noted; broken notes are left out."""
        found = []
        for number, value in numbered(notes, OPEN):
            try:
                project, created, heard, place, registered, followed = json.loads(value)
                if isinstance(project, int) and isinstance(created, int) and isinstance(place, str):
                    found.append((number, Open(project, created, float(heard), place, bool(registered), bool(followed))))
            except (ValueError, TypeError, RecursionError, OverflowError):
                continue
        for number, one in sorted(found, key=lambda item: item[1].heard):
            self._put(number, one)

    def get(self, number: int) -> Open | None:
        """What is known of it."""
        return self._open.get(number)

    def put(self, pipeline: Pipeline, project: int, now: float, place: str, *, is_registered: bool) -> Iterator[Note]:
        """It has not ended yet. What was said of it later is not overwritten by what was said before."""
        held = self._open.get(pipeline.id) or Open(project, pipeline.created, now, place, is_registered)
        if pipeline.updated >= held.updated:
            held = held._replace(status=pipeline.status, updated=pipeline.updated)
        held = held._replace(is_registered=is_registered)
        self._put(pipeline.id, held)
        yield self._note(pipeline.id)
        yield from self._bound(held)
        while len(self._open) > MOST:
            yield self._give_up(next(iter(self._open)))

    def read(self, number: int, jobs: Iterable[Job]) -> bool:
        """Its jobs as they are; whether that is news."""
        held, standing = self._open.get(number), standing_of(jobs)
        if held is None or held.jobs == standing:
            return False
        self._open[number] = held._replace(jobs=standing)
        return True

    def end(self, number: int) -> Note:
        """It is over, or there is none any more."""
        held = self._open.pop(number, None)
        if held is not None:
            _discard(self._projects, held.project, number)
            _discard(self._followed, (held.project, held.place), number)
        return Note(f"{OPEN}{number}", None)

    def of(self, project: int) -> list[int]:
        """All of a project, the oldest first."""
        return sorted(self._projects.get(project, ()))

    def followed(self, project: int) -> list[int]:
        """Those of a project that are asked for until they end."""
        return [number for number in self.of(project) if self._open[number].is_followed]

    def expire(self, now: float) -> Iterator[tuple[int, Note]]:
        """Those that were waited for in vain: (project, note)."""
        while self._open:
            number, held = next(iter(self._open.items()))
            if now - held.heard <= KEEP_SECONDS:
                return
            yield held.project, self._give_up(number)

    def standing(self, project: int) -> tuple[Standing, Standing]:
        """Of a project's pipelines that are followed until they end, and of their jobs.

        Of others nobody would hear that they are gone.
        """
        pipelines: Standing = {}
        jobs: Standing = {}
        for number in self.followed(project):
            held = self._open[number]
            if held.status:
                _add(pipelines, labels.status(held.status), 1, held.created)
            for status, (count, oldest) in (held.jobs or {}).items():
                _add(jobs, status, count, oldest)
        return pipelines, jobs

    def _put(self, number: int, held: Open) -> None:
        self._open[number] = held
        self._projects.setdefault(held.project, set()).add(number)
        if held.is_followed:
            self._followed.setdefault((held.project, held.place), set()).add(number)

    def _bound(self, held: Open) -> Iterator[Note]:
        """Follow the newest of one place only. What is heard of the others counts all the same."""
        followed = self._followed.get((held.project, held.place), set())
        while len(followed) > self._most_per_place:
            number = min(followed)
            followed.remove(number)
            self._open[number] = self._open[number]._replace(is_followed=False)
            self.abandoned += 1
            yield self._note(number)

    def _give_up(self, number: int) -> Note:
        self.abandoned += self._open[number].is_followed
        return self.end(number)

    def _note(self, number: int) -> Note:
        project, created, heard, place, registered, followed = self._open[number][:6]
        value = [project, created, heard, place, int(registered), int(followed)]
        return Note(f"{OPEN}{number}", json.dumps(value, separators=(",", ":")))


def _discard(sets: dict[K, set[int]], key: K, number: int) -> None:
    numbers = sets.get(key, set())
    numbers.discard(number)
    if not numbers:
        sets.pop(key, None)


def standing_of(jobs: Iterable[Job]) -> Standing:
    """Of those that have not ended."""
    found: Standing = {}
    for job in jobs:
        if not job.is_final:
            _add(found, labels.status(job.status), 1, job.created)
    return found


def numbered(notes: Mapping[str, str], prefix: str) -> Iterator[tuple[int, str]]:
    """(number, value) of the notes whose keys are this prefix and a number."""
    for key, value in notes.items():
        number = key.removeprefix(prefix)
        if number != key and number.isascii() and number.isdecimal() and len(number) < 20:
            yield int(number), value


def _add(standing: Standing, status: str, count: int, created: int) -> None:
    before, oldest = standing.get(status, (0, created))
    standing[status] = (before + count, min(oldest, created))
