"""Halves of a body: nothing lost, nothing doubled, bad bytes refused."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Block, Encoding, Protocol
from agent.wire.compress import MAX_BODY_BYTES, compress
from agent.wire.remote_write_pb2 import WriteRequest
from agent.wire.split import halves, single
from tests.lanes import block, values_of

LINES = b"".join(b'{"metric":{"__name__":"m%d"},"values":[%d,2],"timestamps":[1,2]}\n' % (i, i) for i in range(5))
IMPORT = Block(gzip.compress(LINES), Protocol.IMPORT, Encoding.GZIP, 10, 2, 0.0)
EMPTY = replace(block(), samples=0)


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=40))
def test_the_halves_of_a_block_hold_its_samples_in_order(values: list[float]) -> None:
    first, second = halves(block(*values))

    assert values_of(first) + values_of(second) == values
    assert (first.samples, second.samples) == (len(values) // 2, len(values) - len(values) // 2)


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=40))
def test_the_records_of_the_halves_are_the_same_bytes(values: list[float]) -> None:
    whole = block(*values)

    assert b"".join(snappy.uncompress(half.payload) for half in halves(whole)) == snappy.uncompress(whole.payload)


@pytest.mark.parametrize("small", [block(1.0), EMPTY])
def test_a_block_of_one_record_has_no_halves(small: Block) -> None:
    assert halves(small) == (small,)


def test_lines_are_split_between_lines() -> None:
    first, second = halves(IMPORT)

    assert gzip.decompress(first.payload) + gzip.decompress(second.payload) == LINES
    assert gzip.decompress(first.payload).count(b"\n") == 2


def test_the_samples_of_lines_are_their_values() -> None:
    assert [half.samples for half in halves(IMPORT)] == [4, 6]


def test_an_uncompressed_body_is_split_too() -> None:
    plain = replace(IMPORT, payload=LINES, encoding=Encoding.IDENTITY)

    assert b"".join(half.payload for half in halves(plain)) == LINES


def test_series_with_several_samples_count_them_and_metadata_counts_none() -> None:
    request = WriteRequest()
    for count in (3, 2):
        series = request.timeseries.add()
        series.labels.add(name="__name__", value="x" * 300)
        for at in range(count):
            series.samples.add(value=1.0, timestamp=at)
    request.metadata.add(metric_family_name="x")
    body = replace(block(), payload=snappy.compress(request.SerializeToString()), samples=5)

    assert [half.samples for half in halves(body)] == [3, 2]


@pytest.mark.parametrize(
    "broken",
    [
        replace(EMPTY, payload=b""),
        replace(EMPTY, payload=b"\x05ab"),
        replace(EMPTY, payload=b"\xff\xff\xff\xff\x7f" + b"x" * 100),
        replace(EMPTY, payload=snappy.compress(b"\x0a\xff\xff")),
        replace(EMPTY, payload=snappy.compress(b"\x08\x01")),
        replace(EMPTY, payload=b"not zstd", encoding=Encoding.ZSTD),
        replace(EMPTY, payload=compress(b"\x0a\xff\xff", Encoding.ZSTD), encoding=Encoding.ZSTD),
        replace(IMPORT, payload=b"not gzip"),
        replace(IMPORT, payload=gzip.compress(LINES)[:-9]),
        replace(IMPORT, payload=gzip.compress(b"[]\n{\n")),
        replace(IMPORT, payload=gzip.compress(b"{}\n{}\n")),
        replace(IMPORT, payload=gzip.compress(b"[" * 100_000 + b"\n{}\n")),
    ],
)
def test_bytes_that_are_no_body_are_refused(broken: Block) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        halves(broken)


def test_a_bomb_is_refused() -> None:
    bomb = replace(IMPORT, payload=gzip.compress(b"\n" * (MAX_BODY_BYTES + 1)))

    with pytest.raises(ValueError, match="the limit"):
        halves(bomb)


@given(st.binary(max_size=200), st.sampled_from(Encoding))
def test_no_bytes_raise_anything_but_value_error(raw: bytes, encoding: Encoding) -> None:
    packed = compress(raw, encoding)
    for protocol in (Protocol.REMOTE_WRITE, Protocol.IMPORT):
        try:
            found = halves(Block(packed, protocol, encoding, 1, 0, 0.0))
        except ValueError:
            continue
        assert len(found) in (1, 2)


def test_a_snappy_block_that_announces_too_much_is_not_unpacked() -> None:
    with pytest.raises(ValueError, match="the limit"):
        halves(replace(EMPTY, payload=b"\xff\xff\xff\x7f" + b"x" * 100))


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=9), st.integers(0, 8))
def test_a_single_record_is_that_one(values: list[float], index: int) -> None:
    index %= len(values)

    assert values_of(single(block(*values), index)) == [values[index]]
    assert values_of(single(block(*values), -1)) == [values[-1]]


def test_there_is_no_record_beyond_the_last() -> None:
    with pytest.raises(IndexError):
        single(block(1.0), 1)
