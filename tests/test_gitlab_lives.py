"""The state of refs is in memory alone: a new life shows what the one before did, and what changes without a pipeline is seen."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from agent.sim.gitlab.world import build
from tests.gitlab_observed import HOUR, Observer

pytestmark = pytest.mark.anyio
STATE = ("pipeline_status", "pipeline_id", "pipeline_last_run_timestamp_seconds", "job_status")
MORE = ("child_pipeline_status", "pipeline_coverage")
"""REST tells of what was before no more than it takes one request for."""


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def watched(**options: Any) -> Observer:
    """Four projects, observed until nothing runs in them any more."""
    here = build(1, projects=4, pipelines=100, seconds=int(12 * HOUR))
    observer = Observer(here, {"metric_prefix": "", "wildcards": [{}], **options}, step=600.0)
    await observer.watch(here.end + HOUR)
    return observer


@pytest.mark.parametrize(("use_graphql", "names"), [(True, STATE + MORE), (False, STATE)])
async def test_a_new_life_shows_what_the_one_before_did(use_graphql: bool, names: tuple[str, ...]) -> None:
    observer = await watched(use_graphql=use_graphql)
    before = {name: observer.shown(name) for name in names}

    observer.gauges = {}
    observer._begin()
    await observer.watch(observer.now + 2 * observer.step_seconds)

    assert {name: observer.shown(name) for name in names} == before
    kinds = {labels[2] for labels in before["pipeline_status"]}
    assert (kinds, all(before.values())) == ({"branch", "tag", "merge_request"}, True)


async def test_a_merge_request_that_is_closed_has_no_state_any_more_though_nothing_ran() -> None:
    observer = await watched()
    before = {labels[:2] for labels in observer.shown("pipeline_status")}

    await observer.watch(observer.world.start + 30 * HOUR)

    closed = {
        (project.path_at(observer.now), f"!{run.merge_request.iid}")
        for project in observer.world.projects
        for run in project.pipelines
        if run.merge_request and run.merge_request.state(observer.now) == "closed"
    }
    assert before - {labels[:2] for labels in observer.shown("pipeline_status")} == closed != set()
