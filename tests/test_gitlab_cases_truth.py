"""Single test cases of a simulated GitLab, from the API to totals and gauges."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from agent.sim.gitlab.rules import Rules
from agent.sim.gitlab.truth import truth
from agent.sim.gitlab.world import build
from tests.github_truth import differences
from tests.gitlab_observed import Observer

pytestmark = pytest.mark.anyio
OPTIONS: dict[str, Any] = {
    "metric_prefix": "",
    "wildcards": [{}],
    "collectors": {"test_reports": {"enabled": True, "include_test_cases": True}},
}


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_every_case_of_every_pipeline_counts_once() -> None:
    world = build(8, projects=8, pipelines=60, seconds=6 * 3600, haste=3.0)
    observer = Observer(world, OPTIONS, trouble=0.02, step=300)
    await observer.watch(world.end + 3600)
    await observer.clear_up()
    since = {int(key[6:]): int(value) for key, value in observer.notes.items() if key.startswith("since:")}
    whole = truth(world, since, observer.now - 3900, rules=Rules(cases=True))

    cases = [key for key in whole.histograms if key[0] == "test_case_duration_seconds"]
    assert len(cases) > 20
    assert not [line for line in differences(observer.tally, whole) if "test_case" in line]  # type: ignore[arg-type]
    assert set(observer.shown("test_case_status").values()) == {1.0}


async def test_after_a_restart_the_cases_are_shown_again_and_nothing_counts_twice() -> None:
    world = build(9, projects=4, pipelines=16, seconds=3600, haste=3.0)  # in it something canceled is the newest of main
    observer = Observer(world, OPTIONS, step=600)
    await observer.watch(world.end + 3600)
    before, total = observer.shown("test_case_status"), dict(observer.tally.histograms)
    observer.gauges.clear()
    observer._begin()
    await observer.watch(observer.now + 1800)

    assert len(before) > 10
    assert observer.shown("test_case_status") == before
    assert dict(observer.tally.histograms) == total
