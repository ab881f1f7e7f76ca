"""The sync's reader by the REST API alone: the same things as by GraphQL, for far more requests.

A list of pipelines tells hardly more than their status, so each that has changed takes a request for itself, one for
its bridges and one for its jobs (https://docs.gitlab.com/api/pipelines/, https://docs.gitlab.com/api/jobs/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode

from agent.errors import CollectError
from agent.sources.gitlab.asking import Api, changes, items, moment_of, pages, raise_if_all, spread
from agent.sources.gitlab.objects import FINAL, Job, Pipeline, Project, Report
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.parsed import MalformedError, job_of, readable, report_of, text, whole
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.rest_details import CHILD, Details, Row, row_of
from agent.sources.gitlab.rest_heads import Heads
from agent.sources.gitlab.rest_upstreams import Upstreams
from agent.sources.gitlab.rest_variables import VariableReader
from agent.sources.gitlab.variables import Wanted

STATUSES = (
    "created",
    "waiting_for_resource",
    "preparing",
    "waiting_for_callback",
    *("pending", "running", "canceling", "manual", "scheduled"),
)
"""In which a pipeline has not ended; GitLab filters by one at a time, and old versions do not know all."""
MAX_REQUESTS_ASKED = 50
"""Merge requests of one question."""
_OUT_OF_SIGHT = frozenset({"missing", "forbidden"})

_Kept = Callable[[Pipeline], bool]


class _Listed(NamedTuple):
    """What the lists of one project tell."""

    rows: list[Row]
    children: list[Row]
    date: float


@dataclass
class _Reading:
    """Pipelines by project and by their own id, while they are gathered."""

    found: Found = field(default_factory=Found)
    pipelines: dict[int, dict[int, Pipeline]] = field(default_factory=dict)

    def failed(self, project: Project, error: CollectError) -> None:
        """A project could not be read to its end."""
        self.pipelines.pop(project.id, None)
        self.found.failed[project.id] = error


class RestReader:
    """One instance, asked as one token; see `agent.sources.gitlab.reader.Reader`.

    What was read of pipelines is remembered as long as GitLab says that they have not changed.
    """

    together = 10
    """Of what ends while `unfinished` asks, some may be overlooked."""

    def __init__(self, api: Api, options: Options) -> None:
        self._api = api
        self._address = options.url.rstrip("/")
        self._at_once = options.max_concurrent_requests
        self._per_page = str(options.rest_page_size)
        self._has_children = options.collectors.pipelines.include_child_pipelines
        self._with_runners = options.collectors.jobs.include_runner_details
        self._unknown_statuses: set[str] = set()
        self.malformed: Counter[str] = Counter()
        """Objects that could not be read, by kind."""
        self._details = Details(api, options.rest_page_size, with_children=self._has_children, malformed=self.malformed)
        self._upstreams = Upstreams(self._details)
        self._heads = Heads(api, options, self.malformed)
        self._variables = VariableReader(api, Wanted(options.labels.variables), options.rest_page_size, self._at_once)

    async def changed(self, projects: Sequence[Project], after: int, before: int = 0, among: int = 0) -> Found:
        """Pipelines whose `updated` is at or after that second and before the other, children too. Raises CollectError."""

        async def ask(project: Project) -> _Listed:
            rows, date = await self._since(project, after, before, "")
            children = (await self._since(project, after, before, CHILD))[0] if self._has_children else []
            return _Listed(rows, children, date)

        found = await self._read(projects, ask, lambda one: after <= one.updated and (not before or one.updated < before))
        self._upstreams.await_all(projects, found, among or len(projects))
        return found

    async def unfinished(self, projects: Sequence[Project]) -> Found:
        """Every pipeline that has not ended, children too. Raises CollectError."""

        async def ask(project: Project) -> _Listed:
            rows, date = await self._open(project, "")
            children = (await self._open(project, CHILD))[0] if self._has_children else []
            return _Listed(rows, children, date)

        return await self._read(projects, ask, lambda pipeline: not pipeline.is_final)

    async def jobs(self, wanted: Mapping[Project, Sequence[Pipeline]]) -> dict[int, list[Job] | CollectError]:
        """All jobs, retried ones too, by pipeline id. Raises CollectError."""
        asked = [(project, pipeline.id) for project, pipelines in wanted.items() for pipeline in pipelines]
        answers = await spread(asked, self._jobs, self._at_once)
        raise_if_all(answers)
        return {number: answer for (_, number), answer in zip(asked, answers, strict=True)}

    async def pipelines(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Pipeline | CollectError | None]:
        """Pipelines by id; None = there is none (any more). Raises CollectError."""
        asked = [(project, number) for project, numbers in wanted.items() for number in numbers]
        answers = await spread(asked, self._pipeline, self._at_once)
        raise_if_all(answers)
        read = [(p, a) for (p, _), a in zip(asked, answers, strict=True) if isinstance(a, Pipeline)]
        await spread([pair for pair in read if self._details.is_orphan(pair[1])], self._find_parent, self._at_once)
        unread = await self._variables.read(read)
        states = await self._states(read)
        found: dict[int, Pipeline | CollectError | None] = {}
        for (project, number), answer in zip(asked, answers, strict=True):
            answer = unread.get(number, answer)
            found[number] = self._whole(project, answer, states) if isinstance(answer, Pipeline) else answer
        return found

    async def heads(self, projects: Sequence[Project]) -> Found:
        """The newest pipeline of each branch and tag that exists, and that a rule may show. Raises CollectError."""
        return await self._shown(projects, self._heads.existing, alone=True)

    async def recent(self, projects: Sequence[Project]) -> Found:
        """The newest of each merge request, what ended last on each ref, and what that triggered, that a rule may show.

        Raises CollectError.
        """
        return await self._shown(projects, self._heads.recent, alone=False)

    async def reports(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Report | CollectError]:
        """Test reports in summary by pipeline id; those without one are left out. Raises CollectError."""
        asked = [(project, number) for project, numbers in wanted.items() for number in numbers]
        answers = await spread(asked, self._report, self._at_once)
        raise_if_all(answers)
        return {number: answer for (_, number), answer in zip(asked, answers, strict=True) if answer is not None}

    # -- lists -----------------------------------------------------------------------------------------

    async def _since(self, project: Project, after: int, before: int, source: str) -> tuple[list[Row], float]:
        """What has changed."""
        params = {"per_page": self._per_page} | ({"source": source} if source else {})
        params |= {"updated_before": moment_of(before + 1)} if before else {}
        listed, date = await changes(self._api, f"/projects/{project.id}/pipelines", params, after)
        return list(readable("pipeline", listed, row_of, self.malformed)), date

    async def _open(self, project: Project, source: str) -> tuple[list[Row], float]:
        """What has not ended: of a project with few pipelines the list of all tells, else there is a list for each status."""
        path, more = f"/projects/{project.id}/pipelines", {"source": source} if source else {}
        params = {"order_by": "id", "sort": "desc", "per_page": self._per_page, **more}
        answer = await self._api.get(path, params)
        rows = list(readable("pipeline", items(answer.data, path), row_of, self.malformed))
        for status in STATUSES if answer.next else ():
            if status not in self._unknown_statuses:
                rows += await self._of_status(path, params, status)
        return [row for row in rows if row.status not in FINAL], answer.date

    async def _of_status(self, path: str, params: Mapping[str, str], status: str) -> list[Row]:
        try:
            listed, _ = await pages(self._api, path, {**params, "status": status})
        except CollectError as error:
            if error.kind != "request":  # a server that is down says nothing of what it knows
                raise
            self._unknown_statuses.add(status)
            return []
        return list(readable("pipeline", listed, row_of, self.malformed))

    async def _shown(
        self, projects: Sequence[Project], listed: Callable[[Project], Awaitable[tuple[list[Row], float]]], *, alone: bool
    ) -> Found:
        async def ask(project: Project) -> _Listed:
            rows, date = await listed(project)
            return _Listed(rows, [], date)

        return await self._read(projects, ask, bool, alone=alone)

    # -- one after the other ---------------------------------------------------------------------------

    async def _read(
        self, projects: Sequence[Project], ask: Callable[[Project], Awaitable[_Listed]], kept: _Kept, *, alone: bool = False
    ) -> Found:
        """The pipelines of what `ask` lists; `alone`: without what they triggered."""
        reading, own, children = _Reading(), list[tuple[Project, Row]](), list[tuple[Project, Row]]()
        answers = await spread(projects, ask, self._at_once)
        raise_if_all(answers)
        for project, answer in zip(projects, answers, strict=True):
            if isinstance(answer, CollectError):
                reading.failed(project, answer)
                continue
            here = self._named(project, [*answer.rows, *answer.children], reading.found)
            reading.pipelines[project.id] = {}
            reading.found.date = min(reading.found.date or answer.date, answer.date)
            own += [(here, row) for row in answer.rows]
            children += [(here, row) for row in answer.children]
        await self._take(own, reading, self._alone if alone else self._tree)
        await self._take(children, reading, self._tree)  # after what triggered them, which may tell what they were like
        await self._finish({project.id: project for project, _ in (*own, *children)}, reading, kept)
        if not reading.pipelines:
            raise_if_all(list(reading.found.failed.values()))
        return reading.found

    async def _take(
        self,
        asked: Sequence[tuple[Project, Row]],
        reading: _Reading,
        ask: Callable[[tuple[Project, Row]], Awaitable[list[Pipeline]]],
    ) -> None:
        for (project, _), answer in zip(asked, await spread(asked, ask, self._at_once), strict=True):
            if isinstance(answer, CollectError):
                reading.failed(project, answer)
            elif project.id in reading.pipelines:
                reading.pipelines[project.id].update({pipeline.id: pipeline for pipeline in answer})

    async def _finish(self, projects: Mapping[int, Project], reading: _Reading, kept: _Kept) -> None:
        """What triggered each pipeline, and how its merge request is."""
        chosen = {
            number: [pipeline for _, pipeline in sorted(found.items()) if kept(pipeline)]
            for number, found in reading.pipelines.items()
        }
        pairs = [(projects[number], pipeline) for number, found in chosen.items() for pipeline in found]
        orphans = [pair for pair in pairs if self._details.is_orphan(pair[1])]
        for (project, _), error in zip(orphans, await spread(orphans, self._find_parent, self._at_once), strict=True):
            if error is not None and error.kind not in _OUT_OF_SIGHT:
                reading.failed(project, error)
        unread = await self._variables.read(pairs, reading.found.date)
        for project, pipeline in pairs:
            if (failure := unread.get(pipeline.id)) is not None:
                reading.failed(project, failure)
        states = await self._states(pairs)
        for number in reading.pipelines:
            found = chosen[number]
            reading.found.pipelines[number] = [self._whole(projects[number], pipeline, states) for pipeline in found]

    def _named(self, project: Project, rows: Iterable[Row], found: Found) -> Project:
        """The project under its name of today, where a list tells it."""
        path = next((row.path for row in rows if row.path), "").removeprefix(f"{self._address}/")
        if "/" not in path or "://" in path:
            return project
        found.paths[project.id] = path
        return project._replace(path=path)

    def _whole(self, project: Project, pipeline: Pipeline, states: Mapping[tuple[int, int], str]) -> Pipeline:
        state = states.get((project.id, pipeline.merge_request), "")
        upstream, variables = self._details.upstream(pipeline.id), self._variables.of(pipeline.id)
        return pipeline._replace(upstream=upstream, merge_request_state=state, variables=variables)

    # -- single questions ------------------------------------------------------------------------------

    async def _tree(self, asked: tuple[Project, Row]) -> list[Pipeline]:
        return await self._details.tree(*asked)

    async def _alone(self, asked: tuple[Project, Row]) -> list[Pipeline]:
        project, row = asked
        try:
            pipeline = await self._details.of(project, row.id, row.updated)
        except MalformedError:
            self.malformed["pipeline"] += 1
            return []
        return [] if pipeline is None else [pipeline]

    async def _pipeline(self, asked: tuple[Project, int]) -> Pipeline | None:
        project, number = asked
        try:
            found = await self._details.of(project, number)
        except MalformedError as error:
            self.malformed["pipeline"] += 1
            raise CollectError("json", f"pipeline {number}: {error}") from error
        if found is None:  # or its project is out of sight, and then it may come back
            await self._api.get(f"/projects/{project.id}", {})
        return found

    async def _find_parent(self, asked: tuple[Project, Pipeline]) -> None:
        await self._details.find_parent(*asked)

    async def _jobs(self, asked: tuple[Project, int]) -> list[Job]:
        path = f"/projects/{asked[0].id}/pipelines/{asked[1]}/jobs"
        listed, _ = await pages(self._api, path, {"include_retried": "true", "per_page": self._per_page})
        jobs = {job.id: job for job in readable("job", listed, job_of, self.malformed)}
        newest: dict[str, int] = {}
        for job in jobs.values():
            newest[job.name] = max(newest.get(job.name, 0), job.id)
        for job in list(jobs.values()):
            if newest[job.name] > job.id:
                jobs[job.id] = job._replace(is_retried=True)
        found = [job for _, job in sorted(jobs.items())]
        return found if self._with_runners else [job._replace(runner_type="unknown") for job in found]

    async def _report(self, asked: tuple[Project, int]) -> Report | None:
        path = f"/projects/{asked[0].id}/pipelines/{asked[1]}/test_report_summary"
        data = (await self._api.get(path, {})).data
        report = next(readable("report", [data], report_of, self.malformed), None)
        return report if report is not None and report.totals.total else None

    async def _states(self, pairs: Iterable[tuple[Project, Pipeline]]) -> dict[tuple[int, int], str]:
        """States of merge requests, by project id and their number there; what cannot be read is left out."""
        wanted: dict[int, set[int]] = {}
        for project, pipeline in pairs:
            if pipeline.merge_request:
                wanted.setdefault(project.id, set()).add(pipeline.merge_request)
        asked = [
            (project, sorted(numbers)[first : first + MAX_REQUESTS_ASKED])
            for project, numbers in wanted.items()
            for first in range(0, len(numbers), MAX_REQUESTS_ASKED)
        ]
        answers = await spread(asked, self._requests, self._at_once)
        found = [(place, answer) for (place, _), answer in zip(asked, answers, strict=True) if isinstance(answer, list)]
        return {(place, number): state for place, states in found for number, state in states}

    async def _requests(self, asked: tuple[int, Sequence[int]]) -> list[tuple[int, str]]:
        query = urlencode([("iids[]", number) for number in asked[1]] + [("per_page", MAX_REQUESTS_ASKED)])
        path = f"/projects/{asked[0]}/merge_requests"
        listed = items((await self._api.get(f"{path}?{query}", {})).data, path)
        return list(readable("merge_request", listed, lambda one: (whole(one, "iid"), text(one, "state")), self.malformed))
