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
from agent.web.webhook import is_webhook

REQUESTS = counter("cipush_http_requests_total", "Requests answered by the agent's own web server.", "handler", "code")
FAMILIES = (REQUESTS,)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MOST_SERIES = 10_000
"""Series one answer of /api/series holds at the most."""
MOST_HEADS = 1000
"""Blocks one answer of /api/queue describes at the most."""
MOST_SEQUENCE = 10**18

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

    def queues(self) -> list[dict[str, object]]:
        """What waits on disk or in memory for each sink, and for sinks that left the configuration."""
        ...

    def queue_heads(self, name: str, count: int) -> list[dict[str, object]]:
        """The oldest blocks of one queue. Raises KeyError for an unknown name."""
        ...

    def drop_queued(self, name: str, upto: int | None) -> int:
        """Give up what waits in one queue, to sequence `upto` or all; the samples. Raises KeyError for an unknown name."""
        ...

    async def reload(self) -> str | None:
        """Reload; None, or why it was refused."""
        ...


Handler = Callable[[Request], Awaitable[Response]]


def make_app(agent: Agent, monitor: SelfMonitor, auth_token: Secret, webhooks: App | None = None) -> App:
    """The ASGI app. With `auth_token` everything but /health, /ready and webhooks asks for it as a bearer token.

    Without it /ready says whether, but not why: the reasons name sources, sinks and what they answered. Without
    `webhooks`, which have a listener of their own then, their paths are answered 404.
    """
    return _App(agent, monitor, auth_token, webhooks)


class _App:
    """Routing, authentication and counting, around the handlers of `Endpoints`."""

    def __init__(self, agent: Agent, monitor: SelfMonitor, auth_token: Secret, webhooks: App | None) -> None:
        endpoints = Endpoints(agent, self._shows_token)
        self._routes: dict[str, dict[str, Handler]] = {
            "/": _reading(endpoints.index),
            "/metrics": _reading(endpoints.metrics),
            "/metrics/v1": _reading(endpoints.anklet),
            "/health": _reading(endpoints.health),
            "/ready": _reading(endpoints.ready),
            "/config": _reading(endpoints.config),
            "/api/status": _reading(endpoints.status),
            "/api/series": _reading(endpoints.series),
            "/api/explain": _reading(endpoints.explain),
            "/api/queue": {**_reading(endpoints.queue), "DELETE": endpoints.drop_queued},
            "/-/reload": {"POST": endpoints.reload},
        }
        self._monitor = monitor
        self._token = auth_token
        self._webhooks = webhooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]  # not request.url, which a Host header can bend
        if self._webhooks is not None and is_webhook(path):
            await self._webhooks(scope, receive, send)  # signed, and counted in families of their own
            return
        request = Request(scope, receive)
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
        if path not in OPEN and not is_webhook(path) and not self._shows_token(request):
            return _text(401, "send server.auth_token in the Authorization header, type Bearer", {"WWW-Authenticate": "Bearer"})
        if path not in self._routes:
            return _text(404, f"nothing here; there is {', '.join(self._routes)}")
        handlers = self._routes[path]
        if request.method not in handlers:
            return _text(405, f"{path} takes {' and '.join(handlers)}", {"Allow": ", ".join(handlers)})
        return await handlers[request.method](request)

    def _shows_token(self, request: Request) -> bool:
        if not self._token:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        expected = self._token.reveal().encode()
        # headers are bytes; starlette shows them as Latin-1
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), expected)


def _reading(handler: Handler) -> dict[str, Handler]:
    return {"GET": handler, "HEAD": handler}


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
        try:
            limit = _whole(request, "limit", 1000, MOST_SERIES)
        except ValueError as error:
            return _text(400, str(error))
        try:
            return _json(self._agent.series(request.query_params.get("match", ""), limit))
        except ValueError as error:
            return _text(400, f"match: {error}")

    async def explain(self, request: Request) -> Response:
        """Why a series is there or not."""
        name = request.query_params.get("name", "")
        if not name:
            return _text(400, "say which: ?name=METRIC")
        return _json(self._agent.explain(name))

    async def queue(self, request: Request) -> Response:
        """Every queue; `?name=` the oldest blocks of one, `count` of them."""
        name = request.query_params.get("name")
        if name is None:
            return _json({"queues": self._agent.queues()})
        try:
            count = _whole(request, "count", 10, MOST_HEADS)
            return _json({"name": name[:MAX_NAME], "blocks": self._agent.queue_heads(name, count)})
        except KeyError:
            return _text(404, f"there is no queue {name[:MAX_NAME]!r}; /api/queue lists them")
        except ValueError as error:
            return _text(400, str(error))

    async def drop_queued(self, request: Request) -> Response:
        """Give up what waits in the queue `name`, up to the sequence `upto` where that is given."""
        name = request.query_params.get("name", "")
        try:
            upto = _whole(request, "upto", 0, MOST_SEQUENCE) if "upto" in request.query_params else None
            return _json({"name": name[:MAX_NAME], "dropped_samples": self._agent.drop_queued(name, upto)})
        except KeyError:
            return _text(404, f"there is no queue {name[:MAX_NAME]!r}; /api/queue lists them")
        except ValueError as error:
            return _text(400, str(error))

    async def reload(self, request: Request) -> Response:
        """Take over the changed configuration, or say why not."""
        del request
        problem = await self._agent.reload()
        return (
            _text(200, "reloaded")
            if problem is None
            else _text(400, f"refused, the old configuration stays in force:\n{problem}")
        )


def _whole(request: Request, key: str, default: int, most: int) -> int:
    """A whole number of the query, 1 to `most`. Raises ValueError saying so."""
    text = request.query_params.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and 0 < int(text) <= most):
        raise ValueError(f"{key}: {text[:20]!r} is not a number from 1 to {most}")
    return int(text)


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
