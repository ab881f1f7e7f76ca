"""Test cases, from the end of a pipeline to series: counted once a pipeline, and shown for the refs that are shown.

A pipeline's report is asked for when the engine has counted the pipeline. One that cannot be had is asked for again at
later polls, a few times, for as long as the agent runs. After a start those of the refs that are shown are read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import anyio

from agent.errors import CollectError
from agent.model import Collected, Observation, Update
from agent.sources.gitlab.asking import FOR_ALL, spread
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.labels import Labeller
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.reader import Known
from agent.sources.gitlab.refs import Rules, ref_name
from agent.sources.gitlab.reports import Case, CaseReader, observed, shown
from agent.sources.gitlab.waiting import ASKING_SECONDS, Question, Waiting

MAX_SHOWN = 5000
"""Refs whose cases are kept for being shown; those that are not shown any more leave at every look."""
SCOPE = "cases:"

Ref = tuple[int, str, str]
"""A project's number, kind and name."""


class Engine(Protocol):
    """What is asked of the engine here."""

    def shows(self, project_id: int, pipeline: Pipeline) -> bool:
        """Whether a pipeline ran on a ref whose state is shown, and is no child of another."""
        ...


class _Shown(NamedTuple):
    """The cases of a ref: those of its newest pipeline that has ended with any."""

    project_id: int
    pipeline: Pipeline
    cases: tuple[Case, ...]


class Cases:
    """One GitLab instance; `host` is its name in keys."""

    def __init__(self, reader: CaseReader, host: str, options: Options, families: Families, engine: Engine) -> None:
        self._reader = reader
        self._host = host
        self._by_class = options.labels.ref == "class"
        self._at_once = options.max_concurrent_requests
        self._families = families
        self._labeller = Labeller(options.labels, with_runners=False)
        self._engine = engine
        self._shown: dict[Ref, _Shown] = {}
        self._known: dict[int, tuple[Project, ProjectOptions]] = {}
        """By id of a project of those: as it was at the last look."""
        self._versions: dict[int, int] = {}
        """By project id: when what is shown of it changed last, counted in changes."""
        self._version = 0
        self.malformed = reader.malformed
        """Cases that could not be read."""
        self.errors: Counter[tuple[str, str]] = Counter()
        """What could not be read, by (collector, kind)."""
        self._waiting = Waiting(self.errors)

    async def take(
        self, read: Mapping[Project, Sequence[Pipeline]], counted: Collection[str], known: Known, now: float
    ) -> list[Observation]:
        """The cases of the pipelines in `read` that are `counted`, which are the keys of the engine's observations.

        Those of the others are only shown, where their ref is and none are known that are as new. `known`: the projects as
        they are now. What cannot be read now is no error, and comes with a later call.
        """
        for project, pipelines in read.items():
            for pipeline in pipelines:
                counts = self._key(pipeline) in counted
                if pipeline.is_final and (counts or self._is_new(project.id, pipeline)):
                    self._waiting.put(Question(project.id, pipeline, counts))
        self._waiting.keep(known, self._is_wanted)
        return await self._ask(known, now)

    def settled(self, *, is_committed: bool) -> None:
        """What was taken until now is committed, or lost: then it is read again."""
        self._waiting.settled(is_committed=is_committed)

    def problems(self, known: Known) -> list[str]:
        """What could not be read, one line for each project."""
        return list(self._waiting.problems(known))

    def present(self, cursor: object, known: Known, now: float) -> Collected:
        """The status of each case of each ref that is shown, of projects that changed since `cursor`.

        `now` in seconds since the epoch.
        """
        self._look(known)
        since = cursor if isinstance(cursor, int) else 0
        listed = {number for number, version in self._versions.items() if version > since}
        updates = list(self._updates(listed, now))
        unchanged = {one.project_id for one in self._shown.values()} - listed
        return Collected(
            updates,
            [f"{SCOPE}{number}" for number in sorted(listed)],
            unchanged=[f"{SCOPE}{number}" for number in sorted(unchanged)],
            cursor=self._version,
        )

    async def _ask(self, known: Known, now: float) -> list[Observation]:
        """As many as there is time for, first what counts, and the newest first."""
        found: list[Observation] = []
        begun: dict[int, tuple[Question, float]] = {}

        async def ask(question: Question) -> None:
            if not self._is_wanted(question):  # a newer one has been read
                return
            begun[question.pipeline.id] = question, anyio.current_time()
            try:
                cases = await self._reader.one(question.project_id, question.pipeline.id)
            except CollectError as error:
                del begun[question.pipeline.id]
                self._waiting.failed(question, error, now)
                if error.kind in FOR_ALL:
                    raise
                return
            del begun[question.pipeline.id]
            self._waiting.answered(question)
            found.extend(self._counted(question, self._named(cases), *known[question.project_id]))

        with anyio.move_on_after(ASKING_SECONDS):
            due = sorted(self._waiting.due(now), key=lambda question: (question.counts, question.pipeline.id), reverse=True)
            await spread(due, ask, self._at_once)
        for question, since in begun.values():  # what was cut off
            if anyio.current_time() - since > ASKING_SECONDS / 2:
                self._waiting.failed(question, CollectError("timeout", f"no answer within {ASKING_SECONDS / 2:g} s"), now)
        return found

    def _named(self, cases: Sequence[Case]) -> tuple[Case, ...]:
        """Suites are called after their jobs."""
        names = {suite: self._labeller.job_name(suite) for suite in {case.suite for case in cases}}
        return tuple(case._replace(suite=names[case.suite]) for case in cases)

    def _counted(
        self, question: Question, cases: tuple[Case, ...], project: Project, rules: ProjectOptions
    ) -> Iterator[Observation]:
        """Show what there is, and count it where it is to count."""
        pipeline = question.pipeline
        if cases and self._is_new(project.id, pipeline):
            ref = _ref(project.id, pipeline)
            self._shown.pop(ref, None)
            self._shown[ref] = _Shown(project.id, pipeline, cases)
            self._touch(project.id)
            if len(self._shown) > MAX_SHOWN:
                self._hide(next(iter(self._shown)))
        if question.counts and cases:
            label = Rules(rules, by_class=self._by_class).label(pipeline.kind, pipeline.ref, project.default_branch)
            yield observed(self._key(pipeline), self._families, project.path, label, cases)

    # -- what is shown ---------------------------------------------------------------------------------

    def _is_wanted(self, question: Question) -> bool:
        return question.counts or self._is_new(question.project_id, question.pipeline)

    def _is_new(self, project_id: int, pipeline: Pipeline) -> bool:
        """Whether its ref is shown, and that with the cases of an older pipeline, or with its own as they were before."""
        held = self._shown.get(_ref(project_id, pipeline))
        is_later = held is None or (held.pipeline.id, held.pipeline.updated) < (pipeline.id, pipeline.updated)
        return is_later and self._engine.shows(project_id, pipeline)

    def _look(self, known: Known) -> None:
        """What is not shown any more, and which projects have other names or rules."""
        for ref, one in list(self._shown.items()):
            if one.project_id not in known or not self._engine.shows(one.project_id, one.pipeline):
                self._hide(ref)
        now = {one.project_id: known[one.project_id] for one in self._shown.values()}
        for number in now.keys() & self._known.keys():
            if self._known[number] != now[number]:
                self._touch(number)
        self._known = now

    def _hide(self, ref: Ref) -> None:
        self._touch(self._shown.pop(ref).project_id)

    def _touch(self, project_id: int) -> None:
        self._version += 1
        self._versions[project_id] = self._version

    def _updates(self, listed: Collection[int], now: float) -> Iterator[Update]:
        found: dict[tuple[int, str], list[Case]] = {}
        for one in self._shown.values():
            if one.project_id in listed:  # a branch and a tag may share their name
                found.setdefault((one.project_id, self._label(one)), []).extend(one.cases)
        for (number, label), cases in found.items():
            project, rules = self._known[number]
            samples = shown(self._families, project.path, label, cases, is_sparse=rules.output_sparse_status_metrics)
            for family, labels, value in samples:
                yield Update(family, labels, value, now, f"{SCOPE}{number}")

    def _label(self, one: _Shown) -> str:
        project, rules = self._known[one.project_id]
        _, kind, name = _ref(one.project_id, one.pipeline)
        return Rules(rules, by_class=self._by_class).shown(kind, name, project.default_branch)

    def _key(self, pipeline: Pipeline) -> str:
        return f"gitlab:{self._host}:pipeline:{pipeline.id}"


def _ref(project_id: int, pipeline: Pipeline) -> Ref:
    return project_id, pipeline.kind, ref_name(pipeline.kind, pipeline.ref, pipeline.merge_request)
