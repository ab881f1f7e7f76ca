"""One line of an exposition at a time, beside prometheus-client's parser and against anything at all."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agent.model import Kind
from agent.sources.scrape import parse
from agent.wire import exposition

NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", fullmatch=True)
# It refuses reserved names, which Prometheus takes.
LABEL_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True).filter(lambda name: name[:2] != "__")
# prometheus-client strips its lines of everything that Unicode calls white space, and so cannot be the judge there.
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Zl", "Zp", "Cc")) | st.sampled_from('\\"\n{}=, #\t'), max_size=30)
VALUES = st.floats(allow_nan=True, allow_infinity=True)


def sample(line: str | bytes) -> tuple[str, dict[str, str], float, bool]:
    """Name, labels, value, and whether there is a timestamp."""
    raw = line if isinstance(line, bytes) else line.encode()
    name, labels, end = parse.head(raw)
    tail = parse.tail(raw, end)
    return name, dict(labels), tail.value, tail.stamped


@given(NAMES, st.dictionaries(LABEL_NAMES, TEXTS, max_size=5), VALUES, st.none() | st.integers(-(2**53), 2**53))
def test_a_sample_reads_as_prometheus_client_reads_it(
    name: str, labels: dict[str, str], value: float, timestamp: int | None
) -> None:
    inside = ",".join(f'{key}="{exposition.escape_label(text)}"' for key, text in labels.items())
    line = f"{name}{{{inside}}} {exposition.format_value(value)}" + ("" if timestamp is None else f" {timestamp}")

    found = sample(line)

    (theirs,) = next(iter(text_string_to_metric_families(line + "\n"))).samples
    assert found[:2] == (theirs.name, theirs.labels) == (name, labels)
    assert found[2] == value or (math.isnan(found[2]) and math.isnan(value))
    assert found[3] is (theirs.timestamp is not None)


@given(st.binary(max_size=200) | st.text(st.sampled_from('a1{}="\\, \t\r#-+.eE_NaInf'), max_size=40).map(str.encode))
@example(b'a{b="' + b"\\" * 99)
@example(b"a\xff 1")
def test_any_bytes_are_a_sample_or_a_line_error(line: bytes) -> None:
    try:
        name, labels, value, _ = sample(line)
    except parse.LineError:
        return
    assert name.isascii()
    assert isinstance(value, float)
    assert all(key.isascii() for key in labels)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_comment_or_none(line: bytes) -> None:
    said = parse.comment(b"# " + line)

    assert said is None or said.word in ("TYPE", "HELP", "UNIT")


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("a 1", {}),
        ("a{} 1", {}),
        ("  a\t{ }  1  ", {}),
        ('a{b="c"}1', {"b": "c"}),
        ('a { b = "c" , d = "" , } 1', {"b": "c", "d": ""}),
        ('a{b="}",c="{",d="a=\\"b\\"," } 1', {"b": "}", "c": "{", "d": 'a="b",'}),
        (r'a{b="\\n\n\t"} 1', {"b": "\\n\n\\t"}),
    ],
)
def test_labels_may_be_written_in_many_ways(line: str, labels: dict[str, str]) -> None:
    assert sample(line) == ("a", labels, 1.0, False)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{a="b"} 1', "no metric name"),
        ("1a 1", "no metric name"),
        ('a{b="1",b="1"} 1', "twice"),
        ('a{__name__="b"} 1', "__name__"),
        (b'a{b="\xff"} 1', "UTF-8"),
        ('a{b="c} 1', "broken labels"),
        ("a{b=c} 1", "broken labels"),
        ('a{b="c" d="e"} 1', "broken labels"),
        ("a{,} 1", "broken labels"),
        ('a{b="c",,} 1', "broken labels"),
        ('a{"my.b"="c"} 1', "broken labels"),
        ("a", "value"),
        ("a 1 2 3", "value"),
        ("a 1 soon", "value"),
        ("a one", "not a number"),
        ("a 1_000", "not a number"),
        ("a 0x10", "not a number"),
        ("a +NaN", "not a number"),
        ("a .", "not a number"),
        ("a 1e999", "beyond"),
        ("a " + "1" * 2000, "not a number"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: str | bytes, complaint: str) -> None:
    with pytest.raises(parse.LineError, match=complaint):
        sample(line)


@pytest.mark.parametrize(
    ("text", "value"),
    [("+Inf", math.inf), ("-inf", -math.inf), ("INF", math.inf), ("Infinity", math.inf), ("-0", -0.0), ("5.", 5.0), (".5", 0.5)],
)
def test_values_are_what_prometheus_takes_them_for(text: str, value: float) -> None:
    read = parse.number(text.encode())

    assert (read, math.copysign(1, read)) == (value, math.copysign(1, value))


@pytest.mark.parametrize("line", ["a 1 1600000000000", "a 1 -5", "a 1 1600000000.123", 'a 1 1.6e9 # {id="x"} 1 2'])
def test_a_timestamp_is_noticed(line: str) -> None:
    assert sample(line) == ("a", {}, 1.0, True)


def test_an_exemplar_is_passed_over() -> None:
    assert sample('a_bucket{le="1"} 7 # {trace_id="a } b"} 0.5') == ("a_bucket", {"le": "1"}, 7.0, False)


@pytest.mark.parametrize(
    "line",
    [
        b"a" + b" " * 1_000_000 + b"x",
        b"a 1" + b" " * 1_000_000 + b"x",
        b'a{b="' + b'\\"' * 500_000,
        b"a{" + b'b="c",' * 200_000,
        b"a{" + b"b" * 1_000_000 + b"}",
        b'a{b="c"' + b" " * 1_000_000 + b"x",
        b'a{b="' + b"c" * 1_000_000,
        b"a" * 1_000_000,
        b"a 1 " + b"1" * 1_000_000 + b"x",
        b"a " + b"1" * 1_000_000,
    ],
    ids=range(10),
)
def test_a_hostile_line_costs_no_more_than_its_length(line: bytes) -> None:
    began = time.process_time()

    with pytest.raises(parse.LineError):
        sample(line)

    # a quadratic pattern would take minutes for a megabyte
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"# TYPE a counter", parse.Comment("TYPE", "a", "counter")),
        (b"  # \t TYPE\ta  gauge \r", parse.Comment("TYPE", "a", "gauge")),
        (rb"# HELP a one\ntwo \\ three", parse.Comment("HELP", "a", "one\ntwo \\ three")),
        (b"# HELP a", parse.Comment("HELP", "a", "")),
        (b"# UNIT a_seconds seconds", parse.Comment("UNIT", "a_seconds", "seconds")),
        (b"# TYPE", None),
        (b"# EOF", None),
        (b"#", None),
        (b"#TYPE a counter", None),
        (b"# about nothing", None),
    ],
)
def test_comments_announce_families_or_nothing(line: bytes, said: parse.Comment | None) -> None:
    assert parse.comment(line) == said


def test_an_unknown_type_is_unknown() -> None:
    assert [parse.kind(word) for word in ("untyped", "foo", "", "GAUGE ")] == [Kind.UNKNOWN] * 3 + [Kind.GAUGE]


def test_a_bad_line_is_shown_cut_and_escaped() -> None:
    shown = parse.quoted(b"\x1b[31m\xff" + b"x" * 1000)

    assert shown.isprintable()
    assert len(shown) < 200
    assert shown.endswith("...")
