"""Power cuts at any moment, on a virtual clock: what the status showed as synced arrives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import anyio
import anyio.to_thread
import pytest

from agent.plugin import Fsync
from agent.selfmon import SelfMonitor
from agent.sinks.remote_write import Receiver as Profile
from agent.spool.disk import DiskQueue
from agent.spool.recover import recover
from agent.spool.report import QueueReport
from tests import outage
from tests.outage import Mode, Outage, Phase, Receiver, Sample, decoded, merged
from tests.power import FakeDisk

pytestmark = pytest.mark.anyio

FOLDER = Path("/queues/vm")
LIVES = 6
SEEDS = 24
MODES = (Mode.STOPPED, Mode.STOPPED, Mode.UNAVAILABLE, Mode.WELL, Mode.CUT_AFTER, Mode.SLOW)


@pytest.fixture
def anyio_backend() -> object:
    return outage.virtual_backend()


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", outage.in_virtual_time)


@dataclass
class Lives:
    """One disk and one receiver, and agents that come and go."""

    random: Random
    fsync: Fsync
    disk: FakeDisk = field(default_factory=FakeDisk)
    promised: dict[Sample, float] = field(default_factory=dict)
    """What was shown as synced, or as having left, before a cut."""
    owed: dict[Sample, float] = field(default_factory=dict)
    flushes: int = 0

    def __post_init__(self) -> None:
        phases = [Phase(self.random.choice(MODES), self.random.uniform(5, 60)) for _ in range(12)]
        self.receiver = Receiver(phases, begins=anyio.current_time())

    def queue(self) -> DiskQueue:
        """What a start makes of the disk."""
        found, report = recover(self.disk, FOLDER), QueueReport("vm", SelfMonitor())
        return DiskQueue(self.disk, FOLDER, found, report, 0, max_bytes=1 << 26, fsync=self.fsync, fsync_interval_seconds=1.0)

    async def live(self, flushes: int) -> Outage:
        """One life: that many flushes, or until the power is cut."""
        queue = self.queue()
        agent = Outage(self.receiver, Profile.VICTORIAMETRICS, queue)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.lane.run)
            tasks.start_soon(queue.run)
            for _ in range(flushes):
                await agent.flush(self.flushes)
                self.flushes += 1
                await anyio.sleep(self.random.uniform(0.2, outage.INTERVAL))
                if self.disk.dead:
                    break
            self._note(agent)
            tasks.cancel_scope.cancel()
        return agent

    async def be_cut(self) -> None:
        """One life that ends with the power."""
        self.disk.cut_at = self.disk.operations + self.random.randint(1, 60)
        await self.live(self.random.randint(2, 15))
        self.disk.power_up(self.random)

    async def recover(self) -> Outage:
        """A last life, long enough to send everything."""
        queue = self.queue()
        agent = Outage(self.receiver, Profile.VICTORIAMETRICS, queue)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.lane.run)
            tasks.start_soon(queue.run)
            done = lambda: not agent.status["queue_blocks"] and not self.disk.names(FOLDER)[1:]  # noqa: E731
            await agent.until(done, max(anyio.current_time(), self.receiver.trouble_seconds) + outage.DRAINED_SECONDS)
            tasks.cancel_scope.cancel()
        return agent

    def receiver_stored(self) -> list[dict[Sample, float]]:
        """What the receiver stored, request by request."""
        return [arrival.samples for arrival in self.receiver.arrivals if arrival.stored]

    def _note(self, agent: Outage) -> None:
        whole = agent.bench.flusher.numbers.complete
        synced = agent.status["synced_flush"]
        upto = whole if synced is None else min(synced, whole)
        for block in agent.flushed.items:
            samples = decoded(block.payload, block.encoding)
            self.owed |= samples
            if block.flush <= upto:
                self.promised |= samples


@pytest.mark.parametrize("fsync", [Fsync.INTERVAL, Fsync.ALWAYS])
async def test_what_was_synced_before_a_power_cut_arrives(fsync: Fsync) -> None:
    promised = 0
    for seed in range(SEEDS):
        lives = Lives(Random(seed), fsync)
        for _ in range(LIVES):
            await lives.be_cut()
        agent = await lives.recover()

        stored = merged(lives.receiver_stored())
        assert {sample for sample, value in lives.promised.items() if stored.get(sample) != value} == set(), f"seed {seed}"
        assert {sample for sample, value in stored.items() if lives.owed.get(sample) != value} == set(), f"seed {seed}"
        assert agent.status["queue_blocks"] == 0, f"seed {seed}"
        promised += len(lives.promised)

    assert promised > 0  # a life may end before its thread has synced anything, but not all of them
