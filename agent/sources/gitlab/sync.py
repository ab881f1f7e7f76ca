"""The pipelines and jobs of every project, read from the API: each that ended is counted, whenever it began.

A poll asks for what has changed since the last one, a hundred projects a request, then for the jobs of the pipelines
that did. What is found is worked through in portions, so that a long absence of the agent shows in metrics at once and
nothing is asked twice; the cursor tells which projects are behind. A project that is new to the agent has what has not
ended registered, so that it counts when it ends; what had ended before does not.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import anyio

from agent.errors import CollectError
from agent.model import Collected
from agent.net.words import escaped
from agent.plugin import Context
from agent.sources.gitlab.batches import Size
from agent.sources.gitlab.cases import Cases
from agent.sources.gitlab.engine import Engine
from agent.sources.gitlab.memory import Gathered, Memory
from agent.sources.gitlab.objects import Job, Pipeline, Project
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.progress import Progress, progress_of
from agent.sources.gitlab.reader import Reader
from agent.sources.gitlab.rounds import longest
from agent.sources.gitlab.summaries import Summaries
from agent.sources.gitlab.survey import SINCE, Survey

log = logging.getLogger(__name__)

PORTION = 800
"""Pipelines whose jobs are asked for together, at most;"""
PORTION_OF_FEW = 4
"""at first so many times as there are projects in one question, if those are fewer."""
_NONE: Mapping[int, list[Job] | CollectError] = {}
MAX_OBSERVATIONS = 10_000
"""A collect that has so many ends, and the next goes on at once."""
PORTION_SECONDS = 5.0
"""So does one that has taken so long."""
SAVE_SECONDS = 600.0
"""How far the stored cursor may lag behind while nothing is counted."""
MAX_PROBLEMS = 5
"""Named on the status page; of the others the number."""


class Sync:
    """A durable poller's collect. `name` is the source's."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        survey: Survey,
        engine: Engine,
        options: Options,
        context: Context,
        cases: Cases | None = None,
    ) -> None:
        self._name = name
        self._cases = cases
        self._reader = reader
        self._survey = survey
        self._engine = engine
        self._options = options
        self._context = context
        self._memory = Memory(Progress())
        self._cursor: object = ...  # no cursor is equal to it
        self._saved = 0.0
        self._full_at = 0.0
        self._due: float | None = None
        """When the turn began that has a look at all projects to begin."""
        self._goes_on = False
        """Whether the next collect is the rest of this turn."""
        self._hinted: set[int] = set()
        self._size = Size(min(PORTION_OF_FEW * reader.together, PORTION), 1, PORTION)
        self._is_skewed = False
        self.looked = anyio.Event()
        """Set once the first collect is over, whatever it came to."""
        self.errors: Counter[tuple[str, str]] = Counter()
        """What could not be read of single pipelines, by (collector, kind), since the agent's start."""
        self._summaries = Summaries(reader, engine, self.errors) if options.collectors.test_reports.enabled else None

    @property
    def since(self) -> Mapping[int, int]:
        """By project id: from which second on it is counted."""
        return self._memory.since

    def hint(self, project_id: int) -> None:
        """There is something new in a project: a collect that is brought forward asks for it alone."""
        self._hinted.add(project_id)

    async def collect(self, cursor: object) -> Collected:
        """Count what ended since `cursor`. Raises CollectError where nothing at all could be read."""
        try:
            return await self._collect(cursor)
        finally:
            self.looked.set()

    async def _collect(self, cursor: object) -> Collected:
        begun, now, gathered = anyio.current_time(), self._context.clock(), Gathered()
        self._adopt(cursor, gathered)
        self._turn(now)
        memory = self._memory
        again = True
        self._cursor = ...  # what a collect that is cancelled or fails has changed in memory is given up
        try:
            await self._hear(now, gathered)
            while memory.todo or memory.round or self._due is not None:
                await self._piece(now, gathered)
                if len(gathered.observations) >= MAX_OBSERVATIONS or anyio.current_time() - begun > PORTION_SECONDS:
                    break
        except CollectError as error:
            if not (gathered.observations or gathered.notes or gathered.read):
                self._cursor = cursor  # nothing has to be committed for what is in memory
                raise
            gathered.problems.append(str(error))
            again = False
        await self._aside(now, gathered)
        return self._collected(cursor, now, gathered, again=again)

    def _adopt(self, cursor: object, gathered: Gathered) -> None:
        """Go on where the cursor says; another than was returned last means that nothing since then is committed."""
        if self._cases is not None:
            self._cases.settled(is_committed=cursor == self._cursor)
        if cursor == self._cursor:
            return
        progress, problem = progress_of(cursor)
        if problem:
            log.warning("source %s: %s", self._name, problem)
            gathered.problems.append(problem)
        self._memory, self._full_at, self._saved = Memory(progress), 0.0, 0.0
        self._goes_on = False
        self._survey.forget()
        if progress.mark:
            self._memory.since = dict(_since_of(self._context.recall(self._name)))
        for number, known in self._survey.projects.items():
            if number in self._memory.since:
                self._engine.watch(*known, self._memory.since[number])

    async def _hear(self, now: float, gathered: Gathered) -> None:
        """Find what is to be read of projects that somebody hinted at."""
        hinted, self._hinted = self._hinted, set()
        if hinted:
            await self._survey.some(sorted(hinted), self._memory, now, gathered)

    def _turn(self, now: float) -> None:
        """Begin one look at all projects at most: where it takes longer than the interval the next waits for its turn, and
        after one that was held up until now the next begins at once."""
        if not self._goes_on:
            is_due = not 0 <= now - self._full_at < self._options.collectors.pipelines.interval_seconds - 1.0
            self._due = now if is_due else None
        self._goes_on = False

    def _compare(self) -> None:
        """Say once that the clocks are apart, and that they are not any more."""
        if self._survey.is_skewed != self._is_skewed:
            self._is_skewed = self._survey.is_skewed
            said = skewed(self._survey.skew) if self._is_skewed else "GitLab's clock and this machine's are together again"
            log.log(logging.WARNING if self._is_skewed else logging.INFO, "source %s: %s", self._name, said)

    def _tell(self) -> None:
        """Log what people should know of the look that has ended."""
        for line in self._survey.away.news(self._survey.paths):
            log.warning("source %s: %s", self._name, line)
        gap, self._survey.gap = self._survey.gap, 0.0
        if gap > self._options.max_gap_seconds:
            words = "source %s: the last change that was read is %.0f s old, and what changed more than %s (%g) ago is left out"
            log.warning(words, self._name, gap, "max_gap_seconds", self._options.max_gap_seconds)

    async def _piece(self, now: float, gathered: Gathered) -> None:
        """Read and count some of what is to be read; where that is nothing, find more. Raises CollectError."""
        if not self._memory.todo:
            if self._memory.round is None and self._due is not None:
                await self._survey.begin(self._memory, now, gathered)
                self._full_at, self._due = self._due, None
            await self._survey.go_on(self._memory, now, gathered)
            self._compare()
            if self._memory.round is None:
                self._tell()
            return
        wanted, limit = self._wanted(), longest(self._options.max_requests_per_second)
        asked, begun, jobs = sum(map(len, wanted.values())), anyio.current_time(), _NONE
        try:
            with anyio.move_on_after(limit) as scope:
                jobs = await self._jobs(wanted)
        except CollectError:
            self._put_back(wanted)
            raise
        if scope.cancelled_caught:
            self._size.failed(asked)
            words = f"the jobs of {asked} pipelines took longer than {limit:g} s; raise max_requests_per_second"
            if asked > 1:
                self._put_back(wanted)
                gathered.problems.append(f"{words}; fewer are asked for at once")
                return
            jobs = {one.id: CollectError("timeout", words) for pipelines in wanted.values() for one in pipelines}
        else:
            self._size.answered(asked, anyio.current_time() - begun)
        for project, pipelines in wanted.items():
            self._count(project, pipelines, jobs, now, gathered)
            if not self._memory.todo.get(project.id):
                self._memory.reached(project.id)
            gathered.read.setdefault(project, []).extend(pipelines)

    def _wanted(self) -> dict[Project, list[Pipeline]]:
        """The next of what is to be read, of each project the oldest first; it is taken out of `todo`."""
        memory, left = self._memory, int(self._size.value)
        wanted: dict[Project, list[Pipeline]] = {}
        for number, pipelines in list(memory.todo.items()):
            if number not in self._survey.projects:
                memory.reached(number)
                continue
            taken = [pipelines.pop() for _ in range(min(left, len(pipelines)))]
            wanted[self._survey.projects[number][0]] = taken
            left -= len(taken)
            if not left:
                break
        return wanted

    def _put_back(self, wanted: Mapping[Project, list[Pipeline]]) -> None:
        for project, pipelines in wanted.items():
            self._memory.todo[project.id] += reversed(pipelines)

    async def _jobs(self, wanted: Mapping[Project, Sequence[Pipeline]]) -> Mapping[int, list[Job] | CollectError]:
        return await self._reader.jobs(wanted) if wanted and self._options.collectors.jobs.enabled else {}

    def _count(
        self,
        project: Project,
        pipelines: Sequence[Pipeline],
        jobs: Mapping[int, list[Job] | CollectError],
        now: float,
        gathered: Gathered,
    ) -> None:
        """What was read of one project; a pipeline whose jobs could not be read is left for the next poll."""
        read, found = [], {}
        for pipeline in pipelines:
            own = jobs.get(pipeline.id)
            if isinstance(own, CollectError):
                self.errors["jobs", own.kind] += 1
                gathered.problems.append(f"project {project.path}, jobs of pipeline {pipeline.id}: {own}")
                if not self._memory.gives_up(pipeline.id, now):
                    self._memory.stuck.add(project.id)
                    continue
                self.errors["jobs", "given_up"] += 1
                own = None  # it counts all the same, without them
            read.append(pipeline)
            if own is not None:
                found[pipeline.id] = own
            self._memory.count(project.id, pipeline, now)
        if read:
            gathered.add(self._engine.take(project.id, read, found, now))

    async def _aside(self, now: float, gathered: Gathered) -> None:
        """Test reports: whatever comes of them, all else is counted."""
        known = self._survey.projects
        if self._summaries is not None:
            await self._summaries.take(gathered.read, known, now)
            gathered.problems += self._summaries.problems(known)
        if self._cases is not None:
            counted = {one.key for one in gathered.observations}
            gathered.observations += await self._cases.take(gathered.read, counted, known, now)
            gathered.problems += self._cases.problems(known)

    def _collected(self, cursor: object, now: float, gathered: Gathered, *, again: bool) -> Collected:
        """All of it, and the cursor: a new one where something was counted, or the stored one is old."""
        progress = self._memory.progress
        text = cursor
        if gathered.observations or gathered.notes or not 0 <= now - self._saved < SAVE_SECONDS:
            progress.turn += 1
            text, self._saved = progress.text(), now
        self._cursor = text
        said = [escaped(problem) for problem in dict.fromkeys([*self._survey.said, *gathered.problems])]
        more = f"; and {len(said) - MAX_PROBLEMS} more" if len(said) > MAX_PROBLEMS else ""
        self._goes_on = again and bool(self._memory.todo or self._memory.round or self._due is not None)
        return Collected(
            observations=gathered.observations,
            notes=list(gathered.notes.values()),
            cursor=text,
            problem="; ".join(said[:MAX_PROBLEMS]) + more,
            again=self._goes_on,
        )


def skewed(seconds: float) -> str:
    """GitLab's clock is so far ahead."""
    words = "check the time here and there; totals stay right, ages and times of gauges may not be"
    return f"GitLab's answers are dated {seconds:+.0f} s from this machine's clock; {words}"


def _since_of(notes: Mapping[str, str]) -> dict[int, int]:
    """From which second on the project of that number is counted."""
    found = {}
    for key, value in notes.items():
        number = key.removeprefix(SINCE)
        if number != key and number.isascii() and number.isdecimal() and value.isascii() and value.isdecimal():
            found[int(number)] = int(value)
    return found
