"""What leads astray who counts GitLab's pipelines, by both of its APIs: held against the plan of a simulated one."""

from __future__ import annotations

import pytest

from agent.sim.gitlab.objects import BRIDGE, BUILD, Pipeline
from agent.sim.gitlab.places import World
from agent.sim.gitlab.rules import job_name
from agent.sim.gitlab.standing import standing
from tests.gitlab_observed import Observer
from tests.gitlab_trapped import end, ended, jobs, made, observed, pipelines, read, total

RUNS, BY_STATUS = "pipeline_run_count", "pipeline_runs_by_status_total"
CHILDREN = "child_pipeline_run_count"


@pytest.fixture(scope="module")
def world() -> World:
    """Of its pipelines one is deleted while it runs, and one project's archived although things run in it."""
    found = made()
    long = max(
        pipelines(found, lambda one: not one.upstream), key=lambda one: (end(one) or one.views[0]).updated_at - one.created
    )
    long.deleted_at = (long.created + end_of(long)) // 2
    return found


@pytest.fixture(scope="module", params=["graphql", "rest"])
def seen(world: World, request: pytest.FixtureRequest) -> Observer:
    return observed(world, use_graphql=request.param == "graphql")


def end_of(pipeline: Pipeline) -> int:
    found = end(pipeline)
    assert found is not None
    return found.updated_at


def test_children_are_counted_though_lists_leave_them_out(world: World, seen: Observer) -> None:
    children = ended(world, lambda one: one.source == "parent_pipeline")

    assert total(seen, RUNS, source="parent_pipeline") == len(children) > 10


def test_a_child_of_a_child_is_its_parents_and_not_its_grandparents(world: World, seen: Observer) -> None:
    nested = ended(world, lambda one: one.upstream and one.upstream.pipeline.upstream)

    assert nested
    for one in nested:
        assert one.upstream is not None
        parent, bridge = path(world, one.upstream.pipeline), job_name(one.upstream.bridge.spec.name)
        alike = [each for each in ended(world) if is_triggered_alike(one, each)]
        assert total(seen, CHILDREN, project=path(world, one), parent_project=parent, bridge_name=bridge) == len(alike)


def is_triggered_alike(one: Pipeline, other: Pipeline) -> bool:
    """Whether the same job of the same project triggered something in the same project."""
    if one.upstream is None or other.upstream is None or one.project is not other.project:
        return False
    is_one_parent = one.upstream.pipeline.project is other.upstream.pipeline.project
    return is_one_parent and job_name(one.upstream.bridge.spec.name) == job_name(other.upstream.bridge.spec.name)


def path(world: World, pipeline: Pipeline) -> str:
    return pipeline.project.path_at(world.end)


def test_what_is_triggered_in_another_project_counts_there_and_once(world: World, seen: Observer) -> None:
    downstream = ended(world, lambda one: one.upstream and one.upstream.pipeline.project is not one.project)

    assert total(seen, RUNS, source="pipeline") == len(ended(world, lambda one: one.source == "pipeline"))
    assert total(seen, CHILDREN) == len(ended(world, lambda one: one.upstream)) > len(downstream) > 10


def test_trigger_jobs_are_not_among_the_jobs(world: World, seen: Observer) -> None:
    triggers, builds = ({job_name(job.spec.name) for job in jobs(world, kind)} for kind in (BRIDGE, BUILD))
    bridges = triggers - builds

    assert bridges
    assert [total(seen, "job_run_count", job_name=name) for name in sorted(bridges)] == [0] * len(bridges)


def test_a_retried_job_and_the_one_in_its_place_are_two_jobs(world: World, seen: Observer) -> None:
    replaced = [job for job in jobs(world, BUILD) if job.retried_at and job.ended]

    assert total(seen, "job_retries_total") == len(replaced) > 10


def test_a_retry_of_a_pipeline_is_no_other_pipeline(world: World, seen: Observer) -> None:
    later = [len({view.finished_at for view in one.views if view.is_final}) - 1 for one in ended(world)]

    assert total(seen, RUNS) == len(later)
    assert total(seen, "pipeline_retries_total") == sum(later) > 10


def test_a_manual_pipeline_waits_and_has_not_ended(world: World, seen: Observer) -> None:
    waiting = [one for one in pipelines(world) if one.views[-1].status == "manual" and not end(one)]

    assert waiting
    assert total(seen, BY_STATUS, status="manual") == 0
    shown = {labels: value for labels, value in seen.shown("pipelines_unfinished").items() if labels[1] == "manual"}
    assert sum(shown.values()) >= len(waiting)


def test_a_delayed_job_has_not_ended(world: World, seen: Observer) -> None:
    assert [view for one in pipelines(world) for view in one.views if view.status == "scheduled"]
    assert total(seen, BY_STATUS, status="scheduled") == total(seen, "job_runs_by_status_total", status="scheduled") == 0


def test_a_skipped_pipeline_counts_and_has_no_duration(world: World, seen: Observer) -> None:
    skipped = [one for one in ended(world) if (view := end(one)) and view.status == "skipped"]

    assert total(seen, BY_STATUS, status="skipped") == len(skipped) > 0
    assert total(seen, "pipeline_duration_seconds", status="skipped") == 0


def test_failures_that_were_allowed_are_neither_success_nor_failure(world: World, seen: Observer) -> None:
    warned = [one for one in ended(world) if (view := end(one)) and view.warnings and view.status == "success"]

    assert total(seen, BY_STATUS, status="success_with_warnings") == len(warned) > 0
    assert total(seen, "job_runs_by_status_total", status="failed_with_warnings") > 0


def test_a_broken_definition_makes_a_pipeline_that_failed_without_jobs_or_time(world: World, seen: Observer) -> None:
    broken = ended(world, lambda one: one.yaml_error)
    timed = [view for one in ended(world) if (view := end(one)) and view.status == "failed" and view.duration is not None]

    assert broken
    assert total(seen, BY_STATUS, status="failed") == len([one for one in ended(world) if failed(one)])
    assert total(seen, "pipeline_duration_seconds", status="failed") == len(timed)


def failed(pipeline: Pipeline) -> bool:
    view = end(pipeline)
    return view is not None and view.status == "failed"


def test_what_has_no_duration_is_in_no_histogram_and_not_zero(world: World, seen: Observer) -> None:
    timed = [view for one in ended(world) if (view := end(one)) and view.duration is not None]

    assert total(seen, "pipeline_duration_seconds") == len(timed) < len(ended(world))


def test_a_pipeline_of_a_branch_that_is_gone_counts(world: World, seen: Observer) -> None:
    gone = ended(world, lambda one: not one.merge_request and not one.upstream and not one.project.ref_exists(one, world.end))

    assert gone
    for one in gone:
        assert total(seen, RUNS, project=path(world, one), kind="tag" if one.tag else "branch") >= 1


def test_a_pipeline_that_is_deleted_while_it_runs_neither_counts_nor_stays(world: World, seen: Observer) -> None:
    deleted = [one for one in pipelines(world, lambda one: one.deleted_at) if not end(one)]

    assert deleted
    for one in deleted:
        assert f"gitlab:localhost:pipeline:{one.id}" not in seen.tally.keys
        assert not [key for key in seen.notes if key.endswith(f":{one.id}")]


def test_merge_requests_have_one_label_whichever_of_their_refs_ran(world: World, seen: Observer) -> None:
    asked = ended(world, lambda one: one.merge_request)

    assert {one.ref.rpartition("/")[2] for one in asked} == {"head", "merge", "train"}
    assert total(seen, RUNS, kind="merge_request") == total(seen, RUNS, ref="merge_request") == len(asked)


def test_a_project_without_ci_is_named_and_costs_no_other(world: World, seen: Observer) -> None:
    closed = next(project for project in world.projects if not project.builds_enabled)
    here = f"project {closed.path_at(world.end)}"

    assert total(seen, RUNS) == len(ended(world))
    by_rest = [problem for problem in seen.problems if problem.startswith("pipelines:")]
    assert not by_rest or here in by_rest[0]


def test_an_archived_project_is_not_read_unless_asked_for(world: World, seen: Observer) -> None:
    archived = [project.path_at(world.end) for project in world.projects if project.archived]

    assert archived
    assert [total(seen, RUNS, project=name) for name in archived] == [0]


def test_a_project_that_may_not_be_seen_counts_nowhere(world: World, seen: Observer) -> None:
    paths = {project.path_at(world.end) for project in read(world)}
    named = {dict(pairs)["project"] for name, pairs in seen.tally.counters if name == RUNS}

    assert named <= paths


def test_coverage_is_the_same_number_from_text_and_from_a_float(world: World, seen: Observer) -> None:
    standings = [(dict(key[1]), value) for key, value in standing(world, seen.now).items() if key[0] == "pipeline_coverage"]
    planned = {(of["project"], of["ref"], of["kind"]): value for of, value in standings}
    shown = seen.shown("pipeline_coverage")

    assert len(planned) > 20
    assert {labels: value for labels, value in shown.items() if labels in planned} == pytest.approx(planned)


def test_waits_are_whole_seconds_however_they_are_told(seen: Observer) -> None:
    sums = [row[-1] for (name, _), row in seen.tally.histograms.items() if name.endswith("queued_duration_seconds")]

    assert len(sums) > 50
    assert [value for value in sums if value != int(value)] == []
