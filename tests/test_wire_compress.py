"""Packing and unpacking: whole, within bounds, and the same bytes every time."""

from __future__ import annotations

import cramjam
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.model import Encoding
from agent.wire.compress import compress, decompress


@given(st.binary(max_size=3_000), st.sampled_from(Encoding))
@example(b"", Encoding.ZSTD)
@example(bytes(1 << 21), Encoding.ZSTD)
def test_what_is_packed_is_unpacked_whole(payload: bytes, encoding: Encoding) -> None:
    assert decompress(compress(payload, encoding), encoding) == payload


@given(st.binary(max_size=3_000), st.sampled_from(Encoding))
def test_the_same_bytes_give_the_same_body(payload: bytes, encoding: Encoding) -> None:
    assert compress(payload, encoding) == compress(bytearray(payload), encoding)


@given(st.binary(max_size=300), st.sampled_from(Encoding))
def test_hostile_bytes_raise_nothing_but_value_errors(raw: bytes, encoding: Encoding) -> None:
    for body in (raw, b"\x28\xb5\x2f\xfd" + raw):
        try:
            assert len(decompress(body, encoding, 10_000)) <= 10_000
        except ValueError:
            continue


@pytest.mark.parametrize("size", [1_000, 1_001, 100_000])
def test_the_limit_is_the_last_size_that_is_unpacked(size: int) -> None:
    packed = compress(bytes(size), Encoding.ZSTD)

    assert len(decompress(packed, Encoding.ZSTD, size)) == size
    with pytest.raises(ValueError, match="the limit"):
        decompress(packed, Encoding.ZSTD, size - 1)


def test_frames_that_do_not_tell_their_size_are_unpacked_within_the_limit() -> None:
    packer = cramjam.zstd.Compressor(level=1)
    packer.compress(bytes(3 << 20))
    packed = bytes(packer.finish())

    assert len(decompress(packed, Encoding.ZSTD)) == 3 << 20
    with pytest.raises(ValueError, match="the limit"):
        decompress(packed, Encoding.ZSTD, (3 << 20) - 1)


def test_frames_that_follow_each_other_are_unpacked_within_the_limit() -> None:
    packed = compress(b"a" * 100, Encoding.ZSTD) + compress(b"b" * 1_000, Encoding.ZSTD)

    assert decompress(packed, Encoding.ZSTD) == b"a" * 100 + b"b" * 1_000
    with pytest.raises(ValueError, match="the limit"):
        decompress(packed, Encoding.ZSTD, 1_099)


@given(st.binary(min_size=1, max_size=500), st.data())
def test_a_cut_zstd_body_is_refused(payload: bytes, data: st.DataObject) -> None:
    packed = compress(payload, Encoding.ZSTD)

    with pytest.raises(ValueError, match="zstd"):
        decompress(packed[: data.draw(st.integers(0, len(packed) - 1))], Encoding.ZSTD)
