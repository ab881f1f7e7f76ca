"""Which refs have names of their own."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sources.gitlab.objects import BRANCH, MERGE_REQUEST, TAG, Upstream
from agent.sources.gitlab.options import ProjectOptions
from agent.sources.gitlab.refs import Rules, is_child, ref_name
from tests.gitlab_engine import pipeline


def rules(*, by_class: bool = False, **refs: Any) -> Rules:
    return Rules(ProjectOptions.model_validate({"refs": refs}), by_class=by_class)


@pytest.mark.parametrize(
    ("kind", "ref", "label"),
    [
        (BRANCH, "main", "main"),
        (BRANCH, "release/7", "release/7"),
        (BRANCH, "maintenance", "other"),
        (BRANCH, "release", "release"),
        (BRANCH, "releases", "release"),
        (BRANCH, "releases/7", "release"),
        (BRANCH, "release-7", "release"),
        (BRANCH, "releasing", "other"),
        (BRANCH, "v1", "other"),
        (BRANCH, "", "other"),
        (TAG, "v1.0", "v1.0"),
        (TAG, "main", "tag"),
        (MERGE_REQUEST, "refs/merge-requests/3/head", "merge_request"),
        (MERGE_REQUEST, "main", "merge_request"),
    ],
)
def test_refs_that_the_rules_choose_keep_their_names_and_others_get_their_class(kind: str, ref: str, label: str) -> None:
    assert rules().label(kind, ref, "main") == label


@pytest.mark.parametrize(
    ("kind", "ref", "label"),
    [
        (BRANCH, "main", "default"),
        (BRANCH, "develop", "other"),
        (BRANCH, "release/7", "release"),
        (TAG, "v1.0", "tag"),
        (TAG, "main", "tag"),
        (MERGE_REQUEST, "x", "merge_request"),
    ],
)
def test_by_class_no_ref_keeps_its_name(kind: str, ref: str, label: str) -> None:
    assert rules(by_class=True).label(kind, ref, "main") == label


def test_without_a_default_branch_no_branch_is_the_default() -> None:
    assert rules(by_class=True).label(BRANCH, "", "") == "other"


def test_a_pattern_is_found_anywhere_in_a_name() -> None:
    assert rules(branches={"regexp": "fix"}).label(BRANCH, "hotfix/1", "main") == "hotfix/1"


def test_branches_that_are_off_get_their_class() -> None:
    off = rules(branches={"enabled": False}, tags={"enabled": False})

    assert [off.label(BRANCH, "main", "main"), off.label(TAG, "v1", "main")] == ["other", "tag"]


def test_by_class_the_state_of_the_default_branch_is_shown_alone() -> None:
    found = rules(by_class=True)

    shown = [found.shown(*ref, "main") for ref in ((BRANCH, "main"), (BRANCH, "develop"), (TAG, "v1"), (MERGE_REQUEST, "!3"))]

    assert shown == ["default", "", "", ""]


def test_by_class_the_default_branch_is_shown_whatever_it_is_called_unless_branches_are_off() -> None:
    assert rules(by_class=True).shown(BRANCH, "trunk", "trunk") == "default"
    assert rules(by_class=True).shown(BRANCH, "", "") == ""
    assert rules(by_class=True, branches={"enabled": False}).shown(BRANCH, "trunk", "trunk") == ""


def test_merge_requests_are_shown_by_number_unless_they_are_off() -> None:
    assert rules().shown(MERGE_REQUEST, "!3", "main") == "!3"
    assert rules(merge_requests={"enabled": False}).shown(MERGE_REQUEST, "!3", "main") == ""


@pytest.mark.parametrize(
    ("states", "state", "is_shown"),
    [
        (["opened"], "opened", True),
        (["opened"], "closed", False),
        (["opened"], "", True),
        (["all"], "locked", True),
    ],
)
def test_merge_requests_are_shown_in_the_states_that_are_named(states: list[str], state: str, is_shown: bool) -> None:
    assert rules(merge_requests={"states": states}).takes_state(state) == is_shown


@pytest.mark.parametrize(
    ("ref", "number", "name"),
    [
        ("refs/merge-requests/12/merge", 0, "!12"),
        ("topic", 12, "!12"),
        ("refs/merge-requests/12/train", 12, "!12"),
        ("?", 0, "?"),
    ],
)
def test_a_merge_request_is_called_by_its_number(ref: str, number: int, name: str) -> None:
    assert ref_name(MERGE_REQUEST, ref, number) == name


def test_a_branch_that_is_called_like_a_merge_request_is_a_branch() -> None:
    assert ref_name(BRANCH, "refs/merge-requests/12/head", 12) == "refs/merge-requests/12/head"


@pytest.mark.parametrize(
    ("source", "upstream", "found"),
    [
        ("parent_pipeline", None, True),
        ("pipeline", Upstream("acme/rocket", "main", "x"), False),
        ("", Upstream("acme/rocket", "main", "x"), True),
        ("", Upstream("acme/other", "main", "x"), False),
        ("", None, False),
    ],
)
def test_a_child_is_what_a_pipeline_of_the_same_project_triggered(source: str, upstream: Upstream | None, found: bool) -> None:
    assert is_child(pipeline(source=source, upstream=upstream), "acme/rocket") == found
