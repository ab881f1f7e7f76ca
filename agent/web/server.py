"""The HTTP listener: uvicorn inside a task of ours, with the bounds it does not have itself.

What uvicorn 0.54 does on its own and this module undoes: it takes over SIGTERM and SIGINT, exits the process
when the port is in use, leaves the listener open when its task is cancelled, waits for ever for headers and
bodies, and takes bodies of any size. Each has a test.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from starlette.types import ASGIApp

from agent.errors import StartError
from agent.web.bounded import Bounded
from agent.web.connection import Bounds, bounded_connection
from agent.web.tls import server_context

App = ASGIApp

HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0
SEND_SECONDS = 60.0
"""Longest standstill of an answer whose reader does not read."""
MAX_BODY_BYTES = 1 << 20
IDLE_SECONDS = 75
"""How long a connection may rest between two requests."""
STOP_SECONDS = 5
MAX_CONNECTIONS = 512
MAX_PORT = 65535

_ADVICE: dict[int | None, str] = {
    errno.EADDRINUSE: "stop what holds it or set server.listen_address to another, or to port 0",
    errno.EACCES: "ports below 1024 need rights; set server.listen_address to a higher one",
}


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
    if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise StartError(f"cannot listen on {address}: write it as host:port, with a port from 0 (any free one) to {MAX_PORT}")
    try:
        sock = socket.create_server((host, int(port)), family=family, backlog=512, dualstack_ipv6=dual)
    except (OSError, ValueError) as error:  # a name that cannot be one is a ValueError
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]  # the address once more
        advice = _ADVICE.get(getattr(error, "errno", None), "set server.listen_address to an address of this machine")
        raise StartError(f"cannot listen on {address}: {reason}; {advice}") from error
    # Connections inherit it. asyncio sets it on those of sockets alone that say TCP when they are made; without it the body
    # of an answer waits 40 ms for the client to acknowledge the head.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


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
    max_connections: int = MAX_CONNECTIONS,
    header_seconds: float = HEADER_SECONDS,
    body_seconds: float = BODY_SECONDS,
    send_seconds: float = SEND_SECONDS,
    idle_seconds: int = IDLE_SECONDS,
    stop_seconds: int = STOP_SECONDS,
    bounds_itself: Callable[[str], bool] = lambda _: False,
    dates: bool = True,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then take nothing new, answer what is in flight within `stop_seconds`, and end.

    The app bounds bodies of paths that `bounds_itself` says yes to (not `body_seconds`); without `dates` it tells the Date.
    Reports `host:port` as bound, on the asyncio backend only. Raises StartError for the address, ConfigError for certificates.
    """
    config = uvicorn.Config(
        Bounded(app, max_body_bytes, body_seconds, bounds_itself),
        # the app answers 408 first, where it reads the body at all
        http=bounded_connection(Bounds(header_seconds, body_seconds + 1, send_seconds)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=dates,
        limit_concurrency=max_connections + 1,  # uvicorn refuses from this number on
        timeout_keep_alive=idle_seconds,
        timeout_graceful_shutdown=stop_seconds,
    )
    config.load()
    config.ssl = server_context(tls_cert_file, tls_key_file, client_ca_file)
    with bind(address) as sock:
        server = _Server(config)
        async with anyio.create_task_group() as group:
            group.start_soon(_to_its_end, server, sock)
            try:
                await server.listening.wait()
                task_status.started(name_of(sock))
                await anyio.sleep_forever()
            finally:
                server.stop()


async def _to_its_end(server: _Server, sock: socket.socket) -> None:
    """uvicorn cancelled would leave its listener open; told to exit, it ends in order and within its bound."""
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[sock])
        # What is left has had its time: a client that reads nothing would keep its connection open.
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        with anyio.move_on_after(1):
            while server.server_state.tasks:
                await checkpoint()


class _Server(uvicorn.Server):
    """Leaves the process' signal handlers alone; says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.listening.set()

    def stop(self) -> None:
        """Accept nothing from now on; `serve` ends by itself."""
        self.should_exit = True
        for listener in getattr(self, "servers", ()):  # not there before it has started
            listener.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
