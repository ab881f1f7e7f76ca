"""Every gauge of state and of what has not ended, by both APIs, against how the simulated world stands."""

from __future__ import annotations

from collections.abc import Collection

import anyio
import pytest
from trio.testing import MockClock

from agent.sim.gitlab.rules import Rules
from agent.sim.gitlab.standing import standing
from agent.sim.gitlab.truth import Key
from agent.sim.gitlab.world import build
from agent.sources.gitlab.families import families
from agent.sources.gitlab.options import Options
from tests.gitlab_observed import Observer
from tests.gitlab_trapped import made, observed

FAMILIES = {
    *("pipeline_status", "pipeline_id", "pipeline_created_timestamp", "pipeline_last_run_timestamp_seconds", "pipeline_coverage"),
    *("child_pipeline_status", "job_status", "test_suite_duration_seconds", "test_suite_count"),
    *(f"test_report_{word}_count" for word in ("total", "success", "failed", "skipped", "error")),
    *("test_report_total_time_seconds", "pipelines_unfinished", "pipelines_oldest_timestamp_seconds"),
    *("jobs_unfinished", "jobs_oldest_timestamp_seconds"),
}


@pytest.mark.parametrize("use_graphql", [True, False])
def test_every_gauge_is_as_the_world_stands(use_graphql: bool) -> None:
    world = made(6, 40, seed=10)
    seen = observed(world, use_graphql=use_graphql, collectors={"test_reports": {"enabled": True}})
    planned, shown = standing(world, seen.now), of(seen)

    assert [one for project in world.projects for one in project.pipelines if one.deleted_at] == []  # they may be shown still
    assert {name for name, _ in planned} == FAMILIES
    assert shown.keys() == planned.keys()
    assert {key: (value, shown[key]) for key, value in planned.items() if shown[key] != pytest.approx(value, abs=0.006)} == {}


@pytest.mark.parametrize("use_graphql", [True, False])
def test_where_pipelines_of_a_ref_overlap_the_newest_report_is_shown_at_every_moment(use_graphql: bool) -> None:
    """The second life begins while they do."""
    world = build(12, projects=1, pipelines=24, seconds=600, haste=3.0)
    options = {"metric_prefix": "", "wildcards": [{}], "use_graphql": use_graphql}
    reports, shown = {"enabled": True, "include_test_cases": True, "interval_seconds": 10}, set[Key]()

    async def watch() -> None:
        observer = Observer(world, options | {"collectors": {"test_reports": reports}}, step=60)
        while (now := observer.now) < world.end + 300:
            if now == world.start + 660:
                observer.gauges.clear()
                observer._begin()
            await observer.step()
            stands = standing(world, now, rules=Rules(cases=True))
            planned = {key for key in stands if key[0] == "test_case_status"}
            assert of(observer, {"test_case_status"}).keys() == planned, now - world.start
            name = "test_report_total_count"
            assert of(observer, {name}) == {key: value for key, value in stands.items() if key[0] == name}
            shown.update(planned)

    anyio.run(watch, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert len(shown) > 20


def of(seen: Observer, names: Collection[str] = FAMILIES) -> dict[Key, float]:
    """What it shows of these families, empty labels left out."""
    labels = {name: getattr(families(Options.model_validate({})), name).labels for name in names}
    return {
        (name, tuple(sorted((label, value) for label, value in zip(labels[name], own, strict=True) if value))): number
        for name in names
        for own, number in seen.shown(name).items()
    }
