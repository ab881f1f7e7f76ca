"""Test cases, from the end of a pipeline to series: counted once a pipeline, and shown for the refs that are shown.

A pipeline's report is asked for when the engine has counted the pipeline. One that cannot be had is asked for again at
the next polls, a few times, for as long as the agent runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from agent.errors import CollectError
from agent.model import Collected, Observation, Update
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.refs import Rules, ref_name
from agent.sources.gitlab.reports import Case, CaseReader, observed, shown

MAX_TRIES = 5
MAX_LATE = 1000
"""Pipelines whose reports are still to be had."""
MAX_SHOWN = 5000
"""Pipelines whose cases are kept for being shown; those that are no newest of a ref any more leave at every look."""
SCOPE = "cases:"

Known = Mapping[int, tuple[Project, ProjectOptions]]


class Engine(Protocol):
    """What is asked of the engine here."""

    def is_shown(self, project_id: int, pipeline: Pipeline) -> bool:
        """Whether a pipeline is the newest of a ref whose state is shown."""
        ...


class _Asked(NamedTuple):
    """A report that is to be read."""

    project_id: int
    pipeline: Pipeline
    tries: int = 0


class _Shown(NamedTuple):
    """The cases of one pipeline."""

    project_id: int
    pipeline: Pipeline
    cases: tuple[Case, ...]


class Cases:
    """One GitLab instance; `host` is its name in keys."""

    def __init__(self, reader: CaseReader, host: str, options: Options, families: Families, engine: Engine) -> None:
        self._reader = reader
        self._host = host
        self._by_class = options.labels.ref == "class"
        self._families = families
        self._engine = engine
        self._late: dict[int, _Asked] = {}
        self._shown: dict[int, _Shown] = {}
        """By pipeline id."""
        self.malformed = reader.malformed
        """Cases that could not be read."""

    async def take(self, read: Mapping[Project, Sequence[Pipeline]], counted: Collection[str], known: Known) -> list[Observation]:
        """The cases of the pipelines in `read` that are `counted`, which are the keys of the engine's observations.

        `known`: the projects as they are now. What cannot be read now is no error, and comes with a later call.
        """
        asked = list(self._late.values())
        self._late = {}
        for project, pipelines in read.items():
            ended = (one for one in pipelines if one.is_final and self._key(one) in counted)
            asked += [_Asked(project.id, pipeline) for pipeline in ended]
        asked = [one for one in asked if one.project_id in known]
        found: list[Observation] = []
        answers = await self._reader.read([(one.project_id, one.pipeline.id) for one in asked])
        for one, answer in zip(asked, answers, strict=True):
            if isinstance(answer, CollectError):
                self._again(one, answer)
            elif answer:
                found.append(self._counted(one, answer, *known[one.project_id]))
        return found

    def present(self, known: Known, now: float) -> Collected:
        """The status of each case in the newest pipeline of each ref that is shown; `now` in seconds since the epoch."""
        self._shown = {
            number: one
            for number, one in self._shown.items()
            if one.project_id in known and self._engine.is_shown(one.project_id, one.pipeline)
        }
        updates: list[Update] = []
        for one in self._shown.values():
            project, rules = known[one.project_id]
            scope, own = f"{SCOPE}{project.id}", Rules(rules, by_class=self._by_class)
            name = ref_name(one.pipeline.kind, one.pipeline.ref, one.pipeline.merge_request)
            label = own.shown(one.pipeline.kind, name, project.default_branch)
            samples = shown(self._families, project.path, label, one.cases, is_sparse=own.is_sparse)
            updates += [Update(family, labels, value, now, scope) for family, labels, value in samples]
        return Collected(updates, [f"{SCOPE}{number}" for number in known])

    def _counted(self, one: _Asked, cases: tuple[Case, ...], project: Project, rules: ProjectOptions) -> Observation:
        pipeline = one.pipeline
        if self._engine.is_shown(project.id, pipeline):
            self._shown[pipeline.id] = _Shown(project.id, pipeline, cases)
            if len(self._shown) > MAX_SHOWN:
                del self._shown[next(iter(self._shown))]
        ref = Rules(rules, by_class=self._by_class).label(pipeline.kind, pipeline.ref, project.default_branch)
        return observed(self._key(pipeline), self._families, project.path, ref, cases)

    def _again(self, one: _Asked, error: CollectError) -> None:
        """Ask once more later, unless that is of no use."""
        if error.kind not in ("missing", "forbidden") and one.tries < MAX_TRIES and len(self._late) < MAX_LATE:
            self._late[one.pipeline.id] = one._replace(tries=one.tries + 1)

    def _key(self, pipeline: Pipeline) -> str:
        return f"gitlab:{self._host}:pipeline:{pipeline.id}"
