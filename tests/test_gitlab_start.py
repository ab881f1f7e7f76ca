"""What is wrong when the agent starts: it is tried again soon, and no longer said than it lasts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.model import Poller
from agent.plugin import Context
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.world import build
from agent.sim.inside import Inside
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.source import GitlabSource

pytestmark = pytest.mark.anyio

START = 1_790_000_000
NOTHING = httpx.ConnectError("[Errno 111] Connect call failed ('127.0.0.1', 8929)")


ENVIRONMENTS = {"collectors": {"environments": {"enabled": True}}}


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def now() -> float:
    """Seconds since the epoch."""
    return START + anyio.current_time()


class Late(httpx.AsyncBaseTransport):
    """A GitLab that answers only from a second on, and like this before; remembers how often it was asked."""

    def __init__(self, seconds: float, before: httpx.Response | Exception) -> None:
        self._inside = Inside(GitlabApi(build(5, projects=4, pipelines=8, seconds=3600, start=START - 3600), now))
        self._seconds, self._before = seconds, before
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if anyio.current_time() >= self._seconds:
            return await self._inside.handle_async_request(request)
        if isinstance(self._before, Exception):
            raise self._before
        return httpx.Response(self._before.status_code, stream=httpx.ByteStream(b"<h1>Sorry</h1>"))


class Agent:
    """Its polls of one source; `said`: by poller, what the status page says of it."""

    def __init__(self, transport: httpx.AsyncBaseTransport, options: Mapping[str, Any] = {}) -> None:
        given = {"url": "http://localhost", "token": TOKEN, "wildcards": [{}], **options}
        context = Context(now, "ci", "one", "test", recall=lambda _name: {})
        self.source = GitlabSource("gitlab", Options.model_validate(given), context, transport)
        self.said: dict[str, str] = {}
        self._pollers = self.source.pollers()
        self._cursors: dict[str, object] = {}
        self._due = dict.fromkeys((poller.name for poller in self._pollers), 0.0)

    async def poll(self, *names: str) -> None:
        """Those of these names, once."""
        for poller in self._pollers:
            if poller.name in names:
                await self._collect(poller)

    async def watch(self, until: float) -> None:
        """All of them, each on its interval, or sooner where it failed and says so."""
        while anyio.current_time() < until:
            for poller in self._pollers:
                if anyio.current_time() >= self._due[poller.name]:
                    seconds = min(poller.interval_seconds, await self._collect(poller) or poller.interval_seconds)
                    self._due[poller.name] = anyio.current_time() + seconds
            await anyio.sleep(1)

    async def _collect(self, poller: Poller) -> float:
        """After how many seconds it is worth trying again; 0 = when its turn comes."""
        try:
            found = await poller.collect(self._cursors.get(poller.name))
        except CollectError as error:
            self.said[poller.name] = str(error)
            return error.retry_seconds
        self._cursors[poller.name] = found.cursor
        self.said[poller.name] = found.problem
        return 0.0

    @property
    def wrong(self) -> dict[str, str]:
        """What is said of pollers that something is wrong with."""
        return {name: said for name, said in self.said.items() if said}


@pytest.mark.parametrize("before", [NOTHING, httpx.Response(502), httpx.Response(503)], ids=["down", "502", "503"])
async def test_a_gitlab_that_does_not_answer_in_the_first_seconds_is_read_a_minute_later(before: httpx.Response) -> None:
    agent = Agent(Late(25, before), ENVIRONMENTS)
    await agent.watch(20)
    early = agent.wrong
    await agent.watch(60)

    assert set(early) == {"pipelines", "environments", "tiers"}
    assert all(said.startswith("projects cannot be listed: ") for said in early.values())
    assert agent.wrong == {}
    assert agent.source.remarks()[0] == "4 projects are read"


@pytest.mark.parametrize("options", [{"token": "glpat-nobodys"}, {"wildcards": [{"owner": {"name": "nobodys"}}]}])
async def test_every_poller_says_at_once_why_no_projects_are_listed(options: Mapping[str, Any]) -> None:
    agent = Agent(Late(0, NOTHING), {**ENVIRONMENTS, **options})
    await agent.poll("pipelines", "environments", "tiers")

    assert anyio.current_time() < 1
    assert set(agent.wrong) == {"pipelines", "environments", "tiers"}
    assert len(set(agent.wrong.values())) == 1


async def test_a_gitlab_that_is_away_for_long_is_asked_ever_more_seldom() -> None:
    gitlab = Late(1e9, NOTHING)
    await Agent(gitlab).watch(3600)

    assert gitlab.asked < 3 * 20


async def test_a_wrong_token_in_a_file_is_good_as_soon_as_the_file_is(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("glpat-nobodys-token")
    agent = Agent(Late(0, NOTHING), {"token": "", "token_file": str(file)})
    await agent.watch(100)
    before = agent.wrong
    file.write_text(TOKEN)
    await agent.poll("pipelines", "tiers")

    assert set(before) == {"pipelines", "tiers"}
    assert agent.wrong == {}
