"""The backoff cases of Prometheus' sender tests, which run for minutes, on a virtual clock; with the real jitter."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import anyio
import pytest
from trio.testing import MockClock

from agent.backoff import Hosts
from agent.deliver import Lane
from agent.model import Block, Outcome, Retry
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.memory import MemoryQueue
from tests.lanes import ScriptedSink, block, clock, running

pytestmark = pytest.mark.anyio

TRIES = 12
LONGEST_SECONDS = 60.0
JITTER = 0.1


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def waits(outcome: Outcome, seed: int = 1) -> list[float]:
    """The seconds between tries of one block that is refused so every time, and is the same every time."""
    sink: ScriptedSink[Block] = ScriptedSink(*[outcome] * TRIES)
    policy = Policy(strict_spec=True)
    lane = Lane("vm", sink, MemoryQueue(1 << 20), policy, SelfMonitor(), clock, Random(seed), Hosts())
    lane.offer(block(1.0))
    async with running(lane):
        await anyio.sleep(3600)
    assert len({one.payload for one in sink.sent}) == 1
    return [later - earlier for earlier, later in pairwise(sink.times)]


@pytest.mark.parametrize("code", ["500", "502", "503", "504"])
async def test_exponential_backoff(code: str) -> None:
    found = await waits(Retry(code, ""))

    assert len(found) == TRIES
    assert all(later >= 0.8 * earlier for earlier, later in pairwise(found))
    assert all(later >= 1.6 * earlier for earlier, later in pairwise(found[:6]))


async def test_backoff_required() -> None:
    assert min(await waits(Retry("503", ""))) >= 1 - JITTER


async def test_backoff_max_delay() -> None:
    found = await waits(Retry("502", ""))

    assert max(found) <= LONGEST_SECONDS * (1 + JITTER)
    assert max(found) > LONGEST_SECONDS * (1 - JITTER)


async def test_with_jitter() -> None:
    assert await waits(Retry("503", ""), seed=1) != await waits(Retry("503", ""), seed=2)


@pytest.mark.parametrize("seconds", [3.0, 120.0])
async def test_retry_after_is_kept_every_time(seconds: float) -> None:
    found = await waits(Retry("503", "", after=seconds))

    assert all(seconds <= wait < seconds + 0.01 for wait in found)
