"""Jobs of pipelines by GraphQL: those of many projects nested in one request, what did not fit into it by id.

A list of pipelines takes no ids, but times: in the answer are those that were updated within the same time as the
wanted ones, and one that has changed since is not. It is asked for by its id then, a few in a request.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio

from agent.errors import CollectError
from agent.sources.gitlab.api import Gitlab, Result
from agent.sources.gitlab.batches import Size, spread, take
from agent.sources.gitlab.graphql_lists import connection_of, number_of
from agent.sources.gitlab.graphql_named import Wanted, grouped, jobs_in
from agent.sources.gitlab.nodes import PIPELINE, JobReader, cursor_of, id_of, moment_text, nodes_of
from agent.sources.gitlab.objects import Job, Pipeline, Project
from agent.sources.gitlab.parsed import MalformedError
from agent.sources.gitlab.queries import JOB_LISTS_AT_ONCE, MAX_COST, MAX_PROJECTS, Queries, project_gid

FIRST_JOBS = 1000
"""Jobs that are expected of the first question; there is no telling yet how fast this instance is."""
MOST_JOBS = 5000
"""Of any: the answer has two or three megabytes, and is taken apart while others wait."""
EACH = 50.0
"""Jobs that a pipeline is expected to have until some were seen."""
MEMORY = 0.9
"""How much of what is expected comes from earlier answers."""
MORE_PIPELINES = 2
"""Places of a page for pipelines that nobody asked for."""
MAX_PAGES = 100
"""Of the jobs of one pipeline."""


class _Slice(NamedTuple):
    """Pipelines of one project, all of them children, or none."""

    project: Project
    pipelines: tuple[Pipeline, ...]


class _Page(NamedTuple):
    """Jobs of a pipeline that are still to be read."""

    wanted: Wanted
    cursor: str
    number: int


@dataclass
class _Answers:
    """What was found so far, and what is still to be asked."""

    reader: JobReader
    jobs: dict[int, list[Job] | CollectError] = field(default_factory=dict)
    named: list[Wanted] = field(default_factory=list)
    pages: list[_Page] = field(default_factory=list)

    def add(self, wanted: Wanted, jobs: Any, number: int = 1) -> None:
        """A page of the jobs of a pipeline."""
        known = self.jobs.setdefault(wanted.pipeline, [])
        if isinstance(known, list):
            known += self.reader.jobs(nodes_of(jobs))
            if cursor := cursor_of(jobs):
                self.pages.append(_Page(wanted, cursor, number + 1))


class Jobs:
    """Reads them from one instance. What is malformed is counted there."""

    def __init__(self, api: Gitlab, at_once: int) -> None:
        self._api = api
        self._at_once = at_once
        self._size = Size(FIRST_JOBS, 1, MOST_JOBS)
        self._each = EACH

    async def read(self, queries: Queries, wanted: Mapping[Project, Sequence[Pipeline]]) -> dict[int, list[Job] | CollectError]:
        """All jobs of these pipelines, by pipeline id. Raises CollectError where nothing can be read."""
        answers = _Answers(JobReader(queries.knows_reasons, self._api.malformed))
        slices = []
        for project, some in wanted.items():
            for is_child in (False, True):  # they are in lists of their own
                pipelines = tuple(sorted((one for one in some if _is_child(one) == is_child), key=_updated))
                if is_child and not queries.lists_children:
                    answers.named += [Wanted(project, one.id) for one in pipelines]
                    continue
                slices += [_Slice(project, pipelines)] * bool(pipelines)
        slices.sort(key=lambda one: one.pipelines[0].updated)
        await self._nested(queries, slices, answers)
        await self._named(queries, answers)
        await self._rest(queries, answers)
        return answers.jobs

    # -- many projects in one request ------------------------------------------------------------------------

    async def _nested(self, queries: Queries, slices: Sequence[_Slice], answers: _Answers) -> None:
        async def ask(taken: Sequence[_Slice]) -> Sequence[_Slice]:
            expected, begun = self._expected(taken), anyio.current_time()
            pipelines = [pipeline for one in taken for pipeline in one.pipelines]
            mine = dict.fromkeys(one.project.id for one in taken)
            children = any(_is_child(one.pipelines[0]) for one in taken)
            main = not all(_is_child(one.pipelines[0]) for one in taken)
            variables = {
                "ids": [project_gid(number) for number in mine],
                "n": len(mine),
                "k": min(queries.page, _longest(taken) + MORE_PIPELINES),
                "t": moment_text(min(pipeline.updated for pipeline in pipelines) - 1),
                "u": moment_text(max(pipeline.updated for pipeline in pipelines) + 2),
            }
            result = await self._api.query(queries.jobs(main=main, children=children), variables)
            self._take(result, taken, answers)
            self._size.answered(expected, anyio.current_time() - begun)
            return ()

        def failed(taken: Sequence[_Slice], error: CollectError) -> Sequence[_Slice]:
            self._size.failed(self._expected(taken), error.kind)
            if len(taken) > 1:
                return taken
            project, pipelines = taken[0]
            if len(pipelines) > 1:
                half = len(pipelines) // 2
                return [_Slice(project, pipelines[:half]), _Slice(project, pipelines[half:])]
            answers.named.append(Wanted(project, pipelines[0].id))
            return ()

        await spread(slices, lambda todo: self._cut(queries, todo), ask, failed, self._at_once)

    def _cut(self, queries: Queries, todo: deque[_Slice]) -> Sequence[_Slice]:
        """As many slices as are expected to have no more jobs than one answer should, and as GitLab takes."""
        taken: list[_Slice] = []
        left = max(1, int(self._size.value / self._each))
        while todo and left > 0 and len(taken) < MAX_PROJECTS:
            one = todo.popleft()
            fitting = min(left, queries.page - MORE_PIPELINES, len(one.pipelines))
            first = _Slice(one.project, one.pipelines[: max(1, fitting)])
            if taken and not self._fits(queries, [*taken, first]):
                todo.appendleft(one)
                break
            taken.append(first)
            left -= len(first.pipelines)
            if len(first.pipelines) < len(one.pipelines):
                todo.appendleft(_Slice(one.project, one.pipelines[len(first.pipelines) :]))
                break
        return taken

    def _fits(self, queries: Queries, taken: Sequence[_Slice]) -> bool:
        kinds = {_is_child(one.pipelines[0]) for one in taken}
        return queries.cost(len(taken), min(queries.page, _longest(taken) + MORE_PIPELINES), len(kinds)) <= MAX_COST

    def _expected(self, taken: Sequence[_Slice]) -> float:
        return self._each * sum(len(one.pipelines) for one in taken)

    def _take(self, result: Result, taken: Sequence[_Slice], answers: _Answers) -> None:
        """What is in an answer; what is not goes to `answers.named`."""
        left = {pipeline.id: Wanted(one.project, pipeline.id) for one in taken for pipeline in one.pipelines}
        count, jobs = len(left), 0
        for node in connection_of(result, "projects"):
            if not number_of(node, self._api.malformed):
                continue
            for alias in ("main", "children"):
                for found in nodes_of(node.get(alias)):
                    wanted = left.get(_pipeline_id(found))
                    page = found.get("jobs") if wanted else None
                    if wanted is None or not _is_whole(page):
                        continue
                    del left[wanted.pipeline]
                    answers.add(wanted, page)
                    jobs += len(nodes_of(page))
        answers.named += left.values()
        if count > len(left):
            self._each = max(1.0, MEMORY * self._each + (1 - MEMORY) * jobs / (count - len(left)))

    # -- the others ------------------------------------------------------------------------------------------

    async def _named(self, queries: Queries, answers: _Answers) -> None:
        """First pages of pipelines by id."""
        size = Size(JOB_LISTS_AT_ONCE, 1, JOB_LISTS_AT_ONCE)

        async def ask(taken: Sequence[Wanted]) -> Sequence[Wanted]:
            result = await self._api.query(queries.jobs_of(grouped(taken)), {})
            again = []
            for wanted in taken:
                page = jobs_in(result, wanted)
                if not isinstance(page, CollectError):
                    answers.add(wanted, page)
                elif page.kind == "timeout" and len(taken) > 1:
                    again.append(wanted)
                else:
                    answers.jobs[wanted.pipeline] = page
            if again:
                size.failed(len(taken))
            return again

        def failed(taken: Sequence[Wanted], error: CollectError) -> Sequence[Wanted]:
            size.failed(len(taken), error.kind)
            if len(taken) > 1:
                return taken
            answers.jobs[taken[0].pipeline] = error
            return ()

        await spread(answers.named, lambda todo: take(todo, int(size.value)), ask, failed, self._at_once)

    async def _rest(self, queries: Queries, answers: _Answers) -> None:
        """Further pages of the jobs of single pipelines."""

        async def ask(taken: Sequence[_Page]) -> Sequence[_Page]:
            wanted, cursor, number = taken[0]
            result = await self._api.query(queries.more_jobs(wanted.project.id, wanted.pipeline), {"c": cursor})
            page = jobs_in(result, wanted)
            if isinstance(page, CollectError):
                answers.jobs[wanted.pipeline] = page
                return ()
            before = len(answers.pages)
            answers.add(wanted, page, number)
            more = answers.pages[before:]
            if more and number >= MAX_PAGES:
                answers.jobs[wanted.pipeline] = CollectError(
                    "size", f"jobs of pipeline {wanted.pipeline}: more than {MAX_PAGES} pages"
                )
                return ()
            return more

        def failed(taken: Sequence[_Page], error: CollectError) -> Sequence[_Page]:
            answers.jobs[taken[0].wanted.pipeline] = error
            return ()

        pages, answers.pages = answers.pages, []
        await spread(pages, lambda todo: [todo.popleft()], ask, failed, self._at_once)


def _is_whole(page: Any) -> bool:
    """Whether no error took the place of anything."""
    nodes = page.get("nodes") if isinstance(page, dict) else None
    return isinstance(nodes, list) and None not in nodes


def _is_child(pipeline: Pipeline) -> bool:
    return pipeline.source == "parent_pipeline"


def _updated(pipeline: Pipeline) -> int:
    return pipeline.updated


def _longest(taken: Sequence[_Slice]) -> int:
    """The most pipelines of one list."""
    counts: Counter[tuple[int, bool]] = Counter()
    for one in taken:
        counts[one.project.id, _is_child(one.pipelines[0])] += len(one.pipelines)
    return max(counts.values())


def _pipeline_id(found: Any) -> int:
    try:
        return id_of(found.get("id"), PIPELINE)
    except (MalformedError, AttributeError):
        return 0
