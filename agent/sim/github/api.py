"""A world as GitHub's REST API: pages, ETags, credentials, rate limits, and trouble by script.

`GithubApi(world, log, clock)` is an ASGI app. It shows what is known at `clock()`: runs that have not begun are not there,
and jobs that have not ended are running. Beside GitHub's paths there are `/_truth?way=api`, `/_requests` and `/_world`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from agent.sim import faults
from agent.sim.github.access import Access, Caller, CredentialsError, Limit
from agent.sim.github.actions import Actions
from agent.sim.github.found import Call, Found, RequestError
from agent.sim.github.hooks import Hooks
from agent.sim.github.log import Log
from agent.sim.github.surroundings import Surroundings
from agent.sim.github.truth import WAYS, truth
from agent.sim.github.world import World
from agent.sim.weather import Showers

TOKEN = "ghp_simulated"
CLIENT_ID = "Iv23simulated"
APP_ID = 123_456
PER_HOUR = 5000
MAX_KEPT = 10_000
"""Requests that are remembered one by one."""
FREE = ("/rate_limit", "/meta")

Handler = Callable[[Call], Found]
_REPO = r"/(?:repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)|repositories/(?P<repository_id>\d+))"
_ORG = r"/orgs/(?P<org>[^/]+)"


class Asked(NamedTuple):
    """One request, as it was answered."""

    at: float
    method: str
    path: str
    query: str
    caller: str
    status: int
    resource: str
    """The pattern of its path, for counting."""


class GithubApi:
    """The API of one world; give it to a server or to `httpx.ASGITransport`."""

    def __init__(
        self,
        world: World,
        log: Log,
        clock: Callable[[], float],
        *,
        tokens: Iterable[str] = (TOKEN,),
        client_id: str = CLIENT_ID,
        per_hour: int = PER_HOUR,
        prefix: str = "",
        showers: Showers | None = None,
    ) -> None:
        self._world = world
        self._clock = clock
        self._prefix = prefix
        self._showers = showers
        self.access = Access(tokens, client_id)
        self.limit = Limit(per_hour)
        self.faults = faults.Faults()
        """What goes wrong with the next requests."""
        self.requests: deque[Asked] = deque(maxlen=MAX_KEPT)
        self.counts: Counter[tuple[str, int]] = Counter()
        """How many requests, by resource and status."""
        self._former = {repository.formerly: repository for repository in world.repositories if repository.formerly}
        actions = Actions(world)
        self._routes = _routes(actions, Hooks(world, log, actions), Surroundings(world, self.access, APP_ID))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request = Request(scope, receive)
        path = request.url.path
        if path.startswith("/_"):
            await self._aside(request)(scope, receive, send)
            return
        path = path.removeprefix(self._prefix)
        fault = self.faults.take() or (self._showers.take() if self._showers else None)
        if isinstance(fault, faults.Delay):
            await anyio.sleep(fault.seconds)
        if isinstance(fault, faults.Close | faults.Lose):
            self._note(request, path, "", fault.status, "fault")
            await _cut(send, fault.status)
            raise ConnectionAbortedError("cut by the script")
        if isinstance(fault, faults.Answer):
            self._note(request, path, "", fault.status, "fault")
            response = Response(fault.body, fault.status, dict(fault.headers), "application/json")
        else:
            response = self._respond(request, path)
        await response(scope, receive, send)

    def _respond(self, request: Request, path: str) -> Response:
        now = self._clock()
        caller, resource = Caller("nobody", ""), "unknown"
        headers: dict[str, str] = {}
        try:
            caller = self.access.caller(request.headers.get("authorization", ""), now)
            headers, is_within = self.limit.headers(caller, now, 0 if path in FREE else 1)
            if not is_within:
                raise RequestError(403, "API rate limit exceeded")
            resource, found = self._find(request, path, caller, now, headers)
            response = self._conditional(request, path, found, caller, headers)
            if response.status_code == 304:
                headers, _ = self.limit.headers(caller, now, -1)
                response.headers.update(headers)
        except (CredentialsError, RequestError) as error:
            status = error.status if isinstance(error, RequestError) else 401
            response = JSONResponse({"message": str(error), "status": str(status)}, status, headers)
        self._note(request, path, caller.kind, response.status_code, resource)
        return response

    def _find(self, request: Request, path: str, caller: Caller, now: float, headers: dict[str, str]) -> tuple[str, Found]:
        if path == "/rate_limit":
            core = {name: int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "used", "remaining", "reset")}
            return path, Found(now, lambda: {"resources": {"core": core}, "rate": core})
        for method, pattern, handler, resource in self._routes:
            matched = pattern.fullmatch(path)
            if matched and method == request.method:
                variables = {name: value for name, value in matched.groupdict().items() if value is not None}
                if variables.get("repo") and (moved := self._moved(variables, path)):
                    return resource, moved
                if caller.kind == "anonymous" and path != "/meta":
                    raise RequestError(401, "Requires authentication")
                return resource, handler(Call(variables, dict(request.query_params), caller, now))
        raise RequestError(404, "Not Found")

    def _moved(self, variables: dict[str, str], path: str) -> Found | None:
        """The answer for the former name of a repository."""
        repository = self._former.get(variables["repo"])
        if repository is None:
            return None
        url = "/".join([f"/repositories/{repository.id}", *path.split("/")[4:]])
        return Found("moved", lambda: {"message": "Moved Permanently", "url": url}, None, 301, {"location": url})

    def _conditional(self, request: Request, path: str, found: Found, caller: Caller, limits: dict[str, str]) -> Response:
        headers = {**limits, **found.headers, "x-github-media-type": "github.v3; format=json"}
        base = f"{request.url.scheme}://{request.url.netloc}{self._prefix}"
        if "location" in headers:
            query = f"?{request.url.query}" if request.url.query else ""
            headers["location"] = base + headers["location"] + query
        if found.next is not None:
            here = base + self._numbered(path)
            headers["link"] = f'<{here}?{urlencode(found.next)}>; rel="next", <{here}>; rel="first"'
        if found.status != 200 or path == "/rate_limit":
            return JSONResponse(found.build(), found.status, headers)
        tag = hashlib.sha256(repr((found.version, path, caller.key, request.url.query, found.next)).encode()).hexdigest()
        headers["etag"] = f'W/"{tag}"'
        headers["cache-control"] = "private, max-age=60, s-maxage=60"
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return JSONResponse(found.build(), 200, headers)

    def _numbered(self, path: str) -> str:
        """Links to further pages name a repository by its id, as GitHub's do."""
        parts = path.split("/")
        if parts[1] != "repos":
            return path
        repository = self._world.repository(f"{parts[2]}/{parts[3]}")
        return "/".join(["", "repositories", str(repository.id), *parts[4:]]) if repository else path

    def _note(self, request: Request, path: str, caller: str, status: int, resource: str) -> None:
        self.counts[(resource, status)] += 1
        self.requests.append(Asked(self._clock(), request.method, path, request.url.query, caller, status, resource))

    def _aside(self, request: Request) -> Response:
        """What GitHub would not tell."""
        path = request.url.path
        if path == "/_truth":
            asked = request.query_params.get("way", "webhooks")
            for way in WAYS:
                if way == asked:
                    return JSONResponse(truth(self._world, way).as_json())
        if path == "/_requests":
            counts = [{"resource": name, "status": status, "count": count} for (name, status), count in self.counts.items()]
            return JSONResponse({"counts": counts, "last": [asked._asdict() for asked in list(self.requests)[-100:]]})
        if path == "/_world":
            world = self._world
            return JSONResponse(
                {"owner": world.owner, "seed": world.seed, "start": world.start, "end": world.end, "now": self._clock()}
            )
        return JSONResponse({"message": "there are /_truth?way=webhooks|deliveries|api, /_requests and /_world"}, 404)


def _routes(actions: Actions, hooks: Hooks, around: Surroundings) -> list[tuple[str, re.Pattern[str], Handler, str]]:
    """(method, pattern of the path, what answers, a name for it)."""

    def repository(call: Call) -> Found:
        found = actions.repository(call)
        shown = around.repository(found, call.now)
        return Found((found.id, shown["pushed_at"]), lambda: shown)

    table: list[tuple[str, str, Handler, str]] = [
        ("GET", f"{_REPO}", repository, "repository"),
        ("GET", f"{_REPO}/actions/workflows", actions.workflows, "workflows"),
        ("GET", f"{_REPO}/actions/runs", actions.runs, "runs"),
        ("GET", rf"{_REPO}/actions/runs/(?P<run_id>\d+)(?:/attempts/(?P<number>\d+))?", actions.run, "run"),
        ("GET", rf"{_REPO}/actions/runs/(?P<run_id>\d+)(?:/attempts/(?P<number>\d+))?/jobs", actions.jobs, "jobs"),
        ("GET", f"{_REPO}/actions/runners", around.no_runners, "runners"),
        ("GET", f"{_ORG}/actions/runners", around.runners, "runners"),
        ("GET", f"{_ORG}/actions/hosted-runners", around.hosted_runners, "hosted_runners"),
        ("GET", f"{_ORG}/actions/runner-groups", around.runner_groups, "runner_groups"),
        ("GET", f"{_ORG}/repos", around.organization_repositories, "repositories"),
        ("GET", r"/users/(?P<user>[^/]+)/repos", around.user_repositories, "repositories"),
        ("GET", "/user", around.own_user, "user"),
        ("GET", "/user/repos", around.own_repositories, "repositories"),
        ("GET", "/installation/repositories", around.installed_repositories, "repositories"),
        ("GET", "/app/installations", around.installations, "installations"),
        ("GET", rf"/app/installations/(?P<installation_id>\d+)|{_ORG}/installation", around.installation, "installations"),
        ("POST", r"/app/installations/(?P<installation_id>\d+)/access_tokens", around.access_token, "access_tokens"),
        ("GET", "/meta", around.meta, "meta"),
        ("GET", "/app/hook/config", hooks.app_config, "hooks"),
    ]
    for place in (_ORG, _REPO, "/app"):
        one = "/app/hook" if place == "/app" else rf"{place}/hooks/(?P<hook_id>\d+)"
        table.append(("GET", f"{one}/deliveries", hooks.deliveries, "deliveries"))
        table.append(("GET", rf"{one}/deliveries/(?P<delivery_id>\d+)", hooks.delivery, "delivery"))
        if place != "/app":
            table.append(("GET", f"{place}/hooks", hooks.hooks, "hooks"))
            table.append(("GET", one, hooks.hook, "hooks"))
    return [(method, re.compile(pattern), handler, name) for method, pattern, handler, name in table]


async def _cut(send: Send, status: int) -> None:
    """Begin an answer that will not be finished."""
    headers = [(b"content-length", b"1000000"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"total_count": 12, "workflow_ru', "more_body": True})
