"""A small GitLab behind the client: a test changes what it holds; its answers follow the documentation of the REST API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import anyio

from agent.errors import CollectError
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.options import Options

NOW = 1_790_000_000
URL = "https://gitlab.test"
Json = dict[str, Any]
SHOP = Project(7, "acme/shop", "main", NOW - 86400)


def clock() -> float:
    """Seconds since the epoch, on the test's virtual clock."""
    return NOW + anyio.current_time()


def moment(second: float | None) -> str | None:
    """As GitLab writes times."""
    return None if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + "250Z"


def options(**keys: Any) -> Options:
    """A configuration of the source."""
    return Options.model_validate({"url": URL, "token": "token-of-the-test", **keys})


class Answer(NamedTuple):
    """As the client's."""

    data: Any
    next: str
    date: float


@dataclass
class Run:
    """A pipeline."""

    id: int
    status: str = "success"
    ref: str = "main"
    source: str = "push"
    project: int = SHOP.id
    tag: bool = False
    created: int = NOW - 500
    updated: int = NOW - 100
    sha: str = "c0ffee"
    group: str = ""
    triggers: list[tuple[str, Run]] = field(default_factory=list)
    """Names of its trigger jobs, and what they started."""
    jobs: list[Json] = field(default_factory=list)
    report: Json | None = None
    coverage: str | None = None

    def row(self) -> Json:
        """As lists show it."""
        found = {key: getattr(self, key) for key in ("id", "status", "ref", "source", "sha")}
        found |= {"iid": 1, "project_id": self.project, "web_url": f"{URL}/acme/shop/-/pipelines/{self.id}"}
        return found | {"created_at": moment(self.created), "updated_at": moment(self.updated)}

    def page(self) -> Json:
        """As its own page shows it."""
        is_over = self.status in ("success", "failed", "canceled")
        return self.row() | {
            "tag": self.tag,
            "started_at": moment(self.created + 5),
            "finished_at": moment(self.updated) if is_over else None,
            "duration": self.updated - self.created - 5 if is_over else None,
            "queued_duration": 5,
            "coverage": self.coverage,
            "detailed_status": {"group": self.group or self.status, "text": "some text"},
        }


def job(number: int, name: str = "build", **more: Any) -> Json:
    """A job that succeeded."""
    found = {"id": number, "name": name, "stage": "test", "status": "success", "allow_failure": False}
    found |= {"created_at": moment(NOW - 400), "started_at": moment(NOW - 350), "finished_at": moment(NOW - 300)}
    found |= {"duration": 50.9, "queued_duration": 7.6, "failure_reason": None, "runner": {"runner_type": "group_type"}}
    return found | {"artifacts": [{"file_type": "archive", "size": 1000}, {"file_type": "trace", "size": 24}]} | more


class GitLab:
    """What the readers ask. `asked`: the questions, in order; `more`: further answers by path.

    An exception among those is raised, a function called with what was asked for.
    """

    def __init__(self, *runs: Run) -> None:
        self.runs = list(runs)
        self.more: dict[str, Any] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.requests: dict[int, str] = {}
        """States of merge requests."""
        self.then: Callable[[int], None] = lambda count: None
        """Called with the number of questions, after each."""

    async def get(self, path: str, params: Mapping[str, str] = {}) -> Answer:
        await anyio.sleep(0.05)
        path, _, query = path.partition("?")
        given = {**dict(parse_qsl(query)), **params}
        self.asked.append((path, given))
        found = self.more[path] if path in self.more else self._answer(path, given, parse_qsl(query))
        if callable(found):
            found = found(given)
        if isinstance(found, Exception):
            raise found
        answer = self._page(path, given, found) if isinstance(found, list) else Answer(found, "", clock())
        self.then(len(self.asked))
        return answer

    def count(self, ending: str) -> int:
        """How many questions there were for paths that end so."""
        return sum(path.endswith(ending) for path, _ in self.asked)

    def _page(self, path: str, given: Mapping[str, str], found: list[Any]) -> Answer:
        size, page = int(given.get("per_page", "20")), int(given.get("page", "1"))
        rest = found[(page - 1) * size :]
        following = f"{path}?{urlencode({**given, 'page': page + 1})}" if len(rest) > size else ""
        return Answer(rest[:size], following, clock())

    def _answer(self, path: str, given: Mapping[str, str], query: Iterable[tuple[str, str]]) -> Any:
        match path.strip("/").split("/"):
            case ["projects", number, "pipelines"]:
                return [run.row() for run in self._listed(int(number), given)]
            case ["projects", number, "merge_requests"]:
                wanted = [int(value) for key, value in query if key == "iids[]"]
                return [{"iid": iid, "state": self.requests[iid]} for iid in wanted if iid in self.requests]
            case ["projects", number, "pipelines", pipeline, *what]:
                run = next((run for run in self.runs if (run.id, run.project) == (int(pipeline), int(number))), None)
                return self._of(run, what) if run else CollectError("missing", "404 Not found")
            case ["projects", number] if any(run.project == int(number) for run in self.runs):
                return {"id": int(number)}
        return CollectError("missing", "404 Project Not Found")

    def _of(self, run: Run, what: list[str]) -> Any:
        match what:
            case []:
                return run.page()
            case ["bridges"]:
                return [{"name": name, "downstream_pipeline": down.row()} for name, down in run.triggers]
            case ["jobs"]:
                return run.jobs
            case ["test_report_summary"]:
                return run.report
        return CollectError("missing", "404 Not found")

    def _listed(self, number: int, given: Mapping[str, str]) -> list[Run]:
        source, after = given.get("source"), given.get("updated_after")
        found = [run for run in self.runs if run.project == number]
        found = [run for run in found if (run.source == source if source else run.source != "parent_pipeline")]
        found = [run for run in found if all(getattr(run, key) == given[key] for key in ("status", "sha") if key in given)]
        if after:
            found = [run for run in found if run.updated + 0.25 > datetime.fromisoformat(after).timestamp()]
        if scope := given.get("scope"):
            refs = {run.ref: run for run in sorted(found, key=lambda run: run.id) if run.tag == (scope == "tags")}
            found = list(refs.values())
        order = given.get("order_by", "id").removesuffix("_at")
        return sorted(found, key=lambda run: (getattr(run, order), run.id), reverse=given.get("sort") != "asc")
