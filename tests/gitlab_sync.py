"""A GitLab that answers from a list, an engine that only counts, and the ledger's part: what the sync needs around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.errors import CollectError
from agent.model import Collected, Note, Observation
from agent.plugin import Context
from agent.sources.gitlab.objects import FINAL, Job, Pipeline, Project, Report
from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.survey import Survey
from agent.sources.gitlab.sync import Sync

START = 1_790_000_000
RULES = ProjectOptions()


@dataclass
class Clock:
    """Seconds since the epoch, as they are set."""

    now: float = START

    def __call__(self) -> float:
        return self.now


def pipeline(number: int, status: str = "success", *, updated: int = START, created: int = 0) -> Pipeline:
    """One on main."""
    ended = updated if status in FINAL else None
    return Pipeline(number, status, "main", "branch", "push", created or updated - 60, updated, finished=ended, duration=60)


def job(number: int, status: str = "success") -> Job:
    """One that took a minute."""
    return Job(number, "build", "test", status, START, finished=START + 60, duration=60)


class Digest:
    """What the engine makes of something."""

    def __init__(self, observations: Sequence[Observation] = (), notes: Sequence[Note] = ()) -> None:
        self.observations = observations
        self.notes = notes


class Engine:
    """Counts whatever has ended, and remembers what it was told."""

    def __init__(self) -> None:
        self.watched: dict[int, tuple[str, int]] = {}
        self.registered: list[int] = []
        self.forgotten: list[int] = []
        self.lost: list[int] = []
        self.heads_of: dict[int, list[int]] = {}
        self.recalled: list[int] = []
        self.open: dict[int, dict[int, Pipeline]] = {}
        self.reported: dict[int, Report] = {}

    def watch(self, project: Project, rules: ProjectOptions, since: int) -> None:
        self.watched[project.id] = (project.path, since)

    def register(self, project_id: int, pipelines: Sequence[Pipeline], now: float) -> Digest:
        self.registered += [one.id for one in pipelines]
        for one in pipelines:
            self.open.setdefault(project_id, {})[one.id] = one
        return Digest(notes=[Note(f"open:{one.id}", "") for one in pipelines])

    def take(self, project_id: int, pipelines: Sequence[Pipeline], jobs: Mapping[int, Sequence[Job]], now: float) -> Digest:
        found = []
        for one in pipelines:
            if one.is_final:
                found.append(Observation(f"pipeline:{one.id}", ()))
                self.open.get(project_id, {}).pop(one.id, None)
            else:
                self.open.setdefault(project_id, {})[one.id] = one
            found += [Observation(f"job:{job.id}", ()) for job in jobs.get(one.id, ()) if job.is_final]
        return Digest(found)

    def heads(self, project_id: int, pipelines: Sequence[Pipeline], now: float) -> None:
        self.heads_of[project_id] = [one.id for one in pipelines]

    def recall(self, project_id: int, pipelines: Sequence[Pipeline], now: float) -> None:
        self.recalled.append(project_id)

    def is_shown(self, project_id: int, pipeline: Pipeline) -> bool:
        return pipeline.ref == "main"

    def wants_report(self, project_id: int, pipeline: Pipeline) -> bool:
        return pipeline.is_final and self.is_shown(project_id, pipeline)

    def report(self, project_id: int, pipeline: Pipeline, report: Report) -> None:
        self.reported[pipeline.id] = report

    def unfinished(self, project_id: int) -> list[int]:
        return list(self.open.get(project_id, ()))

    def gone(self, project_id: int, pipeline_id: int) -> Digest:
        self.lost.append(pipeline_id)
        self.open.get(project_id, {}).pop(pipeline_id, None)
        return Digest(notes=[Note(f"open:{pipeline_id}", None)])

    def forget(self, project_id: int) -> Digest:
        self.forgotten.append(project_id)
        return Digest()


@dataclass
class Listed:
    """What discovery found."""

    projects: Mapping[int, tuple[Project, ProjectOptions]]
    problems: Sequence[str]


@dataclass
class Server:
    """Projects and their pipelines as they are now; asked by the sync as a reader and as a discovery."""

    clock: Callable[[], float]
    together: int = 100
    projects_by_id: dict[int, Project] = field(default_factory=dict)
    pipelines_of: dict[int, list[Pipeline]] = field(default_factory=dict)
    jobs_of: dict[int, list[Job]] = field(default_factory=dict)
    failing: dict[int, str] = field(default_factory=dict)
    """Kinds of errors by project id."""
    no_jobs: dict[int, str] = field(default_factory=dict)
    """Kinds of errors by pipeline id."""
    broken: str = ""
    """The kind of the error that answers every question for jobs."""
    most: int = 1000
    """Pipelines of a project that one answer has room for."""
    ahead: float = 0.0
    """By how many seconds its clock is ahead."""
    asked: Counter[str] = field(default_factory=Counter)
    after: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    problems_now: tuple[str, ...] = ()

    def add(self, number: int, *pipelines: Pipeline, path: str = "", created: int = 0) -> None:
        """A project, and what ran in it."""
        self.projects_by_id[number] = Project(number, path or f"team/p{number}", "main", created)
        self.pipelines_of[number] = list(pipelines)

    def put(self, number: int, *pipelines: Pipeline) -> None:
        """What ran in a project, or how it goes on."""
        told = {one.id: one for one in (*self.pipelines_of[number], *pipelines)}
        self.pipelines_of[number] = list(told.values())

    async def projects(self) -> Listed:
        """As a discovery."""
        return Listed({number: (project, RULES) for number, project in self.projects_by_id.items()}, self.problems_now)

    def _found(self, what: str, projects: Sequence[Project], wanted: Callable[[Pipeline], bool]) -> Found:
        self.asked[what] += 1
        found = Found(date=self.clock() + self.ahead)
        for project in projects:
            kind = self.failing.get(project.id, "" if project.id in self.projects_by_id else "missing")
            if kind:
                found.failed[project.id] = CollectError(kind, "no")
            else:
                found.paths[project.id] = self.projects_by_id[project.id].path
                found.pipelines[project.id] = [one for one in self.pipelines_of[project.id] if wanted(one)]
        return found

    async def changed(self, projects: Sequence[Project], after: int, before: int = 0, among: int = 0) -> Found:
        self.after.append((tuple(project.id for project in projects), after))
        found = self._found("changed", projects, lambda one: after <= one.updated and (not before or one.updated < before))
        for number in [number for number, told in found.pipelines.items() if len(told) > self.most]:
            del found.pipelines[number]
            found.failed[number] = CollectError("size", "too many")
        return found

    async def unfinished(self, projects: Sequence[Project]) -> Found:
        return self._found("unfinished", projects, lambda one: not one.is_final)

    async def heads(self, projects: Sequence[Project]) -> Found:
        return self._found("heads", projects, lambda one: True)

    async def recent(self, projects: Sequence[Project]) -> Found:
        return self._found("recent", projects, lambda one: one.is_final)

    async def jobs(self, wanted: Mapping[Project, Sequence[Pipeline]]) -> dict[int, list[Job] | CollectError]:
        self.asked["jobs"] += 1
        if self.broken:
            raise CollectError(self.broken, "no")
        found: dict[int, list[Job] | CollectError] = {}
        for pipelines in wanted.values():
            for one in pipelines:
                kind = self.no_jobs.get(one.id)
                found[one.id] = CollectError(kind, "no") if kind else self.jobs_of.get(one.id, [])
        return found

    async def pipelines(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Pipeline | CollectError | None]:
        self.asked["pipelines"] += 1
        known = {one.id: one for pipelines in self.pipelines_of.values() for one in pipelines}
        return {number: known.get(number) for numbers in wanted.values() for number in numbers}

    async def reports(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Report]:
        raise AssertionError("test reports are off")


class Rig:
    """A sync, and the ledger's part: what was committed, which notes there are and how far the cursor is."""

    def __init__(self, now: Callable[[], float], **options: object) -> None:
        self.server = Server(now)
        self.engine = Engine()
        self.counted: list[str] = []
        self.notes: dict[str, str] = {}
        self.cursor: str | None = None
        self.problem = ""
        self.again = False
        self._now = now
        self._options = Options.model_validate(options)
        self.restart()

    def restart(self) -> None:
        """Another process with the same ledger."""
        context = Context(self._now, "job", "me", "cipush/test", recall=lambda name: dict(self.notes))
        self.survey = Survey(self.server, self.server, self.engine, self._options)  # type: ignore[arg-type]
        self.sync = Sync("gitlab", self.server, self.survey, self.engine, self._options, context)  # type: ignore[arg-type]
        self._handed: object = self.cursor

    async def poll(self, *, commits: bool = True) -> list[str]:
        """Collect once; what that counted."""
        found = await self.sync.collect(self._handed)
        self.problem, self.again = found.problem, found.again
        return self._commit(found) if commits else []

    def _commit(self, found: Collected) -> list[str]:
        new = [one.key for one in found.observations if one.key not in self.counted]
        self.counted += new
        for note in found.notes:
            if note.value is None:
                self.notes.pop(note.key, None)
            else:
                self.notes[note.key] = note.value
        self._handed = self.cursor = found.cursor  # type: ignore[assignment]
        return new

    async def poll_all(self) -> list[str]:
        """Collect until nothing is left; what that counted."""
        found = await self.poll()
        while self.again:
            found += await self.poll()
        return found


async def begun(clock: Clock) -> Rig:
    """Two projects, read once half a minute ago; the second has a pipeline that runs."""
    found = Rig(clock)
    found.server.add(1, pipeline(11, updated=START - 900))
    found.server.add(2, pipeline(21, "running", updated=START - 60))
    await found.poll_all()
    clock.now += 30
    return found
