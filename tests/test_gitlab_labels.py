"""Labels of the GitLab source."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.gitlab import labels
from agent.sources.gitlab.label_options import LabelsOptions
from agent.sources.gitlab.labels import Labeller
from agent.sources.gitlab.parsed import job_of
from agent.sources.keys import Rewrite
from tests.gitlab_engine import job

PLAIN = Labeller(LabelsOptions(), with_runners=True)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("rspec 3/8", "rspec"),
        ("rspec unit 12/100", "rspec unit"),
        ("deploy: [eu, blue]", "deploy"),
        ("deploy: [eu]: [x]", "deploy"),
        ("deploy: [eu] 2/3", "deploy"),
        ("deploy:eu", "deploy:eu"),
        ("build 3", "build 3"),
        ("build3/8", "build3/8"),
        ("docs/a 1/2 draft", "docs/a 1/2 draft"),
        (": [a]", ": [a]"),
        (" 1/2", " 1/2"),
        ("list]", "list]"),
        ("", ""),
    ],
)
def test_a_job_name_loses_what_tells_it_from_its_like(name: str, short: str) -> None:
    assert PLAIN.job_name(name) == short


def test_job_names_are_rewritten_by_the_first_rule_that_matches_all_of_them() -> None:
    rules = [Rewrite(regex=r"test (\w+)", replacement=r"test-\1"), Rewrite(regex=r"test.*", replacement="tests")]
    labeller = Labeller(LabelsOptions(job_names=rules), with_runners=True)

    assert [labeller.job_name(name) for name in ("test unit 1/2", "test unit now", "a test x")] == [
        "test-unit",
        "tests",
        "a test x",
    ]


def test_a_rule_that_leaves_nothing_of_a_name_leaves_the_name() -> None:
    labeller = Labeller(LabelsOptions(job_names=[Rewrite(regex=r"b(.*)", replacement=r"\1")]), with_runners=True)

    assert [labeller.job_name(name) for name in ("b", "bun", "b 1/2")] == ["b", "un", "b"]


@pytest.mark.parametrize("suffix", [" 10/12", ": [eu, 1]"])
def test_the_longest_name_that_gitlab_allows_loses_it_too(suffix: str) -> None:
    told = "y" * (255 - len(suffix)) + suffix
    read = job_of({"id": 1, "name": told, "stage": "s", "status": "success", "created_at": "2026-01-01T00:00:00Z"})

    assert PLAIN.job_name(read.name) == told.removesuffix(suffix)


@given(st.text(max_size=60))
def test_no_name_becomes_empty_or_longer(name: str) -> None:
    short = PLAIN.job_name(name)

    assert name.startswith(short)
    assert bool(short) == bool(name)


@given(st.text(alphabet="ab :[]/123,", max_size=30))
def test_names_are_cut_as_the_two_forms_say(name: str) -> None:
    once = re.sub(r" [0-9]+/[0-9]+\Z", "", name)

    assert PLAIN.job_name(name) == (re.sub(r": \[.*\]\Z", "", once) or name)


@pytest.mark.parametrize(
    ("status", "told", "reason"),
    [
        ("failed", "script_failure", "script_failure"),
        ("failed_with_warnings", "script_failure", "script_failure"),
        ("failed", "made_up_failure", "other"),
        ("failed", "", "unknown_failure"),
        ("success", "script_failure", ""),
        ("canceled", "unknown_failure", ""),
    ],
)
def test_failure_reasons_are_words_of_a_list_and_of_failed_jobs_only(status: str, told: str, reason: str) -> None:
    assert PLAIN.failure_reason(job(1, status, failure_reason=told)) == reason


def test_the_list_of_failure_reasons_can_be_another() -> None:
    labeller = Labeller(LabelsOptions(failure_reasons=["my_failure"]), with_runners=True)

    found = [labeller.failure_reason(job(1, "failed", failure_reason=told)) for told in ("my_failure", "script_failure", "")]

    assert found == ["my_failure", "other", "other"]


def test_runner_types_are_of_three_kinds_or_unknown() -> None:
    assert [PLAIN.runner_type(job(1, runner_type=told)) for told in ("group", "martian", "")] == ["group", "unknown", "unknown"]


def test_without_runner_details_runners_are_unknown() -> None:
    assert Labeller(LabelsOptions(), with_runners=False).runner_type(job(1)) == "unknown"


def test_sources_are_words_of_a_list() -> None:
    assert [labels.source(word) for word in ("push", "", "brand_new")] == ["push", "", "other"]


def test_statuses_are_words_of_a_list() -> None:
    assert [labels.status(word) for word in ("success_with_warnings", "canceling", "", "x" * 99)] == [
        "success_with_warnings",
        "canceling",
        "other",
        "other",
    ]
