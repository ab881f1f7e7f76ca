"""Webhooks behind the real web server, on a socket: what HTTP can do to a delivery."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream

from agent.net.networks import Networks
from agent.secret import Secret
from agent.web.app import make_app
from agent.web.server import App
from agent.web.webhook import Hook, Limits, Webhooks, is_webhook, make_webhook_app
from tests.hooking import JOB, SECRET, Doorstep, sign
from tests.listening import Served, answer, serving
from tests.webhooks import NOW, Entrance, Ledger
from tests.website import FakeAgent

pytestmark = pytest.mark.anyio

TINY = 10
"""Bytes a body of anything else but a delivery may have here."""


@asynccontextmanager
async def listening(app: App, **options: object) -> AsyncIterator[Served]:
    """The server as the agent runs it."""
    async with serving(app, bounds_itself=is_webhook, max_body_bytes=TINY, **options) as served:
        yield served


def post(body: bytes, *headers: bytes, path: bytes = b"/webhook/ci") -> bytes:
    """A delivery with a length."""
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"POST %b HTTP/1.1" % path, b"Host: x", length, *headers, b"", body])


def chunked(*chunks: bytes) -> bytes:
    """A delivery in chunks, with the last one."""
    head = b"POST /webhook/ci HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


async def status(stream: SocketStream) -> int:
    """The status of the next answer."""
    return int((await answer(stream)).split(b" ", 2)[1])


async def test_a_signed_delivery_comes_through_from_end_to_end() -> None:
    door, ledger, site = Doorstep(secret=SECRET), Ledger(), Entrance()
    hook = Hook("github", door.hook, Networks(), 0.0)
    webhooks = Webhooks(lambda name: hook if name == "github" else None, ledger.commit, site.monitor, lambda: NOW)
    signed = (b"X-GitHub-Event: workflow_job", b"x-hub-signature-256: " + sign(JOB).encode(), b"Content-Type: application/json")
    async with listening(webhooks) as served, await served.connect() as stream:
        await stream.send(post(JOB, *signed, path=b"/webhook/github"))
        assert await status(stream) == 202
        await stream.send(post(JOB.replace(b"7", b"8"), *signed, path=b"/webhook/github"))
        assert await status(stream) == 401

    assert [found.observations[0].key for _, found in ledger.kept] == ["github:github.com:job:7"]


async def test_many_deliveries_share_a_connection() -> None:
    entrance = Entrance()
    async with listening(entrance.app) as served, await served.connect() as stream:
        for number in range(20):
            await stream.send(post(b"%d" % number))
            assert await status(stream) == 202

    assert [found.notes[0].value for _, found in entrance.ledger.kept] == [str(number) for number in range(20)]


async def test_deliveries_sent_without_waiting_are_answered_in_order() -> None:
    requests = chunked(b"1") + post(b"2", path=b"/webhook/no") + post(b"3", b"Connection: close")
    async with listening(Entrance().app) as served:
        replies = await served.ask(requests)

    assert re.findall(rb"HTTP/1.1 (\d+)", replies) == [b"202", b"404", b"202"]


async def test_a_body_in_chunks_arrives_whole() -> None:
    entrance = Entrance()
    async with listening(entrance.app) as served, await served.connect() as stream:
        await stream.send(chunked(b"one ", b"two ", b"three"))
        assert await status(stream) == 202

    assert entrance.source.deliveries[0].body == b"one two three"


async def test_a_body_larger_than_what_others_may_send_is_taken() -> None:
    entrance = Entrance()
    body = b"x" * (3 << 20)
    async with listening(entrance.app) as served, await served.connect() as stream:
        await stream.send(post(body))
        assert await status(stream) == 202
        await stream.send(post(b"x" * (TINY + 1), path=b"/other"))
        assert await status(stream) == 413

    assert entrance.source.deliveries[0].body == body


async def test_a_body_that_is_announced_too_large_is_refused_at_once() -> None:
    entrance = Entrance()
    head = b"POST /webhook/ci HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    async with listening(entrance.app) as served:
        reply = await served.ask(head % ((25 << 20) + 1))

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in reply
    assert entrance.counted(413) == 1


async def test_chunks_without_an_end_are_refused_at_the_limit() -> None:
    entrance = Entrance(Limits(max_body_bytes=1000))
    endless = chunked(*[b"x" * 600] * 3).removesuffix(b"0\r\n\r\n")
    async with listening(entrance.app) as served:
        reply = await served.ask(endless)

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in reply


async def test_a_slow_body_is_waited_for_only_so_long() -> None:
    entrance = Entrance(Limits(body_seconds=0.1))
    async with listening(entrance.app) as served:
        reply = await served.ask(post(b"x" * 100)[:-50])

    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in reply


async def test_a_refused_delivery_s_body_is_read_past() -> None:
    entrance = Entrance()
    entrance.source.admitted = False
    async with listening(entrance.app) as served, await served.connect() as stream:
        request = post(b"x" * 500_000)
        await stream.send(request[:1000])
        assert await status(stream) == 403
        entrance.source.admitted = True
        await stream.send(request[1000:] + post(b"next"))

        assert await status(stream) == 202
        assert entrance.source.deliveries[0].body == b"next"


async def test_a_refused_delivery_whose_body_is_long_ends_the_connection() -> None:
    entrance = Entrance()
    entrance.source.admitted = False
    async with listening(entrance.app) as served:
        reply = await served.ask(post(b"x" * (2 << 20))[:1000])

    assert reply.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close" in reply


async def test_who_waits_for_a_100_is_told_to_go_on() -> None:
    entrance = Entrance()
    request = post(b"hello", b"Expect: 100-continue")
    async with listening(entrance.app) as served, await served.connect() as stream:
        await stream.send(request[:-5])
        assert await stream.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send(request[-5:])

        assert await status(stream) == 202


async def test_who_waits_for_a_100_may_be_refused_instead() -> None:
    entrance = Entrance()
    entrance.source.admitted = False
    async with listening(entrance.app) as served:
        reply = await served.ask(post(b"hello", b"Expect: 100-continue")[:-5])

    assert reply.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close" in reply


async def test_who_hangs_up_in_the_middle_brings_nothing() -> None:
    entrance = Entrance()
    async with listening(entrance.app) as served:
        async with await served.connect() as stream:
            await stream.send(post(b"hello")[:-1])
        async with await served.connect() as stream:
            await stream.send(post(b"whole"))
            assert await status(stream) == 202

    assert [delivery.body for delivery in entrance.source.deliveries] == [b"whole"]


async def test_who_hangs_up_while_it_is_committed_has_delivered() -> None:
    entrance = Entrance()
    entrance.ledger.gate = anyio.Event()
    async with listening(entrance.app) as served, await served.connect() as stream:
        await stream.send(post(b"hello"))
        await entrance.ledger.entered.wait()
        await stream.aclose()
        entrance.ledger.gate.set()

    assert len(entrance.ledger.kept) == 1


async def test_a_head_request_has_no_body() -> None:
    async with listening(Entrance().app) as served:
        reply = await served.ask(b"HEAD /webhook/ci HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 405 ")
    assert reply.endswith(b"\r\n\r\n")


async def ask(app: App, request: bytes) -> int:
    """The status of one request."""
    async with listening(app) as served, await served.connect() as stream:
        await stream.send(request)
        return await status(stream)


async def test_a_delivery_shows_no_token_where_others_must() -> None:
    entrance = Entrance()
    app = make_app(FakeAgent(), entrance.monitor, Secret("a token of ours"), entrance.app)

    assert await ask(app, post(b"{}")) == 202
    assert await ask(app, post(b"{}", path=b"/-/reload")) == 401


@pytest.mark.parametrize("path", [b"/webhook", b"/webhook/ci"])
async def test_where_webhooks_have_a_listener_of_their_own_the_main_one_knows_none(path: bytes) -> None:
    app = make_app(FakeAgent(), Entrance().monitor, Secret("a token of ours"))

    assert await ask(app, post(b"{}", path=path)) == 404


@pytest.mark.parametrize(
    ("line", "answered"),
    [
        (b"POST /webhook", 202),
        (b"GET /health", 200),
        (b"POST /health", 405),
        (b"GET /metrics", 404),
        (b"GET /", 404),
        (b"GET /webhooks", 404),
        (b"POST /-/reload", 404),
    ],
)
async def test_a_listener_of_their_own_serves_webhooks_and_health_alone(line: bytes, answered: int) -> None:
    app = make_webhook_app(Entrance().app)

    assert await ask(app, line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") == answered
