"""Which of the runs on a list are news: what began after the last look, or has not ended."""

from __future__ import annotations

from collections.abc import Sequence

from agent.sources.github.api import Json
from agent.sources.github.payload import seconds
from agent.sources.github.places import Open, Place
from agent.sources.github.windows import attempt_of, created_of, has_ended, started_of

NEW_SECONDS = 7200.0
"""A repository that is younger when it is first seen is read from its beginning on."""


class News:
    """The runs found in one repository at one poll, against what is known of it."""

    def __init__(self, place: Place, start: float) -> None:
        self._place = place
        self._start = start
        self.listed: dict[int, Json] = {}
        self.opened: dict[int, Open] = {}

    def is_one(self, run: Json, since: float) -> bool:
        """Whether there is something to count of it, now or later, that is not known of yet."""
        number = run["id"]
        if number in self._place.open:
            return False
        if not has_ended(run):
            return True
        done = self._place.done.get(number)
        return started_of(run) >= since and (done is None or done.attempt < attempt_of(run))

    def is_rerun(self, run: Json, since: float) -> bool:
        """Whether it is one, or a run that has not ended: the first attempts of older runs are known."""
        return self.is_one(run, since) and (attempt_of(run) > 1 or not has_ended(run))

    def take(self, runs: Sequence[Json], since: float, before: float) -> None:
        """Those of them that are news; of what was created at `before` or later others take care."""
        since_then = max(since, self._start)
        for run in runs:
            number = run["id"]
            if self.is_one(run, since) and created_of(run) < before and number not in self.opened:
                done = self._place.done.get(number)
                first = done.attempt + 1 if done else 1 if created_of(run) >= since_then else 0
                self.listed[number] = run
                self.opened[number] = Open(first, since_then)


def new_place(repository: Json, start: float, now: float) -> Place:
    """A repository that is seen for the first time: its runs count from now on, or from its beginning if that was just now.

    `start`: when the agent first began, seconds since the epoch.
    """
    created = seconds(repository.get("created_at")) or 0.0
    mark = max(start, created) if now - NEW_SECONDS <= created <= now else now
    return Place(mark, mark)
