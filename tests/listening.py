"""The web server on a free loopback port for one test, and raw connections to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketStream, TaskStatus
from starlette.types import Receive, Scope, Send

from agent.web.server import App, serve

PATIENCE_SECONDS = 10.0
"""How long a test waits for what must happen before it fails."""

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    """A running server; cancel `scope` to stop it."""

    def __init__(self) -> None:
        self.address = ""
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()

    @property
    def url(self) -> str:
        """Its address as a URL without a path."""
        return f"http://{self.address}"

    async def run(self, app: App, options: dict[str, Any], *, task_status: TaskStatus[str]) -> None:
        """Serve until `scope` is cancelled."""
        with self.scope:
            await serve(app, "127.0.0.1:0", task_status=task_status, **options)
        self.ended.set()

    async def connect(self) -> SocketStream:
        """A connection on which nothing was said yet."""
        host, _, port = self.address.rpartition(":")
        return await anyio.connect_tcp(host, int(port))

    async def ask(self, request: bytes) -> bytes:
        """Everything that comes back for `request` until the server hangs up."""
        async with await self.connect() as stream:
            await stream.send(request)
            return await rest(stream)


@asynccontextmanager
async def serving(app: App, **options: Any) -> AsyncIterator[Served]:
    """The server runs while the block does; the block has PATIENCE_SECONDS."""
    served = Served()
    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as tasks:
            served.address = await tasks.start(served.run, app, options)
            yield served
            served.scope.cancel()


async def rest(stream: SocketStream) -> bytes:
    """What comes until the other side hangs up, in order or not."""
    found = b""
    try:
        while True:
            found += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return found


async def answer(stream: SocketStream) -> bytes:
    """One answer that has a Content-Length, head and body."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += await stream.receive()
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += await stream.receive()
    return head + b"\r\n\r\n" + body


class Hello:
    """Says hello without looking at the body; counts the requests."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})


class Waiting(Hello):
    """Says hello when `go` is set; `entered` is set when somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = anyio.Event(), anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.entered.set()
        await self.go.wait()
        await super().__call__(scope, receive, send)


async def length_of_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the whole body and answers with its length."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    text = b"%d" % length
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})
