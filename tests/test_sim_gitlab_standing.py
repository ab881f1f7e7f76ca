"""How a simulated GitLab stands at a moment, worked out by hand in worlds of few pipelines."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sim.gitlab import objects
from agent.sim.gitlab.flat import TOKEN, URL
from agent.sim.gitlab.objects import Upstream
from agent.sim.gitlab.places import MergeRequest, Project, Ref, Token, World
from agent.sim.gitlab.standing import standing
from tests.test_sim_gitlab_truth import GROUP, NOW, USER, job, pipeline, project

PATH = "harbour/p5"


def at(where: Project, now: float, family: str) -> dict[tuple[str, ...], float]:
    """Values of one family by label values, in the order of the labels' names."""
    world = World(1, NOW, 100, URL, (GROUP,), (USER,), (where,), {TOKEN: Token(TOKEN, USER)})
    return {tuple(text for _, text in labels): value for (name, labels), value in standing(world, now).items() if name == family}


def with_main(**given: Any) -> Project:
    """A project that has a main branch."""
    return project(branches=(Ref("main", 0),), **given)


def test_a_ref_shows_its_newest_pipeline() -> None:
    where = with_main()
    pipeline(job(), where=where)
    pipeline(job(created=NOW + 500, queued=NOW + 500, started=NOW + 510, ended=NOW + 600), where=where, id=10, created=NOW + 500)

    assert at(where, NOW + 300, "pipeline_id") == {("branch", PATH, "main"): 9}
    assert at(where, NOW + 550, "pipeline_id") == {("branch", PATH, "main"): 10}
    assert at(where, NOW + 550, "pipeline_status") == {("branch", PATH, "main", "push", "running"): 1}
    assert at(where, NOW + 550, "pipeline_last_run_timestamp_seconds") == {("branch", PATH, "main"): NOW + 67}


def test_coverage_stays_what_it_was_until_a_pipeline_tells_another() -> None:
    where = with_main()
    pipeline(job(coverage=81.5), where=where)
    pipeline(job(created=NOW + 500, queued=NOW + 500, started=NOW + 510, ended=NOW + 600), where=where, id=10, created=NOW + 500)

    assert at(where, NOW + 700, "pipeline_coverage") == {("branch", PATH, "main"): 81.5}


def test_a_ref_that_no_rule_names_is_not_shown() -> None:
    where = project(branches=(Ref("feature/x", 0),))
    pipeline(job(), where=where, ref="feature/x")

    assert not at(where, NOW + 10, "pipeline_status")


def test_a_branch_ends_with_its_deletion() -> None:
    where = project(branches=(Ref("main", 0, NOW + 100),))
    pipeline(job(), where=where)

    assert at(where, NOW + 99, "pipeline_status")
    assert not at(where, NOW + 100, "pipeline_status")


@pytest.mark.parametrize(("moment", "shown"), [(NOW + 50, {"!3"}), (NOW + 200, set())])
def test_a_merge_request_is_shown_by_its_number_until_it_is_closed(moment: int, shown: set[str]) -> None:
    request = MergeRequest(1, 3, "t", "feature/x", "main", USER, NOW, closed=NOW + 100)
    where = project()
    pipeline(job(), where=where, ref="refs/merge-requests/3/head", merge_request=request)

    assert {labels[2] for labels in at(where, moment, "pipeline_id")} == shown


def test_jobs_are_shown_as_they_are_and_of_retried_ones_the_last() -> None:
    first = job(status="failed", failure_reason="script_failure", retried_at=NOW + 67)
    again = job(id=2, created=NOW + 67, queued=NOW + 67, started=NOW + 70, ended=NOW + 90)
    where = with_main()
    pipeline(first, again, where=where)

    assert at(where, NOW + 80, "job_status") == {("unit", PATH, "main", "test", "running"): 1}
    assert at(where, NOW + 95, "job_status") == {("unit", PATH, "main", "test", "success"): 1}


def test_children_are_shown_with_the_ref_of_the_first_pipeline() -> None:
    where = with_main()
    parent = pipeline(job(spec={"kind": "BRIDGE"}), where=where)
    pipeline(job(id=2), where=where, id=10, source="parent_pipeline", upstream=Upstream(parent, parent.jobs[0]))

    assert at(where, NOW + 10, "child_pipeline_status") == {("unit", PATH, "main", PATH, "main", "running"): 1}


def test_what_has_not_ended_is_counted_with_the_oldest_of_it() -> None:
    where = project()
    for number, delay in enumerate((0, 3)):
        begin = NOW + delay
        late = job(id=number, created=begin, queued=begin + 1, started=begin + 1, ended=begin + 50)
        pipeline(late, where=where, id=9 + number, created=begin, ref="feature/x")

    assert at(where, NOW + 20, "pipelines_unfinished") == {(PATH, "running"): 2}
    assert at(where, NOW + 20, "jobs_oldest_timestamp_seconds") == {(PATH, "running"): NOW}
    assert not at(where, NOW + 60, "jobs_unfinished")


def test_a_test_report_is_shown_in_sums() -> None:
    where = with_main()
    cases = (objects.TestCase("a", "m", "success", 0.5), objects.TestCase("b", "m", "failed", 0.25))
    pipeline(job(), where=where).report = (objects.TestSuite("unit", cases),)

    assert at(where, NOW + 100, "test_report_total_time_seconds") == {(PATH, "main"): 0.75}
    assert at(where, NOW + 100, "test_report_failed_count") == {(PATH, "main"): 1}
    assert at(where, NOW + 100, "test_suite_count") == {(PATH, "main", "unit"): 2}
    assert not at(where, NOW + 10, "test_report_total_count")


def test_of_pipelines_that_overlap_the_report_of_the_newest_that_has_ended_with_one_is_shown() -> None:
    where = with_main()
    pipeline(job(), where=where).report = (suite("a"),)
    pipeline(job(), where=where, id=10).report = (suite("a", "b"),)
    pipeline(job(ended=NOW + 30), where=where, id=11)
    pipeline(job(ended=NOW + 500), where=where, id=12).report = (suite("a", "b", "c"),)

    assert at(where, NOW + 100, "test_report_total_count") == {(PATH, "main"): 2}
    assert at(where, NOW + 500, "test_report_total_count") == {(PATH, "main"): 3}


def suite(*names: str) -> objects.TestSuite:
    """One of these cases, all well."""
    return objects.TestSuite("unit", tuple(objects.TestCase(name, "m", "success", 0.5) for name in names))
