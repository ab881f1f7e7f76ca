"""What becomes of a block that is refused, or that a receiver fails at: the good samples are saved."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import anyio
import pytest
import snappy
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.deliver import report
from agent.deliver.parcel import MOST_BISECTIONS, POISON_SECONDS
from agent.model import Accepted, Block, Kind, Outcome, Rejected, Retry
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.wire.remote_write import metadata
from tests.lanes import START, ScriptedSink, block, deliver, history_lane, running, values_of

pytestmark = pytest.mark.anyio

DOWN = Retry("503", "503 Service Unavailable")
FAILS = Retry("500", "500 Internal Server Error: too old sample")
REFUSED = Rejected("400", "400 Bad Request: out of order sample")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Picky(ScriptedSink[Block]):
    """Stores whole blocks, and none that holds a bad value: to that it answers `outcome`."""

    def __init__(self, bad: Collection[float], outcome: Outcome) -> None:
        super().__init__()
        self.bad = set(bad)
        self.outcome = outcome
        self.stored: list[float] = []
        self.down = False

    async def send(self, item: Block) -> Outcome:
        await super().send(item)
        if self.down:
            return DOWN
        if self.bad & set(values_of(item)):
            return self.outcome
        self.stored += values_of(item)
        return Accepted("204")


class Flapping(Picky):
    """Fails at everything once, bad or not, but for the first single sample."""

    def __init__(self, bad: Collection[float], outcome: Outcome) -> None:
        super().__init__(bad, outcome)
        self.seen: set[tuple[float, ...]] = set()

    async def send(self, item: Block) -> Outcome:
        found = tuple(values_of(item))
        is_first = len(found) == 1 and all(len(other) > 1 for other in self.seen)
        is_known = found in self.seen
        self.seen.add(found)
        if not (is_first or is_known):
            await ScriptedSink.send(self, item)
            return FAILS
        return await super().send(item)


class Kept:
    """A quarantine that a test can look into."""

    def __init__(self) -> None:
        self.kept: list[tuple[list[float], str, str, float]] = []

    def keep(self, block: Block, code: str, reason: str, now: float) -> None:
        self.kept.append((values_of(block), code, reason, now))


def values(count: int) -> list[float]:
    return [float(number) for number in range(count)]


async def test_one_bad_sample_costs_one_sample() -> None:
    sink, monitor = Picky([1234.0], REFUSED), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(*values(10_000)))

    assert sorted(sink.stored) == [value for value in values(10_000) if value != 1234.0]
    assert monitor.value(report.DROPPED, ("vm", "rejected")) == 1


async def test_samples_are_sent_in_their_order() -> None:
    sink = Picky([3.0], REFUSED)

    await deliver(history_lane(sink), block(*values(8)), block(8.0))

    assert sink.stored == [0, 1, 2, 4, 5, 6, 7, 8]


@given(st.integers(1, 300), st.data())
@settings(max_examples=60, deadline=None)
def test_what_was_never_refused_is_never_dropped(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.sampled_from(values(count))))
    sink, monitor = Picky(bad, REFUSED), SelfMonitor()

    async def main() -> None:
        await deliver(history_lane(sink, monitor=monitor), block(*values(count)))

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})

    refused = [set(values_of(sent)) for sent in sink.sent if bad & set(values_of(sent))]
    lost = set(values(count)) - set(sink.stored)
    assert len(sink.sent) <= 1 + MOST_BISECTIONS
    assert all(any(value in parts for parts in refused) for value in lost)
    assert monitor.value(report.DROPPED, ("vm", "rejected")) == len(lost)
    assert len(sink.stored) == len(set(sink.stored)) == count - len(lost)


async def test_a_receiver_that_refuses_everything_is_asked_a_bounded_number_of_times() -> None:
    sink = Picky(values(10_000), REFUSED)

    await deliver(history_lane(sink), block(*values(10_000)))

    assert len(sink.sent) == 1 + MOST_BISECTIONS


async def test_strict_spec_takes_nothing_apart() -> None:
    sink, monitor = Picky([3.0], REFUSED), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor, policy=Policy(strict_spec=True)), block(*values(8)))

    assert len(sink.sent) == 1
    assert monitor.value(report.DROPPED, ("vm", "rejected")) == 8


async def test_a_partial_write_is_believed_and_not_sent_again() -> None:
    sink: ScriptedSink[Block] = ScriptedSink(Rejected("400", "400: one is bad", written=7))
    monitor = SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(*values(8)))

    assert len(sink.sent) == 1
    assert (monitor.value(report.SENT, ("vm",)), monitor.value(report.DROPPED, ("vm", "rejected"))) == (7, 1)


async def test_a_receiver_that_says_it_stored_fewer_is_believed() -> None:
    sink: ScriptedSink[Block] = ScriptedSink(Accepted("204", written=5))
    monitor = SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(*values(8)))

    assert (monitor.value(report.SENT, ("vm",)), monitor.value(report.DROPPED, ("vm", "not_written"))) == (5, 3)


async def test_what_is_dropped_is_kept_for_a_look() -> None:
    quarantine = Kept()
    lane = history_lane(Picky([3.0], REFUSED), quarantine=quarantine)

    await deliver(lane, block(*values(8)))

    assert quarantine.kept == [([3.0], "400", "400 Bad Request: out of order sample", START)]


async def test_a_bisection_goes_on_where_an_outage_interrupted_it() -> None:
    class Falling(Picky):
        async def send(self, item: Block) -> Outcome:
            self.down = 3 <= len(self.sent) < 5
            return await super().send(item)

    sink = Falling([3.0], REFUSED)
    lane = history_lane(sink)

    async with running(lane):
        lane.offer(block(*values(8)))
        await anyio.sleep(0.5)
        waiting = lane.status()["queue_samples"]
        await lane.drained()

    assert waiting == 8
    assert sink.stored == [0, 1, 2, 4, 5, 6, 7]


async def test_a_block_that_a_working_receiver_fails_at_is_taken_apart() -> None:
    sink, monitor = Picky([3.0], FAILS), SelfMonitor()
    sink.began = anyio.current_time()

    await deliver(history_lane(sink, monitor=monitor), block(*values(8)), block(8.0))

    assert set(sink.stored) == {*values(8), 8.0} - {3.0}
    assert monitor.value(report.DROPPED, ("vm", "rejected")) == 1


async def test_it_is_first_tried_five_times_over_a_minute() -> None:
    sink = Picky([3.0], FAILS)
    sink.began = anyio.current_time()

    await deliver(history_lane(sink), block(*values(8)))

    whole = [at for at, sent in zip(sink.times, sink.sent, strict=True) if sent.samples == 8]
    assert len(whole) >= 5
    assert whole[-1] >= POISON_SECONDS


async def test_the_next_block_of_that_kind_is_taken_apart_at_its_second_failure() -> None:
    sink = Picky([3.0], FAILS)
    sink.began = anyio.current_time()

    await deliver(history_lane(sink), block(*values(8)), block(*values(8)), block(*values(8)))

    assert sorted(set(sink.stored)) == [0, 1, 2, 4, 5, 6, 7]
    assert sink.times[-1] < 80


async def test_a_receiver_that_comes_and_goes_costs_nothing_that_is_good() -> None:
    sink = Flapping([3.0], FAILS)

    await deliver(history_lane(sink), block(*values(8)))

    assert sorted(set(sink.stored)) == [0, 1, 2, 4, 5, 6, 7]


async def test_what_a_probe_sends_is_a_sample_of_the_block_itself() -> None:
    sink = Picky([3.0], FAILS)
    given_block = block(*values(8))

    await deliver(history_lane(sink), given_block)

    singles = [sent for sent in sink.sent if sent.samples == 1]
    assert values_of(singles[0]) == [0.0]
    assert all(sent.timestamp_ms == given_block.timestamp_ms for sent in sink.sent)


async def test_a_receiver_that_is_down_costs_no_sample() -> None:
    sink, monitor = Picky([], FAILS), SelfMonitor()
    sink.down = True
    lane = history_lane(sink, monitor=monitor)

    async with running(lane):
        lane.offer(block(*values(8)))
        await anyio.sleep(3600)
        assert lane.status()["samples_dropped"] == 0
        sink.down = False
        await lane.drained()

    assert sink.stored[-8:] == values(8)


async def test_a_receiver_that_goes_down_while_a_block_is_taken_apart_costs_no_good_sample() -> None:
    class Falling(Picky):
        async def send(self, item: Block) -> Outcome:
            self.down = 12 <= len(self.sent) < 20
            return await super().send(item)

    sink, monitor = Falling([3.0], FAILS), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(*values(8)))

    assert set(sink.stored) == set(values(8)) - {3.0}
    assert monitor.value(report.DROPPED, ("vm", "rejected")) == 1


async def test_slow_down_is_never_taken_for_poison() -> None:
    sink, monitor = Picky([3.0], Retry("429", "429 Too Many Requests")), SelfMonitor()
    lane = history_lane(sink, monitor=monitor)

    async with running(lane):
        lane.offer(block(*values(8)))
        await anyio.sleep(3600)

    assert {sent.samples for sent in sink.sent} == {8}
    assert math.isclose(lane.status()["samples_dropped"], 0)


async def test_a_single_sample_that_a_working_receiver_fails_at_is_dropped() -> None:
    sink, monitor = Picky([3.0], FAILS), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(3.0), block(4.0))

    assert set(sink.stored) == {4.0, 1.0}
    assert monitor.value(report.DROPPED, ("vm", "rejected")) == 1


async def test_a_block_of_which_nothing_is_accepted_holds_up_nobody_for_good() -> None:
    bad = [value + 10 for value in values(8)]
    sink, monitor = Picky(bad, FAILS), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(*bad), block(8.0))

    assert set(sink.stored) == {8.0, 1.0}  # 1: the fresh sample that told a bad block from a broken receiver
    assert monitor.value(report.DROPPED, ("vm", "rejected")) == 8


async def test_a_single_sample_waits_while_the_receiver_fails_at_everything() -> None:
    sink = Picky([3.0], FAILS)
    sink.down = True
    lane = history_lane(sink)

    async with running(lane):
        lane.offer(block(3.0))
        await anyio.sleep(3600)

    assert lane.status()["samples_dropped"] == 0


async def test_what_only_describes_families_holds_up_no_samples() -> None:
    class NoMetadata(Picky):
        async def send(self, item: Block) -> Outcome:
            found = await super().send(item)
            return found if item.samples else FAILS

    sink = NoMetadata([], FAILS)
    described = replace(block(), payload=snappy.compress(metadata("m", Kind.GAUGE, "help", "")))

    await deliver(history_lane(sink), described, block(4.0))

    assert sink.stored == [4.0]
