"""What has not ended: runs and jobs by status, since when they are queued, and how they leave by themselves."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from agent.sources.github.now import Present, State
from tests.github_payloads import NO_RUNNER, START, Json, Life, Told, job, run, told_job, told_run

WAITING: Json = {**NO_RUNNER, "status": "queued", "conclusion": None, "started_at": 2, "completed_at": None}
RUNNING: Json = {"status": "in_progress", "conclusion": None, "completed_at": None}
DAY = 86_400.0


def queued(offset: float = 2.5, **changed: Any) -> Told:
    return told_job("queued", offset, job(**{**WAITING, **changed}))


def begun(offset: float = 9.5, **changed: Any) -> Told:
    return told_job("in_progress", offset, job(**{**RUNNING, **changed}))


def shown(life: Life, family: str, offset: float = 100.0) -> dict[str, float]:
    """The gauges of a family by status, or by repository where it has none."""
    found: dict[str, float] = {}
    for update in life.engine.gauges(START + offset):
        if update.family.name == family and isinstance(update.value, float | int):
            labels = dict(zip(update.family.labels, update.labels, strict=True))
            label = next(name for name in ("status", "reason", "kind", "repository") if name in labels)
            found[labels[label]] = update.value
    return found


def test_jobs_are_shown_by_where_they_are() -> None:
    life = Life()

    life.hear_all([queued(), queued(id=8), begun(id=9), told_job("waiting", 3, job(**{**WAITING, "id": 10}))])

    assert shown(life, "jobs") == {"queued": 2, "in_progress": 1, "waiting": 1}


def test_a_job_that_ended_is_shown_no_more() -> None:
    life = Life()

    life.hear_all([queued(), begun(), told_job("completed", 95)])

    assert shown(life, "jobs") == {}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_whatever_came_first_what_is_later_in_life_is_shown(order: tuple[int, ...]) -> None:
    told, life = [queued(), told_job("waiting", 3, job(**WAITING)), begun()], Life()

    life.hear_all(told[place] for place in order)

    assert shown(life, "jobs") == {"in_progress": 1}


def test_of_waiting_and_queued_the_later_is_shown() -> None:
    life = Life()

    life.hear_all([queued(2), queued(203), told_job("waiting", 3, job(**WAITING))])

    assert shown(life, "jobs") == {"queued": 1}


def test_an_end_is_never_taken_back() -> None:
    life = Life()

    life.hear_all([told_job("completed", 95), begun(99), queued(100)])

    assert shown(life, "jobs") == {}


def test_runs_are_shown_by_where_they_are() -> None:
    life, moving = Life(), {"status": "in_progress", "conclusion": None}

    life.hear_all(
        [
            told_run("requested", 1, run(id=1, status="queued", conclusion=None)),
            told_run("in_progress", 2, run(id=2, **moving)),
            told_run("requested", 3, run(id=3, status="completed", conclusion="action_required")),
            told_run("completed", 101, run(id=4)),
        ]
    )

    assert shown(life, "workflow_runs") == {"queued": 1, "in_progress": 1, "waiting": 1}


def test_the_oldest_queued_job_says_since_when() -> None:
    life = Life()

    life.hear_all([queued(30, id=8, created_at=30), queued(20, id=9, created_at=20), begun(5, id=10)])

    assert shown(life, "jobs_oldest_queued_timestamp_seconds") == {"acme/rocket": pytest.approx(START + 20)}


def test_after_an_approval_it_is_queued_anew() -> None:
    life = Life()

    life.hear_all([queued(2), told_job("waiting", 3, job(**WAITING)), queued(203)])

    assert shown(life, "jobs_oldest_queued_timestamp_seconds", 300) == {"acme/rocket": pytest.approx(START + 203)}


def test_a_restart_knows_what_was_going_on() -> None:
    life = Life()
    life.hear_all([queued(), begun(id=9), told_run("in_progress", 2, run(status="in_progress", conclusion=None))])
    before = life.engine.gauges(START + 100)

    life.restart()

    after = life.engine.gauges(START + 100)
    assert [(one.family.name, one.labels, one.value) for one in after] == [
        (one.family.name, one.labels, one.value) for one in before
    ]


@pytest.mark.parametrize(("told", "days"), [(queued(), 1), (begun(), 5), (told_job("waiting", 3, job(**WAITING)), 30)])
def test_what_was_never_heard_to_end_leaves_after_its_limit(told: Told, days: int) -> None:
    life = Life()
    life.hear(told)

    life.settle(days * DAY)
    assert len(shown(life, "jobs", days * DAY)) == 1
    life.settle(days * DAY + 60)

    assert shown(life, "jobs", days * DAY + 60) == {}
    assert life.notes == {}


def test_the_api_says_what_is_going_on_too() -> None:
    life = Life()

    life.list(run(status="in_progress", conclusion=None), [job(**RUNNING), job(**{**WAITING, "id": 8})])

    assert shown(life, "jobs", 1001) == {"in_progress": 1, "queued": 1}
    assert shown(life, "workflow_runs", 1001) == {"in_progress": 1}


def test_what_is_ignored_and_what_is_invalid_is_shown() -> None:
    life = Life()

    life.job(created_at=30)
    life.hear(Told("workflow_job", {"action": "renamed"}, "", START))

    assert shown(life, "events_ignored_total") == {"action": 1}
    assert shown(life, "invalid_timestamps_total") == {"job_queue": 1}


def test_all_gauges_are_of_one_scope_and_of_now() -> None:
    life = Life()
    life.hear_all([queued(), told_run("requested", 1, run(status="queued", conclusion=None))])

    assert {(one.scope, one.at) for one in life.engine.gauges(START + 7)} == {("now", START + 7)}


def test_the_labels_of_jobs_tell_which_runners_are_asked_for() -> None:
    life = Life()
    life.hear(queued(labels=["self-hosted"]))

    (update,) = (one for one in life.engine.gauges(START + 7) if one.family.name == "jobs")

    labels = {"repository": "acme/rocket", "workflow": "Build", "runner_type": "self-hosted", "status": "queued"}
    assert {name: value for name, value in zip(update.family.labels, update.labels, strict=True) if value} == labels


def test_states_beyond_the_limit_are_given_up_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.github.now.MOST", 2)
    present = Present()

    notes = [note for number in range(3) for note in present.put(f"job:{number}", State("queued", 1.0, 1.0, "a/b", ""))]

    assert [note.key for note in notes if note.value is None] == ["now:job:0"]
    assert present.get("job:0") is None
