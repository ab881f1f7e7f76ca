"""The text formats against prometheus-client's parsers, which are stricter than most readers."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent.model import Kind
from agent.wire import exposition

# prometheus-client refuses reserved names, which Prometheus takes.
LABEL_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True).filter(lambda name: name[:2] != "__")
METRIC_NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ['"quoted"', "back\\slash\\", "new\nline", "\\n is not a newline", "\r\x00\x1b\x85\u2028", "🚀 ünïcode", "x" * 10_000]
)
VALUES = st.floats(allow_nan=False) | st.sampled_from([-0.0, 0.0, 5e-324, 2.0**53, math.inf, -math.inf])


def read(text: str, *, openmetrics: bool) -> list[Metric]:
    if openmetrics:
        return list(parse_openmetrics(text + exposition.EOF))  # type: ignore[no-untyped-call]
    return list(parse_text(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42.0, "42"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (2.0**53, "9007199254740992"),
        (1e16, "1e+16"),
        (5e-324, "5e-324"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_a_value_is_written_as_short_as_it_can_be(value: float, text: str) -> None:
    assert exposition.format_value(value) == text


@given(VALUES)
def test_a_value_reads_back_bit_for_bit(value: float) -> None:
    assert struct.pack("<d", float(exposition.format_value(value))) == struct.pack("<d", value)


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (0.5, "0.5"),
        (1.0, "1"),
        (2.5, "2.5"),
        (1e-05, "1e-05"),
        (999999.0, "999999"),
        (1e6, "1e+06"),
        (-2.5e6, "-2.5e+06"),
        (1234567.5, "1.2345675e+06"),
        (1e15, "1e+15"),
        (1e21, "1e+21"),
        (math.inf, "+Inf"),
    ],
)
def test_a_bound_is_written_as_go_writes_it(bound: float, text: str) -> None:
    assert exposition.format_bound(bound) == text


@given(st.floats(allow_nan=False))
def test_a_bound_reads_back_as_the_same_number(bound: float) -> None:
    assert float(exposition.format_bound(bound)) == bound


@given(METRIC_NAMES, st.dictionaries(LABEL_NAMES, TEXTS), VALUES, st.booleans())
def test_both_parsers_give_back_name_labels_and_value(name: str, labels: dict[str, str], value: float, openmetrics: bool) -> None:
    text = f"{exposition.series_text(name, tuple(labels.items()))} {exposition.format_value(value)}\n"

    (family,) = read(exposition.header(name, Kind.GAUGE, "h", "", openmetrics) + text, openmetrics=openmetrics)

    (sample,) = family.samples
    expected = {label: text for label, text in labels.items() if text}
    assert (sample.name, sample.labels, sample.value) == (name, expected, value)


def test_nan_is_read_as_nan() -> None:
    (family,) = read(f"m {exposition.format_value(math.nan)}\n", openmetrics=True)

    assert math.isnan(family.samples[0].value)


def test_a_series_without_labels_has_no_braces() -> None:
    assert exposition.series_text("m", (("a", ""),)) == "m"


def test_labels_keep_the_given_order() -> None:
    assert exposition.series_text("m", (("b", "1"), ("a", "2"))) == 'm{b="1",a="2"}'


@given(TEXTS, st.booleans())
def test_both_parsers_give_back_the_help(help: str, openmetrics: bool) -> None:
    (family,) = read(exposition.header("m", Kind.GAUGE, help, "", openmetrics) + "m 1\n", openmetrics=openmetrics)

    # Both parsers drop white space in front; that of 0.0.4 also behind, and it unescapes quotes, which no format asks for.
    expected = help.lstrip() if openmetrics else help.replace('\\"', '"').strip()
    found = family.documentation if openmetrics else family.documentation.strip()
    assert found.lstrip() == expected


@pytest.mark.parametrize(
    ("name", "kind", "announced"),
    [
        ("x_total", Kind.COUNTER, ("x", "counter")),
        ("x_count", Kind.COUNTER, ("x_count", "unknown")),
        ("_total", Kind.COUNTER, ("_total", "unknown")),
        ("x_info", Kind.INFO, ("x", "info")),
        ("x", Kind.INFO, ("x", "gauge")),
        ("x", Kind.STATESET, ("x", "gauge")),
        ("x", Kind.UNKNOWN, ("x", "unknown")),
    ],
)
def test_openmetrics_announces_what_leaves_the_sample_name_alone(name: str, kind: Kind, announced: tuple[str, str]) -> None:
    (family,) = read(exposition.header(name, kind, "h", "", True) + f"{name} 1\n", openmetrics=True)

    assert ((family.name, family.type), [sample.name for sample in family.samples]) == (announced, [name])


@pytest.mark.parametrize("kind", list(Kind))
def test_the_text_parser_knows_every_announced_type(kind: Kind) -> None:
    (family,) = read(exposition.header("x", kind, "", "", False), openmetrics=False)

    assert family.type in ("gauge", "counter", "histogram", "summary", "unknown")


def test_a_unit_is_announced_where_the_name_ends_in_it() -> None:
    (family,) = read(exposition.header("x_seconds_total", Kind.COUNTER, "", "seconds", True), openmetrics=True)

    assert (family.name, family.unit) == ("x_seconds", "seconds")


def test_a_unit_the_name_does_not_end_in_is_left_out() -> None:
    assert "UNIT" not in exposition.header("x", Kind.GAUGE, "", "seconds", True)


def test_a_unit_is_left_out_of_the_text_format() -> None:
    assert "UNIT" not in exposition.header("x_seconds", Kind.GAUGE, "", "seconds", False)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_histogram_row_reads_back_as_one_histogram(openmetrics: bool) -> None:
    rows = exposition.histogram_samples("h", (0.5, 1.0), (1.0, 2.0, 3.0, 4.25))
    text = "".join(
        f"{exposition.series_text(name, (('le', le),))} {exposition.format_value(value)}\n" for name, le, value in rows
    )

    (family,) = read(exposition.header("h", Kind.HISTOGRAM, "", "", openmetrics) + text, openmetrics=openmetrics)

    assert [(sample.name, sample.labels.get("le", ""), sample.value) for sample in family.samples] == [
        ("h_bucket", "0.5", 1),
        ("h_bucket", "1", 2),
        ("h_bucket", "+Inf", 3),
        ("h_count", "", 3),
        ("h_sum", "", 4.25),
    ]
