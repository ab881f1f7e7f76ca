"""The HTTP listener: uvicorn inside a task of ours, with the bounds it does not have itself.

What uvicorn 0.54 does on its own and this module undoes: it takes over SIGTERM and SIGINT, exits the process
when the port is in use, leaves the listener open when its task is cancelled, waits for ever for headers and
bodies, and takes bodies of any size. Each has a test.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.errors import ConfigError, StartError

log = logging.getLogger(__name__)

App = ASGIApp

HEADER_SECONDS = 10.0
HEADER_BYTES = 64 << 10
BODY_SECONDS = 30.0
MAX_BODY_BYTES = 1 << 20
KEEP_ALIVE_SECONDS = 75
STOP_SECONDS = 5
MAX_CONNECTIONS = 512


def bind(address: str) -> socket.socket:
    """A listening socket for `host:port`, `:port` or `[::1]:port`; port 0 takes a free one.

    Raises StartError when the address cannot be had.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    dual = family == socket.AF_INET6 and not host and socket.has_dualstack_ipv6()
    if not host and not dual:
        family = socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=512, dualstack_ipv6=dual)
    except (OSError, OverflowError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartError(
            f"cannot listen on {address}: {reason}; stop what holds it or set server.listen_address to another, or to port 0"
        ) from error


def name_of(sock: socket.socket) -> str:
    """`host:port` as bound, as one would put it into a URL."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve(
    app: App,
    address: str,
    *,
    tls_cert_file: str = "",
    tls_key_file: str = "",
    client_ca_file: str = "",
    max_body_bytes: int = MAX_BODY_BYTES,
    header_seconds: float = HEADER_SECONDS,
    body_seconds: float = BODY_SECONDS,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then take nothing new, answer what is in flight within 5 s, and end.

    Reports `host:port` as bound. Raises StartError for an address that cannot be had, ConfigError for
    certificates that cannot be used. Runs on the asyncio backend only, as uvicorn does.
    """
    config = uvicorn.Config(
        Bounded(app, max_body_bytes, body_seconds),
        http=_protocol(header_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_certfile=tls_cert_file or None,
        ssl_keyfile=tls_key_file or None,
        ssl_ca_certs=client_ca_file or None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if client_ca_file else ssl.CERT_NONE,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(name for name in (tls_cert_file, tls_key_file, client_ca_file) if name)
        raise ConfigError([f"server.tls_*: {files}: {error}; give readable PEM files that belong together"]) from error
    sock = bind(address)
    server = _Server(config)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_shielded, server, sock)
            try:
                while not server.started:  # noqa: ASYNC110  uvicorn has a flag, no event
                    await anyio.sleep(0.002)
                task_status.started(name_of(sock))
                await anyio.sleep_forever()
            finally:
                server.should_exit = True
                for listener in getattr(server, "servers", ()):
                    listener.close()
    finally:
        sock.close()


async def _shielded(server: uvicorn.Server, sock: socket.socket) -> None:
    """uvicorn cancelled would leave its listener open; told to exit, it ends in order and within its bound."""
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[sock])


class _Server(uvicorn.Server):
    """Leaves the process' signal handlers alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _protocol(header_seconds: float) -> type[HttpToolsProtocol]:
    """uvicorn's HTTP/1.1 protocol, with a bound on the time and size of a request's headers."""

    class Protocol(HttpToolsProtocol):
        """One connection."""

        def connection_made(self, transport: Any) -> None:
            """A client that says nothing has as long as one that begins."""
            super().connection_made(transport)
            self._waiting: Any = self.loop.call_later(header_seconds, self._give_up)
            self._header_bytes = 0

        def data_received(self, data: bytes) -> None:
            """Headers are kept in memory until they end: they must end."""
            self._header_bytes += len(data)
            if self._waiting is not None and self._header_bytes > HEADER_BYTES + len(data):
                self._give_up()
                return
            super().data_received(data)

        def on_message_begin(self) -> None:
            """The first byte of a request."""
            super().on_message_begin()
            self._header_bytes = 0
            if self._waiting is None:
                self._waiting = self.loop.call_later(header_seconds, self._give_up)

        def on_headers_complete(self) -> None:
            """The bound on the body takes over."""
            self._waiting.cancel()
            self._waiting = None
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            """Nothing is waited for any more."""
            if self._waiting is not None:
                self._waiting.cancel()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            self.transport.close()

    return Protocol


class _BodyError(Exception):
    """A body that is too large or too slow; `status` is the answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Bounded:
    """ASGI middleware: bounds the size of a request's body and the time until it is whole."""

    def __init__(self, app: App, max_body_bytes: int, body_seconds: float) -> None:
        self._app = app
        self._max = max_body_bytes
        self._seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 or 408 where the app has not answered yet."""
        if scope["type"] != "http":
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        # httptools has refused what is not a number
        if int(declared) > self._max:
            await _refuse(send, 413, f"body of {declared.decode()} bytes is over the limit of {self._max}")
            return
        taken, whole, begun = 0, False, False
        deadline = anyio.current_time() + self._seconds

        async def bounded_receive() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is the disconnect, which has no time limit
                return await receive()
            with anyio.CancelScope(deadline=deadline):
                message = await receive()
                taken += len(message.get("body", b""))
                whole = message["type"] != "http.request" or not message.get("more_body", False)
                if taken > self._max:
                    raise _BodyError(413, f"body is over the limit of {self._max} bytes")
                return message
            raise _BodyError(408, f"body was not complete within {self._seconds:g} s")

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, bounded_receive, noting_send)
        except _BodyError as error:
            if begun:
                raise
            await _refuse(send, error.status, str(error))


async def _refuse(send: Send, status: int, message: str) -> None:
    body = message.encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
