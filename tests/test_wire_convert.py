"""Requests between 1.0 and 2.0: the same samples, bit for bit, and as much of the rest as the other can say."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import STALE_NAN_BITS, Block, Encoding, Form, Protocol
from agent.wire import convert
from agent.wire.compress import compress, decompress
from agent.wire.remote_write2_pb2 import Request
from agent.wire.remote_write_pb2 import WriteRequest
from agent.wire.split import halves, single
from agent.wire.transcode import recoded
from tests.store_world import MS, TEMP
from tests.test_store_v2 import Pair, labels_of, points1, temp, times
from tests.test_wire_remote_write import LABELS

STALE = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
VALUES = st.floats() | st.sampled_from([STALE, -0.0, 0.0, 5e-324])
ONE = Form(Protocol.REMOTE_WRITE, Encoding.SNAPPY)
ZSTD = Form(Protocol.REMOTE_WRITE, Encoding.ZSTD)
TWO = Form(Protocol.REMOTE_WRITE_2, Encoding.SNAPPY)
SERIES = st.lists(st.tuples(LABELS, st.lists(st.tuples(VALUES, st.integers(0, 2**50)), min_size=1, max_size=2)), max_size=4)


def request1(found: list[tuple[dict[str, str], list[tuple[float, int]]]]) -> WriteRequest:
    request = WriteRequest()
    for labels, samples in found:
        series = request.timeseries.add()
        for name, value in labels.items():
            series.labels.add(name=name, value=value)
        for number, at in samples:
            series.samples.add(value=number, timestamp=at)
    return request


def block(request: WriteRequest | Request, form: Form, samples: int = 0) -> Block:
    return Block(compress(request.SerializeToString(), form.encoding), *form, samples, MS, 0.0, 3, 4, True)


def body_of(found: Block) -> bytes:
    return decompress(found.payload, found.encoding)


@given(SERIES, st.sampled_from([ONE, ZSTD]))
def test_a_request_comes_back_from_2_as_it_was(found: list[tuple[dict[str, str], list[tuple[float, int]]]], form: Form) -> None:
    old = block(request1(found), form, sum(len(samples) for _, samples in found))

    new = recoded(old, TWO)

    request = Request.FromString(body_of(new))
    assert request.SerializeToString() == body_of(new)
    assert len(set(request.symbols)) == len(request.symbols)
    assert [dict(labels_of(request, series)) for series in request.timeseries] == [labels for labels, _ in found]
    assert recoded(new, form) == old


def test_metadata_and_exemplars_survive_both_ways() -> None:
    old = request1([({"__name__": "x_seconds_bucket", "le": "1"}, [(1.0, MS)]), ({"__name__": "up"}, [(1.0, MS)])])
    exemplar = old.timeseries[0].exemplars.add(value=0.5, timestamp=MS - 1)
    exemplar.labels.add(name="trace_id", value="abc")
    old.metadata.add(metric_family_name="x_seconds", type="HISTOGRAM", help="Help.", unit="seconds")

    new = recoded(block(old, ONE), TWO)

    request = Request.FromString(body_of(new))
    (pairs,) = [list(exemplar.labels_refs) for exemplar in request.timeseries[0].exemplars]
    assert [request.symbols[reference] for reference in pairs] == ["trace_id", "abc"]
    assert request.symbols[request.timeseries[0].metadata.help_ref] == "Help."
    assert not request.timeseries[1].HasField("metadata")
    assert WriteRequest.FromString(body_of(recoded(new, ONE))) == old


def test_start_times_are_nothing_that_1_can_say() -> None:
    request = Request(symbols=["", "__name__", "a"])
    series = request.timeseries.add(labels_refs=[1, 2])
    series.samples.add(value=-0.0, timestamp=MS, start_timestamp=MS - 5)

    old = recoded(block(request, TWO), ONE)

    assert body_of(old) == request1([({"__name__": "a"}, [(-0.0, MS)])]).SerializeToString()


def test_native_histograms_become_the_series_that_a_1_view_sends() -> None:
    pair = Pair(native_histograms=True)
    pair.put(temp("a", 1.0), times("a", 1, 2, 5, 4.5), times("b", 0, 7, 2.0**54, -0.0))
    (payload,) = pair.walk(pair.two)
    two = Block(compress(payload, Encoding.SNAPPY), *TWO, 3, MS, 0.0)

    one = recoded(two, ONE)

    assert points1(iter([body_of(one)])) == points1(pair.walk(pair.one))
    assert one == replace(two, payload=one.payload, protocol=Protocol.REMOTE_WRITE, samples=11)


def test_the_end_of_a_native_histogram_becomes_the_markers_of_its_series() -> None:
    pair = Pair(native_histograms=True)
    pair.put(temp("a", 1.0), times("a", 1, 2, 5, 4.5))
    for view in (pair.one, pair.two):
        list(pair.walk(view))
    pair.put(temp("a", 1.0), whole=True)
    markers = list(pair.walk(pair.two))[-1]

    one = recoded(Block(compress(markers, Encoding.SNAPPY), *TWO, 1, MS, 0.0), ONE)

    expected = list(pair.walk(pair.one))[-1]
    assert points1(iter([body_of(one)])) == points1(iter([expected]))
    assert set(points1(iter([expected])).values()) == {struct.pack("<Q", STALE_NAN_BITS)}


@pytest.mark.parametrize("deltas", [[1, 1, 1, 1], [1]])
def test_a_histogram_whose_counts_do_not_fit_its_buckets_is_refused(deltas: list[int]) -> None:
    request = Request(symbols=["", "__name__", "a"])
    histogram = request.timeseries.add(labels_refs=[1, 2]).histograms.add(schema=-53, custom_values=[1.0, 2.0], count_int=4)
    histogram.positive_spans.add(length=4 if len(deltas) == 4 else 3)
    histogram.positive_deltas.extend(deltas)

    with pytest.raises(ValueError, match="histogram"):
        recoded(block(request, TWO), ONE)


@pytest.mark.parametrize("references", [[1, 3], [1], [1, 2, 1]])
def test_references_that_point_nowhere_are_refused(references: list[int]) -> None:
    request = Request(symbols=["", "__name__", "a"])
    request.timeseries.add(labels_refs=references).samples.add(value=1.0, timestamp=MS)

    for change in (lambda: recoded(block(request, TWO), ONE), lambda: halves(block(request, TWO))):
        with pytest.raises(ValueError, match="reference"):
            change()


def test_histograms_that_would_fill_the_memory_are_refused() -> None:
    request = Request(symbols=["", "__name__", "a", "b", "x" * 100_000])
    series = request.timeseries.add(labels_refs=[1, 2, 3, 4])
    series.histograms.add(schema=-53, custom_values=[float(n) for n in range(10_000)])

    with pytest.raises(ValueError, match="fit"):
        recoded(block(request, TWO), ONE)


@given(st.integers(2, 30))
def test_the_halves_of_a_2_request_have_their_own_symbols(count: int) -> None:
    pair = Pair()
    pair.put(*(temp(f"room-{n}", float(n)) for n in range(count)))
    (payload,) = pair.walk(pair.two)

    first, second = halves(Block(compress(payload, Encoding.SNAPPY), *TWO, count, MS, 0.0))

    requests = [Request.FromString(body_of(half)) for half in (first, second)]
    rooms = [dict(labels_of(request, series))["room"] for request in requests for series in request.timeseries]
    assert rooms == [f"room-{n}" for n in range(count)]
    assert (first.samples, second.samples) == (count // 2, count - count // 2)
    for request in requests:
        assert sum(text.startswith("room-") for text in request.symbols) == len(request.timeseries)
        assert request.symbols[request.timeseries[0].metadata.help_ref] == TEMP.help


def test_a_single_series_of_a_2_request_is_that_one() -> None:
    pair = Pair()
    pair.put(temp("a", 1.0), temp("b", 2.0))
    (payload,) = pair.walk(pair.two)

    last = single(Block(compress(payload, Encoding.SNAPPY), *TWO, 2, MS, 0.0), -1)

    request = Request.FromString(body_of(last))
    assert ([series.samples[0].value for series in request.timeseries], last.samples) == ([2.0], 1)
    assert "a" not in request.symbols


@given(st.binary(max_size=200))
def test_foreign_bytes_raise_nothing_but_value_errors(raw: bytes) -> None:
    for change in (convert.to_1, convert.to_2, lambda body: convert.part2(convert.parsed2(body), 0, 9)):
        try:
            change(raw)
        except ValueError:
            continue
