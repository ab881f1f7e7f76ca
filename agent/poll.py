"""The poll loop: one per poller; it owns the schedule, the timeout and what a failure means."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

from agent.errors import CollectError
from agent.log import Transition
from agent.model import Collected, Poller
from agent.selfmon import SelfMonitor, counter, gauge
from agent.store.store import Store
from agent.store.table import Feed

log = logging.getLogger(__name__)

PROLONG_SECONDS = 3600.0
"""How long the series of a failing poller are kept beyond their TTL: an API that is down says nothing of its objects."""

UP = gauge("cipush_source_up", "Whether the last collect succeeded.", "source", "poller")
LAST_SUCCESS = gauge(
    "cipush_source_last_success_timestamp_seconds", "When a collect last succeeded.", "source", "poller", unit="seconds"
)
DURATION = gauge("cipush_source_collect_duration_seconds", "How long the last collect took.", "source", "poller", unit="seconds")
ERRORS = counter("cipush_source_errors_total", "Collects that failed, by kind.", "source", "poller", "kind")
COLLECTS = counter("cipush_source_collects_total", "Collects that ended, failed ones included.", "source", "poller")
SERIES = gauge("cipush_source_series", "Live series of the source.", "source")
FAMILIES = (UP, LAST_SUCCESS, DURATION, ERRORS, COLLECTS, SERIES)


class FlushGroup(Protocol):
    """The one thing a poll loop asks of the flusher."""

    async def flush_group(self, group: str, at: float) -> None:
        """Flush a scrape target's series at once."""
        ...


class PollLoop:
    """Calls one poller and applies what it brings."""

    def __init__(
        self, store: Store, feed: Feed, poller: Poller, flusher: FlushGroup, monitor: SelfMonitor, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._feed = feed
        self.poller = poller
        self._flusher = flusher
        self._monitor = monitor
        self._clock = clock
        self._labels = (feed.name, poller.name)
        self._cursor: object = None
        self._scopes: Sequence[str] = ()
        self._transition = Transition(log)
        self.last_success: float | None = None
        self.last_error = ""
        self.collects = 0

    async def run(self) -> None:
        """Collect now and then on the interval, until cancelled; a slow collect skips turns, it never doubles them."""
        due = anyio.current_time()
        while True:
            await self.collect()
            now = anyio.current_time()
            due += self.poller.interval_seconds * max(1, int((now - due) // self.poller.interval_seconds) + 1)
            await anyio.sleep_until(due)

    async def collect(self) -> bool:
        """One collect, applied; False when it failed. A failed or cancelled collect changes nothing."""
        cursor = self._cursor
        if self._store.wants_listing(self._feed, self._scopes, self._clock()):
            cursor = None
        begun = anyio.current_time()
        try:
            with anyio.fail_after(self.poller.timeout_seconds or self.poller.interval_seconds):
                collected = await self.poller.collect(cursor)
        except TimeoutError:
            self._failed("timeout", f"no answer within {self.poller.timeout_seconds or self.poller.interval_seconds:g} s")
            return False
        except CollectError as error:
            self._failed(error.kind, str(error))
            return False
        except Exception as error:  # a source is a plugin: what it raises must not end the agent
            if not self.last_error:
                log.exception("source %s, poller %s: a bug in the source", *self._labels)
            self._failed("bug", f"{type(error).__name__}: {error}")
            return False
        finally:
            self.collects += 1
            self._monitor.add(COLLECTS, self._labels)
            self._monitor.set(DURATION, self._labels, anyio.current_time() - begun)
        await self._apply(collected)
        self._succeeded()
        return True

    async def _apply(self, collected: Collected) -> None:
        for _ in self._store.applying(self._feed, collected, self._clock(), self.poller.interval_seconds):
            await checkpoint()
        self._cursor = collected.cursor
        self._scopes = (*collected.complete, *collected.unchanged)
        if collected.group:
            await self._flusher.flush_group(collected.group, collected.group_at)

    def _succeeded(self) -> None:
        self.last_success = self._clock()
        self.last_error = ""
        self._monitor.set(UP, self._labels, 1)
        self._monitor.set(LAST_SUCCESS, self._labels, self.last_success)
        self._monitor.set(SERIES, (self._feed.name,), self._feed.series)
        self._transition.recovered(self._labels, f"source {self._feed.name}, poller {self.poller.name}: collects again")

    def _failed(self, kind: str, message: str) -> None:
        self.last_error = f"{kind}: {message}"
        self._monitor.set(UP, self._labels, 0)
        self._monitor.add(ERRORS, (*self._labels, kind))
        self._store.prolong(self._feed, self._clock() + PROLONG_SECONDS)
        self._transition.failed(self._labels, f"source {self._feed.name}, poller {self.poller.name}: {self.last_error}")

    def status(self, now: float) -> dict[str, object]:
        """For the status page: JSON-ready."""
        return {
            "name": self.poller.name,
            "interval_seconds": self.poller.interval_seconds,
            "up": self.last_success is not None and not self.last_error,
            "collects": self.collects,
            "last_success_age_seconds": None if self.last_success is None else round(now - self.last_success, 3),
            "last_error": self.last_error,
        }
