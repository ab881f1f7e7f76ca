"""The lines of an exposition, however it is cut on its way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import CollectError
from agent.sources.scrape.lines import MAX_LINES, Lines

TEXT = st.lists(st.sampled_from([b"a", b"bb 1", b"\n", b"\n", b"\r\n", b"\r"]), max_size=30).map(b"".join)


@given(TEXT, TEXT, st.lists(st.integers(0, 60), max_size=5))
def test_pieces_of_any_length_make_the_lines_of_the_whole(body: bytes, before: bytes, cuts: list[int]) -> None:
    previous = before.split(b"\n")
    lines = Lines(previous)

    edges = [0, *sorted(cuts), len(body)]
    for start, end in pairwise(edges):
        lines.take(body[start:end])

    whole = body.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n")
    assert lines.finish() == whole
    assert lines.changed == [place for place, (new, old) in enumerate(zip(whole, previous, strict=False)) if new != old]


def test_a_line_that_stays_is_the_object_it_was() -> None:
    previous = [b"stays 1", b"moves 1", b""]
    lines = Lines(previous)

    lines.take(b"stays 1\nmoves 2\n")

    assert lines.finish()[0] is previous[0]
    assert lines.changed == [1]


def test_an_exposition_of_nothing_but_line_feeds_is_refused() -> None:
    with pytest.raises(CollectError, match="more than 5,000,000 lines"):
        Lines().take(b"\n" * (MAX_LINES + 1))
