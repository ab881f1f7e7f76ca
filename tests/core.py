"""What tests of the core share: a wall clock that can be set, a store with one source, lanes that remember."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import snappy

from agent.flush import Flusher
from agent.ledger.batch import Move
from agent.model import Block, Collected, Encoding, Family, Kind, Protocol, Update
from agent.selfmon import SelfMonitor
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from agent.store.table import Feed
from agent.wire.remote_write_pb2 import WriteRequest

START = 1_795_239_000.0
"""The wall clock when the virtual clock shows 0."""
START_MS = 1_795_239_000_000

GAUGE = Family("g", Kind.GAUGE, "A gauge.", labels=("n",))


@dataclass(eq=False)
class Wall:
    """The wall clock that goes with the virtual one, and can be set."""

    shift: float = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return START + self.shift + anyio.current_time()


@dataclass(eq=False)
class Offered:
    """A lane that keeps what it is offered, and when."""

    name: str = "lane"
    items: list[Any] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    metadata: list[Block] = field(default_factory=list)

    def offer(self, item: Any, /) -> None:
        """Remember it; what says what families are goes elsewhere."""
        if isinstance(item, Block) and not item.samples:
            self.metadata.append(item)
            return
        self.items.append(item)
        self.times.append(anyio.current_time())

    def values(self) -> list[dict[str, float]]:
        """The samples of each block: label n -> value."""
        return [samples_of(item) for item in self.items]

    def values_of(self, protocol: Protocol) -> list[dict[str, float]]:
        """The same of the blocks of one protocol."""
        return [samples_of(item) for item in self.items if item.protocol is protocol]


class Uncounted:
    """The committer of an agent whose sources count nothing."""

    async def commit(self, feed: Feed, collected: Collected, *, interval: float = 0.0, move: Move | None = None) -> None:
        """Never called."""
        raise AssertionError((feed, collected, interval, move))

    def cursor(self, source: str, poller: str) -> str | None:
        """Never called."""
        raise AssertionError((source, poller))


class Bench:
    """A store with one source, and a flusher of it."""

    rules = LabelRules({"job": "j"})

    def __init__(self, *, interval: float = 15.0, heartbeat: float = 60.0, last_ms: int = 0) -> None:
        self.wall = Wall()
        self.monitor = SelfMonitor()
        self.store = Store(Limits(default_ttl_seconds=3600))
        self.feed = self.store.add_feed("s")
        self.flusher = Flusher(
            self.store, self.monitor, self.wall, interval=interval, heartbeat=heartbeat, max_future=300, last_ms=last_ms
        )

    def put(self, values: dict[str, float], *, group: str = "") -> None:
        """What the source reports now, whole: label n -> value."""
        now = self.wall()
        updates = [Update(GAUGE, (n,), value, now, f"scope {group}") for n, value in values.items()]
        self.store.apply(self.feed, Collected(updates, complete=(f"scope {group}",), group=group), now, 15)

    def lane(self, encoding: Encoding = Encoding.SNAPPY, **extra: str) -> Offered:
        """An attached remote-write lane."""
        lane = Offered()
        self.flusher.attach(lane, Protocol.REMOTE_WRITE, encoding, LabelRules({"job": "j"}, extra))
        return lane


def samples_of(block: Block) -> dict[str, float]:
    """Label n -> value of a remote-write block; a staleness marker is a NaN."""
    found = {}
    for series in WriteRequest.FromString(snappy.uncompress(block.payload)).timeseries:
        labels = {label.name: label.value for label in series.labels}
        if "n" in labels:
            found[labels["n"]] = series.samples[0].value
    return found


def ended(values: Iterable[dict[str, float]]) -> list[str]:
    """The label n of every staleness marker."""
    return [n for samples in values for n, value in samples.items() if math.isnan(value)]
