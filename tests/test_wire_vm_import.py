"""The import encoder against `json.loads`."""

from __future__ import annotations

import json
import math
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import STALE_NAN_BITS
from agent.wire import vm_import

NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ['"quoted"', "back\\slash", "new\nline", "\x00\x01\x1b\x7f\x85\u2028", "🚀 ünïcode", "x" * 10_000]
)
FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([-0.0, 0.0, 5e-324, 2.0**53, 1e308, -1e-320])


@given(st.dictionaries(NAMES, TEXTS, min_size=1), FINITE, st.integers(0, 2**42))
def test_a_line_gives_back_labels_value_and_time(labels: dict[str, str], value: float, timestamp_ms: int) -> None:
    body = vm_import.line(vm_import.prefix(tuple(labels.items())), value, timestamp_ms)

    assert json.loads(body) == {
        "metric": {name: text for name, text in labels.items() if text},
        "values": [value],
        "timestamps": [timestamp_ms],
    }


@given(FINITE)
def test_a_value_keeps_every_bit(value: float) -> None:
    (found,) = json.loads(vm_import.line(b'{"values":[', value, 1))["values"]

    assert struct.pack("<d", found) == struct.pack("<d", value)


@given(st.dictionaries(NAMES, TEXTS, min_size=1))
def test_a_line_holds_no_newline_but_its_last_byte(labels: dict[str, str]) -> None:
    body = vm_import.line(vm_import.prefix(tuple(labels.items())), 1.0, 1)

    assert body.index(b"\n") == len(body) - 1


@given(st.lists(st.floats(), max_size=20))
def test_only_finite_values_are_written_and_the_others_counted(values: list[float]) -> None:
    prefixes = [vm_import.prefix((("__name__", f"m{i}"),)) for i in range(len(values))]

    body, skipped = vm_import.lines(prefixes, array("d", values), 1_700_000_000_000)

    expected = {f"m{i}": value for i, value in enumerate(values) if math.isfinite(value)}
    objects = [json.loads(text) for text in body.splitlines()]
    assert {each["metric"]["__name__"]: each["values"][0] for each in objects} == expected
    assert skipped == len(values) - len(expected)


def test_a_staleness_marker_is_left_out_like_any_nan() -> None:
    values = array("d", struct.pack("<Q", STALE_NAN_BITS))

    assert vm_import.lines([vm_import.prefix((("__name__", "m"),))], values, 1) == (b"", 1)


def test_a_sum_that_overflows_loses_no_sample() -> None:
    body, skipped = vm_import.lines([b'{"values":['] * 2, [1.7e308, 1.7e308], 1)

    assert (body.count(b"\n"), skipped) == (2, 0)


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert json.loads(vm_import.line(vm_import.prefix((("a", "x\ud800y"),)), 1.0, 1))["metric"] == {"a": "x?y"}


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="1 prefixes for 2 values"):
        vm_import.lines([b""], [1.0, 2.0], 1)
