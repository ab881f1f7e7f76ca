"""What GraphQL tells, read: anything at all is an object or malformed, and never more than that."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.gitlab.nodes import JobReader, cursor_of, moment_text, nodes_of, pipelines_of, report_of
from agent.sources.gitlab.parsed import MalformedError, seconds
from tests.gitlab_api import NOW, child, job, pipeline

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("gid://gitlab/Ci::Build/7"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["nodes", "size", "name", "id", "project"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(job(1))), ANYTHING))
def test_any_job_is_read_or_counted(broken: dict[str, Any]) -> None:
    malformed: Counter[str] = Counter()

    found = JobReader(True, malformed).jobs([{**job(1), **broken}])

    is_other = str(broken.get("id", "")).startswith("gid://gitlab/") and not found and not malformed
    assert len(found) + malformed["job"] + is_other == 1
    for one in found:
        numbers = (one.id, one.created, one.started, one.finished, one.duration, one.queued, one.artifacts_bytes)
        assert all(value is None or type(value) is int for value in numbers)
        assert all(type(value) is str and len(value) <= 250 for value in (one.name, one.stage, one.status, one.failure_reason))


@given(st.dictionaries(st.sampled_from(sorted({**child(1), "mergeRequest": 1, "downstream": 1})), ANYTHING))
def test_any_pipeline_is_read_or_counted(broken: dict[str, Any]) -> None:
    malformed: Counter[str] = Counter()

    found = list(pipelines_of([{**child(1), **broken}], "acme/shop-1", False, malformed))

    assert len(found) + malformed["pipeline"] >= 1
    for one in found:
        assert all(value is None or type(value) is int for value in (one.created, one.started, one.finished, one.duration))
        assert one.kind in ("branch", "tag", "merge_request")


@given(ANYTHING)
def test_anything_that_is_no_object_is_counted(found: Any) -> None:
    malformed: Counter[str] = Counter()

    assert JobReader(True, malformed).jobs([found]) == []
    assert list(pipelines_of([found], "acme/shop", False, malformed)) == []
    assert malformed["pipeline"] == 1


@given(ANYTHING)
def test_any_page_has_nodes_and_a_cursor_or_none(found: Any) -> None:
    assert isinstance(nodes_of(found), list)
    assert isinstance(cursor_of({"pageInfo": found}), str)


@given(ANYTHING)
def test_any_report_is_one_or_malformed(found: Any) -> None:
    with pytest.raises((MalformedError, TypeError, AttributeError)):
        report_of({"total": {"time": found, "count": found}})


def test_names_and_times_that_come_often_are_kept_once() -> None:
    jobs = JobReader(True, Counter()).jobs([job(number, name="".join(["com", "pile"])) for number in range(2)])

    assert jobs[0].name is jobs[1].name
    assert jobs[0].created is jobs[1].created


def test_sizes_that_are_none_are_left_out_of_the_sum() -> None:
    found: tuple[Any, ...] = ("12", 30, None, "many", -5, 1e400, {}, "9" * 30)
    sizes = [{"size": size} for size in found]

    assert JobReader(True, Counter()).jobs([job(1, artifacts={"nodes": [*sizes, None]})])[0].artifacts_bytes == 42


def test_a_moment_is_written_as_it_is_read() -> None:
    assert seconds(moment_text(NOW)) == NOW


def test_children_below_what_triggered_them_are_read_and_those_of_other_projects_are_not() -> None:
    mine, other = {"fullPath": "acme/shop-1"}, {"fullPath": "acme/base"}
    grandchild = child(9, project=mine)
    below = [child(8, project=mine, downstream={"nodes": [grandchild]}), pipeline(70, project=other), None]

    found = pipelines_of([pipeline(7, downstream={"nodes": below})], "acme/shop-1", False, Counter())

    assert [(one.id, one.source) for one in found] == [(7, "push"), (8, "parent_pipeline"), (9, "parent_pipeline")]
