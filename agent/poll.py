"""The poll loop: one per poller; it owns the schedule, the timeout and what a failure means."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

from agent.errors import CollectError, LedgerError
from agent.ledger.batch import Move
from agent.log import Transition
from agent.model import Collected, Poller, Update
from agent.secret import redact
from agent.selfmon import SelfMonitor, counter, gauge
from agent.store.store import Store
from agent.store.table import Feed

log = logging.getLogger(__name__)

PROLONG_SECONDS = 3600.0
"""How long after its last success a failing poller's series are kept: an API that is down says nothing of its objects."""

UP = gauge("cipush_source_up", "Whether the last collect succeeded.", "source", "poller")
LAST_SUCCESS = gauge(
    "cipush_source_last_success_timestamp_seconds", "When a collect last succeeded.", "source", "poller", unit="seconds"
)
DURATION = gauge("cipush_source_collect_duration_seconds", "How long the last collect took.", "source", "poller", unit="seconds")
ERRORS = counter("cipush_source_errors_total", "Collects that failed, by kind.", "source", "poller", "kind")
COLLECTS = counter("cipush_source_collects_total", "Collects that ended, failed ones included.", "source", "poller")
SERIES = gauge("cipush_source_series", "Live series of the source.", "source")
FUTURE = counter(
    "cipush_source_future_updates_total", "Updates refused because their time is more than max_future_seconds ahead.", "source"
)
FAMILIES = (UP, LAST_SUCCESS, DURATION, ERRORS, COLLECTS, SERIES, FUTURE)

BUG = "bug"
"""The kind of a failure that no source should have."""
HASTE_SECONDS = 5.0
"""From what wakes a loop to its collect: it comes in bursts, and each collect costs requests."""
_AT = itemgetter(Update._fields.index("at"))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a collect brought nothing; `kind` is the label of the error counter."""

    kind: str
    message: str
    retry_seconds: float = 0.0
    """After so long it is worth trying again; 0 = on the interval."""


class FlushGroup(Protocol):
    """What a poll loop asks of the flusher."""

    @property
    def max_future(self) -> float:
        """How far ahead of the clock, in seconds, an update may be."""
        ...

    async def flush_group(self, group: str, at: float) -> None:
        """Flush a scrape target's series at once."""
        ...


class Commits(Protocol):
    """What a poll loop asks of the committer."""

    async def commit(self, feed: Feed, collected: Collected, *, interval: float = 0.0, move: Move | None = None) -> None:
        """Have it counted and applied. Raises LedgerError and CollectError."""
        ...

    def cursor(self, source: str, poller: str) -> str | None:
        """Where a durable poller has come to. Raises LedgerError."""
        ...


class PollLoop:
    """Calls one poller and applies what it brings."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        poller: Poller,
        flusher: FlushGroup,
        committer: Commits,
        monitor: SelfMonitor,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._feed = feed
        self.poller = poller
        self._flusher = flusher
        self._committer = committer
        self._monitor = monitor
        self._clock = clock
        self._labels = (feed.name, poller.name)
        self._cursor: object = None
        self._knows_cursor = not poller.durable
        self._scopes: Collection[str] = ()
        """What the last collect reported."""
        self._again = False
        self._retry = 0.0
        """Seconds to the next collect after one that failed, if that is before its turn; 0 = its turn."""
        self._woken = anyio.Event()
        self._transition = Transition(log)
        monitor.add(FUTURE, (feed.name,), 0)
        self._is_up = False
        """Whether the last collect succeeded."""
        self.last_success: float | None = None
        self.last_error = ""
        self.collects = 0

    async def run(self) -> None:
        """Collect now and then on the interval, until cancelled; a slow collect skips turns, it never doubles them."""
        due = anyio.current_time()
        while True:
            await self.collect()
            now = anyio.current_time()
            if self._again:
                due = now
                await checkpoint()
                continue
            if due <= now:
                due += self.poller.interval_seconds * (int((now - due) // self.poller.interval_seconds) + 1)
            await self._wait(min(due - now, self._retry or due - now))

    def hasten(self) -> None:
        """There is something new for it: collect soon, and then on the interval as before."""
        self._woken.set()

    async def _wait(self, seconds: float) -> None:
        """Until it is due, or a little after it was hastened."""
        with anyio.move_on_after(seconds):
            await self._woken.wait()
            await anyio.sleep(HASTE_SECONDS)
        self._woken = anyio.Event()

    @property
    def goes_on(self) -> bool:
        """Whether the last collect left something to be had at once."""
        return self._again

    async def collect(self) -> bool:
        """One collect, applied; False when it failed. A failed or cancelled collect changes nothing."""
        begun = anyio.current_time()
        self._again, self._retry = False, 0.0
        found = await self._ask()
        self.collects += 1
        self._monitor.add(COLLECTS, self._labels)
        self._monitor.set(DURATION, self._labels, anyio.current_time() - begun)
        if isinstance(found, Failure):
            self._retry = found.retry_seconds
            self._failed(found)
            return False
        try:
            with anyio.CancelScope(shield=True):  # half of it would be neither the old state nor the new one
                await self._apply(found)
        except (LedgerError, CollectError) as error:
            self._knows_cursor = not self.poller.durable
            self._failed(Failure("ledger" if isinstance(error, LedgerError) else error.kind, str(error)))
            return False
        self._again = found.again
        self._succeeded(found.problem)
        return True

    async def _ask(self) -> Collected | Failure:
        limit = self.poller.timeout_seconds or self.poller.interval_seconds
        with anyio.move_on_after(limit):
            try:
                return await self.poller.collect(self._next_cursor())
            except CollectError as error:
                return Failure(error.kind, str(error), error.retry_seconds)
            except LedgerError as error:
                return Failure("ledger", str(error))
            except Exception as error:  # a source is a plugin: what it raises must not end the agent
                if not self.last_error.startswith(BUG):
                    log.exception("source %s, poller %s: a bug in the source", *self._labels)
                return Failure(BUG, f"{type(error).__name__}: {error}")
        return Failure("timeout", f"no answer within {limit:g} s")

    def _next_cursor(self) -> object:
        """Raises LedgerError."""
        if not self._knows_cursor:
            self._cursor = self._committer.cursor(self._feed.name, self.poller.name)
            self._knows_cursor = True
        if not self.poller.durable and self._store.wants_listing(self._feed, self._scopes, self._clock()):
            return None
        return self._cursor

    async def _apply(self, collected: Collected) -> None:
        now = self._clock()
        collected = self._without_future(collected, now)
        if collected.observations or collected.notes or self.poller.durable:
            await self._committer.commit(
                self._feed, collected, interval=self.poller.interval_seconds, move=self._move(collected.cursor)
            )
        else:
            for _ in self._store.applying(self._feed, collected, now, self.poller.interval_seconds):
                await checkpoint()
        self._cursor = collected.cursor
        self._scopes = {*collected.complete, *collected.unchanged} or {update.scope for update in collected.updates}
        if collected.group:
            await self._flusher.flush_group(collected.group, collected.group_at)

    def _move(self, cursor: object) -> Move | None:
        if not self.poller.durable or cursor == self._cursor:
            return None
        return Move(self._feed.name, self.poller.name, None if self._cursor is None else str(self._cursor), str(cursor))

    def _without_future(self, collected: Collected, now: float) -> Collected:
        """Leave out what is too far ahead of our clock: later updates would count as older than it."""
        latest = now + self._flusher.max_future
        if max(map(_AT, collected.updates), default=0.0) <= latest:
            return collected
        kept = [update for update in collected.updates if update.at <= latest]
        self._monitor.add(FUTURE, (self._feed.name,), len(collected.updates) - len(kept))
        return replace(collected, updates=kept)

    def _succeeded(self, problem: str) -> None:
        self._is_up, self.last_success = True, self._clock()
        self.last_error = redact(problem)
        self._monitor.set(UP, self._labels, 1)
        self._monitor.set(LAST_SUCCESS, self._labels, self.last_success)
        self._monitor.set(SERIES, (self._feed.name,), self._feed.series)
        self._transition.recovered(self._labels, f"source {self._feed.name}, poller {self.poller.name}: collects again")

    def _failed(self, failure: Failure) -> None:
        self._is_up = False
        self.last_error = redact(f"{failure.kind}: {failure.message}")
        self._monitor.set(UP, self._labels, 0)
        self._monitor.add(ERRORS, (*self._labels, failure.kind))
        if self.last_success is not None:
            self._store.prolong(self._feed, self._scopes, self.last_success + PROLONG_SECONDS)
        self._transition.failed(self._labels, f"source {self._feed.name}, poller {self.poller.name}: {self.last_error}")

    def status(self, now: float) -> dict[str, object]:
        """For the status page: JSON-ready. `up` as the metric says it; a collect that succeeded may have a `last_error`, too."""
        return {
            "name": self.poller.name,
            "interval_seconds": self.poller.interval_seconds,
            "up": self._is_up,
            "collects": self.collects,
            "last_success_age_seconds": None if self.last_success is None else round(now - self.last_success, 3),
            "last_error": self.last_error,
        }
