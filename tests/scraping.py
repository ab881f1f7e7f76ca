"""A scrape target of text, and what the agent would hold of it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from agent.model import Collected, Family
from agent.plugin import Context
from agent.sources.scrape import Options, Scrape, build

URL = "http://127.0.0.1:9100/metrics"
Labels = frozenset[tuple[str, str]]
OWN = ("up", "scrape_")


def source(
    answer: Callable[[], httpx.Response], interval: float = 15.0, clock: Callable[[], float] = lambda: 1000.0, **target: Any
) -> Scrape:
    """A scrape source called `node` with one target, which gives `answer`."""
    options = Options.model_validate({"interval_seconds": interval, "targets": [{"url": URL, **target}]})
    context = Context(clock, "cipush", "here", "cipush/test")
    return build("node", options, context, httpx.MockTransport(lambda request: answer()))


@dataclass
class World:
    """One target with a text, and its series as a store keeps them: by `Collected` alone."""

    text: str | bytes = ""
    content_type: str = "text/plain; version=0.0.4"
    status: int = 200
    target: dict[str, Any] = field(default_factory=dict)
    cursor: object = None
    series: dict[Labels, float] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.source = source(self._answer, clock=lambda: self.now, **self.target)
        self.collect = self.source.pollers()[0].collect

    async def scrape(self, text: str | bytes | None = None) -> Collected:
        """One collect, taken over."""
        if text is not None:
            self.text = text
        self.now += 15
        collected = await self.collect(self.cursor)
        self.take(collected)
        return collected

    def take(self, collected: Collected) -> None:
        """What the store makes of it."""
        if collected.complete:
            self.series = {}
        for update in collected.updates:
            pairs = dict(update.family.constants) | dict(zip(update.family.labels, update.labels, strict=True))
            assert isinstance(update.value, float)
            assert set(pairs.values()).isdisjoint({""})
            self.series[frozenset({"__name__": update.family.name, **pairs}.items())] = update.value
            self.families[update.family.name] = update.family
        self.cursor = collected.cursor

    def scraped(self, *without: str) -> dict[Labels, float]:
        """What the target exposed, without the labels named."""
        return {
            frozenset(pair for pair in labels if pair[0] not in without): value
            for labels, value in self.series.items()
            if not dict(labels)["__name__"].startswith(OWN)
        }

    def own(self, name: str) -> float:
        """The one series called `name` with the target's labels alone."""
        found = [
            value
            for labels, value in self.series.items()
            if {key for key, _ in labels} == {"__name__", "job", "instance"} and ("__name__", name) in labels
        ]
        assert len(found) == 1
        return found[0]

    def _answer(self) -> httpx.Response:
        body = self.text if isinstance(self.text, bytes) else self.text.encode()
        return httpx.Response(self.status, headers={"Content-Type": self.content_type}, stream=httpx.ByteStream(body))


def series(name: str, **labels: str) -> Labels:
    """The key of a series without a target's labels."""
    return frozenset({"__name__": name, **labels}.items())


def same(one: dict[Labels, float], other: dict[Labels, float]) -> bool:
    """Equal, NaN being equal to itself."""
    return one.keys() == other.keys() and all(
        value == other[key] or (math.isnan(value) and math.isnan(other[key])) for key, value in one.items()
    )


class Stream(httpx.AsyncByteStream):
    """A body that comes in pieces; `None` = nothing more ever comes."""

    def __init__(self, *pieces: bytes | None) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece is None:
                await anyio.sleep_forever()
            else:
                yield piece

    async def aclose(self) -> None:
        self.closed = True


def answering(
    stream: httpx.AsyncByteStream, status: int = 200, headers: Mapping[str, str] | None = None
) -> Callable[[], httpx.Response]:
    """Gives answers with this body."""
    return lambda: httpx.Response(status, headers=headers, stream=stream)
