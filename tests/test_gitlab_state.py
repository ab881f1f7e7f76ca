"""The state of refs, what has not ended, and when that has changed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.gitlab.objects import Pipeline, Project, Report, Totals, Upstream
from agent.sources.gitlab.options import Options, ProjectOptions
from tests.gitlab_engine import ROCKET, START, Life, job, pipeline

NOW = START + 1000.0


def test_a_ref_that_has_a_name_shows_its_newest_pipeline() -> None:
    life = Life()
    life.take(pipeline(2, "failed", coverage=70.25), pipeline(1), pipeline(3, ref="topic"))

    assert life.gauge("pipeline_status") == {("main", "branch", "push", "failed"): 1}
    assert life.gauge("pipeline_id") == {("main", "branch"): 2}
    assert life.gauge("pipeline_created_timestamp") == {("main", "branch"): START + 10}
    assert life.gauge("pipeline_last_run_timestamp_seconds") == {("main", "branch"): START + 100}
    assert life.gauge("pipeline_coverage") == {("main", "branch"): 70.25}


def test_every_gauge_is_of_the_scope_of_its_project() -> None:
    life = Life()
    life.take(pipeline(1, "running"), jobs={1: [job(1, "running")]})

    assert {(update.scope, update.at, update.labels[0]) for update in life.gauges()} == {("501", NOW, "acme/rocket")}


def test_the_last_run_is_that_of_an_older_pipeline_while_the_newest_runs() -> None:
    life = Life()
    life.take(pipeline(1), pipeline(2, "running"))

    assert life.gauge("pipeline_last_run_timestamp_seconds") == {("main", "branch"): START + 100}


def test_where_it_is_wanted_every_status_has_a_series() -> None:
    life = Life(rules=ProjectOptions(output_sparse_status_metrics=False))
    life.take(pipeline(1, "running"), jobs={1: [job(1, "failed", name="unit 1/2"), job(2, name="unit 2/2")]})
    pipelines, jobs = life.gauge("pipeline_status"), life.gauge("job_status")

    assert len(pipelines) == 14
    assert [labels[-1] for labels, value in pipelines.items() if value] == ["running"]
    assert len(jobs) == 14
    assert {labels[-2:] for labels, value in jobs.items() if value} == {("success", ""), ("failed", "script_failure")}


def test_jobs_are_those_of_the_newest_pipeline_and_of_each_name_the_last() -> None:
    life = Life()
    again = [job(1, "failed", name="unit", is_retried=True), job(2, name="unit"), job(3, "failed", name="lint")]
    life.take(pipeline(1), pipeline(2), jobs={1: [job(9, name="old")], 2: again})

    assert life.gauge("job_status") == {
        ("main", "test", "unit", "success", ""): 1,
        ("main", "test", "lint", "failed", "script_failure"): 1,
    }


def test_artifacts_of_jobs_that_share_a_name_add_up_and_stay_known() -> None:
    life = Life()
    life.take(pipeline(), jobs={1: [job(1, name="a 1/2", artifacts_bytes=10), job(2, name="a 2/2", artifacts_bytes=7)]})
    assert life.gauge("job_artifact_size_bytes") == {("main", "test", "a"): 17}

    life.take(pipeline(), jobs={1: [job(1, name="a 1/2"), job(2, name="a 2/2")]})
    assert life.gauge("job_artifact_size_bytes") == {("main", "test", "a"): 17}

    life.take(pipeline(), jobs={1: [job(1, name="a 1/2", is_retried=True), job(2, name="a 2/2"), job(3, name="a 1/2")]})
    assert life.gauge("job_artifact_size_bytes") == {("main", "test", "a"): 7}


def test_a_branch_and_a_tag_of_one_name_share_what_tells_them_not_apart() -> None:
    life = Life(rules=ProjectOptions.model_validate({"refs": {"branches": {"regexp": "."}}}))
    jobs = {1: [job(1, "failed", name="a", artifacts_bytes=10)], 2: [job(2, name="a", artifacts_bytes=7)]}
    life.take(pipeline(1, "failed", ref="v1"), pipeline(2, ref="v1", kind="tag"), jobs=jobs)
    life.engine.report(ROCKET.id, pipeline(1, ref="v1"), REPORT)
    life.engine.report(ROCKET.id, pipeline(2, ref="v1", kind="tag"), REPORT)

    assert set(life.gauge("job_status")) == {
        ("v1", "test", "a", "failed", "script_failure"),
        ("v1", "test", "a", "success", ""),
    }
    assert life.gauge("job_artifact_size_bytes") == {("v1", "test", "a"): 17}
    assert life.gauge("test_report_total_count") == {("v1",): 12}
    assert life.gauge("test_suite_duration_seconds") == {("v1", "unit"): 25}
    assert life.gauge("pipeline_id") == {("v1", "branch"): 1, ("v1", "tag"): 2}


def test_children_of_the_newest_pipeline_are_shown_and_their_children() -> None:
    life = Life()
    below = {"source": "parent_pipeline"}
    life.take(
        pipeline(1),
        pipeline(2, "failed", **below, upstream=Upstream("acme/rocket", "main", "old", "branch", 1)),
        pipeline(3),
        pipeline(4, "failed", **below, upstream=Upstream("acme/rocket", "main", "a", "branch", 3)),
        pipeline(5, **below, upstream=Upstream("acme/rocket", "main", "b", "branch", 4)),
    )

    assert life.gauge("child_pipeline_status") == {
        ("main", "acme/rocket", "main", "a", "failed"): 1,
        ("main", "acme/rocket", "main", "b", "success"): 1,
    }


def child(number: int, status: str, bridge: str, parent: int = 1) -> Pipeline:
    return pipeline(number, status, source="parent_pipeline", upstream=Upstream("acme/rocket", "main", bridge, "branch", parent))


def words(life: Life) -> dict[tuple[str, ...], list[str]]:
    """The statuses of child pipelines with the value 1, by what triggered them; those with 0 are all others."""
    found: dict[tuple[str, ...], list[str]] = {}
    for (*own, status), value in life.gauge("child_pipeline_status").items():
        found.setdefault(tuple(own[2:]), []).extend([status] * int(value))
    return found


def test_a_trigger_job_that_is_run_again_has_one_child_and_none_of_the_firsts_children() -> None:
    life = Life()
    life.take(pipeline(1), child(2, "failed", "a"), child(3, "failed", "b", 2), child(4, "success", "a"))

    assert words(life) == {("main", "a"): ["success"]}


def test_trigger_jobs_whose_name_is_not_told_are_not_taken_for_one() -> None:
    life = Life()
    life.take(pipeline(1), child(2, "failed", ""), child(3, "success", ""))

    assert words(life) == {("main", ""): ["failed", "success"]}


@pytest.mark.parametrize("is_sparse", [True, False])
def test_children_of_a_matrix_share_their_series_and_each_status_of_theirs_is_there(is_sparse: bool) -> None:
    life = Life(rules=ProjectOptions(output_sparse_status_metrics=is_sparse))
    life.take(pipeline(1), child(2, "failed", "a: [x]"), child(3, "success", "a: [y]"), child(4, "success", "b"))

    assert words(life) == {("main", "a"): ["failed", "success"], ("main", "b"): ["success"]}
    assert len(life.gauge("child_pipeline_status")) == (3 if is_sparse else 28)


def test_a_child_whose_parents_number_is_not_told_is_of_the_pipeline_before_it() -> None:
    life = Life()
    life.take(pipeline(3), pipeline(2, source="parent_pipeline", upstream=Upstream("acme/rocket", "main", "old")))
    life.take(pipeline(4, source="parent_pipeline", upstream=Upstream("acme/rocket", "main", "new")))

    assert list(life.gauge("child_pipeline_status")) == [("main", "acme/rocket", "main", "new", "success")]


def test_a_downstream_pipeline_is_its_refs_newest_and_a_child_as_well() -> None:
    life = Life()
    life.take(pipeline(3, source="pipeline", upstream=Upstream("acme/pad", "v2", "launch", "tag", 77)))

    assert life.gauge("pipeline_id") == {("main", "branch"): 3}
    assert list(life.gauge("child_pipeline_status")) == [("main", "acme/pad", "v2", "launch", "success")]


@pytest.mark.parametrize(("of", "name"), [("name", "trunk"), ("class", "default")])
def test_what_triggered_a_pipeline_is_called_as_in_its_own_project(of: str, name: str) -> None:
    life = Life(Options.model_validate({"labels": {"ref": of}}))
    rules = ProjectOptions.model_validate({"refs": {"branches": {"regexp": "^trunk$"}}})
    life.engine.watch(Project(502, "acme/pad", "trunk"), rules, START)
    life.take(pipeline(3, source="pipeline", upstream=Upstream("acme/pad", "trunk", "launch", "branch", 77)))

    counted, shown = life.total("child_pipeline_run_count"), life.gauge("child_pipeline_status")
    assert [labels[3] for labels in counted] == [labels[2] for labels in shown] == [name]


# -- reports ---------------------------------------------------------------------------------------------

REPORT = Report(Totals(12.5, 6, 3, 1, 1, 1), (("unit", Totals(12.5, 6, 3, 1, 1, 1)),))


def test_a_test_report_is_shown_until_a_newer_one_comes() -> None:
    life = Life()
    life.take(pipeline(1))
    life.engine.report(ROCKET.id, pipeline(1), REPORT)
    life.take(pipeline(2, "running"))
    found = {update.family.name: update.value for update in life.gauges() if update.family.name.startswith("test_")}

    assert found == {
        "test_report_total_time_seconds": 12.5,
        "test_report_total_count": 6,
        "test_report_success_count": 3,
        "test_report_failed_count": 1,
        "test_report_skipped_count": 1,
        "test_report_error_count": 1,
        "test_suite_duration_seconds": 12.5,
        "test_suite_count": 6,
    }


def test_suites_are_called_after_their_jobs_and_those_of_shards_add_up() -> None:
    suites = tuple((name, REPORT.totals) for name in ("unit 1/2", "unit 2/2", "ui: [chrome]"))
    life = Life()
    life.take(pipeline(1))
    life.engine.report(ROCKET.id, pipeline(1), Report(REPORT.totals, suites))

    assert life.gauge("test_suite_count") == {("main", "unit"): 12, ("main", "ui"): 6}
    assert life.gauge("test_suite_duration_seconds") == {("main", "unit"): 25, ("main", "ui"): 12.5}


def test_the_report_of_an_older_pipeline_does_not_take_the_place_of_a_newer_one() -> None:
    life = Life()
    life.take(pipeline(1), pipeline(2))
    life.engine.report(ROCKET.id, pipeline(2), REPORT)
    life.engine.report(ROCKET.id, pipeline(1), Report(REPORT.totals._replace(total=99)))

    assert life.gauge("test_report_total_count") == {("main",): 6}


def test_a_test_report_is_shown_though_newer_pipelines_run_or_have_none() -> None:
    life = Life()
    life.take(pipeline(1), pipeline(2), pipeline(3, "skipped"), pipeline(4, "running"))
    life.engine.report(ROCKET.id, pipeline(1), Report(REPORT.totals._replace(total=99)))
    life.engine.report(ROCKET.id, pipeline(2), REPORT)

    assert life.gauge("test_report_total_count") == {("main",): 6}


def test_a_child_has_no_report_of_its_ref() -> None:
    life = Life()
    life.take(pipeline(1), pipeline(2))
    life.engine.report(ROCKET.id, child(2, "success", "a"), REPORT)

    assert not life.gauge("test_report_total_count")


@pytest.mark.parametrize(("number", "status", "is_wanted"), [(1, "success", False), (2, "failed", True), (4, "running", False)])
def test_a_report_is_wanted_of_what_has_ended_and_is_not_older_than_the_one_that_is_shown(
    number: int, status: str, is_wanted: bool
) -> None:
    life = Life()
    life.take(*(pipeline(one) for one in range(1, 4)), pipeline(4, "running"))
    life.engine.report(ROCKET.id, pipeline(2), REPORT)

    assert life.engine.wants_report(ROCKET.id, pipeline(number, status)) == is_wanted


# -- what has not ended ----------------------------------------------------------------------------------


def test_unfinished_pipelines_and_jobs_are_counted_by_status_with_the_age_of_the_oldest() -> None:
    life = Life()
    jobs = [job(1, "running"), job(2, "pending", created=START + 5), job(3, "pending"), job(4)]
    life.take(pipeline(1, "running", created=START + 3), pipeline(2, "running"), pipeline(3, "pending"), jobs={1: jobs})

    assert life.gauge("pipelines_unfinished") == {("running",): 2, ("pending",): 1}
    assert life.gauge("pipelines_oldest_timestamp_seconds") == {("running",): START + 3, ("pending",): START + 10}
    assert life.gauge("jobs_unfinished") == {("running",): 1, ("pending",): 2}
    assert life.gauge("jobs_oldest_timestamp_seconds") == {("running",): START + 15, ("pending",): START + 5}


def test_statuses_that_are_not_known_add_up() -> None:
    life = Life()
    told = [job(1, "frozen", created=START + 7), job(2, "thawing", created=START + 5)]
    life.take(pipeline(1, "frozen"), pipeline(2, "thawing", created=START + 3), pipeline(3, "thawing"), jobs={1: told})

    assert life.gauge("pipelines_unfinished") == {("other",): 3}
    assert life.gauge("pipelines_oldest_timestamp_seconds") == {("other",): START + 3}
    assert life.gauge("jobs_unfinished") == {("other",): 2}
    assert life.gauge("jobs_oldest_timestamp_seconds") == {("other",): START + 5}


def test_what_is_given_up_is_not_counted_as_unfinished_for_it_may_be_gone_unheard() -> None:
    life = Life()
    life.take(*(pipeline(number, "manual") for number in range(1, 13)), jobs={1: [job(1, "manual")]})
    assert (life.gauge("pipelines_unfinished"), life.gauge("jobs_unfinished")) == ({("manual",): 10}, {})

    for number in life.engine.unfinished(ROCKET.id):
        life.commit(life.engine.gone(ROCKET.id, number))

    assert not life.gauge("pipelines_unfinished")


def test_jobs_stand_as_they_were_last_read_until_their_pipeline_ends() -> None:
    life = Life()
    life.take(pipeline(1, "running"), jobs={1: [job(1, "running")]})
    life.take(pipeline(1, "running"))
    assert life.gauge("jobs_unfinished") == {("running",): 1}

    life.take(pipeline(1))

    assert not life.gauge("jobs_unfinished")
    assert not life.gauge("pipelines_unfinished")


def test_what_is_said_late_does_not_undo_what_was_said_after_it() -> None:
    life = Life()
    life.take(pipeline(1, "running", updated=START + 30))
    life.take(pipeline(1, "pending", updated=START + 20))
    assert life.gauge("pipelines_unfinished") == {("running",): 1}

    life.take(pipeline(1))
    life.take(pipeline(1, "running", updated=START + 30))

    assert not life.gauge("pipelines_unfinished")
    assert life.gauge("pipeline_status") == {("main", "branch", "push", "success"): 1}


@given(st.integers(0, 1 << 32).map(Random))
def test_the_state_is_the_same_in_whatever_order_it_is_told(random: Random) -> None:
    told = [pipeline(1, "running", updated=START + 11), pipeline(1), pipeline(2, "pending", updated=START + 12)]
    told += [pipeline(2, "running", updated=START + 40), pipeline(2, "failed", updated=START + 120)]
    heard = random.sample(told, len(told))
    life, ordered = Life(), Life()
    life.take(*heard)
    ordered.take(*told)

    for name in ("pipeline_id", "pipeline_status", "pipeline_last_run_timestamp_seconds", "pipelines_unfinished"):
        assert life.gauge(name) == ordered.gauge(name)


# -- versions --------------------------------------------------------------------------------------------


def test_only_projects_whose_gauges_have_changed_are_named() -> None:
    life = Life()
    life.engine.watch(ROCKET._replace(id=502, path="acme/pad"), life.rules, START)
    life.take(pipeline(1))
    changed, version = life.engine.changed_since(-1)
    assert sorted(changed) == [501, 502]

    life.take(pipeline(1))
    assert life.engine.changed_since(version) == ([], version)

    life.take(pipeline(1, "running", updated=START + 3000))
    assert life.engine.changed_since(version)[0] == [501]


def test_a_project_that_is_forgotten_has_changed() -> None:
    life = Life()
    _, version = life.engine.changed_since(-1)
    life.engine.forget(ROCKET.id)

    assert life.engine.changed_since(version)[0] == [ROCKET.id]
