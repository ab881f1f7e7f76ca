"""Why a job failed: GitLab's sentences as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.gitlab.failures import _PARTS, reason_of


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("", "script_failure"),
        ("There has been a script failure. Check the job log for more information", "script_failure"),
        ("There has been an API failure, please try again", "api_failure"),
        ("There has been a runner system failure, please try again", "runner_system_failure"),
        ("There has been a missing dependency failure", "missing_dependency_failure"),
        ("Your runner is outdated, please upgrade your runner", "runner_unsupported"),
        ("No runners support the requirements to run this job.", "runner_unsupported"),
        ("The script exceeded the maximum execution time set for the job", "job_execution_timeout"),
        ("No more CI minutes available", "ci_quota_exceeded"),
        ("No more compute minutes available", "ci_quota_exceeded"),
        ("There is an unknown failure, please try again", "unknown_failure"),
        ("Something brand new has happened", "other"),
        ("Es ist ein Skriptfehler aufgetreten", "other"),
    ],
)
def test_a_sentence_is_known_by_a_few_of_its_words(sentence: str, word: str) -> None:
    assert reason_of(sentence) == word


def test_no_part_of_a_sentence_hides_behind_another() -> None:
    """Each part, as a sentence of its own, leads to its own word: none before it is a part of it."""
    assert {part: reason_of(f"The {part}.") for part, _ in _PARTS} == dict(_PARTS)


@given(st.text(max_size=2000))
def test_any_text_becomes_a_word(text: str) -> None:
    assert reason_of(text).replace("_", "a").isalpha()
