"""What the engine does with old news, and how much it remembers."""

from __future__ import annotations

import pytest

from agent.sources.gitlab import ended, now, state
from agent.sources.gitlab.objects import Upstream
from tests.gitlab_engine import HOST, ROCKET, START, Life, job, pipeline

DAY = 86400


@pytest.fixture
def life() -> Life:
    return Life()


def test_an_end_that_is_told_once_more_does_not_end_a_retry_that_runs(life: Life) -> None:
    life.take(pipeline(1, "failed"))
    life.take(pipeline(1, "running", updated=START + 2000))
    life.take(pipeline(1, "failed"))

    assert life.engine.unfinished(ROCKET.id) == [1]
    assert life.gauge("pipeline_status") == {("main", "branch", "push", "running"): 1}


def test_of_two_words_of_one_second_the_end_holds(life: Life) -> None:
    life.take(pipeline(1))
    life.take(pipeline(1, "running", updated=START + 100))

    assert not life.engine.unfinished(ROCKET.id)
    assert life.gauge("pipeline_status") == {("main", "branch", "push", "success"): 1}


def test_the_coverage_of_an_older_pipeline_does_not_take_the_place_of_a_newer_one(life: Life) -> None:
    life.take(pipeline(2, coverage=80.0), pipeline(1, coverage=10.0))

    assert life.gauge("pipeline_coverage") == {("main", "branch"): 80.0}


def test_a_job_that_was_played_after_the_end_is_no_part_of_a_stage(life: Life) -> None:
    played = job(2, started=START + 200, finished=START + 300)
    life.take(pipeline(), jobs={1: [job(1), played]})

    assert life.total("pipeline_stage_duration_seconds:sum") == {("acme/rocket", "main", "test"): 30}


def test_a_retry_counts_though_its_pipeline_was_made_more_than_a_month_ago(life: Life) -> None:
    life.take(pipeline(1, "manual"))
    life.take(pipeline(1), now=START + 20.0 * DAY)
    life.take(pipeline(1, finished=START + 35 * DAY, updated=START + 35 * DAY), now=START + 35.0 * DAY)

    assert sum(life.total("pipeline_retries_total").values()) == 1


def test_a_first_end_is_told_again_for_a_day_and_then_no_more(life: Life) -> None:
    life.take(pipeline())
    soon = life.take(pipeline(), now=START + 1000.0 + DAY)
    late = life.take(pipeline(), now=START + 1002.0 + DAY)

    assert [observation.key for observation in soon.observations] == [f"gitlab:{HOST}:pipeline:1"]
    assert not late.observations


def test_unfinished_pipelines_are_bounded_and_the_oldest_are_given_up(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now, "MOST", 2)
    life.take(*(pipeline(number, "running") for number in (3, 1, 2)))

    assert life.engine.unfinished(ROCKET.id) == [1, 2]
    assert life.engine.abandoned == 1
    assert sorted(life.notes) == ["open:1", "open:2"]


def test_ended_pipelines_are_bounded_and_the_oldest_are_forgotten(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "MOST", 2)
    life.take(*(pipeline(number) for number in (3, 1, 2)))
    life.take()

    assert sorted(life.notes) == ["ended:1", "ended:2"]


def test_what_has_ended_is_forgotten_after_a_month(life: Life) -> None:
    life.take(pipeline())
    life.again()
    life.take(now=START + 1001 + now.KEEP_SECONDS)

    assert not life.notes


def test_children_that_are_shown_are_bounded(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_CHILDREN", 2)
    told = [Upstream("acme/rocket", "main", f"bridge {number}", "branch", 1) for number in range(3)]
    life.take(pipeline(1), *(pipeline(10 + at, source="parent_pipeline", upstream=one) for at, one in enumerate(told)))

    assert [labels[3] for labels in life.gauge("child_pipeline_status")] == ["bridge 1", "bridge 2"]
