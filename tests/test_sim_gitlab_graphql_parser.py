"""GraphQL's texts: what they are made of, what is wrong with them, and that nothing breaks the parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.sim.gitlab.graphql import answer
from agent.sim.gitlab.graphql.parser import parse
from agent.sim.gitlab.graphql.syntax import Field, Inline, Ref, Spread, Word
from agent.sim.gitlab.graphql.trouble import QueryError
from agent.sim.gitlab.profile import EE_18
from tests.sim_gitlab_graphql import small

PIECES = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "$",
    "@",
    "=",
    "!",
    "...",
    "a",
    "on",
    "query",
    "fragment",
    '"x"',
    "1",
    "-2.5",
    "#",
    "\n",
]


def first(text: str) -> Field:
    """The first field of a query."""
    found = parse(text).operations[0].selections[0]
    assert isinstance(found, Field)
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-20", -20),
        ("2.5", 2.5),
        ("1e3", 1000.0),
        ('"a\\u00e4\\n"', "aä\n"),
        ('"""block "of" text"""', 'block "of" text'),
        ("true", True),
        ("false", False),
        ("null", None),
        ("WORD", Word("WORD")),
        ("on", Word("on")),
        ("$name", Ref("name")),
        ("[1, $a, [B]]", [1, Ref("a"), [Word("B")]]),
        ("{a: 1, b: {c: X}}", {"a": 1, "b": {"c": Word("X")}}),
    ],
)
def test_values_are_read(text: str, value: Any) -> None:
    assert first(f"{{f(x: {text})}}").arguments[0].value == value


def test_fields_have_aliases_arguments_directives_and_places() -> None:
    found = first("{\n  short: long(a: 1, b: 2) @include(if: $c) { inner }\n}")

    assert (found.alias, found.name, [each.name for each in found.arguments]) == ("short", "long", ["a", "b"])
    assert found.directives[0].name == "include"
    assert found.at == (2, 3)


def test_operations_have_names_and_variables() -> None:
    operation = parse('query Q($a: [ID!]! = ["x"], $b: Int) { f }').operations[0]

    assert (operation.kind, operation.name) == ("query", "Q")
    assert [(each.name, each.type, each.default, each.has_default) for each in operation.variables] == [
        ("a", "[ID!]!", ["x"], True),
        ("b", "Int", None, False),
    ]


def test_fragments_are_read() -> None:
    document = parse("{...F ... on T {a} ... @skip(if: true) {b}} fragment F on T {c}")
    spread, inline, bare = document.operations[0].selections

    assert isinstance(spread, Spread)
    assert isinstance(inline, Inline)
    assert isinstance(bare, Inline)
    assert (spread.name, inline.type, bare.type) == ("F", "T", "")
    assert document.fragments["F"].type == "T"


def test_comments_and_commas_mean_nothing() -> None:
    assert parse("{a,b # c\n,}").operations[0].selections == parse("{a,b,}").operations[0].selections


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Unexpected end of document"),
        ("{", 'Expected NAME, actual: (none) ("") at [1, 2]'),
        ("{}", 'Expected NAME, actual: RCURLY ("}") at [1, 2]'),
        ("{a(b:)}", 'Expected VALUE, actual: RPAREN (")") at [1, 6]'),
        ("{a(b 1)}", 'Expected COLON, actual: INT ("1") at [1, 6]'),
        ("query Q($a Int) {b}", 'Expected COLON, actual: IDENTIFIER ("Int") at [1, 12]'),
        ("{a}\n  nonsense", 'Expected LCURLY, actual: IDENTIFIER ("nonsense") at [2, 3]'),
        ("{a ? b}", 'Expected NAME, actual: UNKNOWN_CHAR ("?") at [1, 4]'),
    ],
)
def test_syntax_errors_say_what_and_where(text: str, message: str) -> None:
    with pytest.raises(QueryError) as raised:
        parse(text)

    assert str(raised.value) == message


def test_a_syntax_error_is_answered_with_its_place() -> None:
    told = json.loads(answer(small(), None, EE_18, 0.0, b'{"query": "{a(b:)}"}').body)

    assert told["errors"][0]["locations"] == [{"line": 1, "column": 6}]
    assert "data" not in told


@pytest.mark.parametrize("text", ["{a" * 500, "{a(b:" + "[" * 500, "{a(b:" + "{c:" * 500, "query($a:" + "[" * 500])
def test_nesting_without_end_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="too deeply nested"):
        parse(text)


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join) | st.text(max_size=60))
@example('{a(b:"\\ud800")}')
@example("{a(b:" + "9" * 5000 + ")}")
def test_any_text_is_a_query_or_an_error(text: str) -> None:
    told = json.loads(answer(small(), None, EE_18, 0.0, json.dumps({"query": text}).encode()).body)

    assert told["errors"]


@given(
    st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
@example(b"[" * 100_000)
@example(b"[]")
@example(b'{"query": 1}')
@example(b'{"query": "{metadata{version}}", "variables": "[", "operationName": 1}')
def test_any_body_is_answered(body: bytes) -> None:
    told = answer(small(), None, EE_18, 0.0, body)

    assert told.status in (200, 400, 422)
    assert json.loads(told.body)["errors"] if not body.startswith(b"[]") else told.body == b"[]"
