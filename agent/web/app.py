"""The endpoints: what they answer to whom. What is true of the agent they ask an `Agent`."""

from __future__ import annotations

import hmac
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from agent.secret import Secret, redact
from agent.selfmon import SelfMonitor, counter
from agent.web.negotiate import accepts_gzip, prefers_openmetrics
from agent.web.server import App
from agent.web.status import page

REQUESTS = counter("cipush_http_requests_total", "Requests answered by the agent's own web server.", "handler", "code")
FAMILIES = (REQUESTS,)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MOST_SERIES = 10_000
"""Series one answer of /api/series holds at the most."""

MAX_NAME = 200
"""Characters of a name that an answer quotes."""
OPEN = ("/health", "/ready")
"""Answered without a token: an orchestrator's probes send none."""

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
PAGE_HEADERS = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Frame-Options": "DENY"}


class Agent(Protocol):
    """What the web layer asks of the agent."""

    def exposition(self, openmetrics: bool, source: str | None) -> AsyncIterator[bytes]:
        """Text of every live series, or of one source's."""
        ...

    def source_state(self, name: str) -> Literal["ok", "empty", "failed", "unknown"]:
        """What a page of that source alone would hold."""
        ...

    def anklet_lines(self) -> str:
        """The host's values as Anklet prints them."""
        ...

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether the agent can accept, and what is degraded."""
        ...

    def status(self) -> dict[str, object]:
        """Everything there is to show, JSON-ready."""
        ...

    def series(self, match: str, limit: int) -> list[dict[str, object]]:
        """Live series; raises ValueError for a selector that cannot be read."""
        ...

    def explain(self, name: str) -> dict[str, object]:
        """Why series of that name are there or not."""
        ...

    def effective_config(self) -> str:
        """The configuration in force, redacted."""
        ...

    async def reload(self) -> str | None:
        """Reload; None, or why it was refused."""
        ...


Handler = Callable[[Request], Awaitable[Response]]


def make_app(agent: Agent, monitor: SelfMonitor, auth_token: Secret) -> App:
    """The ASGI app. With `auth_token` everything but /health and /ready asks for it as a bearer token.

    Without it /ready says whether, but not why: the reasons name sources, sinks and what they answered.
    """
    return _App(agent, monitor, auth_token)


class _App:
    """Routing, authentication and counting, around the handlers of `Endpoints`."""

    def __init__(self, agent: Agent, monitor: SelfMonitor, auth_token: Secret) -> None:
        endpoints = Endpoints(agent, self._shows_token)
        self._routes: dict[str, tuple[str, Handler]] = {
            "/": ("GET", endpoints.index),
            "/metrics": ("GET", endpoints.metrics),
            "/metrics/v1": ("GET", endpoints.anklet),
            "/health": ("GET", endpoints.health),
            "/ready": ("GET", endpoints.ready),
            "/config": ("GET", endpoints.config),
            "/api/status": ("GET", endpoints.status),
            "/api/series": ("GET", endpoints.series),
            "/api/explain": ("GET", endpoints.explain),
            "/-/reload": ("POST", endpoints.reload),
        }
        self._monitor = monitor
        self._token = auth_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = scope["path"]  # not request.url, which a Host header can bend
        handler_name = path if path in self._routes else "other"
        try:
            response = await self._answer(path, request)
        except Exception:  # counted here, answered and logged by the server around
            self._monitor.add(REQUESTS, (handler_name, "500"))
            raise
        self._monitor.add(REQUESTS, (handler_name, str(response.status_code)))
        for name, value in (PAGE_HEADERS if path == "/" else HEADERS).items():
            response.headers[name] = value
        if request.method == "HEAD":
            await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await response(scope, receive, send)

    async def _answer(self, path: str, request: Request) -> Response:
        if path not in OPEN and not self._shows_token(request):
            return _text(401, "send server.auth_token in the Authorization header, type Bearer", {"WWW-Authenticate": "Bearer"})
        if path not in self._routes:
            return _text(404, f"nothing here; there is {', '.join(self._routes)}")
        method, handler = self._routes[path]
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if request.method not in allowed:
            return _text(405, f"{path} takes {' and '.join(allowed)}", {"Allow": ", ".join(allowed)})
        return await handler(request)

    def _shows_token(self, request: Request) -> bool:
        if not self._token:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        expected = self._token.reveal().encode()
        # headers are bytes; starlette shows them as Latin-1
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), expected)


class Endpoints:
    """One method per endpoint."""

    def __init__(self, agent: Agent, is_trusted: Callable[[Request], bool]) -> None:
        self._agent = agent
        self._is_trusted = is_trusted

    async def index(self, request: Request) -> Response:
        """The status page."""
        del request
        return Response(_bytes(page(self._agent.status())), media_type="text/html; charset=utf-8")

    async def metrics(self, request: Request) -> Response:
        """The exposition, negotiated; `?source=` one source alone."""
        source = request.query_params.get("source")
        if source is not None:
            state = self._agent.source_state(source)
            if state == "unknown":
                return _text(404, f"there is no source {source[:MAX_NAME]!r}; /api/status lists them")
            if state == "empty":
                return Response(status_code=204)
            if state == "failed":
                return _text(500, f"source {source[:MAX_NAME]!r} has not succeeded yet; /api/status says why")
        openmetrics = prefers_openmetrics(", ".join(request.headers.getlist("accept")))
        chunks = self._agent.exposition(openmetrics, source)
        headers = {"Vary": "Accept, Accept-Encoding"}
        if accepts_gzip(", ".join(request.headers.getlist("accept-encoding"))):
            chunks = _gzipped(chunks)
            headers["Content-Encoding"] = "gzip"
        return StreamingResponse(chunks, media_type=OPENMETRICS if openmetrics else TEXT, headers=headers)

    async def anklet(self, request: Request) -> Response:
        """What Anklet's own readers expect."""
        wanted = request.query_params.get("format", "")
        if wanted != "prometheus":
            return _text(400, "unsupported format; ask for ?format=prometheus")
        return Response(self._agent.anklet_lines(), media_type="text/plain; charset=utf-8")

    async def health(self, request: Request) -> Response:
        """Alive: this loop answers."""
        del request
        return _text(200, "ok")

    async def ready(self, request: Request) -> Response:
        """503 only when the agent cannot accept; failing sinks and sources are `degraded` with 200."""
        ready, body = self._agent.ready()
        return _json(body if self._is_trusted(request) else {"status": body["status"]}, 200 if ready else 503)

    async def config(self, request: Request) -> Response:
        """The configuration in force."""
        del request
        return Response(_bytes(self._agent.effective_config()), media_type="text/plain; charset=utf-8")

    async def status(self, request: Request) -> Response:
        """Everything on the status page, as JSON."""
        del request
        return _json(self._agent.status())

    async def series(self, request: Request) -> Response:
        """Live series by selector."""
        limit = request.query_params.get("limit", "1000")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 9 and 0 < int(limit) <= MOST_SERIES):
            return _text(400, f"limit: {limit[:20]!r} is not a number from 1 to {MOST_SERIES}")
        try:
            return _json(self._agent.series(request.query_params.get("match", ""), int(limit)))
        except ValueError as error:
            return _text(400, f"match: {error}")

    async def explain(self, request: Request) -> Response:
        """Why a series is there or not."""
        name = request.query_params.get("name", "")
        if not name:
            return _text(400, "say which: ?name=METRIC")
        return _json(self._agent.explain(name))

    async def reload(self, request: Request) -> Response:
        """Take over the changed configuration, or say why not."""
        del request
        problem = await self._agent.reload()
        return (
            _text(200, "reloaded")
            if problem is None
            else _text(400, f"refused, the old configuration stays in force:\n{problem}")
        )


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(_bytes(text + "\n"), status, headers)


def _json(body: object, status: int = 200) -> Response:
    return Response(redact(json.dumps(body, indent=1)) + "\n", status, media_type="application/json")


def _bytes(text: str) -> bytes:
    """Without secrets; what is no character, such as a byte of a file's name that is not UTF-8, becomes `?`."""
    return redact(text).encode(errors="replace")


async def _gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    async for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
