"""What lanes drop, split, count and log."""

from __future__ import annotations

import logging
import math

import anyio
import pytest
from trio.testing import MockClock

from agent.backoff import Hosts
from agent.deliver import FAMILIES, Lane, report
from agent.deliver.parcel import MOST_SPLITS
from agent.model import Accepted, Block, Encoding, Family, Misconfigured, Outcome, Protocol, Rejected, Retry, Snapshot, TooLarge
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.memory import MemoryQueue
from tests.lanes import START, NoJitter, ScriptedSink, block, deliver, history_lane, running, snapshot, state_lane, values_of

pytestmark = pytest.mark.anyio

RETRY = Retry("503", "503 Service Unavailable")
TOO_LARGE = TooLarge("413", "413 Content Too Large")
REJECTED = Rejected("400", "400 Bad Request: out of order sample")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Picky(ScriptedSink[Block]):
    """Refuses blocks with more samples than a limit, and those that hold the value 13."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    async def send(self, item: Block) -> Outcome:
        await super().send(item)
        return TOO_LARGE if item.samples > self._limit or 13.0 in values_of(item) else Accepted("204")


def dropped(monitor: SelfMonitor, reason: str) -> float:
    return monitor.value(report.DROPPED, ("vm", reason))


async def test_a_block_that_is_too_large_goes_in_halves_in_order() -> None:
    sink, monitor = Picky(2), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(1, 2, 3, 4, 5), block(6))

    assert [values_of(sent) for sent in sink.sent] == [[1, 2, 3, 4, 5], [1, 2], [3, 4, 5], [3], [4, 5], [6]]
    assert monitor.value(report.SENT, ("vm",)) == 6


async def test_one_sample_that_is_too_large_is_dropped_alone() -> None:
    sink, monitor = Picky(100), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(11, 12, 13, 14, 15))

    assert dropped(monitor, "too_large") == 1
    assert monitor.value(report.SENT, ("vm",)) == 4


async def test_a_receiver_that_finds_everything_too_large_is_not_asked_for_every_sample() -> None:
    sink, monitor = Picky(0), SelfMonitor()

    await deliver(history_lane(sink, monitor=monitor), block(*range(2000)))

    assert len(sink.sent) <= 2 * MOST_SPLITS + 1
    assert dropped(monitor, "too_large") == 2000


async def test_a_retry_between_halves_does_not_repeat_the_accepted_half() -> None:
    sink: ScriptedSink[Block] = ScriptedSink(TOO_LARGE, Accepted("204"), RETRY)

    await deliver(history_lane(sink), block(1, 2))

    assert [values_of(sent) for sent in sink.sent] == [[1, 2], [1], [2], [2]]


async def test_a_block_that_cannot_be_unpacked_is_dropped_when_too_large() -> None:
    sink: ScriptedSink[Block] = ScriptedSink(TOO_LARGE)
    monitor = SelfMonitor()
    broken = Block(b"\xff\xff\xff\xff\xff", Protocol.REMOTE_WRITE, Encoding.SNAPPY, 7, int(START * 1000), START)

    await deliver(history_lane(sink, monitor=monitor), broken)

    assert dropped(monitor, "too_large") == 7


async def test_a_snapshot_that_is_too_large_is_dropped() -> None:
    sink: ScriptedSink[Snapshot] = ScriptedSink(TOO_LARGE)
    lane = state_lane(sink)

    await deliver(lane, snapshot(1))

    assert (len(sink.sent), lane.status()["samples_dropped"]) == (1, 1)


async def test_rejected_samples_are_counted_and_the_receiver_is_quoted() -> None:
    monitor = SelfMonitor()
    lane = history_lane(ScriptedSink(*[REJECTED] * 3), monitor=monitor)

    await deliver(lane, block(1, 2))

    assert dropped(monitor, "rejected") == 2
    assert lane.status()["last_error"] == "400 Bad Request: out of order sample"


async def test_a_clock_that_is_a_day_ahead_for_a_moment_makes_nothing_old() -> None:
    sink, shift = ScriptedSink[Block](*[RETRY] * 3), 0.0
    lane = Lane(
        "vm", sink, MemoryQueue(1 << 20), Policy(max_sample_age_seconds=3600), SelfMonitor(),
        lambda: START + anyio.current_time() + shift, NoJitter(), Hosts(),
    )  # fmt: skip

    async with running(lane):
        lane.offer(block(1))
        await anyio.sleep(2)
        shift = 86400.0
        await anyio.sleep(4)
        shift = 0.0
        await lane.drained()

    assert (lane.status()["samples_sent"], lane.status()["samples_dropped"]) == (1, 0)


async def test_samples_beyond_the_age_limit_are_dropped_unsent() -> None:
    sink: ScriptedSink[Block] = ScriptedSink()
    monitor = SelfMonitor()
    lane = history_lane(sink, monitor=monitor, policy=Policy(max_sample_age_seconds=3600))

    await deliver(lane, block(1, age=100_000), block(2))

    assert [values_of(sent) for sent in sink.sent] == [[2]]
    assert dropped(monitor, "too_old") == 1


async def test_a_block_that_outlives_its_retry_age_is_dropped() -> None:
    sink: ScriptedSink[Block] = ScriptedSink(*[RETRY] * 100)
    monitor = SelfMonitor()
    lane = history_lane(sink, monitor=monitor, policy=Policy(max_retry_age_seconds=10))
    created = anyio.current_time() + START
    given = block(1)

    await deliver(lane, Block(given.payload, given.protocol, given.encoding, 1, given.timestamp_ms, created))

    assert len(sink.sent) == 4  # at 0, 1, 3 and 7 seconds; the next would be at 15
    assert dropped(monitor, "retry_age") == 1


async def test_a_full_queue_drops_its_oldest_and_counts_them() -> None:
    sink: ScriptedSink[Block] = ScriptedSink()
    monitor, given = SelfMonitor(), [block(i, i) for i in range(4)]
    room = sum(len(one.payload) for one in given[-2:])
    lane = history_lane(sink, monitor=monitor, policy=Policy(queue_max_bytes=room))

    await deliver(lane, *given)

    assert [values_of(sent) for sent in sink.sent] == [[2, 2], [3, 3]]
    assert dropped(monitor, "queue_full") == 4


def words(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def test_a_failure_is_logged_when_it_begins_changes_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    timeout = Retry("timeout", "no answer within 30 s")

    await deliver(history_lane(ScriptedSink(RETRY, RETRY, RETRY, timeout, timeout)), block(1), block(2))

    assert words(caplog) == [
        "sink vm (http://127.0.0.1:8428/api/v1/write): 503 Service Unavailable; trying again in 1.0 s",
        "sink vm (http://127.0.0.1:8428/api/v1/write): no answer within 30 s; trying again in 8.0 s",
        "sink vm (http://127.0.0.1:8428/api/v1/write) accepts again after 31 s",
    ]


async def test_rejections_are_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    await deliver(history_lane(ScriptedSink(*[REJECTED] * 50)), *[block(1)] * 50)

    assert words(caplog) == [
        "sink vm (http://127.0.0.1:8428/api/v1/write): dropped 1 samples, rejected: 400 Bad Request: out of order sample"
    ]


async def test_a_bug_of_a_sink_is_logged_with_its_traceback_once(caplog: pytest.LogCaptureFixture) -> None:
    await deliver(history_lane(ScriptedSink(ValueError("x"), ValueError("x"))), block(1))

    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.WARNING] == [True]


async def test_a_parked_sink_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    await deliver(history_lane(ScriptedSink(Misconfigured("401", "401 Unauthorized"))), block(1))

    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    ("family", "labels", "value"),
    [
        (report.REQUESTS, ("vm", "204"), 2),
        (report.REQUESTS, ("vm", "503"), 1),
        (report.REQUESTS, ("vm", "400"), 1),
        (report.SENT, ("vm",), 3),
        (report.DROPPED, ("vm", "rejected"), 1),
        (report.BYTES, ("vm",), len(block(1, 2).payload) + len(block(3).payload)),
        (report.RETRIES, ("vm",), 1),
        (report.QUEUE_BYTES, ("vm",), 0),
        (report.QUEUE_SAMPLES, ("vm",), 0),
        (report.HIGHEST_SENT, ("vm",), START),
        (report.UP, ("vm",), 1),
        (report.DURATION, ("vm",), 4),
    ],
)
async def test_what_happened_is_counted(family: Family, labels: tuple[str, ...], value: float) -> None:
    monitor = SelfMonitor()

    await deliver(history_lane(ScriptedSink(RETRY, REJECTED), monitor=monitor), block(9), block(1, 2), block(3))

    assert monitor.value(family, labels) == value


async def test_the_receivers_date_shows_how_far_the_clocks_are_apart() -> None:
    monitor, now = SelfMonitor(), START + anyio.current_time()

    await deliver(history_lane(ScriptedSink(Accepted("204", date=now + 120)), monitor=monitor), block(1))

    assert math.isclose(monitor.value(report.SKEW, ("vm",)), 120, abs_tol=1e-3)


@pytest.mark.parametrize("outcome", [RETRY, REJECTED, TOO_LARGE, Misconfigured("404", "404 Not Found")])
async def test_up_is_0_until_something_is_accepted(outcome: Outcome) -> None:
    monitor = SelfMonitor()
    lane = history_lane(ScriptedSink(outcome), monitor=monitor)

    async with running(lane):
        lane.offer(block(1))
        await anyio.sleep(0.1)

    assert (monitor.value(report.UP, ("vm",)), lane.status()["up"]) == (0, False)


async def test_the_age_of_what_waits_grows_with_refresh() -> None:
    monitor = SelfMonitor()
    lane = history_lane(ScriptedSink(), monitor=monitor)
    lane.offer(block(1))

    lane.refresh(START + 500)

    assert monitor.value(report.OLDEST_AGE, ("vm",)) == 500


async def test_counters_are_there_before_anything_happens() -> None:
    monitor = SelfMonitor()

    history_lane(ScriptedSink(), monitor=monitor)

    assert {report.SENT, report.RETRIES, report.UP} <= {family for family, _, _ in monitor.samples()}


def test_every_family_of_delivery_is_declared_once() -> None:
    names = [family.name for family in FAMILIES]

    assert len(set(names)) == len(names) == 15
    assert all(name.startswith("cipush_sink_") for name in names)


async def test_a_status_tells_what_waits_and_why() -> None:
    lane = history_lane(ScriptedSink(*[RETRY] * 9))

    async with running(lane):
        lane.offer(block(1, 2))
        await anyio.sleep(5)
        found = lane.status()

    assert (found["state"], found["queue_blocks"], found["queue_samples"], found["retries"]) == ("retrying", 1, 2, 3)
    assert found["last_error"] == "503 Service Unavailable"
