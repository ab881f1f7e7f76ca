"""Bodies built to harm the reader."""

from __future__ import annotations

import contextlib
import gzip

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from agent.wire import decode


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_but_decode_errors(body: bytes) -> None:
    for read in (decode.unsnappy, decode.gunzip, decode.remote_write, decode.remote_write2, decode.import_lines, decode.text):
        with contextlib.suppress(decode.DecodeError):
            list(read(body))


def test_a_gzip_bomb_is_refused() -> None:
    with pytest.raises(decode.DecodeError, match="more than 1000 bytes"):
        decode.gunzip(gzip.compress(bytes(1001)), 1000)


def test_a_snappy_bomb_is_refused() -> None:
    with pytest.raises(decode.DecodeError, match="the limit is 1000"):
        decode.unsnappy(snappy.compress(bytes(1001)), 1000)
