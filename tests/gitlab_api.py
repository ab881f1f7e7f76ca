"""A small GitLab behind a transport: what it holds is changed by the test, what it answers follows its documentation.

GraphQL is executed by graphql-core over the schema below, which has what is asked for and no more; queries are priced by
the rule of GitLab's `BaseField`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import httpx
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    build_schema,
    execute_sync,
    parse,
    print_ast,
    validate,
)
from graphql.execution import ExecutionResult

from agent.plugin import Context
from agent.sources.gitlab.api import Gitlab, connect
from agent.sources.gitlab.graphql import GraphqlReader
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import Options

NOW = 1_790_000_000
BASE = "https://gitlab.example.com"
TOKEN = "token-of-the-test"
Json = dict[str, Any]

SDL = """
scalar Time scalar BigInt scalar Duration
enum PipelineStatusEnum { CREATED PENDING RUNNING FAILED SUCCESS CANCELED SKIPPED MANUAL SCHEDULED }
enum PipelineScopeEnum { RUNNING PENDING FINISHED BRANCHES TAGS }
enum CiJobKind { BUILD BRIDGE }
enum ProjectArchived { ONLY INCLUDE EXCLUDE }
type PageInfo { hasNextPage: Boolean! endCursor: String }
type Metadata { version: String }
type Query { metadata: Metadata projects(ids: [ID!], archived: ProjectArchived, first: Int, after: String): Projects }
type Projects { nodes: [Project] pageInfo: PageInfo! }
type Project {
  id: ID! fullPath: ID!
  pipelines(status: PipelineStatusEnum, scope: PipelineScopeEnum, source: String, updatedAfter: Time, updatedBefore: Time,
    first: Int, after: String): Pipelines
  pipeline(id: ID, iid: ID): Pipeline
}
type Pipelines { nodes: [Pipeline] pageInfo: PageInfo! }
type Pipeline {
  id: ID! status: PipelineStatusEnum! ref: String refPath: String source: String
  createdAt: Time! startedAt: Time finishedAt: Time updatedAt: Time! duration: Int queuedDuration: Duration
  coverage: Float warnings: Boolean! mergeRequest: MergeRequest upstream: Pipeline project: Project sourceJob: CiJob
  downstream(first: Int): Pipelines
  jobs(jobKind: CiJobKind, retried: Boolean, first: Int, after: String): Jobs
  testReportSummary: Summary
  manualVariables(first: Int): Variables
}
type Variables { nodes: [Variable] }
type Variable { key: String value: String }
type MergeRequest { state: String }
type Jobs { nodes: [CiJob] pageInfo: PageInfo! }
type CiJob {
  id: ID name: String status: String createdAt: Time! startedAt: Time finishedAt: Time duration: Int
  queuedDuration: Duration retried: Boolean allowFailure: Boolean! failureMessage: String stage: Stage
  artifacts: Artifacts runner: Runner
}
type Stage { name: String }
type Runner { runnerType: String }
type Artifacts { nodes: [Artifact] }
type Artifact { size: BigInt! }
type Summary { total: Total! testSuites(first: Int): Suites }
type Total { time: Float count: Int success: Int failed: Int skipped: Int error: Int }
type Suites { nodes: [Suite] }
type Suite {
  name: String totalTime: Float totalCount: Int successCount: Int failedCount: Int skippedCount: Int errorCount: Int
}
"""
NEW_FIELDS = ("source: String\n", "mergeRequest: MergeRequest ", "failureMessage: String ")
"""What version 16.3 does not have, as it stands above."""
LISTS = {"projects", "pipelines", "jobs"}


def clock() -> float:
    """Seconds since the epoch, on the test's virtual clock."""
    return NOW + anyio.current_time()


def moment(at: float | None) -> str | None:
    """As GitLab writes times."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def context() -> Context:
    """An agent around a source."""
    return Context(clock, "cipush", "here", "cipush/test")


def project(number: int, pipelines: Iterable[Json] = (), path: str = "") -> Json:
    """A project as GraphQL knows it."""
    found = list(pipelines)
    return {"id": f"gid://gitlab/Project/{number}", "fullPath": path or f"acme/shop-{number}", "pipelines": found}


def pipeline(number: int, updated: int = NOW, status: str = "SUCCESS", jobs: Iterable[Json] = (), **more: Any) -> Json:
    """A pipeline; it ran for a minute, unless `more` says otherwise."""
    is_over = status in ("SUCCESS", "FAILED", "CANCELED")
    return {
        "id": f"gid://gitlab/Ci::Pipeline/{number}",
        "status": status,
        "ref": "main",
        "refPath": "refs/heads/main",
        "source": "push",
        "createdAt": moment(updated - 70),
        "startedAt": moment(updated - 60),
        "finishedAt": moment(updated) if is_over else None,
        "updatedAt": moment(updated),
        "duration": 60 if is_over else None,
        "queuedDuration": 9.6,
        "coverage": None,
        "warnings": False,
        "jobs": list(jobs),
        **more,
    }


def child(number: int, updated: int = NOW, **more: Any) -> Json:
    """A child pipeline of some pipeline of acme/shop-1."""
    parent = {
        "id": "gid://gitlab/Ci::Pipeline/7",
        "ref": "main",
        "refPath": "refs/heads/main",
        "project": {"fullPath": "acme/shop-1"},
    }
    return pipeline(number, updated, source="parent_pipeline", upstream=parent, sourceJob={"name": "trigger it"}, **more)


def job(number: int, **more: Any) -> Json:
    """A job that passed."""
    return {
        "id": f"gid://gitlab/Ci::Build/{number}",
        "name": "compile",
        "status": "SUCCESS",
        "createdAt": moment(NOW - 70),
        "startedAt": moment(NOW - 50),
        "finishedAt": moment(NOW - 10),
        "duration": 40,
        "queuedDuration": 2.5,
        "retried": False,
        "allowFailure": False,
        "failureMessage": None,
        "stage": {"name": "build"},
        "artifacts": {"nodes": [{"size": "1000"}, {"size": "24"}]},
        "runner": {"runnerType": "GROUP_TYPE"},
        **more,
    }


class Instance(httpx.AsyncBaseTransport):
    """The transport. `script` says what answers a path instead, one after the other; `requests` what was asked."""

    def __init__(self, *projects: Json, sdl: str = SDL) -> None:
        self.projects = {found["id"]: found for found in projects}
        self.lists: dict[str, list[Any]] = {}
        """What the REST API has, by path below /api/v4."""
        self.script: dict[str, list[httpx.Response | Exception]] = {}
        self.requests: list[httpx.Request] = []
        self.begun: list[float] = []
        self.queries: list[str] = []
        self.costs: list[int] = []
        self.token = TOKEN
        self.headers: dict[str, str] = {}
        self.broken: dict[tuple[str, str], str] = {}
        """What cannot be resolved and why: by global id and field."""
        self.most_cost = 250
        self.seconds: Callable[[Json], float] = lambda data: 0.1
        """How long GraphQL takes for an answer."""
        self.most_seconds = 1e9
        self.version = "18.4.2-ee"
        self.schema = _executable(build_schema(sdl), self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.begun.append(anyio.current_time())
        path = unquote(urlsplit(str(request.url)).path).removeprefix("/api/v4")
        answer = await self._answer(request, path)
        # A response made of content counts as read; one made of a stream is still to be.
        headers = {**self.headers, **answer.headers}
        return httpx.Response(answer.status_code, headers=headers, stream=answer.stream, request=request)

    async def _answer(self, request: httpx.Request, path: str) -> httpx.Response:
        if self.script.get(path):
            await anyio.sleep(0.1)
            scripted = self.script[path].pop(0)
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        if request.headers.get("private-token") != self.token:
            return httpx.Response(401, json={"message": "401 Unauthorized"})
        if path == "/api/graphql":
            body = json.loads(request.content)
            return await self._graphql(body["query"], body["variables"])
        await anyio.sleep(0.1)
        if path in self.lists:
            return self._page(request, self.lists[path])
        return httpx.Response(404, json={"message": "404 Not Found"})

    def _page(self, request: httpx.Request, items: list[Any]) -> httpx.Response:
        query = {key: values[0] for key, values in parse_qs(urlsplit(str(request.url)).query).items()}
        page, size = int(query.get("page", "1")), int(query.get("per_page", "20"))
        headers = {"x-next-page": ""}
        if page * size < len(items):
            following = request.url.copy_merge_params({"page": str(page + 1)})
            headers = {"x-next-page": str(page + 1), "link": f'<{following}>; rel="next"'}
        return httpx.Response(200, json=items[(page - 1) * size : page * size], headers=headers)

    async def _graphql(self, text: str, variables: Json) -> httpx.Response:
        document = parse(text)
        cost = cost_of(document, variables)
        self.queries.append(text)
        self.costs.append(cost)
        wrong = validate(self.schema, document)
        if wrong:
            return httpx.Response(200, json={"errors": [{"message": error.message} for error in wrong]})
        if cost > self.most_cost:
            message = f"Query has complexity of {cost}, which exceeds max complexity of {self.most_cost}"
            return httpx.Response(200, json={"errors": [{"message": message}]})
        found = execute_sync(self.schema, document, variable_values=variables)
        assert isinstance(found, ExecutionResult)
        seconds = self.seconds(found.data or {})
        await anyio.sleep(min(seconds, self.most_seconds))
        if seconds > self.most_seconds:
            return httpx.Response(502, text="<html>502 Bad Gateway</html>")
        body: Json = {"data": found.data}
        if found.errors:
            body["errors"] = [{"message": error.message, "path": error.path} for error in found.errors]
        return httpx.Response(200, json=body)


def _executable(schema: GraphQLSchema, instance: Instance) -> GraphQLSchema:
    def resolve(kind: str, field: str, resolver: Callable[..., Any]) -> None:
        def checked(source: Json, _info: object, /, **arguments: Any) -> Any:
            wrong = instance.broken.get((source["id"] if source else "", field))
            if wrong is not None:
                raise GraphQLError(wrong)
            return resolver(source, **arguments)

        owner = schema.type_map[kind]
        assert isinstance(owner, GraphQLObjectType)
        owner.fields[field].resolve = checked

    def projects(_: Json, /, ids: list[str], first: int = 100, **arguments: Any) -> Json:
        return _page([instance.projects[gid] for gid in ids if gid in instance.projects], first)

    resolve("Query", "projects", projects)
    resolve("Query", "metadata", lambda source: {"version": instance.version})
    resolve("Project", "pipelines", _listed)
    resolve("Project", "pipeline", lambda source, id: next((one for one in source["pipelines"] if one["id"] == id), None))
    resolve("Pipeline", "jobs", _jobs)
    return schema


def _jobs(source: Json, /, first: int = 100, after: str = "", **arguments: Any) -> Json:
    is_build = arguments.get("jobKind") == "BUILD"
    return _page([one for one in source["jobs"] if not is_build or "Bridge" not in str(one["id"])], first, after)


def _listed(source: Json, /, first: int = 100, after: str = "", **arguments: Any) -> Json:
    found = []
    for one in sorted(source["pipelines"], key=lambda one: -int(one["id"].rpartition("/")[2])):
        is_child = one["source"] == "parent_pipeline"
        wanted = (
            is_child == (arguments.get("source") == "parent_pipeline")
            and arguments.get("status") in (None, one["status"])
            and (arguments.get("updatedAfter") or "") <= one["updatedAt"] <= (arguments.get("updatedBefore") or "9")
            and (arguments.get("scope") != "TAGS" or one["refPath"].startswith("refs/tags/"))
            and (arguments.get("scope") != "BRANCHES" or one["refPath"].startswith("refs/heads/"))
        )
        if wanted:
            found.append(one)
    return _page(found, first, after)


def _page(items: list[Any], first: int, after: str = "") -> Json:
    begin = int(after or "0")
    end = begin + min(first, 100)
    return {"nodes": items[begin:end], "pageInfo": {"hasNextPage": end < len(items), "endCursor": str(end)}}


def cost_of(document: DocumentNode, variables: Mapping[str, Any]) -> int:
    """What GitLab charges for a query: a resolver costs one more, a list a hundredth more for each item it may have."""

    def inside(found: SelectionSetNode | None) -> int:
        return sum(cost(one) for one in (found.selections if found else ()) if isinstance(one, FieldNode))

    def cost(field: FieldNode) -> int:
        total = inside(field.selection_set) + 1
        if field.name.value not in LISTS:
            return total
        first = next(one.value for one in field.arguments or () if one.name.value == "first")
        size = int(first.value) if isinstance(first, IntValueNode) else variables[print_ast(first).removeprefix("$")]
        return int(total * (1 + min(size, 100) / 100))

    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return inside(operation.selection_set)


def options(**keys: Any) -> Options:
    """The source's, with the token that the fake knows and no limit of their own."""
    unlimited = {"max_requests_per_second": 1000.0, "burst_requests_per_second": 1000.0}
    return Options.model_validate({"url": BASE, "token": TOKEN, **unlimited, **keys})


def client(instance: httpx.AsyncBaseTransport, **keys: Any) -> Gitlab:
    """A client of it."""
    return connect("sources.gitlab", options(**keys), context(), instance)


def reader(instance: Instance, **keys: Any) -> GraphqlReader:
    """A reader of it."""
    return GraphqlReader(client(instance, **keys), options(**keys), clock)


def known(number: int) -> Project:
    """What the agent knows of a project."""
    return Project(number, f"acme/shop-{number}")


def seen(number: int, updated: int = NOW, source: str = "push") -> Pipeline:
    """What the agent knows of a pipeline whose jobs it wants."""
    return Pipeline(number, "success", "main", "branch", source, updated - 70, updated)
