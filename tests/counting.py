"""A committer on a virtual clock, with the real ledger, store and flusher, and lanes that remember."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import snappy

from agent.commit import Committer
from agent.flush import Flusher
from agent.ledger.sqlite import SqliteLedger
from agent.model import Block, Collected, Encoding, Event, Family, Increment, Kind, Observation, Protocol
from agent.selfmon import SelfMonitor
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from agent.store.table import Feed
from agent.wire.remote_write_pb2 import WriteRequest
from tests.core import START, Offered, Wall

JOBS = Family("jobs_total", Kind.COUNTER, "Jobs.", labels=("repo", "n"), wide=("n",), ttl_seconds=3600.0, project="repo")
SECONDS = Family(
    "job_seconds",
    Kind.HISTOGRAM,
    "Time.",
    labels=("repo", "n"),
    wide=("n",),
    ttl_seconds=3600.0,
    buckets=(1.0, 10.0),
    project="repo",
)
ENDED = Family("job_ended", Kind.GAUGE, "A job that ended.", labels=("n",))
INTERVAL = 15.0

Sample = tuple[str, str, float, float]
"""(name with `le`, label n, seconds since START, value)."""


def job(key: str, n: str = "a", amount: float = 1.0, *, repo: str = "r", seconds: float | None = None) -> Observation:
    """A job that ended."""
    adds = [Increment(JOBS, (repo, n), amount)]
    if seconds is not None:
        adds.append(Increment(SECONDS, (repo, n), seconds))
    return Observation(key, tuple(adds))


def ended(key: str, n: str, at: float, run: str = "") -> Observation:
    """The event of a job that ended at `at` seconds since START."""
    return Observation(key, (), (Event(ENDED, (n,), 1.0, START + at, (("run_id", run),) if run else ()),))


@dataclass
class Rig:
    """One life of an agent's core; `again` begins the next."""

    path: Path | None = None
    wall: Wall = field(default_factory=Wall)
    limits: dict[str, int] = field(default_factory=dict)
    lanes: list[Offered] = field(default_factory=lambda: [Offered()])
    settled: Callable[[str], int | None] = lambda _sink: None
    hastened: int = 0

    def __post_init__(self) -> None:
        self.monitor, self.store = SelfMonitor(), Store(Limits(default_ttl_seconds=300))
        self.ledger = SqliteLedger(self.path)
        self.committer = Committer(
            self.ledger,
            self.store,
            self.monitor,
            self.wall,
            last_flush=lambda: self.flusher.begun_ms,
            interval=lambda: INTERVAL,
            hasten=self._hasten,
            settled=lambda sink: self.settled(sink),
        )
        last = self.ledger.last_flush_ms
        self.flusher = Flusher(self.store, self.monitor, self.wall, interval=INTERVAL, heartbeat=60, max_future=300, last_ms=last)
        self.flusher.outbox = self.committer.outbox
        for lane in self.lanes:
            self.flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules({"job": "j"}))
        self.committer.outbox.settle_sinks([lane.name for lane in self.lanes])
        self.feed = self.added()

    def added(self, name: str = "s") -> Feed:
        """A source's share, as it was before."""
        feed = self.store.add_feed(name, "", (), **self.limits)
        self.committer.restore(feed, (JOBS, SECONDS))
        return feed

    async def count(self, *observations: Observation) -> None:
        """Have them committed, by one caller."""
        await self.committer.commit(self.feed, Collected(observations=observations))

    async def flush(self) -> None:
        """Let the interval pass, then flush."""
        await anyio.sleep(INTERVAL)
        await self.flusher.flush(pace=False)

    def again(self) -> Rig:
        """The next life, on the same disk and with the same clock."""
        self.ledger.close()
        return Rig(self.path, self.wall, self.limits, [Offered(lane.name) for lane in self.lanes], self.settled)

    def sent(self, lane: int = 0) -> list[Sample]:
        """Everything a lane was offered, in order; markers as NaN."""
        return [sample for block in self.lanes[lane].items for sample in samples(block)]

    def values(self, name: str, n: str) -> list[float]:
        """What one series was sent as, in order, markers left out."""
        return [value for found, label, _, value in self.sent() if (found, label) == (name, n) and not math.isnan(value)]

    def total(self, n: str, repo: str = "r") -> float:
        """A counter as it stands in the store."""
        table = self.feed.tables[JOBS, ""]
        return table.values[table.index[repo, n]]

    def _hasten(self) -> None:
        self.hastened += 1


@asynccontextmanager
async def committing(rig: Rig) -> AsyncIterator[Rig]:
    """The rig while its committer runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.committer.run)
        yield rig
        tasks.cancel_scope.cancel()


def samples(block: Block) -> list[Sample]:
    """The samples of a remote-write block."""
    found = []
    for series in WriteRequest.FromString(snappy.uncompress(block.payload)).timeseries:
        labels = {label.name: label.value for label in series.labels}
        name = labels["__name__"] + ("{" + labels["le"] + "}" if "le" in labels else "")
        found += [(name, labels.get("n", ""), round(s.timestamp / 1000 - START, 3), s.value) for s in series.samples]
    return found


def exemplars(blocks: Sequence[Block]) -> list[dict[str, str]]:
    """The labels of every exemplar."""
    return [
        {label.name: label.value for label in exemplar.labels}
        for block in blocks
        for series in WriteRequest.FromString(snappy.uncompress(block.payload)).timeseries
        for exemplar in series.exemplars
    ]
