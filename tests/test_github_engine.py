"""Jobs and their runs put together, over restarts and failures, and what does not count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.sources.github.engine import Engine
from agent.sources.github.families import families
from agent.sources.github.join import Context, Runs
from tests.github_payloads import (
    HOST,
    JOB_ID,
    START,
    Life,
    Told,
    guid,
    job,
    kept,
    named,
    options,
    repository,
    requested,
    run,
    told_job,
    told_run,
)

JOB, RUN = "job:70000001", "run:9000001:1"
BARE = {"repository": "acme/rocket", "workflow": "Build", "job_name": "test", "status": "success"}


def test_a_job_that_ends_before_its_run_is_known_is_kept_and_counts_when_it_is() -> None:
    life = Life()
    first = life.hear(told_job("completed", 95))
    assert (first.outcome, kept(first.notes, "job")) == ("noted", [JOB])

    life.hear(told_run("completed", 101, run(event="schedule")))

    assert life.labels(JOB, "job_run_total")["event"] == "schedule"
    assert JOB not in life.notes


def test_it_counts_without_its_run_after_a_while_with_what_it_says_itself() -> None:
    life = Life()
    life.hear(told_job("completed", 95))

    life.settle(95 + 599)
    assert life.known == set()
    life.settle(95 + 600)

    labels = life.labels(JOB, "job_run_total")
    assert labels == BARE | {"ref": "default", "runner_type": "github-hosted", "runner_group": "GitHub Actions"}
    assert JOB not in life.notes


def test_how_long_it_waits_is_configured() -> None:
    life = Life(join_seconds=30)
    life.hear(told_job("completed", 95))

    life.settle(126)

    assert JOB in life.known


def test_a_run_that_closes_before_its_last_job_still_tells_it_what_it_was() -> None:
    life = Life()

    life.hear_all([told_run("completed", 94, run(event="schedule")), told_job("completed", 95)])

    assert life.labels(JOB, "job_run_total")["event"] == "schedule"


def test_what_is_known_of_a_run_is_forgotten_a_day_after_it_ended() -> None:
    life = Life()
    life.hear(told_run("completed", 101))

    life.settle(101 + 86_000)
    assert "run:9000001" in life.notes
    life.settle(101 + 86_500)

    assert life.notes == {}


def test_a_run_that_never_ends_is_forgotten_too() -> None:
    life = Life()
    life.hear_all([requested(), told_job("queued", 3, job(status="queued", conclusion=None))])

    life.settle(36 * 86_400)

    assert life.notes == {}


def test_a_run_that_failed_to_start_counts_without_any_job() -> None:
    life = Life()

    life.hear(told_run("completed", 1, run(conclusion="startup_failure", updated_at=0)))

    assert life.known == {RUN}


def test_a_ping_is_one() -> None:
    assert Life().hear(Told("ping", {"zen": "Keep it small.", "hook_id": 1}, guid(0), START)).outcome == "ping"


@pytest.mark.parametrize(
    ("event", "action", "reason"),
    [
        ("push", "", "event"),
        ("check_run", "completed", "event"),
        ("workflow_run", "deleted", "action"),
        ("workflow_job", "requested", "action"),
        ("workflow_job", None, "action"),
        ("workflow_job", ["completed"], "action"),
    ],
)
def test_other_events_and_actions_are_counted_as_ignored(event: str, action: Any, reason: str) -> None:
    life = Life()

    digest = life.hear(Told(event, {"action": action}, guid(0), START))

    assert (digest.outcome, life.engine.ignored) == ("ignored", {reason: 1})


@pytest.mark.parametrize(
    ("changed", "is_counted"),
    [
        ({}, True),
        ({"include": ["acme/*"]}, True),
        ({"include": ["other/*"]}, False),
        ({"exclude": ["*/rocket"]}, False),
        ({"include": ["acme/*"], "exclude": ["acme/rocket"]}, False),
    ],
)
def test_only_repositories_that_are_wanted_count(changed: dict[str, Any], is_counted: bool) -> None:
    life = Life(**changed)

    life.hear(told_run("completed", 101))
    life.list(run(), [job()])

    assert bool(life.counted) is is_counted
    assert (life.engine.ignored["repository"] == 2) is not is_counted


def test_the_host_is_in_every_key() -> None:
    settings = options()
    engine = Engine("ghe.example", settings, families(settings))

    digest = engine.webhook(*told_run("completed", 101))

    assert [one.key for one in digest.observations] == ["github:ghe.example:run:9000001:1"]


def test_where_events_are_on_each_run_and_job_is_a_sample_at_its_own_end() -> None:
    life = Life(events=True)

    life.hear_all([told_run("completed", 101), told_job("completed", 95)])

    (of_run,), (of_job,) = (life.counted[f"github:{HOST}:{key}"].events for key in (RUN, JOB))
    assert (of_run.family.name, of_run.value, of_run.at, of_run.exemplar) == (
        "workflow_run_event",
        100,
        START + 100,
        (("run_id", "9000001"),),
    )
    assert (of_job.family.name, of_job.value, of_job.at, of_job.exemplar) == (
        "job_event",
        83,
        START + 92,
        (("run_id", "9000001"),),
    )
    assert named(of_job)["job_name"] == "test"


def test_a_job_without_a_length_is_a_sample_of_zero() -> None:
    life = Life(events=True)

    life.job(conclusion="skipped")

    assert life.counted[f"github:{HOST}:{JOB}"].events[0].value == 0


def test_no_events_are_made_where_they_are_off() -> None:
    life = Life()

    life.hear_all([told_run("completed", 101), told_job("completed", 95)])

    assert {one.events for one in life.counted.values()} == {()}


def test_a_run_that_the_api_lists_again_counts_the_same() -> None:
    life = Life()

    first = life.list(run(), [job()])

    assert life.list(run(), [job()], 2000.0).observations == first.observations


def test_a_run_that_has_not_ended_counts_the_jobs_that_have() -> None:
    life, moving = Life(), run(status="in_progress", conclusion=None)
    second = job(id=JOB_ID + 1, status="in_progress", conclusion=None, completed_at=None)

    life.list(moving, [job(), second])

    assert life.known == {JOB, RUN + ":queue"}


def test_an_approval_that_webhooks_told_of_is_known_to_the_api_too() -> None:
    life = Life()
    early = job(status="waiting", conclusion=None, runner_id=None, runner_name=None, started_at=2, completed_at=None)
    life.hear_all([told_job("waiting", 3, early, deployment={}), told_job("queued", 203, early, deployment={})])

    life.list(run(), [job(started_at=208, completed_at=298)])

    assert life.values(JOB)["job_waiting_duration_seconds"] == 200
    assert life.values(JOB)["job_queue_duration_seconds"] == 5


def test_runs_beyond_the_limit_are_forgotten_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.github.join.MOST", 2)
    runs = Runs()

    notes = [note for number in range(4) for note in runs.learn(number, Context("", "", "", "", {1: 0.0}, 0.0, False))]

    assert [note.key for note in notes if note.value is None] == ["run:0", "run:1"]
    assert runs.context(0) is None


def test_jobs_beyond_the_limit_count_without_their_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.github.join.MOST", 2)
    life = Life()
    life.hear_all(told_job("completed", 95, job(id=number, run_id=number)) for number in (1, 2, 3))

    life.settle(96)

    assert life.known == {"job:1"}


def test_notes_are_text_that_json_reads() -> None:
    life = Life()

    life.hear_all([requested(), told_job("completed", 95, job(run_id=5))])

    assert all(json.loads(value) for value in life.notes.values())
    assert set(life.notes) == {"run:9000001", "now:run:9000001:1", JOB, "now:job:70000001"}


def test_a_repository_of_another_name_is_another_label() -> None:
    life = Life()

    life.hear(told_run("completed", 101, repository=repository(full_name="acme/lander")))

    assert life.labels(RUN, "workflow_run_total")["repository"] == "acme/lander"
