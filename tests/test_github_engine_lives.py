"""The engine over restarts and commits that fail: what was noted is taken up, what was not committed is told again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.github_payloads import HOST, START, Life, job, kept, requested, told_job

JOB = "job:70000001"


def test_a_restart_changes_nothing_for_jobs_that_wait() -> None:
    life = Life()
    life.hear(told_job("completed", 95))

    life.restart()
    life.hear(requested())

    assert life.values(JOB)["job_run_duration_seconds"] == 83


def test_broken_notes_are_left_out() -> None:
    life = Life()
    life.hear_all([requested(), told_job("queued", 3, job(status="queued", conclusion=None))])
    life.notes |= {"run:x": "[]", "run:7": "{", "job:8": "[1, 2]", "now:job:9": "null", "now:": '["queued"]', "other": "x"}

    life.restart()
    life.hear(told_job("completed", 95))

    assert life.labels(JOB, "job_run_total")["event"] == "push"


@pytest.mark.parametrize("key", ["run:9000001", "job:70000001", "now:job:70000001"])
@given(data=st.data())
def test_nor_is_one_of_which_some_part_is_something_else(key: str, data: st.DataObject) -> None:
    life = Life()
    life.hear_all([told_job("completed", 95, job(run_id=5)), requested()])
    whole = part = json.loads(life.notes[key])
    place = data.draw(st.integers(0, len(part) - 1))
    if isinstance(part[place], list) and part[place]:
        part, place = part[place], data.draw(st.integers(0, len(part[place]) - 1))
    part[place] = data.draw(st.sampled_from([None, True, "x", [], {}, -1, 1e308, [[]], {"1": "x"}]))
    life.notes[key] = json.dumps(whole)

    life.restart()
    life.hear(requested())
    life.settle(10_000)

    assert life.known <= {JOB}


@given(st.dictionaries(st.sampled_from(["run:1", "job:1", "now:run:1:1", "now:job:1", "x"]), st.text(max_size=30), max_size=5))
def test_no_note_is_a_trouble(notes: dict[str, str]) -> None:
    life = Life()
    life.notes = notes

    life.restart()
    life.settle(10_000)

    assert life.counted == {}


def test_what_a_run_freed_is_told_again_until_it_is_committed() -> None:
    life = Life()
    life.hear(told_job("completed", 95))
    lost = life.engine.webhook(*requested()._replace(at=START + 96))
    assert [one.key for one in lost.observations] == [f"github:{HOST}:{JOB}"]

    first = life.engine.settle(START + 97)
    again = life.engine.settle(START + 98)
    after = life.engine.settle(START + 99, again.mark)

    assert first.observations == again.observations == lost.observations
    assert kept(again.notes, "job") == []
    assert [note.value for note in again.notes if note.key == JOB] == [None]
    assert after.observations == []


def test_what_was_counted_since_the_last_commit_is_still_told() -> None:
    life = Life()
    before = life.engine.settle(START)
    life.hear(told_job("completed", 95))
    life.hear(requested())

    digest = life.engine.settle(START + 97, before.mark)

    assert [one.key for one in digest.observations] == [f"github:{HOST}:{JOB}"]


def test_a_delivery_that_was_not_committed_brings_its_notes_again() -> None:
    life, told = Life(), told_job("completed", 95)
    first = life.engine.webhook(*told)

    again = life.hear(told)

    assert {note.key for note in again.notes} == {note.key for note in first.notes}


def test_a_job_that_comes_again_does_not_wait_anew() -> None:
    life = Life()
    life.hear(told_job("completed", 95))
    life.hear(told_job("completed", 95), START + 600)

    life.settle(95 + 600)

    assert JOB in life.known


def test_jobs_that_waited_in_an_earlier_life_wait_anew() -> None:
    life = Life()
    life.hear(told_job("completed", 95))
    life.restart(5000)

    life.settle(5000)
    assert life.known == set()
    life.settle(5600)

    assert life.known == {JOB}


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_job_out_of_the_log_waits_from_when_it_was_read(is_restarted: bool) -> None:
    life = Life()
    if is_restarted:
        life.restart(100_000)
    else:
        life.settle(100_000)
    life.hear(told_job("completed", 95))

    life.settle(100_015)
    assert life.known == set()
    life.hear(requested())

    assert life.labels(JOB, "job_run_total")["event"] == "push"
