"""The runs and jobs of every repository, read from the API: each attempt that ended is counted, whenever it began.

What a poll asks for: the newest hundred runs of each repository, free of charge while they are the same; an idle
repository is asked nothing else. Where they have changed, each run that ended takes one request for its jobs, and so
does each that has not ended and has changed. A re-run of one of the hundred is found at once, one of an older run within
an hour or two (see `sweep`). After a time without the agent the runs created in it are listed first.

A run that was under way when the agent first began counts whole when it ends, with the jobs that ended before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import anyio

from agent.errors import CollectError, DeliveryError
from agent.model import Collected
from agent.sources.github.api import Api, Json
from agent.sources.github.attempts import Attempts, Engine, Listing, Workflows
from agent.sources.github.discover import Discovery
from agent.sources.github.gather import Gathered, stop_at
from agent.sources.github.memory import Memory
from agent.sources.github.news import News, new_place
from agent.sources.github.places import MAX_OPEN, Done, Place, Progress, progress_of
from agent.sources.github.sweep import OVERLAP_SECONDS, RERUN_SECONDS, Sweeps
from agent.sources.github.windows import Lists, attempt_of, has_ended, started_of

log = logging.getLogger(__name__)

HOUR_SECONDS = 3600.0
"""How exactly the cursor tells when the agent last asked: it is written where something is new."""
AT_ONCE = 8
"""Repositories, and runs of one, that are read at one time; `Calls` bounds the requests."""
MAX_GLANCES = 100
"""Runs of one repository that have not ended whose jobs are read at a poll."""


class _Found(NamedTuple):
    """Runs with something to count or to look at, by number."""

    listed: Mapping[int, Json]
    unchanged: frozenset[int]
    """Those of which it is known that they are as they were."""


class Runs:
    """A durable poller's collect. `max_gap`: the longest time without the agent that is made up for, seconds."""

    def __init__(
        self, api: Api, discovery: Discovery, engine: Engine, clock: Callable[[], float], max_gap: float = RERUN_SECONDS
    ) -> None:
        self._api = api
        self._discovery = discovery
        self._engine = engine
        self._clock = clock
        self._max_gap = max_gap
        self._memory = Memory()
        self._sweeps = Sweeps()
        self._workflows: dict[int, Workflows] = {}
        self._last = 0
        """The repository that was begun last where a collect ended early."""

    async def collect(self, cursor: object) -> Collected:
        """Count what ended since `cursor`. Raises CollectError where nothing at all could be read."""
        now = self._clock()
        progress, problem = progress_of(cursor, now)
        if problem:
            log.warning("runs: %s", problem)
        problem = problem or self._bounded(progress, now)
        if not self._memory.begin(cursor):
            self._sweeps.forget()
        found = await self._discovery.repositories()
        for number, repository in found.repositories.items():
            progress.places.setdefault(number, new_place(repository, progress.start, now))
        if not found.problems:
            progress.places = {number: place for number, place in progress.places.items() if number in found.repositories}
            self._workflows = {n: names for n, names in self._workflows.items() if n in found.repositories}
        gathered = Gathered(stop_at())
        await self._read_all(found.repositories, progress, gathered)
        if now - progress.at >= HOUR_SECONDS:
            progress.at = now
        text = progress.text()
        self._memory.end(text)
        return gathered.collected(text, [problem, *found.problems])

    def _bounded(self, progress: Progress, now: float) -> str:
        """Give up what is too long ago; says so."""
        gap = now - progress.at
        if gap <= self._max_gap + HOUR_SECONDS:
            return ""
        progress.at = now
        for place in progress.places.values():
            place.mark, place.swept = max(place.mark, now - self._max_gap), max(place.swept, now - self._max_gap)
        problem = (
            f"nothing was read for {gap / 86400:.1f} days; runs of the last {self._max_gap / 86400:.1f} days are made up for"
        )
        log.warning("runs: %s", problem)
        return problem

    async def _read_all(self, repositories: Mapping[int, Json], progress: Progress, gathered: Gathered) -> None:
        """Every repository once, from where the last collect ended early."""
        numbers = sorted(repositories)
        begin = next((place for place, number in enumerate(numbers) if number > self._last), 0)
        todo = [*numbers[begin:], *numbers[:begin]][::-1]

        async def work() -> None:
            while todo and not gathered.is_over:
                number = todo.pop()
                self._last = number
                await self._read(repositories[number], progress.places[number], progress.start, gathered)

        async with anyio.create_task_group() as group:
            for _ in range(min(AT_ONCE, len(todo))):
                group.start_soon(work)
        if not todo:
            self._last = 0

    async def _read(self, repository: Json, place: Place, start: float, gathered: Gathered) -> None:
        """One repository."""
        name = repository["full_name"]
        workflows = self._workflows.setdefault(repository["id"], Workflows(self._api, name))
        lists = Lists(self._api, name, self._memory)
        attempts = Attempts(self._api, name, self._memory, workflows)
        try:
            found = await self._list(repository, lists, place, start, gathered)
            if place.open:
                await workflows.refresh(self._clock())
        except CollectError as error:
            gathered.failed(name, error)
            return
        gathered.listed += 1
        await self._look_at_all(repository, attempts, place, found, gathered)
        if any(has_ended(run) and number in place.open for number, run in found.listed.items()):
            lists.answers.pop(lists.path, None)  # the page is needed again
        self._memory.keep(lists.answers | attempts.answers)

    # -- which runs ------------------------------------------------------------------------------------

    async def _list(self, repository: Json, lists: Lists, place: Place, start: float, gathered: Gathered) -> _Found:
        """Put every run with something to count among `open`; nothing of `place` changes where that fails."""
        now, news, number = self._clock(), News(place, start), repository["id"]
        mark, swept, newest = place.mark, place.swept, None
        if place.open or not self._sweeps.is_turn(number):
            newest = await lists.newest()
        if newest is not None and newest.runs is not None:
            left = await self._fill(lists, place, newest.oldest, news, gathered)
            news.take(newest.runs, place.mark, float("inf") if left is None else left)
            news.listed.update({run["id"]: run for run in newest.runs if run["id"] in place.open})
            # By GitHub's own clock: were ours ahead, what begins now would seem to be known.
            latest = min(now, max(map(started_of, newest.runs), default=now)) - OVERLAP_SECONDS
            mark = max(mark, latest if left is None else left)
            if left is not None:
                del lists.answers[lists.path]  # the page is needed again
            elif newest.oldest <= now - RERUN_SECONDS:
                swept = now - OVERLAP_SECONDS
        cut = await self._sweeps.go_on(number, lists, place, news, newest, now)
        _complain(cut, lists.path, gathered)
        place.mark, place.swept = mark, max(place.swept, swept)
        place.open |= news.opened
        place.done = {run: done for run, done in place.done.items() if done.began >= (mark if done.attempt == 1 else place.swept)}
        return _Found(news.listed, newest.under_way if newest is not None and newest.runs is None else frozenset())

    async def _fill(self, lists: Lists, place: Place, oldest: float, news: News, gathered: Gathered) -> float | None:
        """List what was created between the mark and the first page; None = all of it, else where it went on."""
        if oldest <= place.mark:
            return None
        room = max(1, MAX_OPEN - len(place.open))
        gap = (int(place.mark), int(oldest))
        walked = await lists.once().walk([gap], lambda run: news.is_one(run, place.mark), most=room)
        news.take(walked.runs, place.mark, float("inf"))
        _complain(walked.cut, lists.path, gathered)
        return min((float(span[0]) for span in walked.left if isinstance(span, tuple)), default=None)

    # -- one run ---------------------------------------------------------------------------------------

    async def _look_at_all(self, repository: Json, attempts: Attempts, place: Place, found: _Found, gathered: Gathered) -> None:
        """Each open run: those that ended in the order in which they began, then those that have not."""

        def order(number: int) -> tuple[bool, float, int]:
            run = found.listed.get(number)
            return run is not None and not has_ended(run), 0.0 if run is None else started_of(run), number

        todo = sorted(place.open, key=order, reverse=True)
        turns = iter(range(MAX_GLANCES))

        async def work() -> None:
            while todo and not gathered.is_over:
                number = todo.pop()
                try:
                    listings = await self._look(number, attempts, place, found, turns)
                except CollectError as error:
                    if error.kind == "missing":  # somebody deleted it
                        del place.open[number]
                    else:
                        gathered.failed(f"{repository['full_name']}, run {number}", error)
                    continue
                for listing in listings:
                    self._count(repository, listing, gathered)

        async with anyio.create_task_group() as group:
            for _ in range(min(AT_ONCE, len(todo))):
                group.start_soon(work)

    async def _look(
        self, number: int, attempts: Attempts, place: Place, found: _Found, turns: Iterator[int]
    ) -> Sequence[Listing]:
        """What is new of one run; what is still to be counted of it is noted in `place`."""
        entry = place.open[number]
        run = found.listed.get(number)
        if run is None and not (number in found.unchanged and entry.first):
            run = await attempts.run(number, is_known=entry.first > 0)
        if run is not None and (has_ended(run) or entry.first != attempt_of(run)):
            looked = await attempts.look(run, entry, self._clock())
            if looked.open is None:
                del place.open[number]
            else:
                place.open[number] = looked.open
            if looked.counted:
                place.done[number] = Done(looked.counted, started_of(run))
            return looked.listings
        if next(turns, None) is None:
            return ()
        listing = await attempts.glance(number, entry.first, run)
        return () if listing is None else (listing,)

    def _count(self, repository: Json, listing: Listing, gathered: Gathered) -> None:
        try:
            digest = self._engine.listed(repository, listing.run, listing.workflow, listing.jobs, self._clock())
        except DeliveryError as error:
            where = f"{repository['full_name']}, run {listing.run['id']}"
            gathered.failed(where, CollectError("json", f"cannot be read and is left out: {error}"))
            return
        gathered.add(digest)


def _complain(cut: int, path: str, gathered: Gathered) -> None:
    if cut:
        problem = f"{path}: more than a thousand runs were created within one second; some are not counted"
        gathered.problems.append(CollectError("size", problem))
