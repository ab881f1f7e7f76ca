"""GitLab's REST objects, read into types: what is there, what is missing, and what makes no sense."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.gitlab import parsed
from agent.sources.gitlab.deployments import deployment_of
from agent.sources.gitlab.objects import FINAL, Project, Totals
from agent.sources.gitlab.parsed import MalformedError, job_of, pipeline_of, project_of, readable, report_of, seconds
from agent.sources.gitlab.rest_details import row_of
from tests.gitlab_rest import NOW, Json, Run, job, moment

FOLDER = Path(__file__).parents[2] / "shared" / "gitlab" / "rest-recorded"
RECORDED = sorted(FOLDER.glob("*.json"))
needs_recorded = pytest.mark.skipif(not RECORDED, reason=f"no recorded answers in {FOLDER}")


def pipeline(**keys: Any) -> Json:
    return Run(1).page() | keys


# -- times and numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-03-02T10:00:00Z", 1772445600),
        ("2026-03-02T10:00:00.999Z", 1772445600),
        ("2026-03-02T11:00:00.000+01:00", 1772445600),
        ("2026-03-02T10:00:00", None),
        ("2026-03-02", None),
        ("0001-01-01T00:00:00Z", None),
        ("12026-03-02T10:00:00Z", None),
        ("", None),
        (None, None),
        (1772445600, None),
    ],
)
def test_times_are_whole_seconds_or_nothing(text: object, second: int | None) -> None:
    assert seconds(text) == second


@pytest.mark.parametrize(
    ("found", "duration"), [(82.99, 82), (0, 0), (0.2, 0), (None, None), (-1, None), (1e12, None), ("9", None)]
)
def test_durations_are_cut_to_whole_seconds(found: object, duration: int | None) -> None:
    assert parsed.duration(found) == duration


def test_a_duration_that_is_no_number_is_none() -> None:
    assert parsed.duration(float("nan")) is None


@pytest.mark.parametrize(
    ("found", "coverage"), [("81.5", 81.5), (81.5, 81.5), (None, None), ("n/a", None), ("nan", None), ("101", None)]
)
def test_coverage_is_text_or_a_number(found: object, coverage: float | None) -> None:
    assert parsed.percent(found) == coverage


# -- pipelines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "tag", "kind", "number"),
    [
        ("main", False, "branch", 0),
        ("v1", True, "tag", 0),
        ("refs/merge-requests/12/head", False, "merge_request", 12),
        ("refs/merge-requests/12/merge", False, "merge_request", 12),
        ("refs/merge-requests/12/train", False, "merge_request", 12),
    ],
)
def test_what_a_pipeline_ran_for_is_told_by_its_ref(ref: str, tag: bool, kind: str, number: int) -> None:
    found = pipeline_of(pipeline(ref=ref, tag=tag))

    assert (found.kind, found.merge_request) == (kind, number)


@pytest.mark.parametrize(
    ("status", "group", "expected"),
    [
        ("success", "success-with-warnings", "success_with_warnings"),
        ("success", "success", "success"),
        ("failed", "failed", "failed"),
        ("waiting_for_resource", "waiting-for-resource", "waiting_for_resource"),
    ],
)
def test_warnings_are_a_status_of_their_own(status: str, group: str, expected: str) -> None:
    assert pipeline_of(pipeline(status=status, detailed_status={"group": group})).status == expected


def test_a_pipeline_that_was_refused_has_an_end_and_no_beginning() -> None:
    found = pipeline_of(pipeline(status="failed", started_at=None, duration=None, queued_duration=None))

    assert (found.is_final, found.started, found.duration, found.queued) == (True, None, None, None)
    assert found.finished == NOW - 100


@pytest.mark.parametrize("key", ["source", "ref", "coverage", "detailed_status", "tag", "updated_at", "finished_at"])
def test_what_an_old_version_does_not_tell_is_no_error(key: str) -> None:
    assert pipeline_of({name: value for name, value in pipeline().items() if name != key}).id == 1


@pytest.mark.parametrize(
    "wrong", [{"id": "1"}, {"id": True}, {"id": -1}, {"id": 1 << 70}, {"created_at": None}, {"ref": 5}, {"status": []}]
)
def test_a_pipeline_that_cannot_be_one_is_malformed(wrong: Json) -> None:
    with pytest.raises(MalformedError):
        pipeline_of(pipeline(**wrong))


def test_texts_are_cut_and_can_be_sent() -> None:
    found = pipeline_of(pipeline(ref="ä" * 1000 + "\ud800"))

    assert found.ref == "ä" * 255
    assert pipeline_of(pipeline(ref="\ud800")).ref == "?"


# -- jobs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "allowed", "found"),
    [
        ("failed", True, "failed_with_warnings"),
        ("failed", False, "failed"),
        ("success", True, "success"),
        ("canceled", True, "canceled"),
    ],
)
def test_a_failure_that_is_allowed_is_a_status_of_its_own(status: str, allowed: bool, found: str) -> None:
    assert job_of(job(1, status=status, allow_failure=allowed)).status == found


def test_a_reason_is_told_of_failures_only() -> None:
    assert job_of(job(1, status="success", failure_reason="script_failure")).failure_reason == ""
    assert job_of(job(1, status="failed", failure_reason="script_failure")).failure_reason == "script_failure"


@pytest.mark.parametrize(
    ("runner", "kind"),
    [
        ({"runner_type": "instance_type"}, "instance"),
        ({"runner_type": "project_type"}, "project"),
        (None, "unknown"),
        ({}, "unknown"),
        ("x", "unknown"),
    ],
)
def test_types_of_runners_are_few(runner: object, kind: str) -> None:
    assert job_of(job(1, runner=runner)).runner_type == kind


def test_artifacts_are_summed_and_none_is_not_nothing() -> None:
    assert job_of(job(1)).artifacts_bytes == 1024
    assert job_of(job(1, artifacts=[])).artifacts_bytes == 0
    assert job_of(job(1, artifacts=None)).artifacts_bytes is None


# -- others ----------------------------------------------------------------------------------------------


def test_a_project_without_a_default_branch_has_none() -> None:
    found = project_of({"id": 4, "path_with_namespace": "acme/empty", "default_branch": None})

    assert found == Project(4, "acme/empty")


@pytest.mark.parametrize("path", ["", "acme", None, 7])
def test_a_project_needs_its_full_path(path: object) -> None:
    with pytest.raises(MalformedError):
        project_of({"id": 4, "path_with_namespace": path})


def test_of_a_list_only_what_is_malformed_is_lost() -> None:
    malformed: Counter[str] = Counter()
    found = list(readable("job", [job(1), None, 5, [], "x", job(2, id=None), job(3)], job_of, malformed))

    assert [each.id for each in found] == [1, 3]
    assert malformed == {"job": 5}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(moment(NOW)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["group", "name", "size", "runner_type"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PARSERS = {
    "pipeline": (pipeline_of, Run(1).page()),
    "job": (job_of, job(1)),
    "row": (row_of, Run(1).row()),
    "project": (project_of, {"id": 1, "path_with_namespace": "a/b", "default_branch": "main", "created_at": moment(NOW)}),
    "report": (report_of, {"total": {}, "test_suites": []}),
    "deployment": (deployment_of, {"id": 1, "status": "success", "environment": {}, "deployable": {}, "updated_at": moment(NOW)}),
}


@given(st.sampled_from(sorted(PARSERS)), st.data())
def test_whatever_an_object_holds_it_is_read_or_malformed(kind: str, data: st.DataObject) -> None:
    parse, good = PARSERS[kind]
    keys = data.draw(st.dictionaries(st.sampled_from(sorted(good)), ANY, max_size=4))
    malformed: Counter[str] = Counter()

    found = list(readable(kind, [good | keys], parse, malformed))

    assert len(found) + malformed[kind] == 1


# -- what GitLab itself answered -------------------------------------------------------------------------


def recorded(pattern: str) -> list[Any]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob(pattern))]


@needs_recorded
def test_recorded_pipelines_are_read_whole() -> None:
    found = [pipeline_of(each) for each in recorded("pipeline_??????????.json")]

    assert [each.status for each in found] == ["failed", "success", "success_with_warnings", "success_with_warnings"]
    assert [each.duration for each in found] == [None, 271, 287, 249]
    assert all(each.source == "push" and each.kind == "branch" for each in found)


@needs_recorded
def test_recorded_jobs_and_lists_are_read_whole() -> None:
    malformed: Counter[str] = Counter()
    jobs = [each for listed in recorded("*_jobs.json") for each in readable("job", listed, job_of, malformed)]
    rows = [each for listed in recorded("pipelines.json") for each in readable("row", listed, row_of, malformed)]

    assert len(jobs) > 5
    assert len(rows) > 5
    assert malformed == {}
    assert all(each.status in FINAL and each.duration is not None and each.runner_type == "instance" for each in jobs)


@needs_recorded
def test_recorded_reports_are_read_whole() -> None:
    reports = [report_of(each) for each in recorded("*_test_report_summary.json")]

    assert any(report.totals == Totals(0.0, 13, 13, 0, 0, 0) for report in reports)
