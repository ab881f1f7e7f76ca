"""Waiting for a receiver to come back, and noticing that it has; what becomes of a queue meanwhile."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from agent.deliver.flow import Flow
from agent.model import Accepted, Block, Misconfigured, Outcome, Retry
from tests.lanes import ScriptedSink, block, history_lane, running

pytestmark = pytest.mark.anyio

REFUSED = Retry("connect", "Connection refused")
SILENT = Retry("timeout", "no answer within 30 s")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Host:
    """Is there, or not; counts the knocks."""

    def __init__(self, back_at: float, outcome: Outcome, *, opens: bool = False) -> None:
        self.began = anyio.current_time()
        self.back_at = back_at
        self.outcome = outcome
        self.opens = opens
        self.knocks: list[float] = []

    @property
    def back(self) -> bool:
        return anyio.current_time() - self.began >= self.back_at

    async def knock(self) -> bool:
        self.knocks.append(anyio.current_time() - self.began)
        return self.opens or self.back


class At(ScriptedSink[Block]):
    """The sink at a host."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host, self.began = host, host.began

    async def send(self, item: Block) -> Outcome:
        await super().send(item)
        return Accepted("204") if self.host.back else self.host.outcome


async def sends(host: Host, seconds: float) -> list[float]:
    """When a lane with one block sent."""
    sink = At(host)
    lane = history_lane(sink, knock=host.knock)
    async with running(lane):
        lane.offer(block(1))
        await anyio.sleep(seconds)
    return sink.times


@pytest.mark.parametrize("outcome", [REFUSED, Retry("dns", "Name or service not known"), SILENT])
@pytest.mark.parametrize("back_at", [64.0, 101.0, 250.5, 1003.9])
async def test_a_drain_begins_within_5_s_of_the_return(outcome: Outcome, back_at: float) -> None:
    times = await sends(Host(back_at, outcome), back_at + 5)

    assert back_at <= times[-1] <= back_at + 5


async def test_without_a_knock_it_begins_at_the_next_try() -> None:
    host = Host(101.0, REFUSED)
    sink = At(host)
    lane = history_lane(sink)

    async with running(lane):
        lane.offer(block(1))
        await anyio.sleep(106)

    assert sink.times == [0, 1, 3, 7, 15, 31, 63]


@pytest.mark.parametrize("outcome", [Retry("503", "busy"), Retry("429", "slow", after=90.0), Misconfigured("401", "who?")])
async def test_a_host_that_answers_is_not_knocked_at(outcome: Outcome) -> None:
    host = Host(10_000, outcome)

    await sends(host, 300)

    assert host.knocks == []


async def test_an_open_port_behind_which_nobody_answers_brings_nothing_forward() -> None:
    host = Host(10_000, SILENT, opens=True)

    times = await sends(host, 70)

    assert times == [0, 1, 3, 7, 15, 31, 63]


async def test_short_waits_are_not_knocked_through() -> None:
    host = Host(10_000, REFUSED)

    await sends(host, 6.9)

    assert host.knocks == []


def test_a_queue_that_shrinks_says_when_it_is_empty() -> None:
    flow = Flow()
    for second in range(0, 60, 5):
        flow.note(10_000 - 100 * second, second)

    assert flow.drain_seconds == pytest.approx((10_000 - 5_500) / 100)
    assert flow.hours_left(1 << 30) is None


def test_a_queue_that_grows_says_when_it_is_full() -> None:
    flow = Flow()
    for second in range(0, 60, 5):
        flow.note(1_000 * second + 1, second)

    assert flow.hours_left(55_001 + 3_600_000) == pytest.approx(1.0)
    assert flow.drain_seconds is None


def test_an_empty_queue_has_no_outlook_but_none() -> None:
    flow = Flow()
    flow.note(1_000, 0)
    flow.note(500, 5)
    flow.note(0, 10)

    assert (flow.drain_seconds, flow.hours_left(1 << 30)) == (0.0, None)


def test_a_clock_that_steps_back_begins_anew() -> None:
    flow = Flow()
    flow.note(1_000, 100)
    flow.note(2_000, 50)

    assert (flow.drain_seconds, flow.hours_left(1 << 30)) == (None, None)
