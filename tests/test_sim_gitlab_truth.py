"""What a perfect observer counts in a simulated GitLab, worked out by hand in worlds of one pipeline, and sums over a week."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sim.gitlab import course, objects
from agent.sim.gitlab.flat import MONDAY, TOKEN, URL, flat
from agent.sim.gitlab.objects import BRIDGE, Job, JobSpec, Pipeline, Upstream
from agent.sim.gitlab.places import Deployment, Environment, Group, MergeRequest, Place, Project, Token, User, World
from agent.sim.gitlab.rules import Rules, job_name
from agent.sim.gitlab.truth import Truth, truth
from agent.sim.gitlab.world import build

NOW = MONDAY
USER = User(7, "ines.q", "Ines")
GROUP = Group(1, "harbour", "Harbour")


def job(name: str = "unit", **given: Any) -> Job:
    """A job that waited for 4 s and ran for 61, unless told otherwise."""
    spec = JobSpec(name, given.pop("stage", "test"), **given.pop("spec", {}))
    times = {"id": 1, "created": NOW, "queued": NOW + 2, "started": NOW + 6, "ended": NOW + 67, "status": "success"}
    return Job(spec=spec, **{**times, **given})


def project(number: int = 5, **given: Any) -> Project:
    """A project of the group."""
    return Project(number, (Place(0, GROUP, f"p{number}"),), 0, **given)


def pipeline(*jobs: Job, where: Project | None = None, **given: Any) -> Pipeline:
    """A pipeline of main, in a project of its own unless told otherwise."""
    where = project() if where is None else where
    settings = {"id": 9, "ref": "main", "source": "push", "sha": "ab" * 20, "created": NOW, "user": USER, **given}
    made = Pipeline(project=where, **settings)
    made.jobs, made.views = jobs, course.views(made.created, jobs)
    where.pipelines = (*where.pipelines, made)
    return made


def counted(*projects: Project, since: float = 0.0, until: float = float("inf"), rules: Rules | None = None) -> Truth:
    """The truth of a world of these."""
    world = World(1, NOW, 100, URL, (GROUP,), (USER,), projects, {TOKEN: Token(TOKEN, USER)})
    return truth(world, since, until, rules=rules)


def of(found: Truth, family: str) -> dict[tuple[str, ...], Any]:
    """Values by label values, in the order of the labels' names."""
    series: dict[Any, Any] = {**found.counters, **found.histograms}
    return {tuple(value for _, value in labels): value for (name, labels), value in series.items() if name == family}


def test_a_pipeline_counts_once_with_its_duration_and_its_wait() -> None:
    found = counted(pipeline(job()).project)

    assert of(found, "pipeline_run_count") == {("branch", "harbour/p5", "main", "push"): 1}
    assert of(found, "pipeline_duration_seconds")["branch", "harbour/p5", "main", "push", "success"][-2:] == [1, 61]
    assert of(found, "pipeline_queued_duration_seconds")["branch", "harbour/p5", "main", "push"][-2:] == [1, 6]
    assert of(found, "pipeline_stage_duration_seconds")["harbour/p5", "main", "test"] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 61]


def test_a_job_counts_with_its_runner_and_its_status() -> None:
    failed = job("unit 2/3", status="failed", failure_reason="ci_quota_exceeded", spec={"allow_failure": True})
    found = counted(pipeline(failed).project)

    assert of(found, "job_runs_by_status_total") == {
        ("unit", "harbour/p5", "main", "instance", "test", "failed_with_warnings"): 1
    }
    assert of(found, "job_failures_total") == {("other", "unit", "harbour/p5", "main", "test"): 1}
    assert of(found, "pipeline_runs_by_status_total") == {("branch", "harbour/p5", "main", "push", "success_with_warnings"): 1}


def test_a_bridge_is_no_job() -> None:
    bridge = job("services", spec={"kind": BRIDGE}, started=0, ended=NOW + 3)

    assert counted(pipeline(bridge).project).jobs == 0


def test_a_child_counts_as_a_pipeline_and_as_a_child() -> None:
    bridge = job("services", spec={"kind": BRIDGE}, started=0, ended=NOW + 3)
    parent = pipeline(bridge)
    pipeline(job(id=2), where=parent.project, id=10, source="parent_pipeline", upstream=Upstream(parent, bridge))
    found = counted(parent.project)

    assert sum(of(found, "pipeline_run_count").values()) == 2
    assert of(found, "child_pipeline_run_count") == {("services", "harbour/p5", "main", "harbour/p5", "main"): 1}


def test_children_can_be_left_out() -> None:
    parent = pipeline(job())
    pipeline(job(id=2), where=parent.project, id=10, source="parent_pipeline", upstream=Upstream(parent, parent.jobs[0]))

    assert counted(parent.project, rules=Rules(child_pipelines=False)).pipelines == 1


def retried() -> Pipeline:
    """One that failed, and was run again a quarter of an hour later."""
    first = job(status="failed", failure_reason="script_failure", retried_at=NOW + 1_000)
    second = job(id=2, created=NOW + 1_000, queued=NOW + 1_000, started=NOW + 1_002, ended=NOW + 1_010)
    return pipeline(first, second)


def test_a_pipeline_that_is_run_again_counts_at_its_first_end_and_as_a_retry_at_the_second() -> None:
    found = counted(retried().project)

    assert of(found, "pipeline_runs_by_status_total") == {("branch", "harbour/p5", "main", "push", "failed"): 1}
    assert of(found, "pipeline_retries_total") == {("branch", "harbour/p5", "main", "push"): 1}
    assert of(found, "pipeline_stage_duration_seconds")["harbour/p5", "main", "test"][-1] == 61


def test_a_retry_is_another_job_and_the_first_was_retried() -> None:
    found = counted(retried().project)

    assert of(found, "job_run_count") == {("unit", "harbour/p5", "main", "test"): 2}
    assert of(found, "job_retries_total") == {("unit", "harbour/p5", "main", "test"): 1}


def test_a_skipped_job_that_runs_later_under_the_same_number_counts_as_skipped() -> None:
    later = job("deploy", id=3, queued=0, started=0, ended=NOW + 67, status="skipped")
    later.again = job("deploy", id=3, created=NOW + 1_000, queued=NOW + 1_001, started=NOW + 1_002, ended=NOW + 1_010)
    found = counted(pipeline(job(status="failed"), later).project)

    assert of(found, "job_runs_by_status_total")["deploy", "harbour/p5", "main", "unknown", "test", "skipped"] == 1
    assert sum(of(found, "job_run_count").values()) == 2


def test_what_had_ended_before_does_not_count() -> None:
    found = counted(pipeline(job()).project, since=NOW + 100)

    assert (found.pipelines, found.jobs) == (0, 0)


def test_what_had_not_ended_counts_but_not_the_jobs_that_had() -> None:
    second = job("deploy", id=2, queued=NOW + 70, started=NOW + 72, ended=NOW + 200)
    found = counted(pipeline(job(), second).project, since=NOW + 100)

    assert (found.pipelines, found.jobs) == (1, 1)


def test_what_is_skipped_counts_if_its_pipeline_had_not_ended() -> None:
    skipped = job("deploy", id=2, queued=0, started=0, ended=NOW + 10, status="skipped")
    found = counted(pipeline(job(), skipped).project, since=NOW + 20)

    assert found.jobs == 2


def test_of_a_pipeline_that_had_ended_what_is_run_again_counts_and_nothing_else() -> None:
    found = counted(retried().project, since=NOW + 500)

    assert (found.pipelines, found.jobs) == (0, 1)
    assert not of(found, "pipeline_retries_total")


def test_what_ends_later_than_one_looks_does_not_count() -> None:
    found = counted(retried().project, until=NOW + 500)

    assert (found.pipelines, found.jobs) == (1, 1)


def test_a_deleted_pipeline_counts_if_it_had_ended() -> None:
    early, late = pipeline(job()), pipeline(job())
    early.deleted_at, late.deleted_at = NOW + 50, NOW + 1_000

    assert counted(early.project).pipelines == 0
    assert counted(late.project).pipelines == 1


def test_a_pipeline_without_jobs_has_no_duration() -> None:
    nothing = pipeline(job())
    nothing.jobs, nothing.views = (), (nothing.views[-1]._replace(updated_at=NOW, duration=None, queued_duration=None),)
    found = counted(nothing.project)

    assert found.pipelines == 1
    assert not found.histograms


def test_a_project_is_counted_by_its_name_of_the_time() -> None:
    moved = project()
    moved.places = (*moved.places, Place(NOW + 30, GROUP, "new"))
    pipeline(job(), where=moved)

    assert [labels[1] for labels in of(counted(moved), "pipeline_run_count")] == ["harbour/new"]


@pytest.mark.parametrize(
    ("ref", "given", "label"),
    [
        ("main", {}, "main"),
        ("release/1.2", {}, "release/1.2"),
        ("releases/1.2", {}, "release"),
        ("release-1", {}, "release"),
        ("released", {}, "other"),
        ("feature/x", {}, "other"),
        ("v1.2.3", {"tag": True}, "v1.2.3"),
        ("nightly", {"tag": True}, "tag"),
    ],
)
def test_refs_keep_their_names_where_a_rule_says_so(ref: str, given: dict[str, Any], label: str) -> None:
    assert Rules().ref(pipeline(job(), ref=ref, **given)) == label


def test_a_merge_request_never_has_a_name() -> None:
    request = MergeRequest(1, 2, "t", "main", "main", USER, NOW)

    assert Rules().ref(pipeline(job(), ref="refs/merge-requests/2/head", merge_request=request)) == "merge_request"


@pytest.mark.parametrize(("ref", "label"), [("main", "default"), ("release/1", "release"), ("develop", "other")])
def test_classes_are_all_there_is_where_names_are_off(ref: str, label: str) -> None:
    assert Rules(names=False).ref(pipeline(job(), ref=ref)) == label


@pytest.mark.parametrize(
    ("name", "short"), [("unit 1/3", "unit"), ("e2e: [a, b]", "e2e"), ("rollout 50%", "rollout 50%"), ("a/b", "a/b")]
)
def test_job_names_lose_what_parallel_jobs_have_at_their_ends(name: str, short: str) -> None:
    assert job_name(name) == short


def test_a_source_that_nobody_knows_is_other() -> None:
    assert Rules().source(pipeline(job(), source="not_invented_yet")) == "other"


def test_test_cases_count_where_they_are_asked_for() -> None:
    tested = pipeline(job())
    tested.report = (objects.TestSuite("unit", (objects.TestCase("adds", "math", "success", 0.25),)),)

    assert not of(counted(tested.project), "test_case_duration_seconds")
    found = of(counted(tested.project, rules=Rules(cases=True)), "test_case_duration_seconds")
    assert found["adds", "harbour/p5", "main", "unit"][-2:] == [1, 0.25]


def test_deployments_count_and_only_those_of_jobs_have_a_duration() -> None:
    deploying = pipeline(job())
    where = Environment(3, "production", 0)
    by_job = Deployment(1, where, "main", "ab", USER, NOW, NOW + 67, "success", NOW + 6, deploying.jobs[0], deploying)
    by_api = Deployment(2, where, "main", "ab", USER, NOW, NOW + 20, "failed", NOW + 1)
    deploying.project.deployments = (by_job, by_api)
    found = counted(deploying.project)

    assert of(found, "environment_deployment_count") == {("production", "harbour/p5"): 2}
    assert of(found, "environment_deployment_duration_seconds")["production", "harbour/p5"][-2:] == [1, 61]


def test_hidden_projects_are_not_counted() -> None:
    world = build(1, projects=40, pipelines=200)
    hidden = [project for project in world.projects if not world.tokens[TOKEN].sees(project)]
    names = {dict(labels)["project"] for _, labels in truth(world).counters}

    assert hidden
    assert not names & {project.path_at(world.end) for project in hidden}


def test_a_world_for_load_adds_up() -> None:
    found = truth(flat(5, 4, 10))

    assert (found.pipelines, found.jobs) == (20, 200)
    assert sum(value for (family, _), value in found.counters.items() if family == "job_run_count") == 200


def test_totals_of_a_week_are_the_sums_of_its_days() -> None:
    world = build(2, projects=15, pipelines=200)
    halfway = world.start + 300_000
    whole, first = truth(world), truth(world, until=halfway - 1)
    rest = truth(world, since=halfway)

    assert first.jobs + rest.jobs == whole.jobs
    assert 0 < first.jobs < whole.jobs
