"""The flush: when, with which time, to whom."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from agent.flush import flusher as flush
from agent.model import Encoding, Protocol, Snapshot
from agent.store.encode import LabelRules
from agent.store.pages import PAGE_RECORDS
from tests.core import START_MS, Bench, Offered, ended

pytestmark = pytest.mark.anyio
TWO_PAGES = {str(i): float(i) for i in range(PAGE_RECORDS + 1)}


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.fixture
def anyio_backend(clock: MockClock) -> object:
    return "trio", {"clock": clock}


class Cancelling(Offered):
    """A lane whose first offer cancels a scope."""

    scope: anyio.CancelScope

    def offer(self, item: object, /) -> None:
        super().offer(item)
        self.scope.cancel()


def cancelling(bench: Bench) -> Cancelling:
    lane = Cancelling()
    lane.scope = anyio.CancelScope()
    bench.flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules())
    return lane


async def run_for(bench: Bench, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await bench.flusher.run()


async def test_the_first_flush_comes_soon_and_the_others_on_the_interval() -> None:
    bench = Bench(heartbeat=0)
    lane = bench.lane()
    bench.put({"a": 1})

    await run_for(bench, 40)

    assert lane.times == [1, 16, 31]
    assert [item.timestamp_ms for item in lane.items] == [START_MS + 1000, START_MS + 16_000, START_MS + 31_000]


async def test_what_does_not_change_is_sent_again_only_after_the_heartbeat() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1})

    await run_for(bench, 130)

    assert lane.times == [1, 61, 121]


async def test_what_changes_is_sent_with_the_next_flush() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1})
    await bench.flusher.flush()
    await anyio.sleep(15)
    bench.put({"a": 2})

    await bench.flusher.flush()

    assert lane.values() == [{"a": 1}, {"a": 2}]


async def test_a_shorter_interval_brings_the_next_flush_forward() -> None:
    bench = Bench(interval=3600, heartbeat=0)
    lane = bench.lane()
    bench.put({"a": 1})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.flusher.run)
        await anyio.sleep(100)
        bench.flusher.reconfigure(interval=10, heartbeat=0, max_future=300)
        await anyio.sleep(15)
        tasks.cancel_scope.cancel()

    assert lane.times == [1, 110]


async def test_a_group_is_flushed_at_once_with_its_own_time() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"interval": 1})
    bench.put({"scraped": 2}, group="t")

    await bench.flusher.flush_group("t", bench.wall() - 0.5)

    assert lane.values() == [{"scraped": 2}]
    assert lane.items[0].timestamp_ms == START_MS - 500


async def test_the_interval_flush_leaves_groups_alone() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"interval": 1})
    bench.put({"scraped": 2}, group="t")

    await bench.flusher.flush()

    assert lane.values() == [{"interval": 1}]


async def test_a_group_is_sent_whole_whether_it_changed_or_not() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"scraped": 2}, group="t")

    for _ in range(2):
        await bench.flusher.flush_group("t", bench.wall())
        await anyio.sleep(1)

    assert lane.values() == [{"scraped": 2}, {"scraped": 2}]


async def test_a_group_with_a_time_too_far_ahead_is_refused_and_counted() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"scraped": 2}, group="t")

    await bench.flusher.flush_group("t", bench.wall() + 301)

    assert lane.items == []
    assert bench.monitor.value(flush.HELD, ("too_far_ahead",)) == 1


async def test_groups_of_a_removed_source_end_with_markers() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"scraped": 2}, group="t")
    await bench.flusher.flush_group("t", bench.wall())
    await anyio.sleep(1)
    bench.store.remove_feed(bench.feed)

    await bench.flusher.end_groups(["", "t"])

    assert ended(lane.values()) == ["scraped"]
    assert lane.items[-1].timestamp_ms > lane.items[0].timestamp_ms


async def test_a_group_may_be_flushed_while_an_interval_flush_is_under_way() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put(TWO_PAGES)
    bench.put({"x": 1, "y": 2}, group="t")
    await bench.flusher.flush()
    await bench.flusher.flush_group("t", bench.wall())
    await anyio.sleep(1)
    bench.put({n: value + 1 for n, value in TWO_PAGES.items() if n != "5"})
    bench.put({"x": 3}, group="t")
    lane.items.clear()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.flusher.flush)
        tasks.start_soon(bench.flusher.flush_group, "t", bench.wall())

    found = lane.values()
    assert sorted(ended(found)) == ["5", "y"]
    assert {"x": 3.0} in found
    assert sum(len(samples) for samples in found) == len(TWO_PAGES) + 2


async def test_lanes_with_equal_rules_share_a_view() -> None:
    bench = Bench()

    bench.lane()
    bench.lane()
    bench.lane(site="b")

    assert len(bench.store.views) == 2


async def test_a_page_is_compressed_once_per_encoding() -> None:
    bench = Bench()
    lanes = [bench.lane(), bench.lane(), bench.lane(Encoding.GZIP)]
    bench.put({"a": 1})

    await bench.flusher.flush()

    one, other, third = (lane.items[0] for lane in lanes)
    assert one is other
    assert third.payload != one.payload


async def test_a_view_goes_with_its_last_lane() -> None:
    bench = Bench()
    lanes = [bench.lane(), bench.lane()]

    bench.flusher.detach(lanes[0])
    kept = len(bench.store.views)
    bench.flusher.detach(lanes[1])

    assert (kept, len(bench.store.views)) == (1, 0)


async def test_a_lane_for_text_gets_a_snapshot_of_everything() -> None:
    bench = Bench()
    lane = Offered()
    bench.flusher.attach(lane, Protocol.TEXT, Encoding.IDENTITY, LabelRules({"job": "j", "instance": "i"}))
    bench.put({"a": 1})
    bench.put({"b": 2}, group="t")

    await bench.flusher.flush()

    [found] = lane.items
    assert isinstance(found, Snapshot)
    assert (found.samples, [key for key, _ in found.bodies]) == (2, [("j", "i")])


async def test_after_a_cancelled_walk_the_next_one_begins() -> None:
    bench = Bench(heartbeat=0)
    lane = cancelling(bench)
    bench.put(TWO_PAGES)
    with lane.scope:
        await bench.flusher.flush()
    cut = len(lane.items)
    await anyio.sleep(1)

    await bench.flusher.flush()

    assert (cut, len(lane.items)) == (1, 3)


async def test_a_flush_that_has_begun_is_ended_before_the_loop_is() -> None:
    bench = Bench()
    lane = cancelling(bench)
    bench.put(TWO_PAGES)

    with lane.scope:
        await bench.flusher.run()

    assert [item.samples for item in lane.items] == [PAGE_RECORDS, 1]


async def test_half_of_a_flush_is_left_to_others(clock: MockClock) -> None:
    class Slow(Offered):
        def offer(self, item: object, /) -> None:
            super().offer(item)
            clock.jump(0.5)

    bench = Bench()
    lane = Slow()
    bench.flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules())
    bench.put(TWO_PAGES)

    await bench.flusher.flush()

    assert lane.times == [0, 1]


async def test_the_last_flush_does_not_pause(clock: MockClock) -> None:
    class Slow(Offered):
        def offer(self, item: object, /) -> None:
            super().offer(item)
            clock.jump(0.5)

    bench = Bench()
    lane = Slow()
    bench.flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules())
    bench.put(TWO_PAGES)

    await bench.flusher.flush(pace=False)

    assert lane.times == [0, 0.5]


async def test_a_lane_whose_labels_change_gets_the_markers_of_what_it_was_sent() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1})
    await bench.flusher.flush()
    bench.put({"a": 1, "unsent": 2})

    await bench.flusher.retire(lane)

    assert ended(lane.values()) == ["a"]
    assert bench.store.views == []
    assert lane.items[1].timestamp_ms > lane.items[0].timestamp_ms


async def test_what_follows_such_markers_is_later_than_they() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1})
    await bench.flusher.flush()
    await bench.flusher.retire(lane)
    bench.flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules({"site": "new"}))

    await anyio.sleep(1)
    await bench.flusher.flush()

    times = [block.timestamp_ms for block in lane.items]
    assert times == sorted(set(times))
    assert lane.values()[-1] == {"a": 1}
