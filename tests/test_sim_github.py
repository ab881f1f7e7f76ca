"""The simulated organisation: the same every time, with everything in it that GitHub is known for, and a truth that adds up."""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from agent.sim.github import catalogue
from agent.sim.github.deliveries import announcements, job_delay, payload
from agent.sim.github.objects import moment
from agent.sim.github.plan import Attempt, Job, Lookalike, Pool, Repository, Run, Runner, Template, Workflow
from agent.sim.github.truth import Key, Truth, Way, truth
from agent.sim.github.world import WEEK, World, build

NOW = 1_772_500_000
RATES = {"linux": 0.01, "macos_xl": 0.1}
Query = Callable[[World], bool]


@pytest.fixture(scope="module")
def world() -> World:
    """A week of a small organisation."""
    return build(1, repositories=30, jobs=4000)


def jobs_of(world: World) -> list[Job]:
    """Every job there is."""
    return [job for _, attempt in world.attempts() for job in attempt.jobs]


def lonely(*attempts: Attempt, event: str = "push", branch: str = "main", private: bool = True) -> World:
    """A world of one run."""
    workflow = Workflow(3, "CI", ".github/workflows/ci.yml", (event,), ())
    repository = Repository(5, "tinker-works", 7, "kiln", private, "main", (workflow,))
    run = Run(9, 1, repository, workflow, event, branch, "ab" * 20, "Fix", "bo-tan", False, attempts[0].started, attempts)
    return World(1, NOW, 100, "tinker-works", 7, (repository,), (run,), {repository.full_name: [run]})


def ran(name: str = "unit", pool: Pool = catalogue.UBUNTU, **given: int) -> Job:
    """A job that took 61 seconds after 4 in the queue, unless told otherwise."""
    times: dict[str, Any] = {"id": 64, "created": NOW + 2, "started": NOW + 6, "completed": NOW + 67} | given
    return Job(template=Template(name, pool, 60), conclusion="success", runner=Runner(3, "r", pool), **times)


def only(found: Truth, family: str) -> tuple[dict[str, str], Any]:
    """(labels, value) of the one series that a family has."""
    series: dict[Key, Any] = {**found.counters, **found.histograms}
    ((key, value),) = [each for each in series.items() if each[0][0] == family]
    return dict(key[1]), value


def test_the_same_arguments_make_the_same_world_and_deliveries() -> None:
    first, second = (build(7, repositories=8, jobs=300) for _ in range(2))

    assert first == second
    assert announcements(first) == announcements(second)


def test_another_seed_makes_another_world() -> None:
    assert build(7, repositories=8, jobs=300).runs != build(8, repositories=8, jobs=300).runs


def test_a_world_has_about_as_many_jobs_as_asked_for_in_the_time_asked_for() -> None:
    world = build(1, repositories=200, jobs=50_000)

    assert len(world.repositories) == 200
    assert 50_000 <= len(jobs_of(world)) < 55_000
    assert all(world.start <= run.created < world.start + WEEK for run in world.runs)


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda world: any(len(run.attempts) > 2 for run in world.runs), id="run again twice"),
        pytest.param(lambda world: any(attempt.carried for _, attempt in world.attempts()), id="jobs kept by a re-run"),
        pytest.param(
            lambda world: any(each.id != each.job.id for _, attempt in world.attempts() for each in attempt.carried),
            id="kept under a new id",
        ),
        pytest.param(
            lambda world: (
                {attempt.conclusion for _, attempt in world.attempts()}
                >= {"success", "failure", "cancelled", "skipped", "startup_failure", "action_required"}
            ),
            id="every conclusion of a run",
        ),
        pytest.param(
            lambda world: any(not attempt.jobs and attempt.conclusion == "startup_failure" for _, attempt in world.attempts()),
            id="no jobs at all",
        ),
        pytest.param(
            lambda world: (
                {(job.conclusion, bool(job.runner)) for job in jobs_of(world)}
                >= {("cancelled", True), ("cancelled", False), ("skipped", False), ("timed_out", True)}
            ),
            id="cancelled before and after the start",
        ),
        pytest.param(
            lambda world: any(job.runner and job.started == job.created - 1 for job in jobs_of(world)), id="created late"
        ),
        pytest.param(
            lambda world: any(job.conclusion == "skipped" and job.completed < job.created for job in jobs_of(world)),
            id="skipped before it was created",
        ),
        pytest.param(lambda world: any(job.approved and job.runner for job in jobs_of(world)), id="approved"),
        pytest.param(
            lambda world: any(
                check.id in {job.id for job in attempt.jobs} for _, attempt in world.attempts() for check in attempt.lookalikes
            ),
            id="check runs with the id of a job",
        ),
        pytest.param(
            lambda world: (
                {run.event for run in world.runs}
                >= {"push", "pull_request", "schedule", "workflow_dispatch", "merge_group", "release"}
            ),
            id="every event",
        ),
        pytest.param(
            lambda world: {job.runner.pool for job in jobs_of(world) if job.runner} == set(catalogue.POOLS),
            id="every kind of runner",
        ),
        pytest.param(lambda world: {each.private for each in world.repositories} == {True, False}, id="public and private"),
        pytest.param(lambda world: any(not runs for runs in world.of_repository.values()), id="idle repositories"),
    ],
)
def test_everything_that_github_is_known_for_happens(world: World, happens: Query) -> None:
    assert happens(world)


def test_an_attempt_ends_with_its_last_own_job_and_those_it_kept_ended_before_it(world: World) -> None:
    for _, attempt in world.attempts():
        if attempt.jobs:
            assert attempt.completed == max(job.completed for job in attempt.jobs)
        assert all(attempt.started <= job.completed and attempt.started <= job.started for job in attempt.jobs)
        assert all(kept.job.completed < attempt.started for kept in attempt.carried)


def test_every_job_has_an_id_of_its_own(world: World) -> None:
    jobs = jobs_of(world)

    assert len({job.id for job in jobs}) == len(jobs)


def test_in_haste_a_day_of_work_is_over_in_minutes() -> None:
    hasty = build(1, repositories=5, jobs=300, seconds=120, haste=60.0)

    assert hasty.end < hasty.start + 1800
    assert any(attempt.carried for _, attempt in hasty.attempts())
    assert all(job.completed > job.started for job in jobs_of(hasty) if job.runner)


def test_deliveries_have_ids_that_tell_their_time(world: World) -> None:
    told = announcements(world)
    ids = [uuid.UUID(each.guid) for each in told]

    assert {each.version for each in ids} == {1}
    assert len(set(ids)) == len(ids)
    assert [(each.time - 0x01B21DD213814000) / 1e7 for each in ids] == [each.at for each in told]


def test_runs_often_close_before_the_end_of_their_last_job_is_told(world: World) -> None:
    last: dict[tuple[int, int], str] = {}
    for told in announcements(world):
        if told.action == "completed" and told.attempt.jobs and not isinstance(told.job, Lookalike):
            last[(told.run.id, told.attempt.number)] = told.event

    assert Counter(last.values())["workflow_job"] > 100


def test_an_ended_run_says_when_its_last_job_ended(world: World) -> None:
    for told in announcements(world)[:2000]:
        if told.event == "workflow_run" and told.action == "completed":
            assert payload(world, told)["workflow_run"]["updated_at"] == moment(told.attempt.completed)


def test_times_and_minutes_of_a_job_are_counted() -> None:
    found = truth(lonely(Attempt(1, NOW, NOW + 67, "success", (ran("unit (linux, 3.12)"),))), buckets=(5.0, 100.0), rates=RATES)

    run = {"repository": "tinker-works/kiln", "workflow": "CI", "event": "push", "ref": "default"}
    job = run | {"job_name": "unit", "runner_type": "github-hosted", "runner_group": "GitHub Actions"}
    done = {"status": "success"}
    assert only(found, "workflow_run_total") == (run | done, 1)
    assert only(found, "workflow_run_duration_seconds") == (run | done, [0, 1, 1, 67])
    assert only(found, "workflow_run_queue_duration_seconds") == (run, [0, 1, 1, 6])
    assert only(found, "job_run_total") == (job | done, 1)
    assert only(found, "job_run_duration_seconds") == (job | done, [0, 1, 1, 61])
    assert only(found, "job_queue_duration_seconds") == (job, [1, 1, 1, 4])
    assert only(found, "job_billed_minutes_total") == (job, 2)
    assert only(found, "job_cost_dollars_total") == (job, 0.02)


def test_a_bucket_holds_what_is_just_up_to_its_bound() -> None:
    found = truth(lonely(Attempt(1, NOW, NOW + 67, "success", (ran(),))), buckets=(61.0, 67.0), rates=RATES)

    assert only(found, "job_run_duration_seconds")[1] == [1, 1, 1, 61]


@pytest.mark.parametrize(("way", "queued", "waited"), [("webhooks", 4, 30), ("deliveries", 4, 30), ("api", 44, None)])
def test_an_approval_is_told_apart_from_the_queue_by_who_hears_of_it(way: Way, queued: int, waited: int | None) -> None:
    job = ran(created=NOW + 1, waiting=NOW + 10, approved=NOW + 40, started=NOW + 45)
    found = truth(lonely(Attempt(1, NOW, NOW + 67, "success", (job,))), way, buckets=(5.0,), rates=RATES)

    heard = queued if way == "api" else queued + 1 - job_delay(job)
    assert only(found, "job_queue_duration_seconds")[1][-1] == heard
    waits = [row for (family, _), row in found.histograms.items() if family == "job_waiting_duration_seconds"]
    assert waits == ([] if waited is None else [[0, 1, waited]])


def test_a_job_without_a_runner_counts_and_has_no_times() -> None:
    job = dataclasses.replace(ran(), conclusion="cancelled", runner=None)
    found = truth(lonely(Attempt(1, NOW, NOW + 67, "cancelled", (job,))), rates=RATES)

    assert only(found, "job_run_total")[0]["runner_type"] == "none"
    assert {family for family, _ in found.histograms} == {"workflow_run_duration_seconds"}


@pytest.mark.parametrize(
    ("pool", "private", "family", "value"),
    [
        (catalogue.UBUNTU, False, "", 0),
        (catalogue.XLARGE, False, "job_cost_dollars_total", 0.2),
        (catalogue.FARM, True, "", 0),
        (catalogue.SCALE_SET, False, "job_unpriced_minutes_total", 2),
    ],
)
def test_minutes_cost_what_their_runner_costs(pool: Pool, private: bool, family: str, value: float) -> None:
    found = truth(lonely(Attempt(1, NOW, NOW + 67, "success", (ran(pool=pool),)), private=private), rates=RATES)
    money = {key[0]: total for key, total in found.counters.items() if "dollars" in key[0] or "unpriced" in key[0]}

    assert money == ({family: value} if family else {})


@pytest.mark.parametrize(
    ("event", "branch", "ref"),
    [
        ("push", "main", "default"),
        ("schedule", "main", "default"),
        ("pull_request", "main", "pull_request"),
        ("push", "release/2.x", "release"),
        ("release", "v1.2.3", "release"),
        ("push", "v1.2.3", "tag"),
        ("merge_group", "gh-readonly-queue/main/pr-1-ab", "merge_queue"),
        ("workflow_dispatch", "fix/retry", "other"),
    ],
)
def test_refs_are_told_by_class(event: str, branch: str, ref: str) -> None:
    found = truth(lonely(Attempt(1, NOW, NOW + 67, "success", (ran(),)), event=event, branch=branch), rates=RATES)

    assert only(found, "workflow_run_total")[0]["ref"] == ref


def test_a_run_that_never_ran_has_no_duration() -> None:
    found = truth(lonely(Attempt(1, NOW, NOW + 1, "startup_failure", ())), rates=RATES)

    assert (found.runs, found.jobs, found.histograms) == (1, 0, {})


def test_the_truth_of_a_week_adds_up(world: World) -> None:
    found = truth(world)
    totals: defaultdict[str, float] = defaultdict(float)
    for (family, _), value in found.counters.items():
        totals[family] += value
    counts: defaultdict[str, float] = defaultdict(float)
    for (family, _), row in found.histograms.items():
        assert row[:-1] == sorted(row[:-1])
        counts[family] += row[-2]

    jobs = jobs_of(world)
    assert totals["workflow_run_total"] == found.runs == len(list(world.attempts()))
    assert totals["job_run_total"] == found.jobs == len(jobs)
    assert counts["job_run_duration_seconds"] == counts["job_queue_duration_seconds"] == sum(1 for job in jobs if job.runner)
    assert counts["job_waiting_duration_seconds"] == sum(1 for job in jobs if job.approved)


def test_the_truth_of_half_a_week_is_a_part_of_it(world: World) -> None:
    half, whole = truth(world, until=world.start + WEEK / 2), truth(world, until=math.inf)

    assert 0 < half.jobs < whole.jobs
    assert all(value <= whole.counters[key] for key, value in half.counters.items())
