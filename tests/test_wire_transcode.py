"""Blocks in another form hold the same samples, and nothing foreign gets through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Block, Encoding, Form, Protocol
from agent.wire.compress import compress, decompress
from agent.wire.transcode import recoded
from tests.lanes import block

SNAPPY = Form(Protocol.REMOTE_WRITE, Encoding.SNAPPY)
ZSTD = Form(Protocol.REMOTE_WRITE, Encoding.ZSTD)
TWO = Form(Protocol.REMOTE_WRITE_2, Encoding.SNAPPY)
FORMS = [SNAPPY, ZSTD, TWO]
SOME = replace(block(1.0, 2.0), flush=7, group=9, events=True)


def test_another_encoding_holds_the_same_bytes_and_the_same_facts() -> None:
    packed = recoded(SOME, ZSTD)

    assert decompress(packed.payload, Encoding.ZSTD) == decompress(SOME.payload, Encoding.SNAPPY)
    assert packed == replace(SOME, payload=packed.payload, encoding=Encoding.ZSTD)


def test_there_and_back_is_the_same_block() -> None:
    assert recoded(recoded(SOME, ZSTD), SNAPPY) == SOME


def test_a_block_in_that_form_already_is_left_alone() -> None:
    assert recoded(SOME, SNAPPY) is SOME


@given(st.binary(max_size=200), st.sampled_from(FORMS), st.sampled_from(FORMS), st.booleans())
def test_foreign_bytes_raise_nothing_but_value_errors(raw: bytes, form: Form, other: Form, packed: bool) -> None:
    payload = compress(raw, form.encoding) if packed else raw
    try:
        recoded(Block(payload, *form, 1, 0, 0.0), other)
    except ValueError:
        return
    assert packed or form == other


def test_import_lines_are_nothing_else() -> None:
    with pytest.raises(ValueError, match="no way"):
        recoded(replace(SOME, protocol=Protocol.IMPORT, encoding=Encoding.IDENTITY), SNAPPY)
