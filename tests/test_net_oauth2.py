"""Tokens of OAuth 2.0 over time: renewed before they end, with the secret of now, within the caller's patience."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.model import Accepted, Collected, Outcome, Retry
from agent.net.client import Client, TransportOptions
from agent.net.push import Request, Rules, push
from agent.plugin import Context
from agent.sinks import pushgateway
from agent.sources import scrape
from tests.lanes import snapshot
from tests.scraping import Stream

pytestmark = pytest.mark.anyio

OAUTH2 = {"client_id": "me", "client_secret": "the secret", "token_url": "http://login.test/token"}
CONTEXT = Context(lambda: 1000.0, "cipush", "here", "cipush/test")


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class World:
    """A token endpoint (t1, t2, ...) that may hang, and a receiver that takes a token until it ends."""

    def __init__(self, life: float = 600) -> None:
        self.life = life
        self.hangs = False
        self.ends: dict[str, float] = {}
        self.logins: list[str] = []
        self.answers: list[int] = []
        self.network = httpx.MockTransport(self.answer)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Of either."""
        given = request.headers.get("Authorization", "")
        if request.url.host == "login.test":
            self.logins.append(given)
            if self.hangs:
                await anyio.sleep_forever()
            token = f"t{len(self.logins)}"
            self.ends[f"Bearer {token}"] = anyio.current_time() + self.life
            said = json.dumps({"access_token": token, "expires_in": self.life})
            return httpx.Response(200, stream=Stream(said.encode()))
        self.answers.append(200 if anyio.current_time() < self.ends.get(given, 0) else 401)
        return httpx.Response(self.answers[-1], stream=Stream(b"up 1\n"))

    def client(self, **oauth2: Any) -> Client:
        """Of the receiver."""
        given = {"url": "http://vm.test/w", "oauth2": {**OAUTH2, **oauth2}}
        return Client("sinks.vm", TransportOptions.model_validate(given), "cipush/test", self.network)


async def send(client: Client) -> Outcome:
    return await push(client, Request("POST", client.url, {}, b"x"), lambda: 0.0, Rules.CAREFUL)


@pytest.mark.parametrize("life", [20, 600, 3600])
async def test_a_token_is_renewed_before_its_end(life: float) -> None:
    world = World(life)
    client = world.client()
    for _ in range(300):
        await send(client)
        await anyio.sleep(life / 60 - 0.01)
    await client.aclose()

    assert set(world.answers) == {200}
    assert 5 <= len(world.logins) <= 6


async def test_a_token_is_asked_for_with_the_secret_that_the_file_holds_now(tmp_path: Path) -> None:
    world = World(life=20)
    file = tmp_path / "secret"
    file.write_text("first")
    client = world.client(client_secret="", client_secret_file=str(file))
    await send(client)
    file.write_text("the second\n")
    await anyio.sleep(20)
    await send(client)
    await client.aclose()

    expected = [f"Basic {b64encode(login).decode()}" for login in (b"me:first", b"me:the+second")]
    assert world.logins == expected


async def test_an_endpoint_that_hangs_is_a_retry_that_says_so() -> None:
    world = World()
    world.hangs = True
    client = world.client()
    began = anyio.current_time()
    found = await send(client)
    took = anyio.current_time() - began
    await client.aclose()

    assert isinstance(found, Retry)
    assert found.reason == "no token from http://login.test/token: no answer within 10 s"
    assert took == pytest.approx(10)


async def test_a_caller_that_gives_up_on_a_hanging_endpoint_leaves_it_usable() -> None:
    world = World()
    world.hangs = True
    client = world.client()
    began = anyio.current_time()
    with anyio.move_on_after(3) as patience:
        await send(client)
    took = anyio.current_time() - began
    world.hangs = False
    found = await send(client)
    await client.aclose()

    assert patience.cancelled_caught
    assert took == pytest.approx(3)
    assert isinstance(found, Accepted)


async def test_a_pushgateway_is_sent_a_token() -> None:
    world = World()
    options = pushgateway.Options.model_validate({"url": "http://gate.test", "oauth2": OAUTH2})
    sink = pushgateway.build("gate", options, CONTEXT, world.network)
    found = await sink.send(snapshot(1))
    await sink.aclose()

    assert isinstance(found, Accepted)
    assert world.answers == [200]


async def test_a_scrape_target_is_sent_a_token() -> None:
    world = World()
    options = scrape.Options.model_validate({"targets": [{"url": "http://node.test/metrics", "oauth2": OAUTH2}]})
    source = scrape.build("node", options, CONTEXT, world.network)
    found = await source.pollers()[0].collect(None)
    await source.aclose()

    assert isinstance(found, Collected)
    assert world.answers == [200]
