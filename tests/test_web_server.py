"""The listener: what uvicorn does on its own and must not do here, on real sockets."""

from __future__ import annotations

import errno
import os
import signal
import socket
from contextlib import AsyncExitStack

import anyio
import psutil
import pytest
from anyio.lowlevel import checkpoint
from starlette.types import Receive, Scope, Send

from agent.errors import StartError
from agent.web.server import bind, name_of, serve
from tests.listening import GET, Hello, Waiting, answer, length_of_body, rest, serving

pytestmark = pytest.mark.anyio

TURNS = 10
"""Turns of the loop that a cancellation may take to arrive: far less than the 0.1 s that uvicorn takes to look."""


class Reading:
    """Reads the whole body; `entered` is set when it begins to."""

    def __init__(self) -> None:
        self.entered = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.entered.set()
        await length_of_body(scope, receive, send)


def open_files() -> int:
    """How many files and sockets this process holds."""
    return psutil.Process().num_fds()


async def test_the_free_port_taken_for_port_0_is_reported() -> None:
    async with serving(Hello()) as served:
        reply = await served.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reply.endswith(b"hello")
    assert not served.address.endswith(":0")


async def test_signal_handlers_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    async with serving(Hello()):
        during = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    assert during == before


async def test_sigterm_goes_to_the_process_and_not_to_the_server() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with serving(Hello()) as served:
            os.kill(os.getpid(), signal.SIGTERM)
            assert await anext(signals) == signal.SIGTERM

            assert not served.ended.is_set()
            async with await served.connect() as stream:
                await stream.send(GET)
                assert (await answer(stream)).endswith(b"hello")


async def test_a_port_in_use_is_an_error_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = name_of(taken)
        with pytest.raises(StartError) as caught:
            await serve(Hello(), address)

    assert str(caught.value) == (
        f"cannot listen on {address}: Address already in use; "
        "stop what holds it or set server.listen_address to another, or to port 0"
    )


async def test_cancelling_closes_the_listener_at_once_and_answers_what_is_in_flight() -> None:
    app = Waiting()
    async with serving(app) as served, await served.connect() as stream:
        await stream.send(GET)
        await app.entered.wait()
        served.scope.cancel()
        for _ in range(TURNS):
            await checkpoint()
        with pytest.raises(OSError, match="connect"):
            await served.connect()
        assert not served.ended.is_set()
        app.go.set()

        assert (await rest(stream)).endswith(b"hello")
        await served.ended.wait()


async def test_stopping_waits_for_an_answer_no_longer_than_allowed() -> None:
    app = Waiting()
    async with serving(app, stop_seconds=0) as served, await served.connect() as stream:
        await stream.send(GET)
        await app.entered.wait()
        served.scope.cancel()

        await served.ended.wait()


async def test_stopping_does_not_wait_for_a_body() -> None:
    async with serving(Hello(), stop_seconds=0) as served, await served.connect() as stream:
        await stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        assert (await answer(stream)).endswith(b"hello")
        served.scope.cancel()

        await served.ended.wait()


async def test_stopping_does_not_wait_for_a_body_that_somebody_reads() -> None:
    app = Reading()
    async with serving(app, stop_seconds=0) as served, await served.connect() as stream:
        await stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        await app.entered.wait()
        served.scope.cancel()

        await served.ended.wait()


async def test_servers_that_stopped_leave_no_tasks_and_no_sockets_behind() -> None:
    async def one_life() -> None:
        app = Reading()
        async with serving(app, stop_seconds=0) as served, await served.connect() as silent, await served.connect() as half:
            await silent.send(b"GET / HT")
            await half.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
            await app.entered.wait()

    await one_life()
    before = open_files(), len(anyio.get_running_tasks())
    for _ in range(3):
        await one_life()

    assert (open_files(), len(anyio.get_running_tasks())) == before


async def test_stopping_does_not_wait_for_idle_connections() -> None:
    async with serving(Hello(), stop_seconds=60) as served, await served.connect() as stream:
        await stream.send(GET)
        await answer(stream)
        served.scope.cancel()

        await served.ended.wait()


async def test_a_server_that_is_cancelled_while_it_starts_leaves_nothing_behind() -> None:
    with bind("127.0.0.1:0") as sock:
        address = name_of(sock)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await serve(Hello(), address)

    with bind(address):
        pass


async def test_connections_over_the_limit_are_refused() -> None:
    async with serving(Hello(), max_connections=2) as served, AsyncExitStack() as stack:
        for _ in range(2):
            stream = await stack.enter_async_context(await served.connect())
            await stream.send(GET)
            assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")

        assert (await served.ask(GET)).startswith(b"HTTP/1.1 503 ")


async def test_a_connection_takes_one_request_after_another() -> None:
    app = Hello()
    async with serving(app) as served, await served.connect() as stream:
        for _ in range(3):
            await stream.send(GET)
            assert (await answer(stream)).endswith(b"hello")

    assert app.requests == 3


async def test_requests_sent_at_once_are_answered_in_turn() -> None:
    async with serving(Hello()) as served, await served.connect() as stream:
        await stream.send(GET * 3)

        replies = b""
        while replies.count(b"hello") < 3:
            replies += await stream.receive()


async def test_the_answer_does_not_name_the_software() -> None:
    async with serving(Hello()) as served, await served.connect() as stream:
        await stream.send(GET)

        assert b"uvicorn" not in await answer(stream)


@pytest.mark.parametrize(
    ("address", "bound"),
    [("127.0.0.1:0", "127.0.0.1:"), ("localhost:0", "127.0.0.1:"), ("[::1]:0", "[::1]:")],
)
def test_an_address_is_bound_as_written(address: str, bound: str) -> None:
    if "::1" in address and not _has_ipv6_loopback():
        pytest.skip("no IPv6 loopback address")
    with bind(address) as sock:
        assert name_of(sock).startswith(bound)


def test_no_host_means_every_address() -> None:
    with bind(":0") as sock:
        port = sock.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    with bind("127.0.0.1:0") as sock, socket.create_connection(sock.getsockname()), sock.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:99999", "write it as host:port, with a port from 0"),
        ("127.0.0.1:http", "write it as host:port, with a port from 0"),
        ("127.0.0.1:", "write it as host:port, with a port from 0"),
        ("192.0.2.1:9817", f"{os.strerror(errno.EADDRNOTAVAIL)}; set server.listen_address to an address of this machine"),
        ("no.such.host.invalid:9817", "set server.listen_address to an address of this machine"),
    ],
)
def test_an_address_that_cannot_be_had_is_named(address: str, reason: str) -> None:
    with pytest.raises(StartError) as caught:
        bind(address)

    assert str(caught.value).startswith(f"cannot listen on {address}: ")
    assert reason in str(caught.value)


def _has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
