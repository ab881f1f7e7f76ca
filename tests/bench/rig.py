"""A store, a flusher and a lane with a real sink: the agent's own parts, with nothing behind the HTTP transport."""

from __future__ import annotations

import time
from random import Random

import anyio
import httpx

from agent.backoff import Hosts
from agent.deliver import Lane
from agent.flush import Flusher
from agent.garbage import Garbage
from agent.model import Collected
from agent.plugin import Context, Policy
from agent.selfmon import SelfMonitor
from agent.sinks import remote_write, vm_import
from agent.spool.memory import MemoryQueue
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from tests.bench.datasets import Regular, Varied, births

SINKS = {"remote_write": (remote_write, "/api/v1/write"), "import": (vm_import, "/api/v1/import")}
EXTERNAL = {"job": "cipush", "instance": "bench-1"}
INTERVAL_SECONDS = 15.0
TICK_SECONDS = 0.005
WALL = 1_790_000_000.0


class Sent:
    """Counts what reaches the transport."""

    def __init__(self) -> None:
        self.bytes = 0
        self.requests = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bytes += len(request.content)
        self.requests += 1
        return httpx.Response(204, stream=httpx.ByteStream(b""))

    def reset(self) -> None:
        """Count anew."""
        self.bytes = self.requests = 0


class Rig:
    """One store with one sink. `wall` is the agent's clock, moved by whoever measures."""

    def __init__(self, series: int, protocol: str) -> None:
        Garbage().install()
        self.wall = WALL
        self.sent = Sent()
        self.store = Store(Limits(max_series=2 * series + 1_000, max_bytes=4 << 30))
        self.monitor = SelfMonitor()
        self.flusher = Flusher(self.store, self.monitor, self.clock, interval=INTERVAL_SECONDS, heartbeat=0, max_future=300)
        module, path = SINKS[protocol]
        self.context = Context(clock=self.clock, job="cipush", instance="bench-1", user_agent="cipush/bench")
        options = module.Options(url="http://127.0.0.1:1" + path)
        sink = module.build("bench", options, self.context, transport=httpx.MockTransport(self.sent))
        self.lane = Lane("bench", sink, MemoryQueue(1 << 30), Policy(), self.monitor, self.clock, Random(1), Hosts())
        self.flusher.attach(self.lane, module.PROTOCOL, module.ENCODING, LabelRules(EXTERNAL))
        self.feed = self.store.add_feed("bench")

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self.wall

    def fill(self, data: Regular | Varied) -> float:
        """Give birth to all rows; returns the CPU seconds of that, without making the data."""
        cpu = 0.0
        for step in births(data):
            at = time.process_time()
            self.store.apply(self.feed, Collected(step), self.wall, INTERVAL_SECONDS)
            cpu += time.process_time() - at
        return cpu

    async def flush(self) -> None:
        """One interval flush, until the last block was answered."""
        await self.flusher.flush()
        await self.lane.drained()


async def ticker(lateness: list[float]) -> None:
    """How late a 5 ms timer is, in seconds: what every other task of the agent feels."""
    while True:
        due = anyio.current_time() + TICK_SECONDS
        await anyio.sleep_until(due)
        lateness.append(anyio.current_time() - due)
