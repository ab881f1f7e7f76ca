"""What a client may take of the web server: time, bytes, and how errors end. On real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from agent.web.connection import MAX_HEADER_BYTES
from tests.listening import GET, Hello, Waiting, answer, length_of_body, rest, serving

pytestmark = pytest.mark.anyio

SOON = 0.1
"""Seconds of a bound that a test waits out."""
UNREAD_SOON = SOON - 1
"""The same for a body that nobody reads, which has a second more: an app that reads it answers 408 first."""
STEP = 0.02
"""Seconds between two bytes of a slow client."""


def post(length: int, body: bytes = b"") -> bytes:
    """A POST that announces `length` bytes."""
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (length, body)


def chunked(*chunks: bytes) -> bytes:
    """A POST in chunks, without the last one."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


async def trickle(stream: SocketStream, data: bytes) -> bytes:
    """Sends `data` byte by byte, until the server answers or hangs up; what it answered."""
    for byte in data:
        try:
            await stream.send(bytes([byte]))
            with anyio.move_on_after(STEP):
                return await stream.receive() + await rest(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b""
    raise AssertionError("the server took all of it")


LARGE = 16 << 20
"""Bytes that no buffer between two ends of a connection holds."""


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with LARGE bytes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
    await send({"type": "http.response.body", "body": b"x" * LARGE})


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(Hello(), header_seconds=SOON) as served:
        assert await served.ask(b"") == b""


@pytest.mark.parametrize("begun", [b"\r\n", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", GET[:-1]])
async def test_headers_that_never_end_are_closed(begun: bytes) -> None:
    app = Hello()
    async with serving(app, header_seconds=SOON) as served:
        assert await served.ask(begun) == b""

    assert app.requests == 0


async def test_headers_that_trickle_gain_no_time() -> None:
    async with serving(Hello(), header_seconds=SOON) as served, await served.connect() as stream:
        assert await trickle(stream, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000) == b""


async def test_the_second_request_of_a_connection_has_no_longer() -> None:
    async with serving(Hello(), header_seconds=SOON) as served, await served.connect() as stream:
        await stream.send(GET)
        await answer(stream)
        await stream.send(GET[:10])

        assert await rest(stream) == b""


async def test_empty_lines_between_requests_do_not_hold_a_connection() -> None:
    async with serving(Hello(), header_seconds=SOON) as served, await served.connect() as stream:
        await stream.send(GET)
        await answer(stream)
        await stream.send(b"\r\n")

        assert await rest(stream) == b""


async def test_an_idle_connection_is_closed() -> None:
    async with serving(Hello(), idle_seconds=0) as served:
        assert (await served.ask(GET)).endswith(b"hello")


async def test_a_slow_answer_is_not_the_client_s_fault() -> None:
    app = Waiting()
    bounds = {"header_seconds": SOON, "body_seconds": UNREAD_SOON, "send_seconds": SOON}
    async with serving(app, **bounds) as served, await served.connect() as stream:
        await stream.send(GET)
        with anyio.move_on_after(3 * SOON):
            await stream.receive()
        app.go.set()

        assert (await answer(stream)).endswith(b"hello")


async def test_a_body_that_does_not_end_is_answered_408() -> None:
    async with serving(length_of_body, body_seconds=SOON) as served:
        reply = await served.ask(post(10, b"half"))

    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in reply
    assert reply.endswith(b"body was not complete within 0.1 s\n")


async def test_a_body_that_trickles_gains_no_time() -> None:
    async with serving(length_of_body, body_seconds=SOON) as served, await served.connect() as stream:
        await stream.send(post(1000))

        assert (await trickle(stream, b"x" * 1000)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_nobody_reads_must_end_too() -> None:
    async with serving(Hello(), body_seconds=UNREAD_SOON) as served, await served.connect() as stream:
        await stream.send(post(10, b"half"))
        assert (await answer(stream)).endswith(b"hello")

        assert await rest(stream) == b""


async def test_a_body_as_large_as_the_limit_is_taken() -> None:
    async with serving(length_of_body, max_body_bytes=1 << 20) as served, await served.connect() as stream:
        await stream.send(post(1 << 20, b"x" * (1 << 20)))

        assert (await answer(stream)).endswith(b"1048576")


async def test_a_body_announced_over_the_limit_is_answered_413_unread() -> None:
    app = Hello()
    async with serving(app, max_body_bytes=10) as served:
        reply = await served.ask(post(11))

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in reply
    assert reply.endswith(b"body of 11 bytes is over the limit of 10\n")
    assert app.requests == 0


async def test_a_body_in_chunks_over_the_limit_is_answered_413() -> None:
    async with serving(length_of_body, max_body_bytes=10) as served:
        reply = await served.ask(chunked(b"12345", b"67890", b"1"))

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert reply.endswith(b"body is over the limit of 10 bytes\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * MAX_HEADER_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: 1234567890\r\n" * (MAX_HEADER_BYTES // 10) + b"\r\n",
    ],
    ids=["request line", "one header", "many headers"],
)
async def test_headers_over_the_limit_are_answered_431(head: bytes) -> None:
    app = Hello()
    async with serving(app) as served:
        reply = await served.ask(head)

    assert reply.startswith(b"HTTP/1.1 431 ") or reply == b""  # a reset overtakes the answer where the client still sends
    assert app.requests == 0


async def test_a_body_does_not_count_to_the_headers_that_come_with_its_end() -> None:
    body = b"x" * MAX_HEADER_BYTES  # one read takes it, and the next request's beginning
    last = GET.replace(b"Host", b"Connection: close\r\nHost")
    async with serving(length_of_body) as served, await served.connect() as stream:
        await stream.send(post(len(body), body) + last[:10])
        replies = await stream.receive()
        await stream.send(last[10:])

        assert (replies + await rest(stream)).count(b"HTTP/1.1 200 ") == 2


async def test_an_endless_header_is_not_collected() -> None:
    async with serving(Hello()) as served, await served.connect() as stream:
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"GET / HTTP/1.1\r\na: " + b"x" * (64 << 20))


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        chunked() + b"zz\r\n",
        chunked() + b"ffffffffffffffffff\r\n",
    ],
    ids=["TLS", "version", "not a length", "negative", "two lengths", "length and chunks", "not a chunk", "a chunk too large"],
)
async def test_garbage_is_answered_400_or_not_at_all(garbage: bytes) -> None:
    async with serving(length_of_body, header_seconds=SOON) as served:
        reply = await served.ask(garbage)
        assert reply == b"" or reply.startswith(b"HTTP/1.1 400 ")

        async with await served.connect() as stream:
            await stream.send(post(2, b"ok"))
            assert (await answer(stream)).endswith(b"2")


async def test_garbage_behind_a_request_is_not_answered_in_its_place() -> None:
    async with serving(Waiting(), stop_seconds=0) as served:
        assert await served.ask(GET + b"garbage\r\n\r\n") == b""


async def test_waiting_for_the_client_to_go_has_no_time_limit() -> None:
    seen: list[str] = []
    done = anyio.Event()

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["type"])
        try:
            seen.append((await receive())["type"])
        finally:
            done.set()

    async with serving(watching, body_seconds=SOON) as served:
        async with await served.connect() as stream:
            await stream.send(post(2, b"ok"))
            with anyio.move_on_after(3 * SOON):
                await stream.receive()
        await done.wait()

    assert seen == ["http.request", "http.disconnect"]


async def test_a_reader_who_does_not_read_is_let_go() -> None:
    gone = anyio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await checkpoint()
        finally:
            gone.set()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(chunks())(scope, receive, send)

    async with serving(endless, send_seconds=SOON) as served, await served.connect() as stream:
        await stream.send(GET)

        await gone.wait()


async def test_a_reader_who_caught_up_is_not_let_go() -> None:
    patience = 10 * SOON  # long enough for a reader on a machine that does other things at the same time
    async with serving(large, send_seconds=patience) as served, await served.connect() as stream:
        for _ in range(2):
            await stream.send(GET)
            assert len(await answer(stream)) > LARGE
            with anyio.move_on_after(1.2 * patience):
                await stream.receive()


async def test_a_reader_who_does_not_read_does_not_outlive_the_server() -> None:
    async with serving(large, stop_seconds=0) as served, await served.connect() as stream:
        await stream.send(GET)
        begun = await stream.receive()
        served.scope.cancel()
        await served.ended.wait()

        assert len(begun + await rest(stream)) < LARGE


async def test_an_answer_larger_than_every_buffer_arrives_whole() -> None:
    async with serving(large) as served, await served.connect() as stream:
        await stream.send(GET)

        assert (await answer(stream)).endswith(b"\r\n\r\n" + b"x" * LARGE)


async def test_an_error_ends_one_request_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a bug")

    async with serving(failing) as served, await served.connect() as stream:
        for _ in range(2):
            await stream.send(GET)
            reply = await answer(stream)
            assert reply.startswith(b"HTTP/1.1 500 ")
            assert b"a bug" not in reply

    assert caplog.text.count("RuntimeError: a bug") == 2


async def test_an_answer_that_breaks_off_is_seen_to_be_incomplete(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("a bug")

    async with serving(failing) as served:
        reply = await served.ask(GET)

    assert b"half" in reply
    assert not reply.endswith(b"0\r\n\r\n")
    assert "RuntimeError: a bug" in caplog.text


async def test_http_1_0_gets_a_length_and_no_chunks() -> None:
    async def in_parts(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with serving(in_parts) as served:
        reply = await served.ask(b"GET / HTTP/1.0\r\n\r\n")

    assert b"content-length: 7\r\n" in reply
    assert reply.endswith(b"\r\n\r\none two")


async def test_http_1_0_gets_an_answer_of_known_length_as_it_is() -> None:
    async with serving(Hello()) as served:
        reply = await served.ask(b"GET / HTTP/1.0\r\n\r\n")

    assert reply.count(b"content-length: 5\r\n") == 1
    assert reply.endswith(b"\r\n\r\nhello")


async def test_a_websocket_is_not_spoken() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    async with serving(Hello()) as served, await served.connect() as stream:
        await stream.send(GET[:-2] + upgrade)

        assert (await answer(stream)).startswith(b"HTTP/1.1 200 ")
