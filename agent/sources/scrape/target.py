"""One scrape target: fetches, reads, and says what became of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import anyio
from anyio.lowlevel import checkpoint

from agent.errors import CollectError
from agent.model import Collected, Exemplified, Family, Kind, Update
from agent.net.client import Client, shown
from agent.net.fetch import fetch_pieces
from agent.sources.scrape.exemplars import exemplars
from agent.sources.scrape.lines import Lines, complete_openmetrics
from agent.sources.scrape.naming import Naming
from agent.sources.scrape.reading import STEP, News, Reader, Reading

log = logging.getLogger("agent.sources.scrape")

UP = Family("up", Kind.GAUGE, "Whether the last scrape of the target succeeded.")
DURATION = Family("scrape_duration_seconds", Kind.GAUGE, "How long the last scrape took.", "seconds")
SAMPLES = Family("scrape_samples_scraped", Kind.GAUGE, "Samples that the target exposed.")
STAMPS = Family(
    "scrape_sample_timestamps_ignored_total",
    Kind.COUNTER,
    "Timestamps in expositions that were ignored: a sample has the time of its scrape.",
)
DUPLICATES = Family(
    "scrape_samples_duplicate_total", Kind.COUNTER, "Samples left out because an earlier line was the same series."
)
FAMILIES = (UP, DURATION, SAMPLES, STAMPS, DUPLICATES)

_HEADERS = {
    # Not OpenMetrics first: it says the same in more bytes, with series that nobody asked for (`_created`).
    "Accept": "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
}
_OPENMETRICS = "application/openmetrics-text"


class Target:
    """Scrapes one address. `name`: unique among all targets of the agent; its scope and its flush group."""

    def __init__(
        self,
        name: str,
        client: Client,
        naming: Naming,
        timeout_seconds: float,
        max_bytes: int,
        max_samples: int,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._client = client
        self._timeout = timeout_seconds
        self._max_bytes = max_bytes
        self._clock = clock
        self._own = tuple(replace(family, constants=naming.constants) for family in FAMILIES)
        self._reader = Reader(name, naming, frozenset(family.name for family in FAMILIES), max_samples)
        self._reading: Reading | None = None
        self._generation = 0
        self._at = 0.0
        self._stamps = 0
        self._duplicates = 0
        self._failing = False

    async def collect(self, cursor: object) -> Collected:
        """One scrape; one that fails is `up 0` and nothing else. The cursor is the number of the last reading."""
        started = self._clock()
        begun = anyio.current_time()
        previous = self._reading if cursor == self._generation else None
        try:
            news = await self._scrape(previous, self._now(started))
        except CollectError as error:
            return self._failed(error, started, anyio.current_time() - begun)
        return self._succeeded(news, started, anyio.current_time() - begun)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _scrape(self, previous: Reading | None, at: float) -> News:
        arrived = Lines(previous.lines if previous else ())
        with anyio.move_on_after(self._timeout) as patience:
            content_type = await fetch_pieces(self._client, _HEADERS, self._max_bytes, arrived.take)
        if patience.cancelled_caught:
            raise CollectError("timeout", f"no complete answer within {self._timeout:g} s")
        lines = arrived.finish()
        if not content_type.lower().startswith(_OPENMETRICS):
            return await self._reader.read(arrived, previous, at)
        if not complete_openmetrics(lines):
            raise CollectError("parse", "the OpenMetrics answer does not end in # EOF: it was cut short")
        news = await self._reader.read(arrived, previous, at)
        places = range(len(lines)) if news.whole else arrived.changed
        found: list[Exemplified] = []
        for first in range(0, len(places), STEP):
            found += exemplars(lines, news.reading.known, places[first : first + STEP], at)
            await checkpoint()
        return replace(news, exemplars=found)

    def _succeeded(self, news: News, started: float, duration: float) -> Collected:
        if self._failing:
            log.info("scrape of %s works again", shown(self._client.url))
            self._failing = False
        reading = self._reading = news.reading
        self._generation += 1
        self._stamps += reading.stamped
        self._duplicates += reading.duplicates
        scope = self.name
        updates = self._self_report(1, duration, reading.samples, self._at)
        updates += news.updates
        whole = (scope,)
        return Collected(
            updates,
            complete=whole if news.whole else (),
            unchanged=() if news.whole else whole,
            cursor=self._generation,
            group=scope,
            group_at=started,
            started=news.started,
            exemplars=news.exemplars,
        )

    def _failed(self, error: CollectError, started: float, duration: float) -> Collected:
        if not self._failing:
            log.warning("scrape of %s fails: %s", shown(self._client.url), error)
            self._failing = True
        self._reading = None
        self._generation += 1
        updates = self._self_report(0, duration, 0, self._at)
        problem = f"scrape of {shown(self._client.url)} fails: {error}"
        return Collected(updates, complete=(self.name,), group=self.name, group_at=started, problem=problem)

    def _self_report(self, up: int, duration: float, samples: int, at: float) -> list[Update]:
        numbers = (up, duration, samples, self._stamps, self._duplicates)
        return [Update(family, (), float(number), at, self.name) for family, number in zip(self._own, numbers, strict=True)]

    def _now(self, started: float) -> float:
        """`started`, or where the clock was put back the last one: an older update would be refused."""
        self._at = max(self._at, started)
        return self._at
