"""The flush when the system clock is set: sample times never go back, and nothing waits for a time that comes again."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from agent.flush import SampleClock
from agent.flush import flusher as flush
from tests.core import START, START_MS, Bench

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def test_sample_times_are_those_of_the_clock_while_it_goes_forward() -> None:
    clock = SampleClock()

    assert [clock.next(START, 300), clock.next(START + 0.001, 300)] == [(START_MS, ""), (START_MS + 1, "")]


def test_the_same_millisecond_is_not_used_twice() -> None:
    clock = SampleClock(START_MS)

    assert clock.next(START, 300) == (0, "clock_behind")


def test_a_small_step_back_holds_until_the_clock_has_caught_up() -> None:
    clock = SampleClock(START_MS)

    assert [clock.next(START - 300, 300)[1], clock.next(START + 1, 300)[1]] == ["clock_behind", ""]


def test_a_large_step_back_begins_a_new_epoch() -> None:
    clock = SampleClock(START_MS)

    assert clock.next(START - 301, 300) == (START_MS - 301_000, "epoch")


@pytest.mark.parametrize("at", [0.0, -1e18, 5e9, 1e300, float("inf")])
def test_a_clock_out_of_range_gives_no_time(at: float) -> None:
    assert SampleClock().next(at, 300) == (0, "clock_out_of_range")


async def test_nothing_is_flushed_nor_expires_while_the_clock_is_out_of_range(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1})
    bench.wall.shift = 100 * 365 * 86400.0

    await bench.flusher.flush()
    await bench.flusher.flush()

    assert (lane.items, bench.flusher.held, bench.store.total_series) == ([], "clock_out_of_range", 1)
    assert caplog.text.count("flushes are held") == 1


async def test_flushes_go_on_when_the_clock_is_usable_again() -> None:
    bench = Bench(last_ms=START_MS + 10_000)
    lane = bench.lane()
    bench.put({"a": 1})
    await bench.flusher.flush()
    held = bench.flusher.held

    await anyio.sleep(11)
    await bench.flusher.flush()

    assert (held, bench.flusher.held, len(lane.items)) == ("clock_behind", "", 1)
    assert bench.monitor.value(flush.HELD, ("clock_behind",)) == 1


async def test_after_a_large_step_back_updates_are_taken_and_everything_is_sent() -> None:
    bench = Bench(heartbeat=3600)
    lane = bench.lane()
    bench.put({"a": 1, "b": 1})
    await bench.flusher.flush()
    bench.wall.shift = -86400.0

    await bench.flusher.flush()
    bench.put({"a": 2, "b": 1})
    await anyio.sleep(1)
    await bench.flusher.flush()

    assert lane.values() == [{"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}]
    assert bench.monitor.value(flush.EPOCHS) == 1


async def test_after_a_large_step_back_silent_series_expire_in_their_time() -> None:
    bench = Bench()
    bench.put({"a": 1})
    await bench.flusher.flush()
    bench.wall.shift = -86400.0
    await bench.flusher.flush()

    await anyio.sleep(3700)
    await bench.flusher.flush()

    assert bench.store.total_series == 0


async def test_a_leap_ahead_is_believed_after_a_minute() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1})
    await bench.flusher.flush()

    bench.wall.shift = 86400.0
    held = []
    for _ in range(6):
        await anyio.sleep(15)
        bench.put({"a": 2})
        await bench.flusher.flush()
        held.append(bench.flusher.held)

    assert held == ["clock_leapt_ahead"] * 4 + ["", ""]
    assert [block.timestamp_ms // 1000 - int(START) for block in lane.items] == [0, 86400 + 75]


async def test_a_leap_ahead_that_is_taken_back_leaves_nothing_from_the_future() -> None:
    bench = Bench()
    lane = bench.lane()
    for shift in (0.0, 86400.0, 0.0, 0.0):
        bench.wall.shift = shift
        bench.put({"a": shift})
        await bench.flusher.flush()
        await bench.flusher.flush_group("", bench.wall())
        await anyio.sleep(15)

    assert all(block.timestamp_ms / 1000 < START + 60 for block in lane.items)
    assert bench.flusher.held == ""


async def test_a_group_waits_for_a_leap_to_be_believed_too() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1}, group="target")
    await bench.flusher.flush_group("target", bench.wall())

    bench.wall.shift = 86400.0
    bench.put({"a": 2}, group="target")
    await bench.flusher.flush_group("target", bench.wall())

    assert len(lane.items) == 1


async def test_a_flush_that_is_brought_forward_comes_soon_and_the_next_an_interval_later() -> None:
    bench = Bench(interval=60.0)
    lane = bench.lane()
    bench.put({"a": 1.0})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.flusher.run)
        await anyio.sleep(30)
        bench.put({"a": 2.0})
        bench.flusher.hasten()
        bench.flusher.hasten()
        await anyio.sleep(100)
        tasks.cancel_scope.cancel()

    assert [round(at) for at in lane.times] == [1, 30, 90]
