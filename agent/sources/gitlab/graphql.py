"""The sync's reader by GraphQL: a hundred projects a request.

https://docs.gitlab.com/api/graphql/. Projects are asked for by number, so that renamed ones are found. What an answer
holds beside its errors is kept: an error belongs to the project at its path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from agent.errors import CollectError
from agent.sources.gitlab.api import Gitlab
from agent.sources.gitlab.graphql_jobs import Jobs
from agent.sources.gitlab.graphql_lists import Lists, Reading
from agent.sources.gitlab.graphql_named import read_named
from agent.sources.gitlab.nodes import moment_text, pipeline_of, report_of
from agent.sources.gitlab.objects import Job, Pipeline, Project, Report
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.parsed import MalformedError
from agent.sources.gitlab.queries import REPORTS_AT_ONCE, Listing, Queries
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.schema import Schema, Schemas
from agent.sources.gitlab.variables import Wanted

T = TypeVar("T")


class GraphqlReader:
    """See `Reader`. Every method raises CollectError of the kind `graphql` where there is no GraphQL to be had.

    `clock` gives seconds since the epoch.
    """

    together = 1000
    """What ends while `unfinished` asks is asked for at the end."""

    def __init__(self, api: Gitlab, options: Options, clock: Callable[[], float]) -> None:
        self.malformed: Counter[str] = api.malformed
        """By kind: things in answers that were not what they should be, and were left out."""
        self._api = api
        self._options = options
        self._schemas = Schemas(api, clock)
        self._at_once = options.max_concurrent_requests
        self._variables = Wanted(options.labels.variables)
        self._lists = Lists(api, self._at_once, self._variables)
        self._jobs = Jobs(api, self._at_once)

    async def changed(
        self,
        projects: Sequence[Project],
        after: int,
        before: int = 0,
        among: int = 0,  # noqa: ARG002  (what triggered a pipeline is in the same answer)
    ) -> Found:
        """See `Reader`."""

        async def ask(queries: Queries) -> Found:
            reading = Reading()
            # whether GitLab's comparisons include the second itself is written nowhere
            times = {"t": moment_text(after - 1), "u": moment_text(before + 1)}
            await self._lists.read(queries, projects, queries.changed(is_bounded=before > 0), reading, times)
            return _only(reading, lambda pipeline: after <= pipeline.updated and (not before or pipeline.updated < before))

        return await self._ask(ask)

    async def jobs(self, wanted: Mapping[Project, Sequence[Pipeline]]) -> dict[int, list[Job] | CollectError]:
        """See `Reader`."""
        return await self._ask(lambda queries: self._jobs.read(queries, wanted))

    async def pipelines(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Pipeline | CollectError | None]:
        """See `Reader`."""
        answers = await self._ask(
            lambda queries: read_named(self._api, wanted, queries.pipelines, self._at_once, queries.pipelines_at_once)
        )
        paths = {number: project.path for project, numbers in wanted.items() for number in numbers}
        found: dict[int, Pipeline | CollectError | None] = {}
        for number, answer in answers.items():
            if answer is None or isinstance(answer, CollectError):
                found[number] = answer
                continue
            try:
                found[number] = pipeline_of(answer, paths[number], variables=self._variables)
            except (MalformedError, TypeError, AttributeError) as error:
                self.malformed["pipeline"] += 1
                found[number] = CollectError("json", f"pipeline {number}: {error}")
        return found

    async def unfinished(self, projects: Sequence[Project]) -> Found:
        """See `Reader`.

        A pipeline goes from status to status while they are asked for one after the other: what was updated meanwhile
        is read at the end, and what ended meanwhile had not when this began.
        """

        async def ask(queries: Queries) -> Found:
            reading = Reading()
            for listings in queries.unfinished():
                await self._lists.read(queries, projects, listings, reading)
            begun = int(reading.found.date)
            await self._lists.read(queries, projects, queries.changed(), reading, {"t": moment_text(begun - 1)})
            return _only(reading, lambda pipeline: not pipeline.is_final or (pipeline.finished or 0) >= begun)

        return await self._ask(ask)

    async def heads(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(lambda queries: self._listed(queries, projects, [queries.heads()]))

    async def recent(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(lambda queries: self._listed(queries, projects, queries.recent()))

    async def reports(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Report | CollectError]:
        """See `Reader`."""
        answers = await self._ask(lambda queries: read_named(self._api, wanted, queries.reports, self._at_once, REPORTS_AT_ONCE))
        found: dict[int, Report | CollectError] = {}
        for number, answer in answers.items():
            if isinstance(answer, CollectError):
                found[number] = answer
                continue
            if answer is None or not answer.get("testReportSummary"):
                continue
            try:
                report = report_of(answer["testReportSummary"])
            except (MalformedError, TypeError, AttributeError):
                self.malformed["report"] += 1
                continue
            if report.totals.total:
                found[number] = report
        return found

    async def _listed(self, queries: Queries, projects: Sequence[Project], groups: Iterable[Sequence[Listing]]) -> Found:
        reading = Reading()
        for listings in groups:
            await self._lists.read(queries, projects, listings, reading)
        return reading.whole()

    async def _ask(self, question: Callable[[Queries], Awaitable[T]]) -> T:
        """Ask with the fields that the instance had a day ago, and where that fails with those that it has now."""
        before = await self._schemas.current()
        try:
            return await question(self._queries(before))
        except CollectError as error:
            if error.kind != "graphql":
                raise
            self._schemas.forget()
            schema = await self._schemas.current()
            if schema == before:
                raise
            return await question(self._queries(schema))

    def _queries(self, schema: Schema) -> Queries:
        collectors = self._options.collectors
        return Queries(
            schema,
            page=self._options.graphql_page_size,
            children=collectors.pipelines.include_child_pipelines,
            runners=collectors.jobs.include_runner_details,
            variables=bool(self._variables),
        )


def _only(reading: Reading, is_wanted: Callable[[Pipeline], bool]) -> Found:
    """What was read, without pipelines that were not asked for."""
    found = reading.whole()
    for number, pipelines in found.pipelines.items():
        found.pipelines[number] = [pipeline for pipeline in pipelines if is_wanted(pipeline)]
    return found
