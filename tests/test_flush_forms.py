"""Numbers of flushes, and lanes that change the form in which they are rendered."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import anyio
import pytest
from trio.testing import MockClock

from agent.flush.numbers import Numbers
from agent.model import Encoding, Form, Protocol
from tests.core import START_MS, Bench, Offered, ended

pytestmark = pytest.mark.anyio
IMPORT = Form(Protocol.IMPORT, Encoding.GZIP)
SNAPPY = Form(Protocol.REMOTE_WRITE, Encoding.SNAPPY)
PAGES = {str(number): 1.0 for number in range(15_000)}
"""More than one page holds."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, MockClock]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Switching(Offered):
    """A lane that asks for another form when it is handed its first block."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench

    def offer(self, item: Any, /) -> None:
        super().offer(item)
        if len(self.items) == 1:
            self.bench.flusher.switch(self, IMPORT)


def test_a_flush_is_complete_when_all_before_it_are() -> None:
    numbers = Numbers()
    first = numbers.flush(1, "")
    first.__enter__()
    with numbers.flush(2, "group"):
        pass

    assert numbers.complete == 0
    first.__exit__(None, None, None)
    assert numbers.complete == 2


async def test_blocks_name_their_flush_and_group() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1})
    bench.put({"b": 1}, group="target")

    await bench.flusher.flush()
    await bench.flusher.flush_group("target", bench.wall())

    assert [(block.flush, block.group) for block in lane.items] == [(1, 0), (2, crc32(b"target"))]
    assert list(bench.flusher.numbers.recent) == [(1, START_MS, ""), (2, START_MS, "target")]


async def test_a_switch_in_the_middle_of_a_flush_waits_for_its_end() -> None:
    bench = Bench()
    lane = Switching(bench)
    bench.flusher.attach(lane, *SNAPPY, bench.rules)
    bench.put(PAGES)

    await bench.flusher.flush(pace=False)
    await anyio.sleep(60)
    await bench.flusher.flush(pace=False)

    assert [block.protocol for block in lane.items] == [Protocol.REMOTE_WRITE] * 2 + [Protocol.IMPORT] * 2


async def test_nothing_is_lost_or_doubled_by_a_switch() -> None:
    bench = Bench()
    lane = Switching(bench)
    bench.flusher.attach(lane, *SNAPPY, bench.rules)
    bench.put(PAGES)

    await bench.flusher.flush(pace=False)
    await anyio.sleep(60)
    await bench.flusher.flush(pace=False)

    assert [block.samples for block in lane.items] == [10_000, 5_000] * 2


async def test_another_encoding_keeps_the_pages() -> None:
    bench = Bench()
    lane = bench.lane()
    view = bench.store.views[0]

    bench.flusher.switch(lane, Form(Protocol.REMOTE_WRITE, Encoding.IDENTITY))
    bench.put({"a": 1})
    await bench.flusher.flush()

    assert bench.store.views == [view]
    assert lane.items[0].encoding is Encoding.IDENTITY


async def test_what_was_sent_in_one_form_is_ended_in_the_other() -> None:
    bench = Bench()
    lane = Offered()
    bench.flusher.attach(lane, *IMPORT, bench.rules)
    bench.put({"a": 1, "b": 1})
    await bench.flusher.flush()

    bench.flusher.switch(lane, SNAPPY)
    bench.put({"b": 1})
    await anyio.sleep(15)
    await bench.flusher.flush()

    assert ended(lane.values_of(Protocol.REMOTE_WRITE)) == ["a"]


async def test_the_other_lanes_of_a_view_keep_it() -> None:
    bench = Bench()
    stays, goes = bench.lane(), bench.lane()
    bench.put({"a": 1})

    bench.flusher.switch(goes, IMPORT)
    await bench.flusher.flush()

    assert [len(output.lanes) for output in bench.flusher.outputs] == [1, 1]
    assert (stays.items[0].protocol, goes.items[0].protocol) == (Protocol.REMOTE_WRITE, Protocol.IMPORT)
