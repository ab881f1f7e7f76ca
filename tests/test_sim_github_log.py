"""The delivery log and webhooks through bad weather: read as the agent reads them, a world's days add up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.plugin import Context
from agent.sim.github.api import TOKEN, GithubApi
from agent.sim.github.deliveries import announcements, payload
from agent.sim.github.faults import ERRORS, ROUGH, Shipment, Showers, Weather, shipments
from agent.sim.github.inside import Inside
from agent.sim.github.log import Log
from agent.sim.github.truth import truth
from agent.sim.github.world import World, build
from agent.sources.github.api import connect
from agent.sources.github.deliveries import Deliveries
from agent.sources.github.discover import Discovery
from agent.sources.github.engine import Engine
from agent.sources.github.families import families
from agent.sources.github.options import HookOptions, Options
from agent.sources.github.runs import Runs
from tests.github_truth import Tally, differences

STEP_SECONDS = 60
RUNS_SECONDS = 600
HOUR = 3600
UNHEARD = Weather(lost=0.3, redelivered=0.02, duplicated=0.05, reordered=0.2, throttled=0.02)
"""Behind NAT it is all the same what becomes of a delivery."""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: what waits takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Observer:
    """What the agent has of one world: its engine, its pollers, and what was counted."""

    def __init__(self, world: World, weather: Weather, share: float, *, all_of_them: bool) -> None:
        self.now = float(world.start)
        self.tally = Tally()
        self._world = world
        self._log = Log()
        self._hears = not all_of_them
        self._coming = iter(shipments(announcements(world), weather))
        self._next = next(self._coming, None)
        options = Options.model_validate({"url": "http://localhost", "token": TOKEN, "organizations": [world.owner]})
        showers = Showers(share, kinds=ERRORS)
        self.api = GithubApi(world, self._log, self._clock, per_hour=1_000_000, showers=showers)
        asked = connect("sources.github", options, Context(self._clock, "ci", "one", "test"), Inside(self.api))
        self._engine = Engine("localhost", options, families(options))
        hooks = [HookOptions(organization=world.owner)]
        self._deliveries = Deliveries(asked, hooks, self._engine, self._clock, all_of_them=all_of_them)
        self._runs = Runs(asked, Discovery(asked, options, self._engine.wants, self._clock), self._engine, self._clock)
        self._cursors: dict[object, object] = {}

    async def step(self) -> None:
        """A minute: what is delivered in it, what is read at its end."""
        for shipment in self._due():
            self._log.add(shipment)
            if self._hears and not shipment.failure:
                told = shipment.announcement
                digest = self._engine.webhook(told.event, payload(self._world, told), told.guid, shipment.at)
                self.tally.take(list(digest.observations))
        await self._poll(self._deliveries)
        if self._hears and self.now % RUNS_SECONDS < STEP_SECONDS:
            await self._poll(self._runs)
        self.tally.take(list(self._engine.settle(self.now).observations))
        self.now += STEP_SECONDS

    def _due(self) -> Iterator[Shipment]:
        while self._next and self._next.at <= self.now:
            yield self._next
            self._next = next(self._coming, None)

    async def _poll(self, poller: Deliveries | Runs) -> None:
        try:
            collected = await poller.collect(self._cursors.get(poller))
        except CollectError:
            return
        self.tally.take(list(collected.observations))
        self._cursors[poller] = collected.cursor

    def _clock(self) -> float:
        return self.now


async def through(world: World, weather: Weather, share: float, *, all_of_them: bool) -> Observer:
    """Somebody who observed the whole of a world, and two hours more."""
    observer = Observer(world, weather, share, all_of_them=all_of_them)
    while observer.now < world.end + 2 * HOUR:
        await observer.step()
    return observer


async def test_the_delivery_log_alone_leads_to_the_worlds_own_totals() -> None:
    world = build(11, repositories=4, jobs=100, seconds=2 * HOUR)
    observer = await through(world, UNHEARD, 0.0, all_of_them=True)

    assert differences(observer.tally, truth(world, "deliveries")) == []
    assert observer.api.counts["delivery", 200] > 0


async def test_the_delivery_log_is_read_through_trouble_with_the_api() -> None:
    world = build(12, repositories=4, jobs=150, seconds=HOUR, haste=20.0, approvals=False)
    observer = await through(world, UNHEARD, 0.1, all_of_them=True)

    assert differences(observer.tally, truth(world, "deliveries")) == []


@pytest.mark.parametrize("share", [0.0, 0.1])
async def test_webhooks_that_get_lost_are_made_up_for_by_the_log_and_the_list_of_runs(share: float) -> None:
    world = build(13, repositories=4, jobs=200, seconds=HOUR, haste=20.0, approvals=False)
    observer = await through(world, ROUGH, share, all_of_them=False)

    assert differences(observer.tally, truth(world, "webhooks")) == []
    assert 0 < observer.api.counts["delivery", 200] < 300
