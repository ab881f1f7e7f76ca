"""The whole source against the simulated GitHub, in each way of observing and through any trouble: totals are the world's own."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.model import Collected, Delivery, Poller
from agent.plugin import Context
from agent.sim.github.api import TOKEN, GithubApi
from agent.sim.github.deliveries import announcements
from agent.sim.github.faults import ROUGH, TROUBLE, Shipment, shipments
from agent.sim.github.log import Entry
from agent.sim.github.sender import Sender
from agent.sim.github.truth import Way, truth
from agent.sim.github.world import World, build
from agent.sim.inside import Inside
from agent.sim.weather import Showers, Weather
from agent.sources.github.options import Options
from agent.sources.github.source import GithubSource
from tests.github_truth import Tally, differences

STEP_SECONDS = 30
HOUR = 3600
OWNER = "tinker-works"
SECRET = "not a secret"
LOSSLESS = Weather(duplicated=0.1, late=0.05, reordered=0.3, throttled=0.05)
UNHEARD = Weather(lost=0.3, redelivered=0.02, duplicated=0.05, reordered=0.2, throttled=0.02)
"""Behind NAT it is all the same what becomes of a delivery."""
HOOK: dict[str, Any] = {"webhook": {"secret": SECRET}}
ASKING = {"url": "http://localhost", "token": TOKEN}
LOG = ASKING | {"deliveries": {"hooks": [{"organization": OWNER}]}}
RUNS = ASKING | {"organizations": [OWNER]}

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: what waits takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Observer:
    """One source of the agent's, what its ledger holds, and the world it observes.

    `trouble`: the share of requests, commits and polls that fail; five times as rarely the agent dies.
    """

    def __init__(self, world: World, weather: Weather, options: dict[str, Any], trouble: float) -> None:
        self.now = float(world.start - HOUR)  # what began before the first commit does not count
        self.tally = Tally()
        self.deaths = 0
        self._rng, self._trouble = Random(trouble), trouble
        self._options = Options.model_validate(options)
        self._sender = Sender(world, SECRET)
        self._coming = iter(shipments(announcements(world), weather))
        self._next = next(self._coming, None)
        self._showers = Showers(trouble, TROUBLE)
        self._api = GithubApi(world, self._sender.log, self._clock, per_hour=1_000_000, showers=self._showers)
        self._notes: dict[str, str] = {}
        self._cursors: dict[str, object] = {}
        self._begin()

    async def step(self) -> None:
        """Half a minute: what is delivered in it, what is read at its end."""
        for shipment, entry in self._due():
            if self._options.webhook.is_on and not shipment.failure:
                self._hear(shipment, entry)
        for poller in self._pollers:
            if self.now >= self._times.get(poller.name, 0.0):
                await self._poll(poller)
        if self._rng.random() < self._trouble / 5:
            self.deaths += 1
            self._begin()
        self.now += STEP_SECONDS

    def clear_up(self) -> None:
        """No trouble from now on: who was held up comes to an end."""
        self._trouble = self._showers.share = 0.0

    def _begin(self) -> None:
        """Another life: all that is left of the one before is in the ledger."""
        context = Context(self._clock, "ci", "one", "test", recall=lambda _name: self._notes)
        self._source = GithubSource("github", self._options, context, Inside(self._api))
        self._pollers = self._source.pollers()
        self._times: dict[str, float] = {}
        self._lost: dict[str, object] = {}

    def _due(self) -> Iterator[tuple[Shipment, Entry]]:
        while self._next and self._next.at <= self.now:
            yield self._next, self._sender.log.add(self._next)
            self._next = next(self._coming, None)

    def _hear(self, shipment: Shipment, entry: Entry) -> None:
        sent = self._sender.request(shipment)
        collected = self._source.receive(Delivery(sent.headers, sent.body, shipment.at))
        if not self._commit(collected):
            entry.status_code, entry.status = 503, "Service Unavailable"

    async def _poll(self, poller: Poller) -> None:
        cursors = self._cursors if poller.durable else self._lost
        try:
            collected = await poller.collect(cursors.get(poller.name))
        except CollectError:
            return
        if self._commit(collected):
            cursors[poller.name] = collected.cursor
        self._times[poller.name] = self.now + poller.interval_seconds

    def _commit(self, collected: Collected) -> bool:
        """All of it or nothing."""
        if self._rng.random() < self._trouble:
            return False
        self.tally.take(list(collected.observations))
        for key, value in collected.notes:
            if value is None:
                self._notes.pop(key, None)
            else:
                self._notes[key] = value
        return True

    def _clock(self) -> float:
        return self.now


async def observed(world: World, weather: Weather, options: dict[str, Any], trouble: float = 0.0) -> Observer:
    """Somebody who observed the whole of a world, and some time before and after."""
    observer = Observer(world, weather, options, trouble)
    while observer.now < world.end:
        await observer.step()
    observer.clear_up()
    while observer.now < world.end + 2 * HOUR:
        await observer.step()
    return observer


@pytest.mark.parametrize(
    ("way", "weather", "options"),
    [
        pytest.param("webhooks", LOSSLESS, HOOK, id="webhooks alone"),
        pytest.param("deliveries", UNHEARD, LOG | {"poll": {"enabled": False}}, id="the delivery log alone"),
        pytest.param("api", UNHEARD, RUNS, id="the list of runs alone"),
    ],
)
async def test_each_way_alone_leads_to_the_worlds_own_totals(way: Way, weather: Weather, options: dict[str, Any]) -> None:
    world = build(31, repositories=4, jobs=100, seconds=2 * HOUR)
    observer = await observed(world, weather, options)

    assert differences(observer.tally, truth(world, way)) == []


async def test_what_webhooks_miss_is_made_up_for_by_the_log_and_the_list_of_runs() -> None:
    world = build(32, repositories=4, jobs=250, seconds=HOUR, haste=20.0, approvals=False)
    observer = await observed(world, ROUGH, HOOK | LOG | RUNS)

    assert differences(observer.tally, truth(world)) == []


@pytest.mark.parametrize("options", [LOG | {"poll": {"enabled": False}}, RUNS, HOOK | LOG | RUNS], ids=["log", "runs", "all"])
async def test_totals_outlive_trouble_with_the_api_failed_commits_and_deaths(options: dict[str, Any]) -> None:
    world = build(33, repositories=4, jobs=250, seconds=HOUR, haste=20.0, approvals=False)
    observer = await observed(world, ROUGH if "webhook" in options else UNHEARD, options, trouble=0.15)

    assert differences(observer.tally, truth(world)) == []
    assert observer.deaths > 0
