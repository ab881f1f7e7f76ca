"""Several requests at once, and what goes first."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from trio.testing import MockClock

from agent.model import Accepted, Block, Outcome, Retry
from agent.plugin import Policy
from tests.lanes import START, ScriptedSink, block, history_lane, running, values_of

pytestmark = pytest.mark.anyio

DOWN = Retry("503", "503 Service Unavailable")
VICTORIA = Policy(max_in_flight=4, fresh_first=True)


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Slow(ScriptedSink[Block]):
    """Takes a second for each block; may be down."""

    def __init__(self) -> None:
        super().__init__()
        self.began = anyio.current_time()
        self.flying: list[Block] = []
        self.most = 0
        self.together: set[tuple[int, int]] = set()
        self.down = False
        self.stored: list[float] = []
        self.began_to_store = anyio.Event()

    async def send(self, item: Block) -> Outcome:
        await super().send(item)
        if self.down:
            return DOWN
        self.flying.append(item)
        self.most = max(self.most, len(self.flying))
        self.together |= {(one.timestamp_ms, other.timestamp_ms) for one in self.flying for other in self.flying}
        await anyio.sleep(1)
        self.flying.remove(item)
        self.stored += values_of(item)
        self.began_to_store.set()
        return Accepted("204")


def at(seconds: float, *values: float, group: int = 0) -> Block:
    """A block of the flush `seconds` after START."""
    return replace(block(*values), timestamp_ms=int((START + seconds) * 1000), group=group)


async def test_blocks_of_one_flush_are_in_flight_together() -> None:
    sink = Slow()
    lane = history_lane(sink, policy=VICTORIA)
    for value in range(8):
        lane.offer(at(0, value))

    async with running(lane):
        await lane.drained()

    assert (sink.most, max(sink.times)) == (4, 1.0)


async def test_blocks_of_two_flushes_never_are() -> None:
    sink = Slow()
    lane = history_lane(sink, policy=VICTORIA)
    for value in range(6):
        lane.offer(at(value // 2, value))

    async with running(lane):
        await lane.drained()

    assert all(one == other for one, other in sink.together)
    assert sorted(sink.stored) == [0, 1, 2, 3, 4, 5]


async def test_flushes_of_two_groups_may_be() -> None:
    sink = Slow()
    lane = history_lane(sink, policy=VICTORIA)
    lane.offer(at(0, 1, group=7))
    lane.offer(at(1, 2, group=8))

    async with running(lane):
        await lane.drained()

    assert sink.times == [0, 0]


async def test_one_at_a_time_keeps_the_order_of_the_offers() -> None:
    sink = Slow()
    lane = history_lane(sink)
    for value in range(5):
        lane.offer(at(0, value))

    async with running(lane):
        await lane.drained()

    assert (sink.most, sink.stored) == (1, [0, 1, 2, 3, 4])


async def outage(policy: Policy) -> list[float]:
    """What is stored, in its order, when ten flushes wait and one more comes while they drain."""
    sink = Slow()
    sink.down = True
    lane = history_lane(sink, policy=policy)
    async with running(lane):
        for value in range(10):
            lane.offer(at(value, value))
        await anyio.sleep(100)
        sink.down = False
        await sink.began_to_store.wait()
        lane.offer(at(100, 100))
        await lane.drained()
    return sink.stored


async def test_after_an_outage_what_is_fresh_goes_before_the_backlog() -> None:
    stored = await outage(VICTORIA)

    assert stored.index(100) <= 2
    assert [value for value in stored if value != 100] == list(range(10))


async def test_a_receiver_that_wants_order_gets_the_backlog_first() -> None:
    assert await outage(Policy()) == [*range(10), 100]


async def test_what_waits_at_the_start_is_a_backlog() -> None:
    sink = Slow()
    lane = history_lane(sink, policy=VICTORIA)
    for value in range(5):
        lane.offer(at(value, value))

    async with running(lane):
        await anyio.sleep(0.5)
        lane.offer(at(100, 100))
        await lane.drained()

    assert sink.stored == [0, 100, 1, 2, 3, 4]


async def test_requests_that_fail_together_are_one_failure() -> None:
    class Falling(Slow):
        async def send(self, item: Block) -> Outcome:
            self.sent.append(item)
            self.times.append(anyio.current_time() - self.began)
            await anyio.sleep(1)
            return DOWN if len(self.times) <= 4 else Accepted("204")

    sink = Falling()
    lane = history_lane(sink, policy=VICTORIA)
    for value in range(4):
        lane.offer(at(0, value))

    async with running(lane):
        await lane.drained()

    assert sink.times[:5] == [0, 0, 0, 0, 2]


async def test_in_trouble_one_request_finds_out() -> None:
    sink = Slow()
    sink.down = True
    lane = history_lane(sink, policy=VICTORIA)
    for value in range(8):
        lane.offer(at(0, value))

    async with running(lane):
        await anyio.sleep(10)

    assert [time for time in sink.times if time > 0.5] == [1, 3, 7]


async def test_a_limit_on_bytes_spreads_the_sends() -> None:
    sink: ScriptedSink[Block] = ScriptedSink()
    sink.began = anyio.current_time()
    blocks = [at(0, *map(float, range(100))) for _ in range(5)]
    size = len(blocks[0].payload)
    lane = history_lane(sink, policy=Policy(rate_limit_bytes_per_second=size / 2))
    for item in blocks:
        lane.offer(item)

    async with running(lane):
        await lane.drained()

    assert sink.times == [0, 1, 3, 5, 7]


async def test_a_stop_leaves_what_was_in_flight_in_the_queue() -> None:
    lane = history_lane(Slow(), policy=VICTORIA)
    for value in range(4):
        lane.offer(at(0, value))

    async with running(lane):
        await anyio.sleep(0.5)

    assert lane.status()["queue_blocks"] == 4
