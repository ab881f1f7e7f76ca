"""Outages on a virtual clock: the real store, flusher, lane and sink against a receiver that follows a script.

A script is a list of phases; after the last one the receiver is well. Nothing here touches the network.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, TypeVar

import anyio
import httpx
from trio.testing import MockClock

from agent.backoff import Hosts
from agent.deliver import Lane, LaneStatus
from agent.model import Block, Encoding, Protocol
from agent.plugin import Context
from agent.sinks import remote_write
from agent.spool.base import Spool
from agent.spool.memory import MemoryQueue
from agent.store.encode import LabelRules
from agent.wire.compress import decompress
from agent.wire.remote_write_pb2 import WriteRequest
from tests.core import Bench, Offered

INTERVAL = 5.0
"""Seconds between two flushes."""
TARGETS = ("", "target")
"""The flush groups: the interval's, and one scrape target's."""
DRAINED_SECONDS = 1800.0
"""By then nothing may wait any more, by the virtual clock, counted from the last phase's end."""
ANSWER_SECONDS = 0.01
THREAD_SECONDS = 0.005
"""Before and after what a thread does."""

T = TypeVar("T")

Sample = tuple[str, int]
"""The label that tells a series, and a time in milliseconds."""


def virtual_backend() -> object:
    """The event loop of these tests."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def in_virtual_time(function: Callable[..., T], *args: object) -> T:
    """A thread's work done on the virtual clock, which would leap over hours while a real thread gets its turn.

    What happens in the meantime still happens: the work begins a moment after it was asked for, and its end is seen a
    moment later.
    """
    with anyio.CancelScope(shield=True):
        await anyio.sleep(THREAD_SECONDS)
        result = function(*args)
        await anyio.sleep(THREAD_SECONDS)
    return result


class Mode(Enum):
    """What is wrong with the receiver."""

    WELL = "well"
    STOPPED = "stopped"
    BLACK_HOLE = "black hole"
    UNAVAILABLE = "503"
    BUSY = "429, Retry-After: 7"
    SLOW = "slow"
    CUT_BEFORE = "closed in the middle of a status line, nothing stored"
    CUT_AFTER = "closed in the middle of a status line, everything stored"
    NO_NAME = "its name is not found"
    BAD_CERTIFICATE = "its certificate is not trusted"
    CUT_BODY = "closed in the middle of a body, everything stored"


UNREACHABLE: Mapping[Mode, OSError] = {
    Mode.STOPPED: ConnectionRefusedError("refused"),
    Mode.NO_NAME: socket.gaierror("name or service not known"),
    Mode.BAD_CERTIFICATE: ssl.SSLCertVerificationError("self-signed certificate"),
}
"""Troubles before a request can be sent, and what the system says to them."""


@dataclass(frozen=True)
class Phase:
    """One stretch of time."""

    mode: Mode
    seconds: float


@dataclass(frozen=True)
class Arrival:
    """One request that came through."""

    began: float
    ended: float
    samples: dict[Sample, float]
    stored: bool

    @property
    def series(self) -> set[str]:
        """The series in it."""
        return {series for series, _ in self.samples}

    @property
    def newest_ms(self) -> int:
        """Its newest sample; 0 where it holds metadata only."""
        return max((at for _, at in self.samples), default=0)


@dataclass(frozen=True)
class Body(httpx.AsyncByteStream):
    """The body of an answer."""

    text: bytes = b""
    broken: bool = False
    """Whether the connection ends in the middle of it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.text
        if self.broken:
            raise httpx.ReadError("the connection was closed")


def answer(code: int, text: bytes = b"", *, broken: bool = False, after: str = "") -> httpx.Response:
    """An answer as it comes from a network; `after` is its Retry-After."""
    return httpx.Response(code, headers={"Retry-After": after} if after else {}, stream=Body(text, broken))


class Receiver(httpx.AsyncBaseTransport):
    """The receiver at the other end of the sink's client."""

    def __init__(self, phases: Sequence[Phase], slow_seconds: float = 4.0, begins: float = 0.0) -> None:
        self._phases = phases
        self._begins = begins
        self._slow = slow_seconds
        self.arrivals: list[Arrival] = []
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def trouble_seconds(self) -> float:
        """When the last phase ends, on the virtual clock."""
        return self._begins + sum(phase.seconds for phase in self._phases)

    def mode(self) -> Mode:
        """What is wrong right now."""
        left = anyio.current_time() - self._begins
        for phase in self._phases:
            left -= phase.seconds
            if left < 0:
                return phase.mode
        return Mode.WELL

    async def knock(self) -> bool:
        """Whether a connection can be opened."""
        return self.mode() not in (Mode.STOPPED, Mode.NO_NAME)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, as the present phase answers it."""
        mode, began = self.mode(), anyio.current_time()
        if mode in UNREACHABLE:
            raise httpx.ConnectError(mode.value) from UNREACHABLE[mode]
        body = await request.aread()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(mode, request, body, began)
        finally:
            self.in_flight -= 1

    async def _answer(self, mode: Mode, request: httpx.Request, body: bytes, began: float) -> httpx.Response:
        if mode is Mode.BLACK_HOLE:
            await anyio.sleep_forever()
        await anyio.sleep(self._slow if mode is Mode.SLOW else ANSWER_SECONDS)
        samples = decoded(body, Encoding(request.headers["Content-Encoding"]))
        stored = mode in (Mode.WELL, Mode.SLOW, Mode.CUT_AFTER, Mode.CUT_BODY)
        self.arrivals.append(Arrival(began, anyio.current_time(), samples, stored))
        if mode in (Mode.CUT_BEFORE, Mode.CUT_AFTER):
            raise httpx.RemoteProtocolError("the connection was closed")
        if mode is Mode.CUT_BODY:
            return answer(200, b"sto", broken=True)
        if mode is Mode.UNAVAILABLE:
            return answer(503, b"no room")
        return answer(429, after="7") if mode is Mode.BUSY else answer(204)


def decoded(body: bytes, encoding: Encoding) -> dict[Sample, float]:
    """The samples of a request of version 1.0."""
    request = WriteRequest.FromString(decompress(body, encoding))
    found = {}
    for series in request.timeseries:
        (name,) = (label.value for label in series.labels if label.name == "n")
        found[name, series.samples[0].timestamp] = series.samples[0].value
    return found


@dataclass
class Outage:
    """The agent's core and its receiver."""

    receiver: Receiver
    profile: remote_write.Receiver
    spool: Spool[Block] = field(default_factory=lambda: MemoryQueue(1 << 28))
    series: int = 3
    """Per group."""

    def __post_init__(self) -> None:
        self.bench = Bench(interval=INTERVAL)
        self.flushed = Offered()
        self.lane = self._lane()
        for lane in (self.lane, self.flushed):
            self.bench.flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules({"job": "j"}))

    def _lane(self) -> Lane[Block]:
        options = remote_write.Options.model_validate({"url": "http://127.0.0.1:8428/api/v1/write", "receiver": self.profile})
        context = Context(clock=self.bench.wall, job="j", instance="i", user_agent="cipush/test")
        sink = remote_write.build("vm", options, context, self.receiver)
        policy = remote_write.policy(options)
        bench = self.bench
        return Lane("vm", sink, self.spool, policy, bench.monitor, bench.wall, Random(11), Hosts(), knock=self.receiver.knock)

    @property
    def problems(self) -> dict[str, int]:
        """What is wrong with what was stored, in numbers; empty when every sample came through, with its value."""
        owed, stored = self.owed, merged(self.stored)
        found = {
            "lost": len(owed.keys() - stored.keys()),
            "made up": len(stored.keys() - owed.keys()),
            "wrong": sum(owed[sample] != value for sample, value in stored.items() if sample in owed),
            "waiting": self.status["queue_blocks"],
            "dropped": self.status["samples_dropped"],
            "twice at once": len(at_once(self.receiver.arrivals)),
        }
        if self.profile is not remote_write.Receiver.VICTORIAMETRICS:
            found["out of order"] = len(out_of_order(self.stored))
            found["beside each other"] = self.receiver.most_in_flight - 1 if self.stored else 0
        return {what: count for what, count in found.items() if count}

    @property
    def owed(self) -> dict[Sample, float]:
        """Every sample that was flushed."""
        return {sample: value for block in self.flushed.items for sample, value in decoded(block.payload, block.encoding).items()}

    @property
    def stored(self) -> list[dict[Sample, float]]:
        """What the receiver stored, request by request."""
        return [arrival.samples for arrival in self.receiver.arrivals if arrival.stored]

    @property
    def status(self) -> LaneStatus:
        """The lane's."""
        return self.lane.status()

    async def run(
        self,
        flushes: int,
        shifts: Mapping[int, float] | None = None,
        *beside: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Flush so many times while the script plays, then wait until nothing is pending.

        `shifts`: from the flush of that number on, how many seconds the wall clock is off. `beside`: what else runs.
        """
        async with anyio.create_task_group() as group:
            for task in (self.lane.run, *beside):
                group.start_soon(task)
            for number in range(flushes):
                self.bench.wall.shift = (shifts or {}).get(number, self.bench.wall.shift)
                await self.flush(number)
                await anyio.sleep(INTERVAL)
            await self.until(lambda: not self.status["queue_blocks"], self.receiver.trouble_seconds + DRAINED_SECONDS)
            group.cancel_scope.cancel()

    async def until(self, done: Callable[[], bool], deadline: float) -> None:
        """Look once a second until the virtual clock shows `deadline`."""
        for _ in range(int(deadline - anyio.current_time())):
            if done():
                return
            await anyio.sleep(1)

    async def flush(self, number: int) -> None:
        """One flush of every group; `number` decides the values."""
        for group in TARGETS:
            self.bench.put({f"{group}{i}": number * 1000.0 + i for i in range(self.series)}, group=group)
        await self.bench.flusher.flush(pace=False)
        await self.bench.flusher.flush_group(TARGETS[1], self.bench.wall())


def merged(requests: Sequence[dict[Sample, float]]) -> dict[Sample, float]:
    """Everything stored; the test fails where one sample came with two values."""
    found: dict[Sample, float] = {}
    for samples in requests:
        for sample, value in samples.items():
            assert found.setdefault(sample, value) == value, f"{sample} came as {found[sample]} and as {value}"
    return found


def out_of_order(requests: Sequence[dict[Sample, float]]) -> list[Sample]:
    """Samples that came after a newer one of their series, repeats left out."""
    newest: dict[str, int] = {}
    seen: set[Sample] = set()
    wrong = []
    for samples in requests:
        for series, at in samples:
            if (series, at) not in seen and at < newest.get(series, 0):
                wrong.append((series, at))
            seen.add((series, at))
            newest[series] = max(at, newest.get(series, 0))
    return wrong


def at_once(arrivals: Sequence[Arrival]) -> list[tuple[Arrival, Arrival]]:
    """Pairs of requests that were on their way at the same time and hold the same series."""
    return [
        (one, other)
        for i, one in enumerate(arrivals)
        for other in arrivals[i + 1 :]
        if one.began < other.ended and other.began < one.ended and one.series & other.series
    ]
