"""Lanes on a virtual clock: order, retries, waits and independence."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from trio.testing import MockClock

from agent.backoff import Hosts
from agent.deliver.pause import PARKED_SECONDS as PROBE_SECONDS
from agent.model import Accepted, Block, Misconfigured, Outcome, Rejected, Retry, Snapshot
from agent.plugin import Policy
from tests.lanes import ScriptedSink, block, deliver, history_lane, running, snapshot, state_lane, values_of

pytestmark = pytest.mark.anyio

RETRY = Retry("503", "503 Service Unavailable")
NOT_FOUND = Misconfigured("404", "404 Not Found: remote write receiver needs to be enabled")
REJECTED = Rejected("400", "400 Bad Request: out of order sample")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def blocks_sink(*script: Outcome | Exception, url: str = "http://127.0.0.1:8428/api/v1/write") -> ScriptedSink[Block]:
    """A sink whose times count from now: the virtual clock has no zero."""
    sink: ScriptedSink[Block] = ScriptedSink(*script, url=url)
    sink.began = anyio.current_time()
    return sink


async def test_blocks_arrive_in_the_order_of_the_offers() -> None:
    sink = blocks_sink(RETRY)

    await deliver(history_lane(sink), block(1), block(2), block(3))

    assert [values_of(sent) for sent in sink.sent] == [[1], [1], [2], [3]]


async def test_a_retry_sends_the_same_bytes() -> None:
    sink, given = blocks_sink(RETRY, RETRY), block(1, 2)

    await deliver(history_lane(sink), given)

    assert [sent.payload for sent in sink.sent] == [given.payload] * 3


async def test_retries_wait_1_second_doubled_up_to_60() -> None:
    sink = blocks_sink(*[Retry("connect", "refused")] * 8)

    await deliver(history_lane(sink), block(1))

    assert sink.times == [0, 1, 3, 7, 15, 31, 63, 123, 183]


async def test_success_resets_the_backoff() -> None:
    sink = blocks_sink(RETRY, RETRY, RETRY, Accepted("204"), RETRY)
    lane = history_lane(sink)

    async with running(lane):
        lane.offer(block(1))
        await anyio.sleep(100)
        lane.offer(block(2))
        await anyio.sleep(100)

    assert sink.times == [0, 1, 3, 7, 100, 101]


async def test_retry_after_beats_the_backoff() -> None:
    sink = blocks_sink(Retry("429", "slow down", after=90.0))

    await deliver(history_lane(sink), block(1))

    assert sink.times == [0, 90]


async def test_retry_after_of_zero_still_waits_a_second() -> None:
    sink = blocks_sink(*[Retry("429", "slow down", after=0.0)] * 3)

    await deliver(history_lane(sink), block(1))

    assert sink.times == [0, 1, 2, 3]


async def test_a_rejected_block_makes_room_for_the_next_at_once() -> None:
    sink = blocks_sink(REJECTED)

    await deliver(history_lane(sink), block(1), block(2))

    assert [values_of(sent) for sent in sink.sent] == [[1], [2]]
    assert sink.times == [0, 0]


async def test_a_misconfigured_sink_is_asked_every_minute_and_loses_nothing() -> None:
    sink = blocks_sink(NOT_FOUND, NOT_FOUND)

    await deliver(history_lane(sink), block(1), block(2))

    assert sink.times == [0, PROBE_SECONDS, 2 * PROBE_SECONDS, 2 * PROBE_SECONDS]
    assert [values_of(sent) for sent in sink.sent] == [[1], [1], [1], [2]]


async def test_a_sink_that_raises_is_retried_as_a_bug() -> None:
    sink = blocks_sink(RuntimeError("plugin"))
    lane = history_lane(sink)

    await deliver(lane, block(1))

    assert sink.times == [0, 1]
    assert lane.status()["last_error"] == "the sink raised RuntimeError: plugin"


async def test_a_sink_that_never_answers_is_retried_after_its_timeout() -> None:
    sink: ScriptedSink[Block] = ScriptedSink(anyio.sleep_forever)
    sink.began = anyio.current_time()
    lane = history_lane(sink, policy=Policy(timeout_seconds=30.0))

    await deliver(lane, block(1))

    assert sink.times == [0, 31]
    assert lane.status()["last_error"] == "no answer within 30 s"


async def test_an_offer_wakes_an_idle_lane() -> None:
    sink = blocks_sink()
    lane = history_lane(sink)

    async with running(lane):
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(100)
        lane.offer(block(1))
        await lane.drained()

    assert sink.times == [100]


async def test_a_dead_sink_delays_no_other() -> None:
    dead: ScriptedSink[Block] = ScriptedSink(*[anyio.sleep_forever] * 100, url="http://dead:1/")
    alive = blocks_sink(url="http://alive:1/")
    lanes = history_lane(dead, name="dead"), history_lane(alive, name="alive")

    async with running(*lanes):
        for lane in lanes:
            lane.offer(block(1))
            lane.offer(block(2))
        await lanes[1].drained()

    assert alive.times == [0, 0]
    assert lanes[0].status()["queue_blocks"] == 2


async def send_after(seconds: float, first: Outcome, other_url: str) -> list[float]:
    """When a lane sent that got `first` ten times, while at `seconds` another lane has a success at `other_url`."""
    hosts, sink = Hosts(), blocks_sink(*[first] * 10)
    other = history_lane(blocks_sink(url=other_url), hosts=hosts, name="other")
    lane = history_lane(sink, hosts=hosts)

    async with running(lane, other):
        lane.offer(block(1))
        await anyio.sleep(seconds)
        other.offer(block(1))
        await anyio.sleep(2.5)

    return sink.times


async def test_success_of_another_lane_to_the_same_host_ends_the_wait() -> None:
    times = await send_after(40, RETRY, "http://127.0.0.1:8428/api/v1/import")

    assert times == [0, 1, 3, 7, 15, 31, 40, 41]


async def test_success_on_another_host_ends_no_wait() -> None:
    assert await send_after(40, RETRY, "http://127.0.0.1:9999/") == [0, 1, 3, 7, 15, 31]


async def test_success_of_another_lane_does_not_overrule_retry_after() -> None:
    assert await send_after(40, Retry("429", "", after=120.0), "http://127.0.0.1:8428/api/v1/import") == [0]


async def test_success_of_another_lane_does_not_hurry_a_parked_one() -> None:
    assert await send_after(40, NOT_FOUND, "http://127.0.0.1:8428/api/v1/import") == [0]


async def test_many_successes_of_another_lane_do_not_make_a_tight_loop() -> None:
    hosts, sink = Hosts(), blocks_sink(*[RETRY] * 100)
    other = history_lane(blocks_sink(), hosts=hosts, name="other")
    lane = history_lane(sink, hosts=hosts)

    async with running(lane, other):
        lane.offer(block(1))
        for _ in range(100):
            other.offer(block(1))
            await anyio.sleep(0.1)

    assert len(sink.times) <= 11


async def test_a_state_lane_sends_the_newest_snapshot_after_a_wait() -> None:
    sink: ScriptedSink[Snapshot] = ScriptedSink(RETRY)
    lane = state_lane(sink)

    async with running(lane):
        lane.offer(snapshot(1))
        await anyio.sleep(0.5)
        lane.offer(snapshot(2))
        lane.offer(snapshot(3))
        await lane.drained()

    assert sink.sent == [snapshot(1), snapshot(3)]


async def test_draining_gives_a_resting_lane_one_early_try() -> None:
    sink = blocks_sink(*[RETRY] * 6)
    lane = history_lane(sink)

    async with running(lane):
        lane.offer(block(1))
        await anyio.sleep(40)
        await lane.drained()

    assert sink.times == [0, 1, 3, 7, 15, 31, 40]


async def test_a_block_whose_send_was_cancelled_is_still_owed() -> None:
    sink: ScriptedSink[Block] = ScriptedSink(anyio.sleep_forever)
    lane = history_lane(sink)

    async with running(lane):
        lane.offer(block(1))
        await anyio.sleep(1)
    await deliver(lane)

    assert [values_of(sent) for sent in sink.sent] == [[1], [1]]


async def test_drained_returns_at_once_when_nothing_is_pending() -> None:
    with anyio.fail_after(5):
        await history_lane(blocks_sink()).drained()
