"""What has led others astray who count GitLab's pipelines: each trap once."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sources.gitlab.engine import Hint
from agent.sources.gitlab.objects import Upstream
from agent.sources.gitlab.payload import JOB, PIPELINE
from tests.gitlab_engine import HOST, ROCKET, START, Life, job, pipeline

OWN = ("acme/rocket", "main", "branch", "push")


@pytest.fixture
def life() -> Life:
    return Life()


def body(**changed: Any) -> dict[str, Any]:
    attributes = {
        "id": 1,
        "ref": "main",
        "tag": False,
        "source": "push",
        "status": "success",
        "detailed_status": "passed",
        "created_at": "2026-09-21 14:13:30 UTC",
        "finished_at": "2026-09-21 14:15:00 UTC",
        "duration": 80,
        "queued_duration": 10,
    }
    found = {key: changed.pop(key) for key in list(changed) if key not in attributes}
    return {"object_attributes": attributes | changed, "project": {"id": ROCKET.id}, "builds": [], **found}


def test_trap_1_a_downstream_pipeline_of_another_project_counts_once_though_two_projects_know_it(life: Life) -> None:
    told = pipeline(source="pipeline", upstream=Upstream("acme/pad", "main", "launch"))
    life.take(told)
    life.hear(PIPELINE, body(source="pipeline", source_pipeline={"pipeline_id": 3}))
    life.take(told)

    assert life.total("pipeline_run_count") == {("acme/rocket", "main", "branch", "pipeline"): 1}
    assert sum(life.total("child_pipeline_run_count").values()) == 1


def test_trap_1_an_event_of_a_child_does_not_say_what_triggered_it_and_so_only_hints(life: Life) -> None:
    for changed in ({"source": "parent_pipeline"}, {"source_pipeline": {"pipeline_id": 3}}):
        digest, hint = life.hear(PIPELINE, body(**changed))
        assert (digest.observations, hint) == ((), Hint(ROCKET.id))


def test_trap_1_a_child_is_not_the_newest_pipeline_of_its_ref(life: Life) -> None:
    child = pipeline(2, "failed", source="parent_pipeline", upstream=Upstream("acme/rocket", "main", "x", "branch", 1))
    life.take(pipeline(1), child)

    assert life.gauge("pipeline_status") == {("main", "branch", "push", "success"): 1}
    assert life.gauge("child_pipeline_status") == {("main", "acme/rocket", "main", "x", "failed"): 1}


def test_trap_2_a_pipeline_of_trigger_jobs_alone_counts_without_jobs(life: Life) -> None:
    life.take(pipeline(), jobs={1: []})

    assert list(life.kept) == [f"gitlab:{HOST}:pipeline:1"]


def test_trap_3_a_retry_reopens_a_pipeline_and_counts_apart_though_its_duration_grew(life: Life) -> None:
    life.take(pipeline(1, "failed"))
    life.take(pipeline(1, "running", updated=START + 2000, finished=START + 100), now=START + 2000)
    assert life.engine.unfinished(ROCKET.id) == [1]

    life.take(pipeline(1, "success", updated=START + 2100, finished=START + 2100, duration=160), now=START + 2100)

    assert life.total("pipeline_runs_by_status_total") == {(*OWN, "failed"): 1}
    assert life.total("pipeline_duration_seconds:sum") == {(*OWN, "failed"): 80}
    assert life.total("pipeline_retries_total") == {OWN: 1}


def test_trap_3_a_retry_in_another_life_of_the_agent_is_a_retry(life: Life) -> None:
    life.take(pipeline(1, "failed"))
    life.again()
    life.take(pipeline(1, "success", updated=START + 2100, finished=START + 2100))

    assert life.total("pipeline_run_count") == {OWN: 1}
    assert life.total("pipeline_retries_total") == {OWN: 1}


def test_trap_3_a_job_that_was_run_again_counts_like_any_and_as_retried(life: Life) -> None:
    life.take(pipeline(), jobs={1: [job(1, "failed", name="unit", is_retried=True), job(2, name="unit")]})
    own = ("acme/rocket", "main", "test", "unit")

    assert life.total("job_run_count") == {own: 2}
    assert life.total("job_retries_total") == {own: 1}


def test_trap_4_manual_and_scheduled_have_not_ended(life: Life) -> None:
    life.take(pipeline(1, "manual"), pipeline(2, "scheduled"), jobs={1: [job(1, "manual"), job(2, "scheduled")]})

    assert not life.kept
    assert life.engine.unfinished(ROCKET.id) == [1, 2]


def test_trap_4_a_status_that_this_agent_does_not_know_has_not_ended(life: Life) -> None:
    life.take(pipeline(1, "canceling"), pipeline(2, "waiting_for_moonlight"))

    assert not life.kept
    assert life.gauge("pipelines_unfinished") == {("canceling",): 1, ("other",): 1}


def test_trap_4_success_with_failures_that_were_allowed_is_a_status_of_its_own(life: Life) -> None:
    life.take(pipeline(1, "success_with_warnings"), jobs={1: [job(1, "failed_with_warnings")]})

    assert life.total("pipeline_runs_by_status_total") == {(*OWN, "success_with_warnings"): 1}
    assert life.total("job_runs_by_status_total") == {
        ("acme/rocket", "main", "test", "job 1", "instance", "failed_with_warnings"): 1
    }


def test_trap_4_what_was_skipped_has_no_duration(life: Life) -> None:
    life.take(pipeline(1, "skipped", finished=None), jobs={1: [job(1, "skipped", duration=3, queued=4)]})

    assert {name for name, _ in life.totals} == {
        "pipeline_run_count",
        "pipeline_runs_by_status_total",
        "job_run_count",
        "job_runs_by_status_total",
    }


def test_trap_5_a_pipeline_with_a_broken_definition_fails_with_nothing_but_a_date(life: Life) -> None:
    life.take(pipeline(1, "failed", started=None, duration=None, queued=None), jobs={1: []})

    assert life.totals == {("pipeline_run_count", OWN): 1, ("pipeline_runs_by_status_total", (*OWN, "failed")): 1}


def test_trap_5_a_job_without_duration_or_runner_counts_by_its_status(life: Life) -> None:
    life.take(
        pipeline(1, "running"), jobs={1: [job(1, "canceled", started=None, duration=None, queued=77, runner_type="unknown")]}
    )

    assert life.totals == {
        ("job_run_count", ("acme/rocket", "main", "test", "job 1")): 1,
        ("job_runs_by_status_total", ("acme/rocket", "main", "test", "job 1", "unknown", "canceled")): 1,
    }


def test_trap_5_a_duration_of_zero_is_one(life: Life) -> None:
    life.take(pipeline(duration=0, queued=0))

    assert life.total("pipeline_duration_seconds") == {(*OWN, "success"): 1}
    assert life.total("pipeline_queued_duration_seconds") == {OWN: 1}


def test_trap_5_a_pipeline_of_a_ref_that_is_gone_still_counts(life: Life) -> None:
    life.take(pipeline(ref=""))

    assert life.total("pipeline_run_count") == {("acme/rocket", "other", "branch", "push"): 1}


def test_trap_8_a_merge_request_has_many_refs_and_one_label(life: Life) -> None:
    refs = [f"refs/merge-requests/7/{kind}" for kind in ("head", "merge", "train")]
    life.take(*(pipeline(number, ref=ref, kind="merge_request", merge_request=7) for number, ref in enumerate(refs)))
    life.hear(PIPELINE, body(id=9, ref="main", merge_request={"iid": 7, "state": "opened"}))

    assert life.total("pipeline_run_count") == {("acme/rocket", "merge_request", "merge_request", "push"): 4}
    assert life.gauge("pipeline_id") == {("!7", "merge_request"): 9}


def test_trap_8_events_of_jobs_do_not_tell_of_their_merge_request_and_so_only_hint(life: Life) -> None:
    digest, hint = life.hear(JOB, {"object_kind": "build", "build_id": 5, "build_status": "success", "project_id": ROCKET.id})

    assert (digest.observations, hint) == ((), Hint(ROCKET.id))


def test_trap_13_coverage_stays_while_a_newer_pipeline_tells_none(life: Life) -> None:
    life.take(pipeline(1, coverage=81.5))
    life.take(pipeline(2, "running"))

    assert life.gauge("pipeline_coverage") == {("main", "branch"): 81.5}


def test_trap_13_durations_of_events_have_fractions_which_are_cut_off(life: Life) -> None:
    build = {"id": 5, "name": "unit", "stage": "test", "status": "success", "created_at": "2026-09-21 14:13:30 UTC"}
    times = {"started_at": "2026-09-21 14:13:40 UTC", "finished_at": "2026-09-21 14:14:20 UTC"}
    life.hear(PIPELINE, body(builds=[build | times | {"duration": 40.999, "queued_duration": 9.999}]))

    assert list(life.total("job_duration_seconds:sum").values()) == [40]
    assert list(life.total("job_queued_duration_seconds:sum").values()) == [9]


def test_trap_15_the_dates_of_events_are_not_iso_and_name_the_same_seconds(life: Life) -> None:
    life.take(pipeline(coverage=None))
    before = dict(life.kept)
    life.hear(PIPELINE, body())
    life.hear(PIPELINE, body(created_at="2026-09-21T14:13:30.999Z", finished_at="2026-09-21T16:15:00.9+02:00"))

    assert life.kept == before
    assert not life.total("pipeline_retries_total")


def test_trap_15_what_counts_is_judged_by_gitlabs_clock_and_not_by_the_agents(life: Life) -> None:
    life.take(pipeline(1, created=START - 1), pipeline(2, created=START), now=START - 500.0)

    assert list(life.kept) == [f"gitlab:{HOST}:pipeline:2"]


AHEAD = "2099-11-21 00:00:00 UTC"
BUILD = {"id": 5, "name": "unit", "stage": "test", "status": "success", "created_at": "2026-09-21 14:13:30 UTC"}


@pytest.mark.parametrize("changed", [{"finished_at": AHEAD}, {"created_at": AHEAD}, {"builds": [BUILD | {"finished_at": AHEAD}]}])
def test_trap_15_an_event_with_a_time_far_ahead_of_the_clock_only_hints_and_what_is_true_is_shown(
    life: Life, changed: dict[str, Any]
) -> None:
    digest, hint = life.hear(PIPELINE, body(**changed))
    life.take(pipeline())

    assert (digest.outcome, hint) == ("hinted", Hint(ROCKET.id))
    assert life.gauge("pipeline_last_run_timestamp_seconds") == {("main", "branch"): START + 100}


def test_trap_15_an_event_of_a_clock_that_is_half_an_hour_ahead_counts(life: Life) -> None:
    digest, _ = life.hear(PIPELINE, body(), now=START - 1700.0)

    assert digest.outcome == "counted"
