"""The embedded receiver: takes what any sender of ours sends, checks it strictly and shows what arrived.

One ASGI app for `cipush demo` and `receive` and for tests. It speaks remote-write 1.0 and 2.0,
VictoriaMetrics' import lines and Pushgateway's calls on the paths of the real servers, and answers the
queries that read samples back the way VictoriaMetrics does.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

import anyio
import httpx
from anyio.abc import TaskStatus
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from agent.model import Encoding
from agent.sim import answers, faults
from agent.sim.received import Received
from agent.web import server
from agent.wire import decode

KEPT_REQUESTS = 200
"""How many of the last pushed requests `/requests` shows."""

_VERSION2 = "io.prometheus.write.v2.Request"
_VERSION1 = ("", "prometheus.WriteRequest")
_ENCODINGS = {"snappy": Encoding.SNAPPY, "zstd": Encoding.ZSTD}
"""Of remote-write; zstd is VictoriaMetrics' own (since 1.88)."""
_SHOWN_HEADERS = (
    "content-type",
    "content-encoding",
    "content-length",
    "user-agent",
    "x-prometheus-remote-write-version",
    "x-victoriametrics-remote-write-version",
    "retry-attempt",
)


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(slots=True)
class Entry:
    """One pushed request as `/requests` shows it. Headers that could hold a credential are not kept."""

    at: float
    """When it came, seconds since the epoch."""
    method: str
    path: str
    headers: dict[str, str]
    bytes: int = 0
    samples: int = 0
    status: int = 0
    """0 = no answer, or not a whole one."""
    error: str = ""


@dataclass(slots=True)
class Receiver:
    """The app and what it has received; give it to a server or to `httpx.ASGITransport`."""

    clock: Callable[[], float]
    """Seconds since the epoch: the time of pushed text, and of queries."""
    received: Received = field(default_factory=Received)
    faults: faults.Faults = field(default_factory=faults.Faults)
    on_first: Callable[[], None] = lambda: None
    """Called once, when the first sample was kept."""
    requests: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10_000))
    """(seconds, samples) of accepted requests, for the rate on the page."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything that is not HTTP is left alone."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if request.method in ("GET", "HEAD"):
            response = answers.answer(self, request)
        else:
            response = await self._push(request, send)
        await response(scope, receive, send)

    async def _push(self, request: Request, send: Send) -> Response:
        entry = Entry(self.clock(), request.method, request.url.path[:500], _shown_headers(request))
        self.requests.append(entry)
        fault = self.faults.take()
        try:
            body = await _body(request)
            entry.bytes = len(body)
            if isinstance(fault, faults.Delay):
                await anyio.sleep(fault.seconds)
            if isinstance(fault, faults.Answer):
                response: Response = PlainTextResponse(fault.body, fault.status, dict(fault.headers))
            elif isinstance(fault, faults.Close):
                raise await _cut(send, entry, fault.status)
            else:
                response = self._take(request, body, entry)
        except ClientDisconnect:
            entry.error = "the sender went away"
            return Response(status_code=400)
        except (RefusedError, decode.DecodeError) as error:
            entry.error = str(error)[:500]
            status = error.status if isinstance(error, RefusedError) else 400
            response = PlainTextResponse(f"{entry.error}\n", status)
        if isinstance(fault, faults.Lose):
            raise await _cut(send, entry, fault.status)
        entry.status = response.status_code
        return response

    def _take(self, request: Request, body: bytes, entry: Entry) -> Response:
        path = request.url.path.rstrip("/")
        if path == "/api/v1/write":
            return self._remote_write(request, body, entry)
        if path == "/api/v1/import":
            self._keep(entry, decode.import_lines(_unzipped(request, body)))
            return Response(status_code=204)
        if path.startswith("/metrics/job"):
            return self._pushgateway(request, body, entry)
        raise RefusedError(404, f"nothing is pushed to {path}: /api/v1/write, /api/v1/import and /metrics/job/... are")

    def _remote_write(self, request: Request, body: bytes, entry: Entry) -> Response:
        if request.method != "POST":
            raise RefusedError(405, "remote-write is a POST")
        encoding = _ENCODINGS.get(request.headers.get("content-encoding", ""))
        if encoding is None:
            raise RefusedError(415, "remote-write needs Content-Encoding: snappy, or zstd")
        media, _, parameters = request.headers.get("content-type", "").partition(";")
        message = parameters.strip().removeprefix("proto=")
        if media.strip() != "application/x-protobuf" or message not in (*_VERSION1, _VERSION2):
            raise RefusedError(415, "remote-write needs Content-Type: application/x-protobuf of a version known here")
        message_bytes = decode.unpack(body, encoding)
        if message != _VERSION2:
            found = decode.remote_write1(message_bytes)
            self.received.describe(found.families)
            self._keep(entry, found.samples)
            return Response(status_code=204)
        if encoding is not Encoding.SNAPPY:
            raise RefusedError(415, "remote-write 2.0 is packed with snappy")
        found = decode.remote_write2(message_bytes)
        self.received.describe(found.families)
        written = self._keep(entry, found.samples)
        self.received.add(found.classic)
        name = "X-Prometheus-Remote-Write-{}-Written"
        counts = {"Samples": written, "Histograms": found.histograms, "Exemplars": found.exemplars}
        return Response(status_code=204, headers={name.format(kind): str(count) for kind, count in counts.items()})

    def _pushgateway(self, request: Request, body: bytes, entry: Entry) -> Response:
        group = grouping(request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0])
        now_ms = round(self.clock() * 1000)
        if request.method == "DELETE":
            self.received.delete(group, now_ms)
            return Response(status_code=202)
        pushed: dict[decode.Labels, float] = {}
        for name, labels, value in decode.text(_unzipped(request, body)):
            merged = {"instance": "", **labels, **dict(group), "__name__": name}
            pushed[tuple(sorted((label, text) for label, text in merged.items() if text))] = value
        replace = {"PUT": self.received.put, "POST": self.received.post}.get(request.method)
        if replace is None:
            raise RefusedError(405, "PUT, POST or DELETE")
        replace(group, pushed, now_ms)
        self._note(entry, len(pushed))
        return Response(status_code=200)

    def _keep(self, entry: Entry, samples: list[decode.Sample]) -> int:
        kept = self.received.add(samples)
        self._note(entry, len(samples))
        return kept

    def _note(self, entry: Entry, samples: int) -> None:
        entry.samples = samples
        first = not self.recent
        if samples:
            self.recent.append((self.clock(), samples))
            if first:
                self.on_first()


def grouping(path: str) -> decode.Labels:
    """The grouping key in a Pushgateway path, still percent-encoded: `/metrics/job/x/instance@base64/eQ`.

    Raises RefusedError for what Pushgateway answers 400 to.
    """
    parts = path.removeprefix("/metrics/").rstrip("/").split("/")
    if len(parts) % 2:
        raise RefusedError(400, "odd number of components in label string")
    found: dict[str, str] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        text = unquote(value)
        if name.endswith("@base64"):
            name = name.removesuffix("@base64")
            text = _unbase64(text)
        if name.startswith("__") or name in found or not name:
            raise RefusedError(400, f"bad label name {name!r} in the grouping key")
        found[name] = text
    if not found.get("job"):
        raise RefusedError(400, "job name is required")
    return tuple(sorted(found.items()))


async def serve(
    listen_address: str,
    receiver: Receiver,
    *,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the receiver until cancelled; port 0 takes a free one. Starts with `host:port` as bound.

    Raises StartError for an address that cannot be had.
    """
    await server.serve(receiver, listen_address, max_body_bytes=decode.MAX_BYTES, task_status=task_status)


def _shown_headers(request: Request) -> dict[str, str]:
    return {name: request.headers[name][:500] for name in _SHOWN_HEADERS if name in request.headers}


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > decode.MAX_BYTES:
            raise RefusedError(413, f"a request has at most {decode.MAX_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _unzipped(request: Request, body: bytes) -> bytes:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding == "identity":
        return body
    if encoding == "gzip":
        return decode.unpack(body, Encoding.GZIP)
    raise RefusedError(415, f"Content-Encoding {encoding[:50]} is not understood here: gzip or none")


def _unbase64(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise RefusedError(400, f"not url-safe base64: {text[:50]!r}") from error


async def _cut(send: Send, entry: Entry, status: int) -> Exception:
    """Begin an answer that will not be finished; raising what this returns makes the server hang up."""
    entry.error = "connection closed by the fault script"
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    return httpx.RemoteProtocolError("connection closed by the fault script")
