"""Bodies built to harm the reader."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Encoding
from agent.wire import decode
from agent.wire.compress import compress

READERS: list[Callable[[bytes], Any]] = [
    *(partial(decode.unpack, encoding=encoding) for encoding in Encoding),
    decode.remote_write,
    decode.remote_write2,
    decode.import_lines,
    decode.text,
]


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_but_decode_errors(body: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(decode.DecodeError):
            list(read(body))


@pytest.mark.parametrize("encoding", Encoding)
def test_a_bomb_is_refused(encoding: Encoding) -> None:
    with pytest.raises(decode.DecodeError, match="the limit"):
        decode.unpack(compress(bytes(1001), encoding), encoding, 1000)
