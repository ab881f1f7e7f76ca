"""Scripted sinks and ready-made blocks for the tests of delivery."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Generic, TypeVar

import anyio
import snappy

from agent.backoff import Hosts
from agent.deliver import Lane
from agent.model import Accepted, Block, Encoding, Outcome, Protocol, Snapshot
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.latest import LatestSlot
from agent.spool.memory import MemoryQueue
from agent.wire.remote_write_pb2 import WriteRequest

START = 1_795_239_000.0
"""The wall clock when the virtual clock shows 0."""

Step = Outcome | Exception | Callable[[], Any]
"""What a send does: an outcome, something raised, or a coroutine function to wait for first."""

Item = TypeVar("Item", Block, Snapshot)


class NoJitter(Random):
    """The middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class ScriptedSink(Generic[Item]):
    """Answers by its script, then accepts everything; remembers when it was sent what."""

    def __init__(self, *script: Step, url: str = "http://127.0.0.1:8428/api/v1/write") -> None:
        self.url = url
        self.sent: list[Item] = []
        self.times: list[float] = []
        self.began = 0.0
        self.script = deque(script)

    async def send(self, item: Item) -> Outcome:
        self.sent.append(item)
        self.times.append(round(anyio.current_time() - self.began, 3))
        step: Step = self.script.popleft() if self.script else Accepted("204")
        if isinstance(step, Exception):
            raise step
        if callable(step):
            await step()
            return Accepted("204")
        return step


def clock() -> float:
    """The wall clock that goes with the virtual one."""
    return START + anyio.current_time()


def block(*values: float, age: float = 0.0) -> Block:
    """A remote-write block with one series per value, rendered and sampled `age` seconds before START."""
    request = WriteRequest()
    at = int((START - age) * 1000)
    for i, value in enumerate(values):
        series = request.timeseries.add()
        series.labels.add(name="__name__", value="m")
        series.labels.add(name="i", value=str(i))
        series.samples.add(value=value, timestamp=at)
    payload = snappy.compress(request.SerializeToString())
    return Block(payload, Protocol.REMOTE_WRITE, Encoding.SNAPPY, len(values), at, START - age)


def values_of(found: Block) -> list[float]:
    """The sample values of a remote-write block, in order."""
    request = WriteRequest.FromString(snappy.uncompress(found.payload))
    return [sample.value for series in request.timeseries for sample in series.samples]


def snapshot(value: int) -> Snapshot:
    """A state with one series."""
    return Snapshot(((("job", "me"), b"m %d\n" % value),), 1, int(START * 1000), START)


def history_lane(
    sink: ScriptedSink[Block],
    *,
    policy: Policy | None = None,
    monitor: SelfMonitor | None = None,
    hosts: Hosts | None = None,
    name: str = "vm",
    **parts: Any,
) -> Lane[Block]:
    """A lane over a memory queue, without jitter. `parts`: further ones, such as a quarantine."""
    policy = policy or Policy()
    queue = MemoryQueue(policy.queue_max_bytes)
    return Lane(name, sink, queue, policy, monitor or SelfMonitor(), clock, NoJitter(), hosts or Hosts(), **parts)


def state_lane(sink: ScriptedSink[Snapshot]) -> Lane[Snapshot]:
    """A lane over a slot, without jitter."""
    return Lane("gate", sink, LatestSlot(), Policy(), SelfMonitor(), clock, NoJitter(), Hosts())


@asynccontextmanager
async def running(*lanes: Lane[Any]) -> AsyncIterator[None]:
    """The lanes deliver while the block runs."""
    async with anyio.create_task_group() as group:
        for lane in lanes:
            group.start_soon(lane.run)
        yield
        group.cancel_scope.cancel()


async def deliver(lane: Lane[Item], *items: Item) -> None:
    """Offer the items and run the lane until nothing is pending."""
    for item in items:
        lane.offer(item)
    async with running(lane):
        await lane.drained()
