"""What runs and jobs count as: which of their times are believed, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.github_payloads import LOOKALIKE, NO_RUNNER, SKIPPED, Life, job, requested, run, told_job, told_run

JOB, RUN, RUN_ID = "job:70000001", "run:9000001:1", 9_000_001


def test_a_run_takes_from_its_attempts_start_to_its_end() -> None:
    life = Life()

    life.hear(told_run("completed", 101, run(created_at=-3600, run_started_at=10, updated_at=100)))

    assert life.values(RUN) == {"workflow_run_total": 1, "workflow_run_duration_seconds": 90}


def test_a_run_waits_until_its_first_job_starts() -> None:
    life = Life()

    life.hear(told_run("in_progress", 10, run(status="in_progress", conclusion=None, updated_at=7)))

    assert life.values(RUN + ":queue") == {"workflow_run_queue_duration_seconds": 7}


def test_attempts_count_apart_each_with_its_own_times() -> None:
    life = Life()

    life.hear(told_run("completed", 101))
    life.hear(told_run("completed", 901, run(run_attempt=2, run_started_at=850, updated_at=900)))

    assert life.values("run:9000001:2")["workflow_run_duration_seconds"] == 50
    assert life.known == {"run:9000001:1", "run:9000001:2"}


@pytest.mark.parametrize("conclusion", ["startup_failure", "action_required", "skipped", "stale"])
def test_a_run_that_never_ran_has_no_duration(conclusion: str) -> None:
    life = Life()

    life.hear(told_run("completed", 101, run(conclusion=conclusion)))

    assert life.values(RUN) == {"workflow_run_total": 1}


@pytest.mark.parametrize("conclusion", ["startup_failure", "stale"])
def test_nor_has_it_out_of_the_api(conclusion: str) -> None:
    life = Life()

    life.list(run(conclusion=conclusion), [])

    assert life.values(RUN) == {"workflow_run_total": 1}


@pytest.mark.parametrize(
    ("told", "label"), [("success", "success"), ("TIMED_OUT", "timed_out"), ("exploded", "other"), (None, "other")]
)
def test_conclusions_are_a_closed_set(told: str | None, label: str) -> None:
    life = Life()

    life.hear(told_run("completed", 101, run(conclusion=told)))

    assert life.labels(RUN, "workflow_run_total")["status"] == label


def test_a_job_counts_with_its_time_in_the_queue_and_on_the_runner() -> None:
    values = Life().job()

    assert values["job_run_total"] == 1
    assert values["job_queue_duration_seconds"] == 7
    assert values["job_run_duration_seconds"] == 83


@pytest.mark.parametrize("late", [1, 2])
def test_clocks_that_disagree_a_little_make_no_queue_below_zero(late: int) -> None:
    assert Life().job(created_at=9 + late)["job_queue_duration_seconds"] == 0


def test_a_queue_further_below_zero_is_left_out_and_counted() -> None:
    life = Life()

    values = life.job(created_at=12)

    assert "job_queue_duration_seconds" not in values
    assert values["job_run_duration_seconds"] == 83
    assert life.engine.invalid == {"job_queue": 1}


def test_a_duration_below_zero_is_left_out_and_counted() -> None:
    life = Life()

    values = life.job(started_at=97)

    assert "job_run_duration_seconds" not in values
    assert "job_billed_minutes_total" not in values
    assert life.engine.invalid == {"job_duration": 1}


@pytest.mark.parametrize("nothing", [None, "", "0001-01-01T00:00:00Z", "soon"])
def test_a_job_that_does_not_say_when_it_started_has_no_times(nothing: str | None) -> None:
    assert Life().job(started_at=nothing) == {"job_run_total": 1}


def test_a_job_of_an_old_server_that_does_not_say_when_it_was_created_has_no_queue() -> None:
    life, found = Life(), job()
    del found["created_at"]

    values = life.job(told=found)

    assert "job_queue_duration_seconds" not in values
    assert values["job_run_duration_seconds"] == 83
    assert life.engine.invalid == {}


def test_a_skipped_job_counts_and_has_no_times() -> None:
    life = Life()

    assert life.job(**SKIPPED) == {"job_run_total": 1}
    assert life.labels(JOB, "job_run_total")["runner_type"] == "none"
    assert life.engine.invalid == {}


def test_a_job_cancelled_before_its_start_counts_and_has_no_times() -> None:
    life = Life()

    assert life.job(**{**NO_RUNNER, "conclusion": "cancelled", "started_at": 2, "completed_at": 50}) == {"job_run_total": 1}
    assert life.engine.invalid == {}


def test_a_job_cancelled_on_its_runner_took_what_it_took() -> None:
    values = Life().job(conclusion="cancelled", completed_at=39)

    assert values["job_run_duration_seconds"] == 30
    assert values["job_queue_duration_seconds"] == 7
    assert values["job_billed_minutes_total"] == 1


@pytest.mark.parametrize("conclusion", ["success", "failure", "neutral"])
def test_a_check_run_that_looks_like_a_job_is_none(conclusion: str) -> None:
    life = Life()
    life.hear(requested())

    digest = life.hear(told_job("completed", 41, job(**{**LOOKALIKE, "conclusion": conclusion})))

    assert (digest.outcome, life.known, life.engine.ignored) == ("ignored", set(), {"check_run": 1})


def test_a_check_run_under_a_jobs_own_id_does_not_end_that_job() -> None:
    life = Life()

    life.hear_all([requested(), told_job("completed", 41, job(**LOOKALIKE)), told_job("completed", 95)])

    assert life.values(JOB)["job_run_duration_seconds"] == 83


def test_a_job_of_a_runner_group_without_labels_is_one() -> None:
    life = Life()

    life.job(labels=[], runner_group_name="macs", runner_name="mac-7")

    assert life.labels(JOB, "job_run_total")["runner_group"] == "macs"


def carried(**changed: Any) -> dict[str, Any]:
    """A job of attempt 1 as attempt 2 tells it again."""
    return job(run_attempt=2, **changed)


def second() -> dict[str, Any]:
    """The run's second attempt."""
    return run(run_attempt=2, run_started_at=500, updated_at=600, status="in_progress", conclusion=None)


def test_a_job_that_an_attempt_takes_over_from_the_one_before_is_not_counted_again() -> None:
    life = Life()
    life.hear(told_run("in_progress", 501, second()))

    life.hear(told_job("completed", 502, carried(id=70_000_009, created_at=500)))

    assert life.engine.ignored == {"carried_over": 1}
    assert "job:70000009" not in life.known


def test_a_job_that_is_told_again_before_its_own_end_counts_once_as_it_was() -> None:
    life = Life()

    life.hear_all([told_job("completed", 95), told_job("completed", 502, carried()), told_run("in_progress", 503, second())])
    life.hear_all([told_run("completed", 101)])

    assert life.values(JOB)["job_run_duration_seconds"] == 83


def test_jobs_taken_over_do_not_lengthen_an_attempt_that_the_api_lists() -> None:
    life, own = Life(), job(id=70_000_002, run_attempt=2, created_at=501, started_at=505, completed_at=590)

    life.list(second() | {"status": "completed", "conclusion": "success"}, [carried(created_at=500), own])

    assert life.values("run:9000001:2")["workflow_run_duration_seconds"] == 90
    assert life.values("run:9000001:2:queue") == {"workflow_run_queue_duration_seconds": 5}
    assert life.known == {"run:9000001:2", "run:9000001:2:queue", "job:70000002"}


def approved(**changed: Any) -> list[Any]:
    """The events of a job that asked for an approval for 200 seconds, and then queued for 5."""
    early = {**NO_RUNNER, "status": "queued", "conclusion": None, "created_at": 2, "started_at": 2, "completed_at": None}
    return [
        told_job("queued", 2.5, job(**early), deployment={}),
        told_job("waiting", 3, job(**early | {"status": "waiting"}), deployment={}),
        told_job("queued", 203, job(**early), deployment={}),
        told_job(
            "in_progress", 208, job(status="in_progress", conclusion=None, started_at=208, completed_at=None), deployment={}
        ),
        told_job("completed", 300, job(started_at=208, completed_at=298, **changed), deployment={}),
    ]


def test_the_time_of_an_approval_is_no_queue() -> None:
    life = Life()

    life.hear_all([requested(), *approved()])

    assert life.values(JOB)["job_waiting_duration_seconds"] == 200
    assert life.values(JOB)["job_queue_duration_seconds"] == 5


def test_a_job_of_an_environment_waits_to_be_counted_until_its_approval_is_heard_of() -> None:
    life = Life()
    queued, waiting, again, begun, ended = approved()
    life.hear_all([requested(), queued, begun, ended])
    assert JOB not in life.known

    life.hear_all([again, waiting])

    assert life.values(JOB)["job_waiting_duration_seconds"] == 200


def test_an_approval_that_came_soon_is_waited_for_too() -> None:
    life, early = Life(), {**NO_RUNNER, "status": "queued", "conclusion": None, "started_at": 2, "completed_at": None}
    soon_approved = job(started_at=22, completed_at=92)
    life.hear_all([requested(), told_job("completed", 95, soon_approved, deployment={})])

    life.hear_all(told_job(action, offset, job(**early), deployment={}) for action, offset in (("waiting", 3), ("queued", 18)))

    assert life.values(JOB)["job_waiting_duration_seconds"] == 15
    assert life.values(JOB)["job_queue_duration_seconds"] == 4


def test_a_job_of_an_environment_that_started_at_once_waits_for_nothing() -> None:
    life = Life()

    life.hear_all([requested(), told_job("completed", 95, deployment={})])

    assert life.values(JOB)["job_queue_duration_seconds"] == 7


def test_after_a_while_it_counts_without() -> None:
    life = Life()
    life.hear_all([requested(), approved()[-1]])

    life.settle(300 + 601)

    assert "job_waiting_duration_seconds" not in life.values(JOB)
    assert life.values(JOB)["job_queue_duration_seconds"] == 206


def unclear() -> list[Any]:
    """The events of a job whose start is told as its creation, though a runner took it 60 seconds later."""
    early = {**NO_RUNNER, "status": "queued", "conclusion": None, "created_at": 2, "started_at": 2, "completed_at": None}
    steps = [{"name": "Set up job", "started_at": 62, "completed_at": 64}]
    begun = {"status": "in_progress", "conclusion": None, "started_at": 2, "completed_at": None, "steps": steps}
    return [
        told_job("queued", 2.5, job(**early)),
        told_job("in_progress", 62, job(**begun)),
        told_job("completed", 95, job(started_at=2, steps=steps)),
    ]


def test_a_start_that_is_only_the_creation_is_replaced_by_when_a_runner_took_the_job() -> None:
    life = Life()

    life.hear_all([requested(), *unclear()])

    assert life.values(JOB)["job_queue_duration_seconds"] == pytest.approx(60)
    assert life.values(JOB)["job_run_duration_seconds"] == pytest.approx(30)


def test_it_is_believed_where_the_job_was_never_heard_to_be_queued() -> None:
    life = Life()

    life.hear_all([requested(), *unclear()[1:]])
    life.settle(95 + 601)

    assert life.values(JOB)["job_queue_duration_seconds"] == 0


def test_a_job_that_really_started_at_once_counts_at_once() -> None:
    assert Life().job(created_at=9)["job_queue_duration_seconds"] == 0
