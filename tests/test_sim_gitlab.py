"""The simulated GitLab's world: the same every time, with everything in it that GitLab is known for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from agent.sim.gitlab import course
from agent.sim.gitlab.flat import TOKEN, flat
from agent.sim.gitlab.ids import Ids
from agent.sim.gitlab.objects import BRIDGE, FINAL, Job, JobSpec, Pipeline, PipelineView
from agent.sim.gitlab.places import World
from agent.sim.gitlab.world import EXPIRED, QUIET, WEEK, build

NOW = 1_772_500_000


@pytest.fixture(scope="module")
def world() -> World:
    """A week of a small instance."""
    return build(1, projects=60, pipelines=1_500)


def depth(pipeline: Pipeline) -> int:
    """How many pipelines are above it in its own project."""
    return 1 + depth(pipeline.upstream.pipeline) if pipeline.upstream and pipeline.is_child else 0


def ends(pipeline: Pipeline) -> set[int | None]:
    """All times at which it ended."""
    return {view.finished_at for view in pipeline.views if view.is_final}


def has_job(fits: Callable[[Job], object]) -> Callable[[Pipeline], bool]:
    """Whether a pipeline has such a job."""
    return lambda pipeline: any(fits(job) for job in pipeline.jobs)


def plan(world: World) -> list[object]:
    """All that can ever be seen of its pipelines."""
    return [
        (pipeline.id, pipeline.ref, pipeline.views, [(job.id, job.spec, job.at(world.end)) for job in pipeline.jobs])
        for pipeline in world.pipelines()
    ]


def test_the_same_arguments_make_the_same_world() -> None:
    assert plan(build(7, projects=10, pipelines=100)) == plan(build(7, projects=10, pipelines=100))


def test_another_seed_makes_another_world() -> None:
    assert plan(build(7, projects=10, pipelines=100)) != plan(build(8, projects=10, pipelines=100))


def test_a_world_has_the_pipelines_asked_for_in_the_time_asked_for_and_their_children_beside(world: World) -> None:
    asked = [pipeline for pipeline in world.pipelines() if pipeline.upstream is None]

    assert len(asked) == 1_500
    assert all(world.start <= pipeline.created < world.start + WEEK for pipeline in asked)


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda pipeline: depth(pipeline) == 2, id="child of a child"),
        pytest.param(lambda pipeline: pipeline.source == "pipeline", id="downstream of another project"),
        pytest.param(has_job(lambda job: job.retried_at and job.retried_at == job.ended), id="retry in a running pipeline"),
        pytest.param(lambda pipeline: len(ends(pipeline)) == 2, id="run again after its end"),
        pytest.param(lambda pipeline: len(ends(pipeline)) == 3, id="run again twice"),
        pytest.param(has_job(lambda job: job.again), id="skipped, and run later under the same number"),
        pytest.param(lambda pipeline: pipeline.views[-1].status == "manual", id="manual for ever"),
        pytest.param(has_job(lambda job: job.held == "manual" and job.queued), id="manual job that is started"),
        pytest.param(has_job(lambda job: job.held == "scheduled"), id="delayed"),
        pytest.param(lambda pipeline: pipeline.yaml_error, id="YAML error"),
        pytest.param(lambda pipeline: pipeline.views[-1].status == "skipped", id="skipped"),
        pytest.param(lambda p: p.views[-1].status == "canceled" and p.views[-1].started_at is None, id="canceled before start"),
        pytest.param(lambda p: p.views[-1].status == "canceled" and p.views[-1].started_at, id="canceled after start"),
        pytest.param(has_job(lambda job: job.canceling), id="canceling"),
        pytest.param(lambda pipeline: pipeline.views[-1].warnings, id="success with warnings"),
        pytest.param(lambda pipeline: pipeline.views[-1].coverage, id="coverage"),
        pytest.param(lambda pipeline: pipeline.report, id="test report"),
        pytest.param(has_job(lambda job: job.status == "failed" and not job.started), id="failed without a runner"),
        pytest.param(lambda pipeline: pipeline.tag, id="tag"),
        pytest.param(lambda pipeline: pipeline.ref.endswith("/train"), id="merge train"),
        pytest.param(lambda pipeline: pipeline.source == "schedule", id="schedule"),
        pytest.param(
            lambda p: p.deleted_at and p.views[-1].is_final and p.deleted_at > p.last_change, id="deleted after its end"
        ),
        pytest.param(lambda p: p.deleted_at and p.deleted_at < p.last_change, id="deleted while it ran"),
        pytest.param(lambda p: p.last_change - p.created > 86_400 and p.views[-1].status == "success", id="takes days"),
        pytest.param(lambda p: len(p.views) > 1 and p.views[-2].status == p.views[-1].status, id="touched without a change"),
        pytest.param(
            has_job(lambda job: job.spec.kind == BRIDGE and not job.started and job.status == "success"), id="no depend"
        ),
        pytest.param(has_job(lambda job: job.spec.kind == BRIDGE and job.started and job.downstream), id="strategy depend"),
    ],
)
def test_in_a_week_there_is_a_pipeline_that(world: World, happens: Callable[[Pipeline], object]) -> None:
    assert any(happens(pipeline) for pipeline in world.pipelines())


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda world: any(project.archived for project in world.projects), id="archived"),
        pytest.param(lambda world: any(not project.builds_enabled for project in world.projects), id="CI disabled"),
        pytest.param(lambda world: any(project.created > world.start for project in world.projects), id="created in mid-week"),
        pytest.param(lambda world: any("-renamed" in p.path_at(world.end) for p in world.projects), id="renamed"),
        pytest.param(lambda world: any(p.places[0].group is not p.places[-1].group for p in world.projects), id="moved"),
        pytest.param(lambda world: any(not world.tokens[TOKEN].sees(p) for p in world.projects), id="hidden from the token"),
        pytest.param(lambda world: any(ref.deleted for p in world.projects for ref in p.branches), id="deleted branch"),
        pytest.param(lambda world: any(ref.deleted for p in world.projects for ref in p.tags), id="deleted tag"),
        pytest.param(lambda world: any(d.job is None for p in world.projects for d in p.deployments), id="deployed by the API"),
        pytest.param(lambda world: any(e.stopped for p in world.projects for e in p.environments), id="stopped environment"),
        pytest.param(lambda world: any(p.places[0].group.is_user for p in world.projects), id="of a user"),
        pytest.param(lambda world: world.token(EXPIRED, world.start) is None, id="expired token"),
    ],
)
def test_in_a_week_there_is_something(world: World, happens: Callable[[World], bool]) -> None:
    assert happens(world)


def test_numbers_rise_with_the_time_of_making(world: World) -> None:
    for project in world.projects:
        created = [pipeline.created for pipeline in project.pipelines]
        assert created == sorted(created)
        assert [pipeline.iid for pipeline in project.pipelines] == list(range(1, len(created) + 1))


def test_no_number_is_given_out_twice(world: World) -> None:
    jobs = [job.id for pipeline in world.pipelines() for job in pipeline.jobs]
    pipelines = [pipeline.id for pipeline in world.pipelines()]

    assert len(set(jobs)) == len(jobs)
    assert len(set(pipelines)) == len(pipelines)


def test_a_second_runs_out_of_numbers_rather_than_give_one_out_twice() -> None:
    ids = Ids(100, NOW, 2)
    assert [ids.take(NOW), ids.take(NOW), ids.take(NOW + 1)] == [100, 101, 102]

    with pytest.raises(ValueError, match="more than 2 things"):
        ids.take(NOW)


def test_an_end_stays_for_a_quarter_of_an_hour_before_a_pipeline_runs_again(world: World) -> None:
    for pipeline in world.pipelines():
        for view, following in zip(pipeline.views, pipeline.views[1:], strict=False):
            if view.is_final:
                assert following.updated_at - view.updated_at >= 900


def test_every_change_of_a_status_moves_updated_at(world: World) -> None:
    for pipeline in world.pipelines():
        times = [view.updated_at for view in pipeline.views]
        assert times == sorted(set(times))


def test_nothing_ends_where_a_project_changes_its_name(world: World) -> None:
    moved = [project for project in world.projects if len(project.places) > 1]

    assert moved
    for project in moved:
        at = project.places[1].since
        assert not any(abs(view.updated_at - at) < QUIET for pipeline in project.pipelines for view in pipeline.views)


def test_what_can_be_seen_agrees_with_what_ended_by_then(world: World) -> None:
    for now in range(world.start, world.end, 40_000):
        for pipeline in world.pipelines():
            view = pipeline.at(now)
            if view is None:
                assert now < pipeline.created or (pipeline.deleted_at and now >= pipeline.deleted_at)
                continue
            seen = [found for job in pipeline.jobs if (found := job.at(now)) and not found.retried]
            running = any(found.status in ("running", "pending") for found in seen)
            assert view.updated_at <= now
            assert not (view.status in FINAL and running)


def test_a_world_for_load_has_what_is_asked_for() -> None:
    world = flat(20, 3, 7)

    assert Counter(len(pipeline.jobs) for pipeline in world.pipelines()) == {7: 60}
    assert len({job.id for pipeline in world.pipelines() for job in pipeline.jobs}) == 420


def test_a_world_for_load_goes_on_with_a_share_of_its_projects_in_each_round() -> None:
    world = flat(100, 2, 1, steady=0.02, rounds=5)

    begun = Counter(pipeline.created for pipeline in world.pipelines())

    assert [begun[world.start + 600 * place] for place in range(7)] == [100, 100, 2, 2, 2, 2, 2]


def job(identity: int, name: str = "unit", stage: str = "test", **given: int | str) -> Job:
    """A job that ran for a minute, unless told otherwise."""
    times = {"created": NOW, "queued": NOW + 1, "started": NOW + 5, "ended": NOW + 65, "status": "success", **given}
    return Job(identity, JobSpec(name, stage), **times)  # type: ignore[arg-type]


def test_a_pipeline_looks_as_its_jobs_do() -> None:
    assert course.views(NOW, [job(1)]) == (
        PipelineView(NOW, "created"),
        PipelineView(NOW + 1, "pending"),
        PipelineView(NOW + 5, "running", started_at=NOW + 5, queued_duration=5),
        PipelineView(NOW + 65, "success", False, NOW + 5, NOW + 65, 60, 5),
    )


def test_a_pipelines_duration_leaves_out_what_it_waited() -> None:
    second = job(2, "deploy", "deploy", queued=NOW + 65, started=NOW + 165, ended=NOW + 175)

    assert course.views(NOW, [job(1), second])[-1].duration == 70


def test_a_pipeline_that_starts_in_the_second_of_its_making_was_never_queued() -> None:
    assert course.views(NOW, [job(1, queued=NOW, started=NOW)])[-1].queued_duration is None


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"skipped"}, "skipped"),
        ({course.IGNORED}, "skipped"),
        ({"success", course.WARNED, "skipped"}, "success"),
        ({"success", "canceled"}, "canceled"),
        ({"success", "failed", "skipped"}, "failed"),
        ({"created", "pending"}, "pending"),
        ({"success", "created"}, "running"),
        ({"success", "manual", "created"}, "manual"),
        ({"success", "scheduled", "created"}, "scheduled"),
        ({"canceled", "canceling"}, "canceling"),
        ({"success", "pending"}, "running"),
    ],
)
def test_a_pipelines_status_is_made_of_its_jobs(statuses: set[str], expected: str) -> None:
    assert course.composite(statuses) == expected


def test_at_every_moment_a_pipeline_is_what_its_jobs_make_it(world: World) -> None:
    for pipeline in world.pipelines():
        for now in sorted({view.updated_at + late for view in pipeline.views for late in (0, 1, 17)}):
            view = pipeline.at(now)
            statuses = set()
            for each in pipeline.jobs:
                seen = each.at(now)
                if seen is None or seen.retried:
                    continue
                is_excused = each.spec.allow_failure and seen.status in ("failed", "canceled")
                is_optional = each.spec.allow_failure and seen.status == "manual"
                statuses.add(course.WARNED if is_excused else course.IGNORED if is_optional else seen.status)
            if view is not None and pipeline.jobs:
                assert view.status == course.composite(statuses)


def test_in_haste_everything_takes_less() -> None:
    usual, hasty = (build(3, projects=10, pipelines=200, haste=haste) for haste in (1.0, 60.0))

    def lasted(world: World) -> float:
        durations = sorted(view.duration for pipeline in world.pipelines() for view in pipeline.views if view.duration)
        return durations[len(durations) // 2]

    assert lasted(hasty) < lasted(usual) / 20
