"""Bodies of GitLab's webhooks, read."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.gitlab import payload
from agent.sources.gitlab.objects import Job, Pipeline
from agent.sources.gitlab.parsed import MAX_TEXT, MalformedError
from tests.gitlab_engine import START

BUILD: dict[str, Any] = {
    "id": 100,
    "stage": "test",
    "name": "unit",
    "status": "failed",
    "created_at": "2026-09-21 14:13:20 UTC",
    "started_at": "2026-09-21 14:13:25 UTC",
    "finished_at": "2026-09-21 14:13:55 UTC",
    "duration": 30.25,
    "queued_duration": 5.5,
    "failure_reason": "script_failure",
    "allow_failure": False,
    "runner": {"id": 3, "runner_type": "group_type", "is_shared": False},
}
BODY: dict[str, Any] = {
    "object_kind": "pipeline",
    "object_attributes": {
        "id": 1,
        "ref": "main",
        "tag": False,
        "source": "push",
        "status": "failed",
        "detailed_status": "failed",
        "created_at": "2026-09-21 14:13:20 UTC",
        "finished_at": "2026-09-21 14:15:00 UTC",
        "duration": 80,
        "queued_duration": 10,
    },
    "merge_request": None,
    "project": {"id": 501, "path_with_namespace": "acme/rocket"},
    "builds": [BUILD],
}


def body(**changed: Any) -> dict[str, Any]:
    """BODY with other attributes of the pipeline, or other things beside them."""
    beside = {key: value for key, value in changed.items() if key in ("merge_request", "builds", "source_pipeline", "project")}
    attributes = {key: value for key, value in changed.items() if key not in beside}
    return {**BODY, "object_attributes": {**BODY["object_attributes"], **attributes}, **beside}


def test_a_pipeline_and_its_builds_are_read() -> None:
    told = payload.pipeline_of(BODY)

    assert told.latest == START + 100
    assert told.pipeline == Pipeline(
        1, "failed", "main", "branch", "push", START, START + 100, finished=START + 100, duration=80, queued=10
    )
    assert told.jobs == (
        Job(
            100,
            "unit",
            "test",
            "failed",
            START,
            START + 5,
            START + 35,
            30,
            5,
            runner_type="group",
            failure_reason="script_failure",
        ),
    )
    assert not told.lost
    assert not told.is_downstream


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({"tag": True}, "tag"), ({"tag": None}, "branch"), ({"tag": False, "merge_request": {"iid": 7}}, "merge_request")],
)
def test_a_pipeline_ran_for_a_branch_a_tag_or_a_merge_request(changed: dict[str, Any], kind: str) -> None:
    assert payload.pipeline_of(body(**changed)).pipeline.kind == kind


def test_a_merge_request_is_known_by_its_number_and_state() -> None:
    pipeline = payload.pipeline_of(body(merge_request={"iid": 7, "state": "opened"})).pipeline

    assert (pipeline.merge_request, pipeline.merge_request_state) == (7, "opened")


def test_success_with_warnings_is_known_by_its_detailed_status() -> None:
    told = body(status="success", detailed_status="passed with warnings")

    assert payload.pipeline_of(told).pipeline.status == "success_with_warnings"


@pytest.mark.parametrize(
    "changed", [{"source": "pipeline"}, {"source": "parent_pipeline"}, {"source_pipeline": {"pipeline_id": 1}}]
)
def test_a_pipeline_that_another_one_triggered_is_known_as_such(changed: dict[str, Any]) -> None:
    assert payload.pipeline_of(body(**changed)).is_downstream


def test_a_failure_that_was_allowed_is_a_status_of_its_own() -> None:
    told = payload.pipeline_of(body(builds=[{**BUILD, "allow_failure": True}]))

    assert [(job.status, job.failure_reason) for job in told.jobs] == [("failed_with_warnings", "script_failure")]


def test_a_build_that_did_not_fail_has_no_reason() -> None:
    told = payload.pipeline_of(body(builds=[{**BUILD, "status": "success"}]))

    assert told.jobs[0].failure_reason == ""


@pytest.mark.parametrize(
    ("runner", "kind"),
    [
        (None, "unknown"),
        ({"is_shared": True}, "instance"),
        ({"is_shared": False}, "unknown"),
        ({"runner_type": "martian_type", "is_shared": True}, "unknown"),
        ({"runner_type": "project_type", "is_shared": True}, "project"),
    ],
)
def test_runners_are_known_by_their_type_or_as_shared(runner: Any, kind: str) -> None:
    assert payload.pipeline_of(body(builds=[{**BUILD, "runner": runner}])).jobs[0].runner_type == kind


BAD_BUILDS: list[object] = [
    None,
    7,
    [],
    {},
    {**BUILD, "id": "100"},
    {**BUILD, "id": -1},
    {**BUILD, "id": True},
    {**BUILD, "id": 1 << 70},
    {**BUILD, "name": 5},
    {**BUILD, "status": None} | {"created_at": None},
    {**BUILD, "created_at": "yesterday"},
    {**BUILD, "started_at": "0001-01-01 00:00:00 UTC"},
    {**BUILD, "finished_at": 1234},
]


@pytest.mark.parametrize("bad", BAD_BUILDS)
def test_a_build_that_makes_no_sense_is_lost_alone(bad: object) -> None:
    told = payload.pipeline_of(body(builds=[bad, BUILD]))

    assert ([job.id for job in told.jobs], told.lost) == ([100], 1)


def test_builds_beyond_the_limit_are_lost() -> None:
    told = payload.pipeline_of(body(builds=[BUILD] * (payload.MAX_BUILDS + 2)))

    assert (len(told.jobs), told.lost) == (payload.MAX_BUILDS, 2)


@pytest.mark.parametrize(
    "bad",
    [
        {"object_attributes": None},
        {"object_attributes": []},
        body(id=None),
        body(id=1.5),
        body(created_at=None),
        body(created_at="2026-09-21 14:13:20"),
        body(finished_at="soon"),
        body(ref=3),
        body(builds={}),
        body(merge_request={"iid": "x"}),
    ],
)
def test_a_pipeline_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        payload.pipeline_of(bad)


def test_long_names_and_half_characters_are_cut_and_mended() -> None:
    told = payload.pipeline_of(body(ref="r" * 999, builds=[{**BUILD, "name": "a\ud800"}]))

    assert len(told.pipeline.ref) == MAX_TEXT
    assert told.jobs[0].name == "a?"


@pytest.mark.parametrize(
    ("found", "number"),
    [({"project": {"id": 7}, "project_id": 8}, 7), ({"project_id": 8}, 8), ({"project": 3, "project_id": 9}, 9)],
)
def test_the_project_is_told_in_one_of_two_places(found: dict[str, Any], number: int) -> None:
    assert payload.project_of(found) == number


def test_a_body_without_a_project_is_refused() -> None:
    with pytest.raises(MalformedError):
        payload.project_of({"project": {"id": None}})


NOWHERE = "0" * 40


@pytest.mark.parametrize(
    ("ref", "after", "deleted"),
    [
        ("refs/heads/topic/x", NOWHERE, ("branch", "topic/x")),
        ("refs/tags/v1", NOWHERE, ("tag", "v1")),
        ("refs/heads/main", "0" * 64, ("branch", "main")),
        ("refs/heads/main", "1" + NOWHERE[1:], None),
        ("refs/heads/main", "", None),
        ("refs/notes/x", NOWHERE, None),
    ],
)
def test_a_push_to_nowhere_deletes_its_ref(ref: str, after: str, deleted: tuple[str, str] | None) -> None:
    assert payload.deleted_ref_of({"ref": ref, "after": after}) == deleted


def places(found: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in an object."""
    inside: list[tuple[Any, ...]] = []
    for key in found if isinstance(found, dict) else range(len(found)) if isinstance(found, list) else ():
        inside += [(*path, key), *places(found[key], (*path, key))]
    return inside


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(places(BODY)), ANYTHING)
def test_whatever_stands_anywhere_in_a_body_is_read_or_refused(place: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(BODY)
    inside = changed
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value

    try:
        told = payload.pipeline_of(changed)
        payload.project_of(changed)
    except MalformedError:
        return
    assert isinstance(told.pipeline.id, int)
    assert all(job.duration is None or job.duration >= 0 for job in told.jobs)
    assert "\n" not in told.pipeline.kind
