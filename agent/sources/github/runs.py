"""The runs and jobs of every repository, read from the API: each attempt that ended is counted, whenever it began.

What a poll asks for: the first page of each repository's runs, free of charge while it is the same, and an idle
repository is asked nothing else. Where it has changed, each run that ended takes one request for its jobs, and so does
each that has not ended and has changed. A re-run of a run on that page is found at once; one further back is found by
walking through the last thirty days once an hour, where there are more than a hundred runs in them. After a time
without the agent the runs created in it are listed first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio

from agent.errors import CollectError, DeliveryError
from agent.model import Collected, Note, Observation, Update
from agent.net.words import escaped
from agent.sources.github.api import Api, Json
from agent.sources.github.attempts import Attempts, Engine, Listing, Workflows
from agent.sources.github.discover import Discovery
from agent.sources.github.memory import Memory
from agent.sources.github.news import News, has_ended, new_place
from agent.sources.github.places import MAX_OPEN, Done, Place, Progress, progress_of
from agent.sources.github.windows import Lists, attempt_of, spans_between, started_of

log = logging.getLogger(__name__)

OVERLAP_SECONDS = 600.0
"""A run may appear in GitHub's list so long after it began."""
RERUN_SECONDS = 30 * 86400.0
"""GitHub lets a run be re-run for thirty days (https://docs.github.com/en/actions/how-tos/manage-workflow-runs, "Re-running
workflows and jobs")."""
SWEEP_SECONDS = 3600.0
"""How often older runs are looked through for re-runs."""
SWEEP_SPAN_SECONDS = 6 * 86400
HOUR_SECONDS = 3600.0
AT_ONCE = 8
"""Repositories, and runs of one, that are read at one time; `Calls` bounds the requests."""
MAX_GLANCES = 100
"""Runs of one repository that have not ended whose jobs are read at a poll."""
MAX_OBSERVATIONS = 5000
"""A collect that has so many ends, and the next goes on."""
SPARE = 0.3
"""Share of its time that a collect leaves for what is under way when it stops beginning anything new."""
MAX_PROBLEMS = 5


@dataclass
class _Round:
    """What one collect brings, while it is gathered."""

    stop_at: float
    """By the event loop's clock."""
    observations: list[Observation] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)
    updates: list[Update] = field(default_factory=list)
    problems: list[CollectError] = field(default_factory=list)
    is_limited: bool = False
    listed: int = 0
    """Repositories whose runs could be listed."""

    @property
    def is_over(self) -> bool:
        """Whether nothing new is to be begun."""
        return self.is_limited or len(self.observations) >= MAX_OBSERVATIONS or anyio.current_time() >= self.stop_at

    def failed(self, where: str, error: CollectError) -> None:
        """Something could not be read; the rest goes on, but for a limit."""
        if error.kind == "rate_limit":
            if self.is_limited:
                return
            self.is_limited, where = True, ""
        self.problems.append(CollectError(error.kind, f"{where}: {error}" if where else str(error)))


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
        self._memory.begin(cursor)
        found = await self._discovery.repositories()
        for number, repository in found.repositories.items():
            progress.places.setdefault(number, new_place(repository, progress.start, now))
        if not found.problems:
            progress.places = {number: place for number, place in progress.places.items() if number in found.repositories}
            self._workflows = {n: names for n, names in self._workflows.items() if n in found.repositories}
        round_ = _Round(_stop_at())
        await self._read_all(found.repositories, progress, round_)
        if round_.problems and not round_.listed:
            raise round_.problems[0]
        if now - progress.at >= HOUR_SECONDS:
            progress.at = now
        text = progress.text()
        self._memory.end(text)
        words = [problem, *found.problems, *map(str, round_.problems)]
        return Collected(
            round_.updates,
            observations=round_.observations,
            notes=list(round_.notes.values()),
            cursor=text,
            problem=_joined([word for word in words if word]),
        )

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

    async def _read_all(self, repositories: Mapping[int, Json], progress: Progress, round_: _Round) -> None:
        """Every repository once, from where the last collect ended early."""
        numbers = sorted(repositories)
        begin = next((place for place, number in enumerate(numbers) if number > self._last), 0)
        todo = [*numbers[begin:], *numbers[:begin]][::-1]

        async def work() -> None:
            while todo and not round_.is_over:
                number = todo.pop()
                self._last = number
                await self._read(repositories[number], progress.places[number], progress.start, round_)

        async with anyio.create_task_group() as group:
            for _ in range(min(AT_ONCE, len(todo))):
                group.start_soon(work)
        if not todo:
            self._last = 0

    async def _read(self, repository: Json, place: Place, start: float, round_: _Round) -> None:
        """One repository."""
        name = repository["full_name"]
        workflows = self._workflows.setdefault(repository["id"], Workflows(self._api, name))
        lists = Lists(self._api, name, self._memory)
        attempts = Attempts(self._api, name, self._memory, workflows)
        try:
            found = await self._list(lists, place, start, round_)
            if place.open:
                await workflows.refresh(self._clock())
        except CollectError as error:
            round_.failed(name, error)
            return
        round_.listed += 1
        await self._look_at_all(repository, attempts, place, found, round_)
        if any(has_ended(run) and number in place.open for number, run in found.listed.items()):
            lists.answers.pop(lists.path, None)  # the page is needed again
        self._memory.keep(lists.answers | attempts.answers)

    # -- which runs ------------------------------------------------------------------------------------

    async def _list(self, lists: Lists, place: Place, start: float, round_: _Round) -> _Found:
        """Put every run with something to count among `open`; nothing of `place` changes where that fails."""
        now = self._clock()
        newest = await lists.newest()
        news = News(place, start)
        mark, swept = place.mark, place.swept
        if newest.runs is not None:
            left = await self._fill(lists, place, newest.oldest, news, round_)
            news.take(newest.runs, place.mark, float("inf") if left is None else left)
            news.listed.update({run["id"]: run for run in newest.runs if run["id"] in place.open})
            mark = max(mark, now - OVERLAP_SECONDS if left is None else left)
            if left is not None:
                del lists.answers[lists.path]  # the page is needed again
            elif newest.oldest <= now - RERUN_SECONDS:
                swept = mark
        if newest.oldest > now - RERUN_SECONDS and now - swept >= SWEEP_SECONDS:
            spans = spans_between(now - RERUN_SECONDS, newest.oldest, SWEEP_SPAN_SECONDS)
            walked = await lists.walk(spans, MAX_OPEN, lambda run: news.is_rerun(run, place.swept))
            news.take(walked.runs, place.swept, newest.oldest)
            _complain(walked.cut, lists.path, round_)
            swept = swept if walked.left else max(swept, now - OVERLAP_SECONDS)
        place.mark, place.swept = mark, swept
        place.open |= news.opened
        place.done = {number: done for number, done in place.done.items() if done.began >= (mark if done.attempt == 1 else swept)}
        return _Found(news.listed, newest.known if newest.runs is None else frozenset())

    async def _fill(self, lists: Lists, place: Place, oldest: float, news: News, round_: _Round) -> float | None:
        """List what was created between the mark and the first page; None = all of it, else where it went on."""
        if oldest <= place.mark:
            return None
        room = max(1, MAX_OPEN - len(place.open))
        walked = await lists.once().walk([(int(place.mark), int(oldest))], room, lambda run: news.is_one(run, place.mark))
        news.take(walked.runs, place.mark, float("inf"))
        _complain(walked.cut, lists.path, round_)
        return float(walked.left[0][0]) if walked.left else None

    # -- one run ---------------------------------------------------------------------------------------

    async def _look_at_all(self, repository: Json, attempts: Attempts, place: Place, found: _Found, round_: _Round) -> None:
        """Each open run: those that ended in the order in which they began, then those that have not."""

        def order(number: int) -> tuple[bool, float, int]:
            run = found.listed.get(number)
            return run is not None and not has_ended(run), 0.0 if run is None else started_of(run), number

        todo = sorted(place.open, key=order, reverse=True)
        turns = iter(range(MAX_GLANCES))

        async def work() -> None:
            while todo and not round_.is_over:
                number = todo.pop()
                try:
                    listings = await self._look(number, attempts, place, found, turns)
                except CollectError as error:
                    if error.kind == "missing":  # somebody deleted it
                        del place.open[number]
                    else:
                        round_.failed(f"{repository['full_name']}, run {number}", error)
                    continue
                for listing in listings:
                    self._count(repository, listing, round_)

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

    def _count(self, repository: Json, listing: Listing, round_: _Round) -> None:
        try:
            digest = self._engine.listed(repository, listing.run, listing.workflow, listing.jobs, self._clock())
        except DeliveryError as error:
            where = f"{repository['full_name']}, run {listing.run['id']}"
            round_.problems.append(CollectError("json", f"{where} cannot be read and is left out: {error}"))
            return
        round_.observations += digest.observations
        round_.updates += digest.updates
        round_.notes.update({note.key: note for note in digest.notes})


def _complain(cut: int, path: str, round_: _Round) -> None:
    if cut:
        problem = f"{path}: more than a thousand runs were created within one second; some are not counted"
        round_.problems.append(CollectError("size", problem))


def _stop_at() -> float:
    """When a collect has used so much of its time that nothing new is begun."""
    now, deadline = anyio.current_time(), anyio.current_effective_deadline()
    return now + (deadline - now) * (1 - SPARE)


def _joined(words: Sequence[str]) -> str:
    more = f"; and {len(words) - MAX_PROBLEMS} more" if len(words) > MAX_PROBLEMS else ""
    return escaped("; ".join(words[:MAX_PROBLEMS])) + more
