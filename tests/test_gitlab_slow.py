"""An instance that answers slowly, or may be asked seldom: whatever it takes, a look at all of it comes to its end and counts."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from agent.sim import faults
from agent.sim.gitlab.places import World
from agent.sim.gitlab.truth import truth
from agent.sim.gitlab.world import build
from tests.gitlab_observed import HOUR, Observer
from tests.gitlab_trapped import OPTIONS, total, wrong

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def observing(projects: int, **options: Any) -> Observer:
    world = build(3, projects=projects, pipelines=3 * projects, seconds=int(HOUR), haste=6.0)
    return Observer(world, OPTIONS | options, step=30.0)


def at_rate(rate: float) -> dict[str, Any]:
    return {"max_requests_per_second": rate, "burst_requests_per_second": 1}


@pytest.mark.parametrize("options", [{"use_graphql": False, **at_rate(0.3)}, at_rate(0.03)], ids=["rest", "graphql"])
async def test_few_requests_a_minute_bring_everything_in_the_end(options: dict[str, Any]) -> None:
    observer = observing(8, **options)
    observer.now -= HOUR
    await observer.watch(observer.world.end + 2 * HOUR)

    assert totals(observer) == totals_of(observer.world)


async def test_a_night_without_the_agent_is_made_up_for_however_seldom_it_may_ask() -> None:
    observer = observing(8, use_graphql=False, **at_rate(0.5))
    await observer.watch(observer.world.start + 60)
    observer._begin()
    await anyio.sleep(observer.world.end - observer.now)
    await observer.watch(observer.world.end + 2 * HOUR)

    assert totals(observer) == totals_of(observer.world)


async def test_answers_that_take_eight_seconds_each_count() -> None:
    observer = observing(8)
    observer.api.faults.extend([faults.Delay(8.0, times=100_000)])
    await observer.watch(observer.world.end + HOUR)

    assert wrong(observer) == []


def totals(observer: Observer) -> tuple[float, float]:
    """Pipelines and jobs that were counted; what ran again meanwhile may be another end of the same."""
    return total(observer, "pipeline_run_count"), total(observer, "job_run_count")


def totals_of(world: World) -> tuple[int, int]:
    """The same as they are."""
    true = truth(world, world.start - HOUR, world.end)
    return true.pipelines, true.jobs
