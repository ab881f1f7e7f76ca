"""The machine's clock jumps, with and without an outage at the same time: the agent stays up, says so and goes on."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from agent.flush.flusher import EPOCHS, HELD
from agent.sinks.remote_write import Receiver as Profile
from tests import outage
from tests.core import START_MS
from tests.outage import Mode, Outage, Phase, Receiver
from tests.test_runtime import Agent, import_sink, running

pytestmark = pytest.mark.anyio

DAY = 86_400.0
DAY_MS = 86_400_000
JUMPS = {
    "a day back": {20: -DAY},
    "a day ahead, and back": {20: DAY, 40: 0.0},
    "a day back, and ahead": {20: -DAY, 40: 0.0},
    "two minutes back": {20: -120.0},
}


@pytest.fixture
def anyio_backend() -> object:
    return outage.virtual_backend()


@pytest.mark.parametrize("mode", [Mode.WELL, Mode.STOPPED])
@pytest.mark.parametrize("jump", JUMPS)
async def test_what_was_flushed_arrives_however_the_clock_jumps(jump: str, mode: Mode) -> None:
    found = Outage(Receiver([Phase(Mode.WELL, 50), Phase(mode, 200)]), Profile.VICTORIAMETRICS)

    await found.run(80, JUMPS[jump])

    assert found.problems == {}


async def test_a_large_step_back_begins_anew_and_is_counted() -> None:
    found = Outage(Receiver([]), Profile.GENERIC)

    await found.run(40, JUMPS["a day back"])

    times = [at for _, at in found.owed]
    assert min(times) < START_MS - DAY_MS + 200_000
    assert found.bench.monitor.value(EPOCHS) == len(outage.TARGETS)
    assert found.problems.keys() <= {"out of order"}


async def test_after_a_small_step_back_flushes_wait_until_the_clock_has_caught_up() -> None:
    found = Outage(Receiver([]), Profile.GENERIC)

    await found.run(60, JUMPS["two minutes back"])

    times = sorted({at for series, at in found.owed if not series.startswith(outage.TARGETS[1])})
    assert max(later - earlier for earlier, later in pairwise(times)) <= 10_000
    assert found.bench.monitor.value(HELD, ("clock_behind",)) >= 40
    assert found.problems == {}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_ready_says_that_the_clock_is_behind_and_that_it_is_well_again(tmp_path: Path) -> None:
    config = {"sinks": {"vm": import_sink("http://127.0.0.1:1")}, "agent": {"flush_interval_seconds": 0.05}}
    async with running(Agent(tmp_path, config)) as agent:
        await ready(agent, "flushes are held", False)

        agent.now -= 120
        await ready(agent, "flushes are held: clock_behind", True)
        assert agent.runtime.monitor.value(HELD, ("clock_behind",)) > 0

        agent.now += 120
        await ready(agent, "flushes are held", False)


async def ready(agent: Agent, words: str, wanted: bool) -> None:
    """Wait until `/ready` has flushed, and holds these words or does not."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = await agent.get("/ready")
        assert answer.status_code == 200
        if agent.runtime.flusher.last_ms and (words in answer.text) is wanted:
            return
        await anyio.sleep(0.02)
    pytest.fail(f"/ready: {answer.text}")
