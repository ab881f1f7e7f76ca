"""Remote-write 2.0 records equal, byte for byte, what the generated classes build."""

from __future__ import annotations

import math
import struct
from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.model import STALE_NAN_BITS, Kind
from agent.store.body2 import RecordBody2
from agent.store.encode2 import Record2
from agent.wire import remote_write, remote_write2
from agent.wire.remote_write2_pb2 import Metadata, Request, TimeSeries
from tests.test_wire_remote_write import LABELS, TEXTS, TIMES, VALUES, bits

Labels = dict[str, str]
ABOUTS = st.builds(remote_write2.About, st.sampled_from(Kind), TEXTS, TEXTS)
STARTS = st.just(0) | st.integers(remote_write.FIRST_MS, remote_write.LAST_MS)
SOME: Labels = {"__name__": "up", "a": "b"}


class Expected:
    """The same request by the generated classes."""

    def __init__(self) -> None:
        self.request = Request(symbols=[""])

    def ref(self, text: str) -> int:
        if text not in self.request.symbols:
            self.request.symbols.append(text)
        return list(self.request.symbols).index(text)

    def series(self, labels: Labels, about: remote_write2.About) -> TimeSeries:
        series = self.request.timeseries.add()
        for name, text in labels.items():
            series.labels_refs.extend([self.ref(name), self.ref(text)])
        help_ref, unit_ref = self.ref(about.help), self.ref(about.unit)
        if about.kind is not Kind.UNKNOWN:
            series.metadata.type = getattr(Metadata, f"METRIC_TYPE_{about.kind.name}")
        if help_ref:
            series.metadata.help_ref = help_ref
        if unit_ref:
            series.metadata.unit_ref = unit_ref
        return series


def record(about: remote_write2.About, labels: Labels) -> Record2:
    return Record2(about, [text for pair in labels.items() for text in pair])


@given(st.lists(st.tuples(LABELS.filter(bool), ABOUTS, VALUES), min_size=1, max_size=4), TIMES, STARTS)
@example([(SOME, remote_write2.About(Kind.COUNTER, "h", "s"), -0.0)], remote_write.LAST_MS, remote_write.FIRST_MS)
@example([({"a": "x" * 10_240}, remote_write2.About(Kind.UNKNOWN, "", ""), math.nan)], remote_write.FIRST_MS, 0)
def test_a_request_is_what_protobuf_builds(
    found: list[tuple[Labels, remote_write2.About, float]], timestamp_ms: int, started_ms: int
) -> None:
    body, expected = RecordBody2(), Expected()
    for labels, about, value in found:
        body.extend([record(about, labels)], started_ms)
        counts = about.kind in (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY)
        sample = expected.series(labels, about).samples.add(value=value, timestamp=timestamp_ms)
        sample.start_timestamp = started_ms if counts else 0

    payload, samples = body.render([(0, array("d", [value for _, _, value in found]))], timestamp_ms)

    assert samples == len(found)
    assert payload == expected.request.SerializeToString()


@given(TIMES)
def test_a_staleness_marker_has_its_exact_bits_on_the_wire(timestamp_ms: int) -> None:
    body = RecordBody2()
    body.extend([record(remote_write2.About(Kind.GAUGE, "", ""), SOME)])

    payload, samples = body.markers(timestamp_ms)

    (series,) = Request.FromString(payload).timeseries
    assert (samples, bits(series.samples[0].value), series.samples[0].timestamp) == (1, STALE_NAN_BITS, timestamp_ms)
    assert struct.pack("<Q", STALE_NAN_BITS) in payload


@given(st.lists(st.integers(0, 100), min_size=2, max_size=20), VALUES, TIMES, STARTS)
def test_a_native_histogram_is_what_protobuf_builds(buckets: list[int], total: float, at: int, started_ms: int) -> None:
    bounds = [float(number) for number in range(len(buckets) - 1)]
    about = remote_write2.About(Kind.HISTOGRAM, "h", "s", bounds)
    cumulative = [float(sum(buckets[: number + 1])) for number in range(len(buckets))]
    body, expected = RecordBody2(), Expected()
    body.extend([record(about, SOME)], started_ms)
    histogram = expected.series(SOME, about).histograms.add(
        count_int=sum(buckets), sum=total, schema=-53, zero_count_int=0, timestamp=at, start_timestamp=started_ms
    )
    histogram.positive_spans.add(offset=0, length=len(buckets))
    histogram.positive_deltas.extend([b - a for a, b in zip([0, *buckets], buckets, strict=False)])
    histogram.custom_values.extend(bounds)

    payload, samples = body.render([(0, array("d", [*cumulative, total, cumulative[-1]]))], at)

    assert samples == 1
    assert payload == expected.request.SerializeToString()


def test_the_end_of_a_native_histogram_is_a_sum_with_the_markers_bits() -> None:
    body = RecordBody2()
    body.extend([record(remote_write2.About(Kind.HISTOGRAM, "", "", (1.0,)), SOME)])

    payload, samples = body.markers(remote_write.FIRST_MS)

    (series,) = Request.FromString(payload).timeseries
    assert (samples, len(series.samples), bits(series.histograms[0].sum)) == (1, 0, STALE_NAN_BITS)
    assert series.histograms[0].schema == -53


@pytest.mark.parametrize(
    "cells", [[2.0, 1.0, 0.5, 1.0], [0.5, 1.0, 0.5, 1.0], [math.nan, 1.0, 0.5, 1.0], [1.0, math.inf, 1.0, math.inf]]
)
def test_a_row_that_is_no_histogram_is_not_sent_as_one(cells: list[float]) -> None:
    body = RecordBody2()
    body.extend([record(remote_write2.About(Kind.HISTOGRAM, "", "", (1.0,)), SOME)])

    payload, samples = body.render([(0, array("d", cells))], remote_write.FIRST_MS)

    assert (samples, len(Request.FromString(payload).timeseries)) == (0, 0)


def test_lone_surrogates_become_question_marks_and_no_symbol_occurs_twice() -> None:
    symbols = remote_write2.Symbols()

    assert symbols["x\ud800"] == symbols["x?"] == symbols["x\udfff"]
    assert list(Request.FromString(bytes(symbols.encoded)).symbols) == ["", "x?"] == list(symbols)


@given(st.lists(st.integers(0, 2**32)))
def test_numbers_are_read_as_they_were_written(found: list[int]) -> None:
    assert remote_write2.numbers(b"".join(map(remote_write.varint, found))) == found
