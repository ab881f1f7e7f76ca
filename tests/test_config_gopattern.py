"""Regular expressions of Go, as Python writes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.gopattern import python_pattern


@pytest.mark.parametrize(
    "pattern", ["", "^(main|master|develop|release/.*)$", r"(?i)^v\d+\.\d+", r"[^]a]\\z", r"(?:a|b)(?P<x>c)", r"[\]z(]|\|"]
)
def test_what_means_the_same_stays(pattern: str) -> None:
    assert python_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "matched", "missed"),
    [
        (r"^main\z", ["main"], ["main\n", "mainz"]),
        (r"^a(?i)b|c$", ["aB", "C"], ["Ab"]),
        (r"(x(?i)y|z)w", ["xYw", "Zw"], ["xyW", "XYw"]),
        (r"^a(?s).c$", ["a\nc"], ["A\nc"]),
        (r"(?i-s)A.b", ["axB"], ["a\nb"]),
        (r"(?<n>a+)b", ["aab"], ["b"]),
        (r"^\Qa.b|c\E$", ["a.b|c"], ["axb|c", "c"]),
        (r"^\Qa.b", ["a.bc"], ["axb"]),
        (r"^[[:alpha:]_-]+$", ["a_B-"], ["a1", ":"]),
        (r"^[^[:digit:]]$", ["a"], ["7"]),
        (r"^[[a]+$", ["[a"], ["b"]),
        (r"^\x{41}[\x{1F600}]$", ["A\U0001f600"], ["A41"]),
    ],
)
def test_what_python_writes_otherwise_matches_the_same(pattern: str, matched: list[str], missed: list[str]) -> None:
    found = re.compile(python_pattern(pattern))

    assert [text for text in matched if not found.search(text)] == []
    assert [text for text in missed if found.search(text)] == []


@pytest.mark.parametrize("pattern", [r"\pL", r"\p{Greek}", "(?U)a", "(", ")", "[a", "\\", r"\x{FFFFFF}"])
def test_what_has_no_counterpart_is_left_for_python_to_refuse(pattern: str) -> None:
    with pytest.raises(re.error):
        re.compile(python_pattern(pattern))


def test_what_python_would_take_for_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        python_pattern("[[:^alpha:]]")


@given(st.text("a(?is-)|[]^\\zQE{}x", max_size=20))
def test_nothing_is_lost_on_the_way(text: str) -> None:
    assert python_pattern(text).count("a") == text.count("a")
