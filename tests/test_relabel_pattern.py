"""Regular expressions of the configuration: what is taken, and what is refused before it can hang the agent."""

from __future__ import annotations

import pytest

from agent.relabel.pattern import MAX_PATTERN_CHARS, MAX_TEXT_CHARS, matched, pattern


@pytest.mark.parametrize(
    "text",
    [
        "",
        "go_.*",
        "a|b|c",
        "^go_.*$",
        ".*foo.*bar.*",
        r"(.*):\d+",
        "(foo|bar)_total",
        "[a-z]+(-[a-z]+)*",
        "(?i)prod.*",
        "(?P<host>[^.]+)[.].*",
        r"(\d+)\.(\d+)\.(\d+)\.(\d+)(:\d+)?",
        "(?:[0-9]{1,3}[.]){3}[0-9]{1,3}",
        ".*_bucket|.*_created|.*_sum|.*_count|.*_info",
        "https?://[^/]+/.*",
        "[]a]+",
        "a{b",
        "(a|b|)c",
        r"\x41\u00e9",
    ],
)
def test_what_people_write_is_taken(text: str) -> None:
    assert pattern(text).pattern == text


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+",
        "(a*)*",
        "(a|a)*",
        "(a|aa)+x",
        r"(\w|\d)*",
        "(.*)*",
        "(a?){30}",
        "(.*a){20}",
        "((ab)*c*)*",
        "a?" * 30 + "a" * 30,
        "(a|aa)" * 20,
        ".*-.*-.*-.*-x",
        "(?i)([a-z]+A)*",
    ],
)
def test_what_could_take_forever_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="some texts would take forever"):
        pattern(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "unterminated character set at position 0"),
        ("a(x", "unterminated subpattern at position 1"),
        ("*", "nothing to repeat at position 0"),
        (r"\p{L}", r"bad escape \\p at position 0"),
        ("a(?=x)", "'\\(\\?=x' at position 1: Prometheus"),
        ("(?<!a)b", "at position 0: Prometheus"),
        (r"(a)\1", "at position 3: Prometheus"),
        ("a*+", "at position 1: Prometheus"),
        ("[[:alpha:]]", "not a regular expression"),
        ("x" * (MAX_PATTERN_CHARS + 1), f"at most {MAX_PATTERN_CHARS}"),
        ("(" * 250 + ")" * 250, "position 20: groups stand more than 20 deep"),
        ("a{99999999999}", "not a regular expression"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pattern(text)


def test_the_whole_text_must_match() -> None:
    assert matched(pattern("go"), "go_x") is None
    assert matched(pattern("go.*"), "go_x") is not None


def test_a_dot_is_any_character_and_a_digit_is_ascii() -> None:
    assert matched(pattern("a.b"), "a\nb") is not None
    assert matched(pattern(r"\d"), "\u0663") is None


def test_a_long_text_is_not_tried() -> None:
    assert matched(pattern(".*"), "x" * MAX_TEXT_CHARS) is not None
    with pytest.raises(OverflowError, match="at most 1024 characters, not 1025"):
        matched(pattern(".*"), "x" * (MAX_TEXT_CHARS + 1))
