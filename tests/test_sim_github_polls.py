"""The collector against the simulated API: what a poll costs, and that an organisation's days add up through any trouble."""

from __future__ import annotations

from random import Random

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sim.github.api import GithubApi
from agent.sim.github.faults import TROUBLE
from agent.sim.github.log import Log
from agent.sim.github.truth import truth
from agent.sim.github.world import build
from agent.sim.weather import Showers
from tests.bench.github import collector, measure
from tests.github_truth import Tally, differences

DAY = 86_400

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: what waits takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_an_idle_repository_costs_one_free_request_a_poll() -> None:
    world = build(1, repositories=6, jobs=300)
    row = await measure("idle", world, float(world.end + 2 * DAY))

    assert (row["idle_repositories"], row["of_an_idle_repository"], row["not_modified"]) == (6, 1.0, 6.0)
    assert row["charged_in_the_hour"] == 1, "the list of repositories, once"


async def test_what_happens_is_asked_for_and_counted() -> None:
    world = build(1, repositories=6, jobs=300, seconds=7200)
    row = await measure("busy", world, float(world.start))

    assert row["observations"] > 100  # type: ignore[operator]


@pytest.mark.parametrize(("interval", "share"), [(120, 0.0), (600, 0.0), (300, 0.1)])
async def test_polls_lead_to_the_worlds_own_totals_whatever_befalls_them(interval: int, share: float) -> None:
    world = build(interval, repositories=5, jobs=200, seconds=DAY // 4, haste=4.0)
    now, rng, tally = [float(world.start)], Random(interval), Tally()
    api = GithubApi(world, Log(), lambda: now[0], per_hour=1_000_000, showers=Showers(share, TROUBLE))
    runs = collector(world, api, lambda: now[0])
    cursor: object = None
    while now[0] < world.end + 2 * 3600:
        try:
            collected = await runs.collect(cursor)
        except CollectError:
            assert share
        else:
            if rng.random() > share:  # else the commit fails, and nothing of it happened
                tally.take(list(collected.observations))
                cursor = collected.cursor
        if rng.random() < share / 5:
            runs = collector(world, api, lambda: now[0])
        now[0] += interval

    assert differences(tally, truth(world, "api")) == []
