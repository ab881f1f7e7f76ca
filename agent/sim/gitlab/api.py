"""A world as GitLab's REST and GraphQL APIs: pages, tokens, roles, rate limits, versions, and trouble by script.

`GitlabApi(world, clock)` is an ASGI app. It shows what is known at `clock()`. Beside GitLab's paths there are
`/_truth?since=&until=`, `/_standing`, `/_requests`, `/_world`, and to `POST` to: `/_forget` (the requests), `/_now?to=`.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Callable
from email.utils import formatdate
from typing import NamedTuple
from urllib.parse import unquote

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from agent.sim import faults
from agent.sim.gitlab import graphql
from agent.sim.gitlab.asked import Call, Found, RequestError, link_header
from agent.sim.gitlab.bodies import Bodies
from agent.sim.gitlab.limits import Limits, none
from agent.sim.gitlab.places import Token, World
from agent.sim.gitlab.profile import EE_18, Profile
from agent.sim.gitlab.routes import Route, routes
from agent.sim.gitlab.standing import standing
from agent.sim.gitlab.truth import truth
from agent.sim.weather import Showers

MAX_KEPT = 10_000
"""Requests that are remembered one by one."""
PREFIX = "/api/v4"
GRAPHQL = "/api/graphql"
INVALID = {"error": "invalid_token", "error_description": "Token was revoked. You have to re-authorize from the user."}
INSUFFICIENT = {
    "error": "insufficient_scope",
    "error_description": "The request requires higher privileges than provided by the access token.",
    "scope": "api read_api",
}


class Asked(NamedTuple):
    """One request, as it was answered."""

    at: float
    method: str
    path: str
    query: str
    status: int
    resource: str
    """The endpoint, for counting."""
    nodes: int
    """How many objects the answer held."""
    bytes: int


class Totals(NamedTuple):
    """All requests so far."""

    requests: int
    nodes: int
    bytes: int


class GitlabApi:
    """The APIs of one world; give it to a server or to `httpx.ASGITransport`."""

    def __init__(
        self,
        world: World,
        clock: Callable[[], float],
        *,
        profile: Profile = EE_18,
        limits: Limits | None = None,
        latency: float = 0.0,
        showers: Showers | None = None,
        set_clock: Callable[[float], None] | None = None,
    ) -> None:
        self._world = world
        self._clock = clock
        self._set_clock = set_clock
        self.profile = profile
        self.limits = none() if limits is None else limits
        self.latency = latency
        """Seconds that every answer takes."""
        self._showers = showers
        self.has_graphql = True
        """False: nothing is there, as where an administrator has closed it."""
        self.most_nodes: int | None = None
        """After so many elements a GraphQL request has taken too long, and the rest of its answer is null."""
        self.faults = faults.Faults()
        """What goes wrong with the next requests."""
        self.requests: deque[Asked] = deque(maxlen=MAX_KEPT)
        self.counts: Counter[tuple[str, int]] = Counter()
        """How many requests, by resource and status."""
        self.totals = Totals(0, 0, 0)
        self._routes = routes(world)
        self._bodies: dict[str, Bodies] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request = Request(scope, receive)
        if request.url.path.startswith("/_"):
            await self._aside(request)(scope, receive, send)
            return
        if self.latency:
            await anyio.sleep(self.latency)
        fault = self.faults.take() or (self._showers.take() if self._showers else None)
        if isinstance(fault, faults.Delay):
            await anyio.sleep(fault.seconds)
        if isinstance(fault, faults.Close | faults.Lose):
            self._note(request, fault.status, "fault", 0, 0)
            await _cut(send, fault.status)
            raise ConnectionAbortedError("cut by the script")
        if isinstance(fault, faults.Answer):
            self._note(request, fault.status, "fault", 0, len(fault.body))
            kind = "text/html" if fault.body.startswith("<") else "application/json"
            response = Response(fault.body, fault.status, {"content-type": kind, **dict(fault.headers)})
        else:
            response = self._respond(request, await request.body())
        response.headers["date"] = formatdate(self._clock(), usegmt=True)
        await response(scope, receive, send)

    def _respond(self, request: Request, body: bytes) -> Response:
        now, headers, resource, nodes = self._clock(), dict[str, str](), "unknown", 0
        try:
            value = _secret(request)
            headers = self.limits.throttle(value or "anonymous", now)
            token = self._world.token(value, now) if value else None
            is_graphql = request.url.path == GRAPHQL and request.method == "POST" and self.has_graphql
            if value and token is None:
                raise RequestError(401, {"errors": [{"message": "Invalid token"}]} if is_graphql else dict(INVALID))
            if is_graphql:
                resource = "graphql"
                answer = graphql.answer(self._world, token, self.profile, now, body, most_nodes=self.most_nodes)
                content, status, nodes = answer.body, answer.status, answer.nodes
            else:
                route, path = self._route(request)
                resource = route.name
                found = self._found(request, route, path, token, now)
                content, status, nodes = found.body.encode(), found.status, found.nodes
                headers |= found.headers
                if found.links:
                    headers["link"] = link_header(_base(request) + _raw(request), found)
        except RequestError as error:
            headers |= error.headers
            status, content = error.status, json.dumps(error.body).encode()
            if headers.get("content-type") == "text/plain":
                content = str(error).encode()
        self._note(request, status, resource, nodes, len(content))
        return Response(content, status, {"content-type": "application/json", **headers})

    def _route(self, request: Request) -> tuple[Route, dict[str, str]]:
        raw = _raw(request)
        if raw.startswith(f"{PREFIX}/") and request.method == "GET":
            for route in self._routes:
                matched = route.pattern.fullmatch(raw, len(PREFIX))
                if matched:
                    return route, {name: unquote(text) for name, text in matched.groupdict().items() if text is not None}
        raise RequestError(404, {"error": "404 Not Found"})

    def _found(self, request: Request, route: Route, path: dict[str, str], token: Token | None, now: float) -> Found:
        if token is None and not route.is_open:
            raise RequestError(401, "401 Unauthorized")
        if token is not None and not token.may_read() and not route.any_scope:
            raise RequestError(403, dict(INSUFFICIENT))
        self.limits.endpoint(route.name, token.value if token else "anonymous", now)
        base = _base(request)
        bodies = self._bodies.setdefault(base, Bodies(base, self.profile))
        many = {name[:-2]: request.query_params.getlist(name) for name in request.query_params if name.endswith("[]")}
        call = Call(path, dict(request.query_params), many, token, now, bodies)
        if "project" not in path:
            return route.handler(call)
        key = path["project"]
        project = self._world.project(int(key) if key.isdigit() else key, now)
        if project is None and (moved := self._world.moved(key, now)) and token and token.sees(moved):
            rest = re.sub(r"^/projects/[^/]+", "", _raw(request)[len(PREFIX) :])
            query = f"?{request.url.query}" if request.url.query else ""
            location = f"{base}{PREFIX}/projects/{moved.id}{rest}{query}"
            return Found(json.dumps({"message": "Moved Permanently"}), {"location": location}, status=301)
        if project is None or not (token.sees(project) if token else project.visibility == "public"):
            raise RequestError(404, "404 Project Not Found")
        return route.handler(call._replace(project=project))

    def _note(self, request: Request, status: int, resource: str, nodes: int, size: int) -> None:
        self.counts[(resource, status)] += 1
        before = self.totals
        self.totals = Totals(before.requests + 1, before.nodes + nodes, before.bytes + size)
        asked = Asked(self._clock(), request.method, _raw(request), request.url.query, status, resource, nodes, size)
        self.requests.append(asked)

    def _aside(self, request: Request) -> Response:
        """What GitLab would not tell."""
        path, query, world = request.url.path, request.query_params, self._world
        if path == "/_truth":
            since, until = (float(query.get(name, default)) for name, default in (("since", "0"), ("until", "inf")))
            return JSONResponse(truth(world, since, until).as_json())
        if path == "/_standing":
            values = standing(world, self._clock()).items()
            return JSONResponse([{"family": name, "labels": dict(labels), "value": value} for (name, labels), value in values])
        if path == "/_requests":
            counts = [{"resource": name, "status": status, "count": count} for (name, status), count in self.counts.items()]
            last = [asked._asdict() for asked in list(self.requests)[-100:]]
            return JSONResponse({"counts": counts, "totals": self.totals._asdict(), "last": last})
        if path == "/_forget" and request.method == "POST":
            self.requests.clear()
            self.counts.clear()
            self.totals = Totals(0, 0, 0)
            return JSONResponse({})
        if path == "/_now" and request.method == "POST" and self._set_clock:
            self._set_clock(float(query["to"]))
        if path in ("/_world", "/_now"):
            return JSONResponse({"seed": world.seed, "start": world.start, "end": world.end, "now": self._clock()})
        return JSONResponse(
            {"message": "there are /_truth?since=&until=, /_standing, /_requests, /_world, POST /_forget, POST /_now?to="}, 404
        )


def _secret(request: Request) -> str:
    """The token that a request shows; "" = none."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    shown = (request.headers.get("private-token"), bearer if scheme.lower() == "bearer" else "")
    return next((value for value in (*shown, request.query_params.get("private_token", "")) if value), "")


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _raw(request: Request) -> str:
    """The path as it was sent: a project's path in it is encoded."""
    raw = request.scope.get("raw_path")
    return bytes(raw).decode("latin-1").partition("?")[0] if raw else request.url.path


async def _cut(send: Send, status: int) -> None:
    """Begin an answer that will not be finished."""
    headers = [(b"content-length", b"1000000"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b'[{"id":12,"statu', "more_body": True})
