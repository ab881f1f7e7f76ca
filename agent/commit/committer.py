"""The committer: the one task through which observations reach the ledger, and then the store.

Whoever has something to commit waits for the answer; while a transaction is being written, what comes in gathers for the
next. A transaction and what follows from it are one step that nothing cancels.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from agent.commit.outbox import Outbox, Settled
from agent.commit.resolve import Resolver
from agent.errors import CollectError, LedgerError
from agent.ledger.base import Ledger
from agent.ledger.batch import Batch, Committed, Item, Move, Taken
from agent.log import Transition
from agent.model import Collected, Family, Kind, Update
from agent.selfmon import SelfMonitor, counter
from agent.store.store import Store
from agent.store.table import LEDGER, Feed

log = logging.getLogger(__name__)

DURATION = Family(
    "cipush_ledger_commit_duration_seconds",
    Kind.HISTOGRAM,
    "One transaction of the ledger, from its first statement until it is on disk.",
    "seconds",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0),
)
OBSERVATIONS = counter(
    "cipush_observations_total",
    "Observations that sources reported, by whether they were new, known or refused.",
    "source",
    "outcome",
)
FOLDED = counter("cipush_observations_folded_total", "Increments added to an `overflow` series because of a limit.", "source")
ERRORS = counter("cipush_ledger_errors_total", "Transactions that failed; what was in them is reported again by its source.")
FAMILIES = (DURATION, OBSERVATIONS, FOLDED, ERRORS)

MOST_ITEMS = 512
"""Callers that share a transaction."""
GATHER_SECONDS = 0.01
"""How long is waited for more, where the last transaction was shared."""
SETTLE_SECONDS = 1.0
"""How often the lanes are asked what they have for good, while they hold rows of the outbox."""
PRUNE_SECONDS = 3600.0
"""How often what is too old is looked for."""


@dataclass(eq=False)
class _Waiting:
    """One caller."""

    feed: Feed
    collected: Collected
    interval: float
    move: Move | None
    done: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None


class Committer:
    """See the module. `last_flush`: the sample time, ms, of the newest interval flush that takes in no more births;
    `interval`: between two, seconds."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        monitor: SelfMonitor,
        clock: Callable[[], float],
        *,
        last_flush: Callable[[], int],
        interval: Callable[[], float],
        hasten: Callable[[], None],
        settled: Settled,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._monitor = monitor
        self._clock = clock
        self._last_flush = last_flush
        self._interval = interval
        self._hasten = hasten
        self._settled = settled
        self._epoch = ledger.lease()
        self._resolver = Resolver(store)
        self._waiting: deque[_Waiting] = deque()
        self._last = 0
        """How many shared the last transaction."""
        self._busy: list[_Waiting] = []
        """Those in the transaction that is being written."""
        self._wanted = anyio.Event()
        self._at = 0.0
        """The newest time given to an update: a clock that steps back must not make totals look old."""
        self._transition = Transition(log)
        self.outbox = Outbox(ledger, self._epoch, monitor)
        self.problem = ""
        """Why nothing can be committed right now, or ""."""
        monitor.add(ERRORS, (), 0)

    async def commit(self, feed: Feed, collected: Collected, *, interval: float = 0.0, move: Move | None = None) -> None:
        """Take over what was collected, all or nothing; observations that are known already count for nothing.

        `interval`: seconds until the next such. Raises LedgerError when the ledger cannot take it, and CollectError for
        what it will never take. A caller that is cancelled does not undo it.
        """
        waiting = _Waiting(feed, collected, interval, move)
        self._waiting.append(waiting)
        self._wanted.set()
        await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error

    async def run(self) -> None:
        """Commit until cancelled; what has begun is ended first."""
        prune_at = anyio.current_time() + PRUNE_SECONDS
        while True:
            if not self._waiting:
                self._wanted = anyio.Event()
                pause = SETTLE_SECONDS if self.outbox.rows else max(0.0, prune_at - anyio.current_time())
                with anyio.move_on_after(pause):
                    await self._wanted.wait()
            with anyio.CancelScope(shield=True):
                if self._waiting:
                    if self._last > 1:  # many come at once: a transaction costs less for each when more share it
                        await anyio.sleep(GATHER_SECONDS)
                    self._last = min(MOST_ITEMS, len(self._waiting))
                    self._busy = [self._waiting.popleft() for _ in range(min(MOST_ITEMS, len(self._waiting)))]
                    await self._commit(self._busy)
                    self._busy = []
                else:
                    await self.settle()
                if anyio.current_time() >= prune_at:
                    prune_at = anyio.current_time() + (0 if await self._prune() else PRUNE_SECONDS)

    async def idle(self) -> None:
        """Wait until all who wait now have their answer; while nothing is added this is until there is nothing to do."""
        for waiting in [*self._busy, *self._waiting]:
            await waiting.done.wait()

    async def settle(self) -> None:
        """Note what the sinks have for good."""
        news = self.outbox.news(self._settled)
        if news:
            try:
                await anyio.to_thread.run_sync(self.outbox.acknowledge, news)
            except LedgerError as error:
                self._failed(error)
                return
            self.outbox.note(news)

    def restore(self, feed: Feed, families: Sequence[Family]) -> None:
        """Continue the totals of a source where an earlier life left them; those that were silent for long stay out.

        Where the ledger cannot be read they come back when they are next added to.
        """
        now, shapes = self._clock(), {self._resolver.shape(feed, family): family for family in families}
        longest = max((self._ttl(family) for family in families), default=0.0)
        by_time: dict[float, list[Update]] = {}
        try:
            totals = self._ledger.load(feed.name, now - longest)
        except LedgerError as error:
            self._failed(error)
            return
        for total in totals:
            family = shapes.get(total.series.shape)
            if family is None or total.updated + self._ttl(family) <= now:
                continue
            self._at = max(self._at, total.updated)
            labels = total.series.labels
            value = tuple(total.cells) if family.buckets else total.cells[0]
            by_time.setdefault(min(total.updated, now), []).append(Update(family, labels, value, total.updated, LEDGER))
        for updated, updates in sorted(by_time.items()):
            self._store.apply(feed, Collected(updates), updated)

    def forget(self, feed: Feed) -> None:
        """The source is gone."""
        self._resolver.forget(feed)

    def cursor(self, source: str, poller: str) -> str | None:
        """Where a poller has come to. Raises LedgerError."""
        return self._ledger.cursor(source, poller)

    @property
    def refused(self) -> int:
        """Series that are counted and not sent, because a limit keeps them out of the store."""
        return len(self._resolver.out)

    def status(self) -> dict[str, object]:
        """For the status page; JSON-ready."""
        return {
            "path": str(self._ledger.path or "none"),
            "epoch": self._epoch,
            "commits": int(self._monitor.value(DURATION)),
            "outbox_rows": self.outbox.rows,
            "refused_series": self.refused,
            "waiting": len(self._waiting) + len(self._busy),
            "problem": self.problem,
        }

    # -- one transaction -------------------------------------------------------------------------------

    async def _commit(self, callers: list[_Waiting]) -> None:
        items, now = [], self._clock()
        self._resolver.begin(now)
        for caller in callers:
            try:
                items.append((caller, self._item(caller)))
            except (ValueError, TypeError, OverflowError) as error:
                caller.error = CollectError("observation", f"what it observed does not fit its families: {error}")
        try:
            committed = await self._written([item for _, item in items], now)
        except LedgerError as error:
            self._failed(error)
            for caller, _ in items:
                caller.error = error
        else:
            if self.problem:
                self.problem = ""
                self._transition.recovered("ledger", "the ledger takes what is counted again")
            await self._take_over([caller for caller, _ in items], committed)
        self._resolver.end()
        for caller in callers:
            caller.done.set()

    def _item(self, caller: _Waiting) -> Item:
        feed, collected = caller.feed, caller.collected
        counted = [self._resolver.counted(feed, observation) for observation in collected.observations]
        return Item(feed.name, counted, collected.notes, caller.move)

    async def _written(self, items: list[Item], now: float) -> Committed:
        """Raises LedgerError."""
        last = self._last_flush()
        batch = Batch(items, now, last, max(int((now - self._interval()) * 1000), last + 1))
        begun = anyio.current_time()
        committed = await anyio.to_thread.run_sync(self._ledger.commit, batch, self._epoch)
        self._monitor.observe(DURATION, (), anyio.current_time() - begun)
        return committed

    async def _take_over(self, callers: list[_Waiting], committed: Committed) -> None:
        """What a transaction came to, into the outbox and the store."""
        self.outbox.add(committed.outgoing)
        now = self._at = max(self._at, self._clock())
        feeds = {caller.feed.name: caller.feed for caller in callers}
        totals: dict[str, list[Update]] = {}
        for (source, shape, labels), cells in committed.totals.items():
            family = self._resolver.families.get((feeds[source], shape))
            if family is None:  # its source was taken away meanwhile
                continue
            value = tuple(cells) if family.buckets else cells[0]
            totals.setdefault(source, []).append(Update(family, labels, value, now, LEDGER))
        for source, updates in totals.items():
            await self._apply(feeds[source], Collected(updates), now, 0.0)
            for update in updates:
                self._resolver.applied(feeds[source], update.family, update.labels)
        is_new = False
        for caller, result in zip(callers, committed.results, strict=True):
            if isinstance(result, Taken):
                is_new |= result.new > 0
                self._count(caller.feed.name, new=result.new, known=result.repeated)
                collected = caller.collected
                if collected.updates or collected.complete or collected.unchanged:
                    await self._apply(caller.feed, collected, now, caller.interval)
            else:
                self._count(caller.feed.name, refused=len(caller.collected.observations))
                caller.error = result if isinstance(result, LedgerError) else CollectError("observation", str(result))
        for source, folded in self._resolver.folded.items():
            self._monitor.add(FOLDED, (source,), folded)
        self._resolver.folded.clear()
        if is_new:
            self._hasten()

    async def _apply(self, feed: Feed, collected: Collected, now: float, interval: float) -> None:
        for _ in self._store.applying(feed, collected, now, interval):
            await checkpoint()

    def _count(self, source: str, **outcomes: int) -> None:
        for outcome, number in outcomes.items():
            if number:
                self._monitor.add(OBSERVATIONS, (source, outcome), number)

    async def _prune(self) -> bool:
        """One piece; whether there may be more."""
        try:
            return await anyio.to_thread.run_sync(self._ledger.prune, self._clock(), self._epoch)
        except LedgerError as error:
            self._failed(error)
            return False

    def _failed(self, error: LedgerError) -> None:
        self.problem = str(error)
        self._monitor.add(ERRORS)
        self._transition.failed("ledger", f"{error}; nothing is counted until it does")

    def _ttl(self, family: Family) -> float:
        return self._store.limits.default_ttl_seconds if family.ttl_seconds is None else family.ttl_seconds
