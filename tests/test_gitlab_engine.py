"""What pipelines and jobs count as, and what is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sources.gitlab.now import KEEP_SECONDS
from agent.sources.gitlab.objects import Project, Upstream
from agent.sources.gitlab.options import Options
from tests.gitlab_engine import HOST, ROCKET, START, Life, job, pipeline

OWN = ("acme/rocket", "main", "branch", "push")
JOB = ("acme/rocket", "main", "test", "job 100")
OLD = START - 5000


def options(**changed: Any) -> Options:
    return Options.model_validate(changed)


@pytest.fixture
def life() -> Life:
    return Life()


def registered(life: Life, number: int = 1) -> None:
    """A pipeline of before START that runs at START."""
    digest = life.engine.register(ROCKET.id, [pipeline(number, "running", created=OLD, updated=OLD)], START)
    life.commit(digest)


def test_a_pipeline_counts_in_all_its_series(life: Life) -> None:
    life.take(pipeline())

    assert life.totals == {
        ("pipeline_run_count", OWN): 1,
        ("pipeline_runs_by_status_total", (*OWN, "success")): 1,
        ("pipeline_duration_seconds", (*OWN, "success")): 1,
        ("pipeline_duration_seconds:sum", (*OWN, "success")): 80,
        ("pipeline_queued_duration_seconds", OWN): 1,
        ("pipeline_queued_duration_seconds:sum", OWN): 10,
    }


def test_a_job_counts_in_all_its_series(life: Life) -> None:
    life.take(pipeline(1, "running"), jobs={1: [job(100, "failed", is_retried=True)]})

    assert life.totals == {
        ("job_run_count", JOB): 1,
        ("job_runs_by_status_total", (*JOB, "instance", "failed")): 1,
        ("job_duration_seconds", (*JOB, "instance", "failed")): 1,
        ("job_duration_seconds:sum", (*JOB, "instance", "failed")): 30,
        ("job_queued_duration_seconds", JOB): 1,
        ("job_queued_duration_seconds:sum", JOB): 5,
        ("job_failures_total", (*JOB, "script_failure")): 1,
        ("job_retries_total", JOB): 1,
    }


def test_keys_name_the_instance_and_the_thing(life: Life) -> None:
    life.take(pipeline(7), jobs={7: [job(100, is_retried=True)]})
    life.take(pipeline(7, finished=START + 2000))

    assert set(life.kept) == {
        f"gitlab:{HOST}:pipeline:7",
        f"gitlab:{HOST}:pipeline:7:stages",
        f"gitlab:{HOST}:pipeline:7:retry:{START + 2000}",
        f"gitlab:{HOST}:job:100",
        f"gitlab:{HOST}:job:100:retried",
    }


def test_a_pipeline_that_another_one_triggered_counts_in_both_kinds_of_series_at_once(life: Life) -> None:
    life.take(pipeline(source="pipeline", upstream=Upstream("acme/pad", "v1.0", "launch", "tag")))
    child = ("acme/rocket", "main", "acme/pad", "v1.0", "launch")

    assert life.total("pipeline_run_count") == {("acme/rocket", "main", "branch", "pipeline"): 1}
    assert life.total("child_pipeline_run_count") == {child: 1}
    assert life.total("child_pipeline_runs_by_status_total") == {(*child, "success"): 1}
    assert life.total("child_pipeline_duration_seconds:sum") == {child: 80}
    assert life.total("child_pipeline_queued_duration_seconds:sum") == {child: 10}
    assert len(life.kept) == 1


def test_the_ref_of_a_parent_is_named_by_the_rules_of_its_own_project() -> None:
    life = Life(options(labels={"ref": "class"}))
    life.engine.watch(Project(9, "acme/pad", "trunk"), life.rules, START)
    upstreams = [Upstream(path, "trunk", "launch") for path in ("acme/pad", "acme/unknown")]
    life.take(*(pipeline(number, source="pipeline", upstream=one) for number, one in enumerate(upstreams)))

    assert {labels[2:4] for labels in life.total("child_pipeline_run_count")} == {
        ("acme/pad", "default"),
        ("acme/unknown", "other"),
    }


def test_without_child_pipelines_those_count_nowhere() -> None:
    life = Life(options(collectors={"pipelines": {"include_child_pipelines": False}}))

    life.take(pipeline(source="parent_pipeline"), pipeline(2, "running", source="parent_pipeline"), jobs={1: [job()]})

    assert not life.kept
    assert not life.engine.unfinished(ROCKET.id)


def test_without_jobs_none_count() -> None:
    life = Life(options(collectors={"jobs": {"enabled": False}}))

    life.take(pipeline(), jobs={1: [job()]})

    assert list(life.kept) == [f"gitlab:{HOST}:pipeline:1"]


def test_a_project_that_is_not_watched_counts_nothing(life: Life) -> None:
    digest = life.engine.take(999, [pipeline()], {1: [job()]}, START + 1000)

    assert not digest.observations
    assert not digest.notes


def test_a_project_that_was_renamed_counts_under_its_new_name(life: Life) -> None:
    life.engine.watch(ROCKET._replace(path="apex/rocket"), life.rules, START)
    life.take(pipeline(), jobs={1: [job()]})

    assert {labels[0] for _, labels in life.totals} == {"apex/rocket"}


# -- what had ended before -------------------------------------------------------------------------------


def test_what_had_ended_before_its_project_was_counted_does_not_count(life: Life) -> None:
    life.take(pipeline(created=OLD), jobs={1: [job(created=OLD, finished=OLD + 60)]})

    assert not life.kept


def test_what_was_registered_counts_when_it_ends(life: Life) -> None:
    registered(life)
    life.take(pipeline(created=OLD))

    assert life.total("pipeline_run_count") == {OWN: 1}


def test_what_was_registered_counts_in_another_life(life: Life) -> None:
    registered(life)
    life.again()
    life.take(pipeline(created=OLD))

    assert life.total("pipeline_run_count") == {OWN: 1}


def test_a_note_goes_with_the_end_of_what_it_was_about(life: Life) -> None:
    registered(life)
    assert list(life.notes) == ["open:1"]

    life.take(pipeline(created=OLD))

    assert list(life.notes) == ["ended:1"]


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({"created": START}, True),
        ({"created": OLD, "finished": START}, True),
        ({"created": OLD, "finished": START - 1}, False),
        ({"created": OLD, "finished": None, "status": "skipped"}, False),
    ],
)
def test_jobs_count_that_were_made_or_ended_since(life: Life, changed: dict[str, Any], counts: bool) -> None:
    life.take(pipeline(created=OLD), jobs={1: [job()._replace(**changed)]})

    assert len(life.total("job_run_count")) == counts


def test_skipped_jobs_of_before_count_with_a_registered_pipeline(life: Life) -> None:
    registered(life)
    life.take(pipeline(created=OLD), jobs={1: [job(100, "skipped", created=OLD, started=None, finished=None)]})
    life.again()
    life.take(pipeline(created=OLD), jobs={1: [job(101, "skipped", created=OLD, started=None, finished=None)]})

    assert sum(life.total("job_run_count").values()) == 2


def test_what_ends_after_a_month_is_given_up_so_that_it_cannot_count_twice(life: Life) -> None:
    registered(life)
    life.take(pipeline(2, "manual"))
    late = START + KEEP_SECONDS + 2000
    life.take(pipeline(3, created=int(late)), now=late)
    life.take(pipeline(1, created=OLD), pipeline(2), now=late)

    assert set(life.kept) == {f"gitlab:{HOST}:pipeline:3"}
    assert life.engine.abandoned == 2
    assert list(life.notes) == ["ended:3"]


# -- stages ----------------------------------------------------------------------------------------------


def test_a_stage_lasts_from_its_first_start_to_its_last_end(life: Life) -> None:
    jobs = [
        job(1, stage="build", started=START + 20, finished=START + 30),
        job(2, stage="build", started=START + 25, finished=START + 60),
        job(3, stage="test", started=START + 61, finished=START + 99),
    ]
    life.take(pipeline(), jobs={1: jobs})

    assert life.total("pipeline_stage_duration_seconds:sum") == {
        ("acme/rocket", "main", "build"): 40,
        ("acme/rocket", "main", "test"): 38,
    }


def test_of_jobs_that_were_run_again_within_a_pipeline_the_last_makes_its_stage(life: Life) -> None:
    first = job(1, "failed", name="unit", is_retried=True, started=START + 20, finished=START + 30)
    last = job(2, name="unit", created=START + 31, started=START + 40, finished=START + 45)
    life.take(pipeline(), jobs={1: [last, first]})

    assert life.total("pipeline_stage_duration_seconds:sum") == {("acme/rocket", "main", "test"): 5}


def test_jobs_of_a_retry_are_no_part_of_the_stages(life: Life) -> None:
    life.take(pipeline(1, "failed"))
    retry = job(2, name="job 1", created=START + 2000, started=START + 2001, finished=START + 2010)
    life.take(pipeline(1, "running", updated=START + 2001), jobs={1: [job(1), retry]}, now=START + 2001)

    assert life.total("pipeline_stage_duration_seconds:sum") == {("acme/rocket", "main", "test"): 30}


def test_stages_without_a_job_that_ran_have_no_duration(life: Life) -> None:
    life.take(pipeline(), jobs={1: [job(1, "skipped", started=None, finished=None), job(2, "manual", started=None)]})

    assert not life.total("pipeline_stage_duration_seconds")


def test_stages_take_jobs_that_were_read(life: Life) -> None:
    life.take(pipeline())

    assert f"gitlab:{HOST}:pipeline:1:stages" not in life.kept


# -- what is followed ------------------------------------------------------------------------------------


def test_unfinished_pipelines_are_followed_until_they_end(life: Life) -> None:
    life.take(pipeline(1, "running"), pipeline(2, "manual"), pipeline(3))
    assert life.engine.unfinished(ROCKET.id) == [1, 2]

    life.take(pipeline(2), now=START + 1100)

    assert life.engine.unfinished(ROCKET.id) == [1]


def test_unfinished_pipelines_are_followed_in_the_next_life(life: Life) -> None:
    life.take(pipeline(1, "running"))
    life.again()

    assert life.engine.unfinished(ROCKET.id) == [1]


def test_of_one_ref_the_newest_are_followed_and_the_others_count_all_the_same() -> None:
    life = Life(options(collectors={"pipelines": {"max_pipelines_per_ref": 2}}))
    life.take(*(pipeline(number, "running") for number in (4, 1, 3, 2)), pipeline(9, "running", ref="topic"))
    assert life.engine.unfinished(ROCKET.id) == [3, 4, 9]
    assert life.engine.abandoned == 2

    life.take(*(pipeline(number) for number in (1, 2)))

    assert life.total("pipeline_run_count") == {OWN: 2}
    assert life.engine.abandoned == 2


def test_what_was_given_up_stays_so_in_the_next_life() -> None:
    life = Life(options(collectors={"pipelines": {"max_pipelines_per_ref": 1}}))
    life.take(pipeline(1, "running"), pipeline(2, "running"))
    life.again()

    assert life.engine.unfinished(ROCKET.id) == [2]
    assert life.engine.abandoned == 0


def test_a_pipeline_that_was_deleted_is_followed_no_longer(life: Life) -> None:
    life.take(pipeline(1, "running"))
    life.commit(life.engine.gone(ROCKET.id, 1))
    life.again()

    assert not life.engine.unfinished(ROCKET.id)
    assert not life.notes


def test_what_is_known_of_a_project_goes_with_it(life: Life) -> None:
    life.take(pipeline(1, "running"))
    life.commit(life.engine.forget(ROCKET.id))

    assert not life.notes
    assert not life.gauges()
    assert not life.engine.take(ROCKET.id, [pipeline()], {}, START + 1000).observations


@pytest.mark.parametrize(
    "value", ["", "{", "[]", "[1,2]", '["a","b","c","d","e","f"]', "null", "[" * 5000, '{"a":1}', "[1e999,1,0]"]
)
def test_broken_notes_are_left_out(value: str) -> None:
    life = Life()
    life.take(pipeline(1, "running"))
    life.notes |= {"open:7": value, "ended:8": value, "open:x": '[501,1,1,"p",0,1]', "open:-1": '[501,1,1,"p",0,1]'}
    life.again()

    assert life.engine.unfinished(ROCKET.id) == [1]
    assert life.take(pipeline(8)).observations
