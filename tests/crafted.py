"""Remote-write bodies made by hand, and what a real lane with a real sink makes of them at a real receiver.

The lane's own clock runs faster than the receiver's, so that rests between tries pass at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import anyio
import snappy
from trio.testing import MockClock

from agent.backoff import Hosts
from agent.deliver import Lane, LaneStatus
from agent.deliver.report import DROPPED, REQUESTS
from agent.model import Block, Encoding, Protocol
from agent.plugin import Context
from agent.selfmon import SelfMonitor
from agent.sinks import remote_write, vm_import
from agent.spool.base import Spool
from agent.spool.memory import MemoryQueue
from agent.wire.remote_write_pb2 import WriteRequest

RATE = 40.0
"""Seconds of the lane for one of the receiver."""
PATIENT_SECONDS = 1200.0
"""The lane's time limit for a request and the tests' for a delivery, by the lane's clock: 30 s of the machine's."""

Point = tuple[float, int]
"""A value and its time in milliseconds."""
Series = tuple[Sequence[tuple[str, str]], Sequence[Point]]


def fast_backend() -> object:
    """The event loop of these tests."""
    return ("trio", {"clock": MockClock(rate=RATE)})


def now_ms() -> int:
    """The machine's time, in the unit of samples."""
    return int(time.time() * 1000)


def labels(name: str, **others: str) -> list[tuple[str, str]]:
    """The labels of a series, sorted as the protocol wants them."""
    return sorted({"__name__": name, **others}.items(), key=lambda pair: pair[0].encode())


def request(*series: Series) -> WriteRequest:
    """A write request with these series, exactly as given."""
    found = WriteRequest()
    for pairs, points in series:
        entry = found.timeseries.add()
        for name, value in pairs:
            entry.labels.add(name=name, value=value)
        for number, at in points:
            entry.samples.add(value=number, timestamp=at)
    return found


def packed(message: WriteRequest, samples: int, newest_ms: int) -> Block:
    """A message as a block of version 1.0."""
    body: bytes = snappy.compress(message.SerializeToString())
    return Block(body, Protocol.REMOTE_WRITE, Encoding.SNAPPY, samples, newest_ms, time.time())


def block(*series: Series) -> Block:
    """A block of version 1.0 with these series."""
    times = [at for _, points in series for _, at in points]
    return packed(request(*series), len(times), max(times))


@dataclass(frozen=True)
class Delivered:
    """What became of the blocks."""

    status: LaneStatus
    requests: Mapping[str, int]
    """How many answers there were of each code."""
    dropped: Mapping[str, int]
    """Samples given up, by reason."""

    quarantined: Sequence[Block]
    """What was kept for a look."""

    @property
    def codes(self) -> set[str]:
        """What the receiver answered."""
        return set(self.requests)


@dataclass
class Kept:
    """A quarantine in memory."""

    blocks: list[Block] = field(default_factory=list)

    def keep(self, block: Block, _code: str, _reason: str, _now: float) -> None:
        """Keep one."""
        self.blocks.append(block)


@dataclass(frozen=True)
class Sending:
    """A lane to a receiver, made anew for every delivery."""

    sink: Any
    policy: Any
    spool: Callable[[], Spool[Block]] = partial(MemoryQueue, 1 << 26)

    async def deliver(self, *blocks: Block) -> Delivered:
        """Offer the blocks and wait until none is pending, or patience ends."""
        monitor, began = SelfMonitor(), time.time() - anyio.current_time()
        clock = lambda: began + anyio.current_time()  # noqa: E731
        kept = Kept()
        lane = Lane("vm", self.sink, self.spool(), self.policy, monitor, clock, Random(7), Hosts(), quarantine=kept)
        for one in blocks:
            lane.offer(one)
        with anyio.move_on_after(PATIENT_SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(lane.run)
                await lane.drained()
                group.cancel_scope.cancel()
        await self.sink.aclose()
        found = list(monitor.samples())
        requests = {row[1]: int(n) for family, row, n in found if family is REQUESTS and not isinstance(n, list)}
        dropped = {row[1]: int(n) for family, row, n in found if family is DROPPED and not isinstance(n, list)}
        return Delivered(lane.status(), requests, {reason: n for reason, n in dropped.items() if n}, kept.blocks)


def _context() -> Context:
    return Context(clock=time.time, job="crafted", instance="here", user_agent="cipush/test")


def to_remote_write(url: str, **options: Any) -> Sending:
    """Remote-write with these options of the sink; `url` has no path."""
    made = remote_write.Options(url=f"{url}/api/v1/write", timeout_seconds=PATIENT_SECONDS, **options)
    return Sending(remote_write.build("vm", made, _context()), remote_write.policy(made))


def to_import(url: str, **options: Any) -> Sending:
    """Import lines with these options of the sink; `url` has no path."""
    made = vm_import.Options(url=f"{url}/api/v1/import", timeout_seconds=PATIENT_SECONDS, **options)
    return Sending(vm_import.build("vm", made, _context()), vm_import.policy(made))
