"""A simulated GitLab observed by the REST API alone: what is counted equals what the world knows."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from agent.sim.gitlab.truth import truth
from agent.sim.gitlab.world import build
from tests.github_truth import differences
from tests.gitlab_observed import Observer

pytestmark = pytest.mark.anyio
OPTIONS: dict[str, Any] = {
    "use_graphql": False,
    "metric_prefix": "",
    "wildcards": [{}],
    "collectors": {"environments": {"enabled": True}},
}


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_everything_counts_though_answers_break_commits_fail_and_the_agent_dies() -> None:
    world = build(8, projects=8, pipelines=60, seconds=6 * 3600, haste=3.0)
    observer = Observer(world, OPTIONS, trouble=0.02, step=300)
    await observer.watch(world.end + 3600)
    await observer.clear_up()
    since = {int(key[6:]): int(value) for key, value in observer.notes.items() if key.startswith("since:")}

    assert differences(observer.tally, truth(world, since, observer.now - 3900)) == []  # type: ignore[arg-type]
    assert len(observer.tally.counters) > 200
    assert observer.problems, "there was trouble"
