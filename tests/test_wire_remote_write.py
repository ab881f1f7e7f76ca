"""Remote-write 1.0 records equal, byte for byte, what the generated classes build."""

from __future__ import annotations

import math
import struct
from array import array

import pytest
import snappy
from hypothesis import example, given
from hypothesis import strategies as st

from agent.model import STALE_NAN_BITS, Family, Kind
from agent.store.body import RecordBody
from agent.store.encode import LabelRules, RecordEncoder
from agent.store.table import Feed, Table
from agent.wire import remote_write
from agent.wire.remote_write_pb2 import WriteRequest

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(['a"b', "a\\b", "a\nb", "🙂", "x" * 10_240, "é" * 64])
NAMES = st.text("abzAZ_", min_size=1, max_size=8) | st.just("a" * 130)
LABELS = st.dictionaries(NAMES, TEXTS.filter(bool), max_size=5)
VALUES = st.floats(allow_nan=False) | st.sampled_from([math.inf, -math.inf, 5e-324, -0.0, 0.0, 2.0**53])
TIMES = st.integers(remote_write.FIRST_MS, remote_write.LAST_MS)


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def built(labels: dict[str, str], value: float, timestamp_ms: int) -> bytes:
    request = WriteRequest()
    series = request.timeseries.add()
    for name, text in sorted(labels.items(), key=lambda pair: pair[0].encode()):
        series.labels.add(name=name, value=text)
    series.samples.add(value=value, timestamp=timestamp_ms)
    return request.SerializeToString()


def written(labels: dict[str, str], value: float, timestamp_ms: int) -> bytes:
    encoded = [
        remote_write.label(remote_write.label_head(name), text)
        for name, text in sorted(labels.items(), key=lambda pair: pair[0].encode())
    ]
    record = bytearray(remote_write.record(b"".join(encoded)))
    offset = len(record) - remote_write.VALUE_TO_END
    remote_write.pack_value(record, offset, value, remote_write.tail(timestamp_ms))
    return bytes(record)


@given(LABELS, VALUES, TIMES)
@example({"a": "b"}, 0.0, remote_write.FIRST_MS)
@example({"a": "b"}, -0.0, remote_write.LAST_MS)
@example({"a": "x" * 119}, 1.0, remote_write.FIRST_MS)
@example({"a": "x" * 120}, 1.0, remote_write.FIRST_MS)
@example({"a": "x" * 122}, 1.0, remote_write.FIRST_MS)
@example({"a": "x" * 128}, math.nan, remote_write.FIRST_MS)
def test_a_record_is_what_protobuf_builds(labels: dict[str, str], value: float, timestamp_ms: int) -> None:
    assert written(labels, value, timestamp_ms) == built(labels, value, timestamp_ms)


@given(TIMES)
def test_a_staleness_marker_has_its_exact_bits_on_the_wire(timestamp_ms: int) -> None:
    body = RecordBody()
    body.extend([remote_write.record(remote_write.label(remote_write.label_head("__name__"), "up"))])

    payload, samples = body.markers(timestamp_ms)

    (series,) = WriteRequest.FromString(bytes(payload)).timeseries
    assert (samples, bits(series.samples[0].value), series.samples[0].timestamp) == (1, STALE_NAN_BITS, timestamp_ms)
    assert struct.pack("<Q", STALE_NAN_BITS) in bytes(payload)


@given(
    st.lists(NAMES, max_size=4, unique=True),
    st.data(),
    st.dictionaries(NAMES, TEXTS, max_size=2),
    st.dictionaries(NAMES, TEXTS, max_size=3),
)
def test_labels_are_sorted_by_bytes_without_empty_or_repeated_ones(
    names: list[str], data: st.DataObject, external: dict[str, str], extra: dict[str, str]
) -> None:
    values = tuple(data.draw(TEXTS) for _ in names)
    table = Table(Feed("f"), Family("up", Kind.GAUGE, "h", labels=tuple(names)), "", 300)

    (record,) = RecordEncoder(LabelRules(external, extra)).encode(table, values)

    body = RecordBody()
    body.extend([record])
    payload, _ = body.render([(0, array("d", [1.0]))], remote_write.FIRST_MS)
    (series,) = WriteRequest.FromString(bytes(payload)).timeseries
    own = {name: value for name, value in zip(names, values, strict=True) if value}
    expected = {k: v for k, v in external.items() if v} | own | {k: v for k, v in extra.items() if v} | {"__name__": "up"}
    pairs = [(label.name, label.value) for label in series.labels]
    assert dict(pairs) == expected
    assert [name.encode() for name, _ in pairs] == sorted(name.encode() for name in expected)


def test_lone_surrogates_become_question_marks() -> None:
    payload = written({"a": "x\ud800y"}, 1.0, remote_write.FIRST_MS)

    assert WriteRequest.FromString(payload).timeseries[0].labels[0].value == "x?y"


@pytest.mark.parametrize("timestamp_ms", [remote_write.FIRST_MS - 1, remote_write.LAST_MS + 1, 0, -1])
def test_a_time_that_does_not_fit_its_place_is_refused(timestamp_ms: int) -> None:
    with pytest.raises(ValueError, match="clock"):
        remote_write.tail(timestamp_ms)


def test_snappy_writes_the_block_format_that_remote_write_asks_for() -> None:
    payload = b"a" * 300

    block = bytes(snappy.compress(payload))

    assert block[:2] == remote_write.varint(300)
    assert not block.startswith(b"\xff\x06\x00\x00sNaPpY")


@given(st.lists(LABELS, max_size=4))
def test_spans_are_the_records_of_a_request(series: list[dict[str, str]]) -> None:
    records = [written(labels, 1.0, remote_write.FIRST_MS) for labels in series]
    payload = b"".join(records)

    assert [payload[start:end] for start, end in remote_write.spans(payload)] == records


@given(LABELS, st.data())
def test_a_cut_request_has_no_spans(labels: dict[str, str], data: st.DataObject) -> None:
    payload = written(labels, 1.0, remote_write.FIRST_MS)
    end = data.draw(st.integers(1, len(payload) - 1))

    with pytest.raises(ValueError, match="byte"):
        list(remote_write.spans(payload[:end]))


@given(st.binary(max_size=200))
def test_spans_of_garbage_cover_it_in_order_or_are_refused(payload: bytes) -> None:
    try:
        found = list(remote_write.spans(payload))
    except ValueError:
        return
    assert [start for start, _ in found] == [0, *[end for _, end in found]][: len(found)]
    assert (found[-1][1] if found else 0) == len(payload)
