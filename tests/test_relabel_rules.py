"""What rules do to the labels of one series, and which configurations are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent.config import load
from agent.config.model import AgentSection
from agent.errors import ConfigError
from agent.relabel.options import AgentLimits, SinkLimits, limits_of, rules_of
from agent.relabel.rules import NAME, LabelLimits, Refusal
from tests.store_rules import rules

SERIES = {NAME: "http_seconds", "job": "api", "instance": "h:9100", "path": "/a/b"}


def after(*relabel: Mapping[str, Any], of: Mapping[str, str] = SERIES) -> dict[str, str]:
    """The labels that come out, absent ones left out."""
    labels = dict(of)
    assert rules(relabel=relabel).apply(labels) is None
    return {name: value for name, value in labels.items() if value}


def changed(*relabel: Mapping[str, Any]) -> dict[str, str]:
    """The labels that are new or other than before; "" = gone."""
    found = after(*relabel)
    return {name: found.get(name, "") for name in {**SERIES, **found} if found.get(name) != SERIES.get(name)}


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"add": {"team": "ci", "job": "other"}}, {"team": "ci"}),
        ({"rename": {"path": "route"}}, {"path": "", "route": "/a/b"}),
        ({"rename": {"path": "job"}}, {"path": "", "job": "/a/b"}),
        ({"rename": {"path": "job", "job": "path"}}, {"path": "api", "job": "/a/b"}),
        ({"rename": {"absent": "job"}}, {}),
        ({"drop_labels": "pa.*|inst"}, {"path": ""}),
        ({"drop_labels": ".*"}, {"job": "", "instance": "", "path": ""}),
        ({"replace": {"label": "instance", "regex": r"(.*):\d+", "replacement": "$1"}}, {"instance": "h"}),
        ({"replace": {"label": "instance", "regex": "h", "replacement": "x"}}, {}),
        (
            {"replace": {"label": "path", "regex": "/(?P<top>[^/]+)/.*", "replacement": "${top}-$1$$", "to": "app"}},
            {"app": "a-a$"},
        ),
        ({"replace": {"label": "path", "regex": ".*", "replacement": ""}}, {"path": ""}),
        ({"replace": {"label": "absent", "regex": "", "replacement": "none"}}, {"absent": "none"}),
        ({"replace": {"label": "absent", "regex": "(.+)", "replacement": "x$1"}}, {}),
        ({"replace": {"label": "path", "regex": "(/x)?.*", "replacement": "<$1>"}}, {"path": "<>"}),
        ({"replace": {"label": NAME, "regex": "http_(.*)", "replacement": "api_${1}"}}, {NAME: "api_seconds"}),
        ({"replace": {"label": "job", "regex": "(.*)", "replacement": "${1}_x", "to": NAME}}, {NAME: "api_x"}),
        ({"add": {"hot": "1"}, "where": {"name": "http_.*", "labels": {"job": "a.*"}}}, {"hot": "1"}),
        ({"add": {"hot": "1"}, "where": {"labels": {"job": "b.*"}}}, {}),
    ],
)
def test_an_action_changes_labels(action: Mapping[str, Any], expected: Mapping[str, str]) -> None:
    assert changed(action) == expected


def test_actions_see_what_those_before_them_left() -> None:
    assert changed({"rename": {"path": "route"}}, {"replace": {"label": "route", "regex": "/(.)/.*", "replacement": "$1"}}) == {
        "path": "",
        "route": "a",
    }


@pytest.mark.parametrize(
    ("drop", "keep", "refusal"),
    [
        ([{"name": "http_.*"}], [], Refusal("drop", "drop[0]: {name: 'http_.*'}")),
        ([{"name": "http"}], [], None),
        (
            [{"name": "x"}, {"labels": {"job": "a.i", "zone": ""}}],
            [],
            Refusal("drop", "drop[1]: {labels: {job: 'a.i', zone: ''}}"),
        ),
        ([{"name": "http_.*", "labels": {"job": "x"}}], [], None),
        ([], [{"name": "http_.*"}, {"name": "x"}], None),
        ([], [{"name": "x"}, {"name": "http_.*"}], None),
        ([], [{"labels": {"zone": ".+"}}], Refusal("keep", "keep: no entry matches")),
        ([{"name": "http_.*"}], [{"name": "http_.*"}], Refusal("drop", "drop[0]: {name: 'http_.*'}")),
    ],
)
def test_drop_goes_before_keep(
    drop: Sequence[Mapping[str, Any]], keep: Sequence[Mapping[str, Any]], refusal: Refusal | None
) -> None:
    assert rules(drop, keep).apply(dict(SERIES)) == refusal


def test_a_value_too_long_to_match_refuses_the_series_and_names_the_rule() -> None:
    found = rules(relabel=[{"add": {"a": "b"}}, {"replace": {"label": "path", "regex": "x.*", "replacement": ""}}]).apply(
        {**SERIES, "path": "x" * 2000}, "agent."
    )

    assert found == Refusal("limit", "agent.relabel[1]: rules match at most 1024 characters, not 2000")


def test_only_what_changed_something_is_noted() -> None:
    notes: list[str] = []
    rules(relabel=[{"add": {"job": "x"}}, {"drop_labels": "it's|path", "where": {"name": "http.*"}}]).apply(
        dict(SERIES), "agent.", notes.append
    )

    assert notes == ["agent.relabel[1]: {drop_labels: 'it''s|path', where: {name: 'http.*'}}"]


def test_rules_made_twice_are_equal_and_other_rules_are_not() -> None:
    def made(regex: str) -> Any:
        return rules([{"name": regex}], relabel=[{"replace": {"label": "a", "regex": regex, "replacement": "$1"}}])

    assert made("(a)") == made("(a)")
    assert hash(made("(a)")) == hash(made("(a)"))
    assert made("(a)") != made("(b)")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (LabelLimits(max_labels=3), "limits.max_labels: 4 labels, at most 3"),
        (LabelLimits(max_labels=4), None),
        (LabelLimits(max_label_name_length=7), "limits.max_label_name_length: __name__ has 8"),
        (LabelLimits(max_label_name_length=8), None),
        (LabelLimits(max_label_value_length=11), "limits.max_label_value_length: the value of __name__ has 12"),
        (LabelLimits(max_label_value_length=12), None),
    ],
)
def test_a_limit_refuses_what_is_beyond_it(limits: LabelLimits, words: str | None) -> None:
    assert limits.check(SERIES) == (None if words is None else Refusal("limit", words))


def test_lengths_are_bytes() -> None:
    assert LabelLimits(max_label_value_length=5).check({NAME: "n", "a": "\u00fc\u00fc\u00fc"}) is not None
    assert LabelLimits(max_label_value_length=6).check({NAME: "n", "a": "\u00fc\u00fc\u00fc"}) is None


def test_a_sinks_limit_stands_in_for_the_agents() -> None:
    found = limits_of(AgentLimits(max_labels=30, max_label_name_length=9), SinkLimits(max_labels=0, max_label_value_length=7))

    assert found == LabelLimits(0, 9, 7)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("drop", "[{}]", "agent.drop[0]: says nothing: give a name, labels or both"),
        ("drop", '[{"name": "a"}, {"name": "("}]', "agent.drop[1].name: not a regular expression: missing ), unterminated"),
        ("keep", '[{"labels": {"__name__": "a"}}]', "agent.keep[0].labels: write `name` in place of __name__"),
        ("keep", '[{"labels": {"a-b": "a"}}]', "agent.keep[0].labels: 'a-b' is not a label name"),
        ("keep", '[{"labels": {"a": "(x+)+"}}]', "agent.keep[0].labels: a: the repeat around position 1"),
        ("relabel", "[{}]", "agent.relabel[0]: must be exactly one of add, rename, drop_labels and replace, not none"),
        ("relabel", '[{"add": {"__x": "a"}}]', "agent.relabel[0].add: '__x' is not a label name"),
        ("relabel", '[{"add": {"__name__": "a"}}]', "agent.relabel[0].add: '__name__' is not a label name"),
        ("relabel", '[{"rename": {"a": "c", "b": "c"}}]', "agent.relabel[0].rename: two labels get the same name"),
        ("relabel", '[{"rename": {"__name__": "c"}}]', "agent.relabel[0].rename: '__name__' is not a label name"),
        ("relabel", '[{"drop_labels": "["}]', "agent.relabel[0].drop_labels: not a regular expression"),
        (
            "relabel",
            '[{"replace": {"label": "a", "regex": "(.)", "replacement": "$1x"}}]',
            "$1x at position 0: the regular expression has no such group; write ${1}x",
        ),
        ("relabel", '[{"replace": {"label": "a", "regex": ".", "replacement": "a$"}}]', "the $ at position 1 stands alone"),
        ("relabel", '[{"replace": {"label": "a", "regex": ".", "replacement": "$1"}}]', "has no such group"),
        ("relabel", '[{"replace": {"label": "9", "regex": ".", "replacement": "b"}}]', "or __name__ for the metric name"),
        ("relabel", '[{"replace": {"label": "a", "regex": "."}}]', "agent.relabel[0].replace.replacement: is missing; add it"),
        ("limits.max_labels", "-1", "agent.limits.max_labels: must be greater than or equal to 0"),
        ("drop", "[" + ",".join(['{"name": "a"}'] * 201) + "]", "at most 200 items"),
    ],
)
def test_a_wrong_rule_is_told_by_key_and_position(key: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load((), {}, ((f"agent.{key}", value),))

    assert words in str(error.value)


@pytest.mark.parametrize("name", ["drop", "relabel"])
def test_the_examples_that_are_shown_are_valid(name: str) -> None:
    examples = AgentSection.model_fields[name].examples or []

    assert [bool(rules_of(AgentSection.model_validate({name: example}))) for example in examples] == [True]
