"""A small GitHub behind a transport: what it holds is changed by the test, what it answers follows its documentation."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import httpx

from agent.errors import DeliveryError
from agent.model import Observation
from agent.plugin import Context
from agent.sources.github.api import Api, connect
from agent.sources.github.discover import Discovery
from agent.sources.github.engine import Digest
from agent.sources.github.options import Options
from agent.sources.github.runs import Runs

NOW = 1_790_000_000.0
BASE = "https://api.github.com"
DAY = 86400.0
Json = dict[str, Any]
Script = Callable[[httpx.Request], httpx.Response]


def clock() -> float:
    """Seconds since the epoch, on the test's virtual clock."""
    return NOW + anyio.current_time()


def moment(at: float) -> str:
    """As GitHub writes times."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def context() -> Context:
    """An agent around a source."""
    return Context(clock, "cipush", "here", "cipush/test")


@dataclass
class Attempt:
    """One attempt of a run; `ended` None = it has not."""

    began: float
    ended: float | None = None
    jobs: list[Json] = field(default_factory=list)


@dataclass
class Run:
    """A run and its attempts, the first one first."""

    id: int
    created: float
    attempts: list[Attempt]
    workflow: int = 7

    def json(self, attempt: int = 0) -> Json:
        """As the API shows it, or one attempt of it."""
        number = attempt or len(self.attempts)
        about = self.attempts[number - 1]
        return {
            "id": self.id,
            "name": "some title",
            "run_attempt": number,
            "workflow_id": self.workflow,
            "path": ".github/workflows/ci.yml",
            "event": "push",
            "head_branch": "main",
            "status": "in_progress" if about.ended is None else "completed",
            "conclusion": None if about.ended is None else "success",
            "created_at": moment(self.created),
            "run_started_at": moment(about.began),
            "updated_at": moment(about.ended or about.began),
            "repository": {"a lot": "more"},
        }


@dataclass
class Repository:
    """A repository and what is in it."""

    id: int
    name: str
    runs: list[Run] = field(default_factory=list)
    created: float = NOW - 400 * DAY
    archived: bool = False
    hooks: list[Json] = field(default_factory=list)
    runners: list[Json] = field(default_factory=list)

    def json(self) -> Json:
        """As the API shows it."""
        return {
            "id": self.id,
            "full_name": self.name,
            "default_branch": "main",
            "private": True,
            "archived": self.archived,
            "created_at": moment(self.created),
            "owner": {"login": self.name.partition("/")[0]},
        }


class GitHub(httpx.AsyncBaseTransport):
    """The transport. `script` says what answers a path instead, one after the other; `requests` what was asked."""

    def __init__(self, *repositories: Repository) -> None:
        self.repositories = list(repositories)
        self.renamed: dict[str, str] = {}
        self.logs: dict[str, list[Json]] = {}
        self.payloads: dict[int, Json] = {}
        self.script: dict[str, list[httpx.Response | Exception]] = {}
        self.requests: list[httpx.Request] = []
        self.statuses: list[int] = []
        self.more: dict[str, Any] = {}
        """Further answers, by path."""
        self.token = "Bearer token-of-the-test"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await anyio.sleep(0.01)
        self.requests.append(request)
        path = unquote(urlsplit(str(request.url)).path)
        scripted = self.script.get(path)
        if scripted:
            answer = scripted.pop(0)
            if isinstance(answer, Exception):
                raise answer
        elif request.headers.get("authorization") != self.token:
            answer = httpx.Response(401, json={"message": "Bad credentials"})
        else:
            answer = self._answer(request, path)
        self.statuses.append(answer.status_code)
        # A response made of content counts as read; one made of a stream is still to be.
        return httpx.Response(answer.status_code, headers=answer.headers, stream=answer.stream, request=request)

    def asked(self) -> list[str]:
        """The paths asked for since the last time."""
        found = [unquote(urlsplit(str(request.url)).path) for request in self.requests]
        self.requests.clear()
        return found

    def charged(self) -> int:
        """Requests since the last time that count against the limit."""
        found = sum(status != 304 for status in self.statuses)
        self.statuses.clear()
        return found

    def _answer(self, request: httpx.Request, path: str) -> httpx.Response:
        query = {key: values[0] for key, values in parse_qs(urlsplit(str(request.url)).query).items()}
        for old, new in self.renamed.items():
            if path.startswith(f"/repos/{old}"):
                number = next(repository.id for repository in self.repositories if repository.name == new)
                rest = path.removeprefix(f"/repos/{old}")
                return httpx.Response(301, headers={"location": f"{BASE}/repositories/{number}{rest}"})
        if path in self.more:
            return self._page(request, self.more[path], query, "")
        if path in self.logs:
            return self._page(request, self.logs[path], query, "")
        head, _, tail = path.rpartition("/")
        if head in self.logs and tail.isdecimal():
            return httpx.Response(200, json={"request": {"payload": self.payloads[int(tail)]}})
        for repository in self.repositories:
            for prefix in (f"/repos/{repository.name}", f"/repositories/{repository.id}"):
                if path == prefix or path.startswith(f"{prefix}/"):
                    return self._of(repository, request, path.removeprefix(prefix), query)
        owner = path.removeprefix("/orgs/").removesuffix("/repos")
        owned = [repository.json() for repository in self.repositories if repository.name.startswith(f"{owner}/")]
        if owned:
            return self._page(request, owned, query, "")
        return httpx.Response(404, json={"message": "Not Found"})

    def _of(self, repository: Repository, request: httpx.Request, rest: str, query: Mapping[str, str]) -> httpx.Response:
        if rest == "":
            return self._sent(request, repository.json(), {})
        if rest == "/hooks":
            return self._page(request, repository.hooks, query, "")
        if rest == "/actions/runners":
            return self._page(request, repository.runners, query, "runners")
        if rest == "/actions/workflows":
            return self._page(request, [{"id": 7, "name": "CI"}], query, "workflows")
        if rest == "/actions/runs":
            first, _, last = query.get("created", "..").partition("..")
            runs = sorted(repository.runs, key=lambda run: run.created, reverse=True)
            found = [
                run.json() for run in runs if (not first or first <= moment(run.created)) and moment(run.created) <= (last or "Z")
            ]
            cap = 1000 if first else len(found)
            return self._page(request, found, query, "workflow_runs", cap)
        parts = rest.split("/")[3:]
        run = next((run for run in repository.runs if parts and str(run.id) == parts[0]), None)
        if run is None or (len(parts) > 2 and int(parts[2]) > len(run.attempts)):
            return httpx.Response(404, json={"message": "Not Found"})
        if parts[1:] and parts[-1] == "jobs":
            return self._page(request, run.attempts[int(parts[2]) - 1].jobs, query, "jobs")
        return self._sent(request, run.json(int(parts[2]) if parts[1:] else 0), {})

    def _page(
        self, request: httpx.Request, found: Any, query: Mapping[str, str], key: str, cap: int = 1_000_000
    ) -> httpx.Response:
        if not isinstance(found, list):
            return self._sent(request, found, {})
        page, size = int(query.get("page", query.get("cursor", "1"))), int(query.get("per_page", "30"))
        shown = found[:cap][(page - 1) * size : page * size]
        headers = {}
        if page * size < min(cap, len(found)):
            following = request.url.copy_merge_params({"page": str(page + 1)})
            headers["link"] = f'<{following}>; rel="next"'
        return self._sent(request, {"total_count": len(found), key: shown} if key else shown, headers)

    def _sent(self, request: httpx.Request, data: Any, headers: dict[str, str]) -> httpx.Response:
        body = json.dumps(data).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()}"'
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304, headers={"etag": etag})
        return httpx.Response(200, content=body, headers={**headers, "etag": etag})


def options(**keys: Any) -> Options:
    """The source's, with the token that the fake knows."""
    return Options.model_validate({"token": "token-of-the-test", **keys})


def api(github: httpx.AsyncBaseTransport, **keys: Any) -> Api:
    """A client of it."""
    return connect("sources.github", options(**keys), context(), github)


class Engine:
    """Counts as the real one does, but plainly: one observation a run or job that ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, str, str, int]] = []
        """Run, attempt, status, name of the workflow, number of jobs; of each that was listed."""
        self.webhooks: list[tuple[str, str, float]] = []
        self.unreadable = 0
        """A run."""

    def listed(self, repository: Mapping[str, Any], run: Mapping[str, Any], name: str, jobs: Any, now: float) -> Digest:
        if run["id"] == self.unreadable:
            raise DeliveryError(400, "id is not a whole number")
        self.seen.append((run["id"], run["run_attempt"], run["status"], name, len(jobs)))
        keys = [f"job:{job['id']}" for job in jobs if job["status"] == "completed"]
        if run["status"] == "completed":
            keys.append(f"run:{run['id']}:{run['run_attempt']}")
        return Digest([Observation(key, ()) for key in keys])

    def webhook(self, event: str, payload: Mapping[str, Any], delivery_id: str, received: float) -> Digest:
        self.webhooks.append((event, delivery_id, received))
        return Digest([Observation(f"{event}:{payload['number']}", ())])


class Poll:
    """The poller of runs and what the ledger has of it."""

    def __init__(self, github: GitHub, **keys: Any) -> None:
        self.github = github
        self.engine = Engine()
        self.keys: Counter[str] = Counter()
        """How often each observation was reported."""
        self.cursor: str | None = None
        self.problem = ""
        self._keys = keys or {"organizations": ["acme"]}
        self.restart()

    def restart(self) -> None:
        """The agent begins anew, with what the ledger has."""
        self.api = api(self.github, **self._keys)
        discovery = Discovery(self.api, options(**self._keys), lambda name: True, clock)
        self.runs = Runs(self.api, discovery, self.engine, clock, 7 * DAY)

    async def __call__(self, *, commits: bool = True) -> set[str]:
        """One poll; what it reported."""
        found = await self.runs.collect(self.cursor)
        if commits:
            self.cursor = str(found.cursor)
            self.keys.update(observation.key for observation in found.observations)
        self.problem = found.problem
        return {observation.key for observation in found.observations}


def finished(number: int, began: float, seconds: float = 60.0, jobs: int = 1) -> Run:
    """A run that ended with its first attempt."""
    return Run(number, began, [Attempt(began, began + seconds, job_list(number * 100, jobs))])


def job_list(first: int, count: int, status: str = "completed") -> list[Json]:
    """Jobs numbered from `first`."""
    return [{"id": first + place, "status": status} for place in range(count)]
