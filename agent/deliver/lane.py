"""The one loop that sends, retries, splits, drops and acknowledges."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Generic, Protocol, TypedDict, TypeVar
from urllib.parse import urlsplit

import anyio

from agent.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff, Hosts
from agent.deliver.report import Report, State
from agent.model import Accepted, Block, Misconfigured, Outcome, Retry, Snapshot, TooLarge
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.base import Spool
from agent.spool.entry import Entry, Item, size_of
from agent.wire.split import halves

PROBE_SECONDS = LONGEST_SECONDS
"""A receiver that says address or rights are wrong is asked again this often."""
MOST_SPLITS = 256
"""Halvings of one block; what is refused as too large after that is dropped whole, or a receiver that
refuses everything would be asked twice for every sample."""

_Item = TypeVar("_Item", Block, Snapshot, contravariant=True)


class Sender(Protocol[_Item]):
    """What a lane needs of a sink, history or state."""

    @property
    def url(self) -> str:
        """Where it sends, without credentials."""
        ...

    async def send(self, item: _Item, /) -> Outcome:
        """One send."""
        ...


class LaneStatus(TypedDict):
    """A lane for status pages; times are seconds since the epoch, 0.0 = never."""

    name: str
    url: str
    up: bool
    state: State
    queue_blocks: int
    queue_bytes: int
    queue_samples: int
    oldest_pending_age_seconds: float
    last_success: float
    last_error: str
    last_error_at: float
    retries: int
    samples_sent: int
    samples_dropped: int


class Lane(Generic[Item]):
    """One sink's way out: one request in flight, strictly in the order of the offers.

    `clock` tells seconds since the epoch; waits run on the event loop's own clock. `hosts` is shared by all lanes.
    A block stays in the spool until the receiver has it or will never take it.
    """

    def __init__(
        self,
        name: str,
        sink: Sender[Item],
        spool: Spool[Item],
        policy: Policy,
        monitor: SelfMonitor,
        clock: Callable[[], float],
        random: Random,
        hosts: Hosts,
    ) -> None:
        self.name = name
        self._sink: Sender[Item] = sink
        self._spool: Spool[Item] = spool
        self._policy = policy
        self._clock = clock
        self._backoff = Backoff(random)
        self._hosts = hosts
        self._host = urlsplit(sink.url).netloc
        self._report = Report(name, sink.url, monitor)
        self._parts: tuple[int, deque[Item]] = (0, deque())
        self._splits = 0
        self._next_try = 0.0
        self._soonest_try = 0.0
        self._offered: anyio.Event | None = None
        self._hurried: anyio.Event | None = None
        self._emptied: anyio.Event | None = None

    def offer(self, item: Item) -> None:
        """Have `item` delivered; never waits. What no longer fits is dropped and counted, oldest first."""
        self._spool.put(item)
        now = self._clock()
        self.refresh(now)
        if self._offered is not None:
            self._offered.set()

    async def run(self) -> None:
        """Deliver until cancelled; run it once."""
        self._hosts.join(self._host, self._hurry)
        try:
            while True:
                entry = self._spool.take()
                if entry is None:
                    self._offered = anyio.Event()
                    await self._offered.wait()
                else:
                    await self._deliver(entry)
                    await self._rest()
        finally:
            self._hosts.leave(self._host, self._hurry)

    async def drained(self) -> None:
        """Wait until nothing is pending; a lane that rests between retries tries once more at once."""
        self._hurry()
        while self._spool.stats().blocks:
            if self._emptied is None:
                self._emptied = anyio.Event()
            await self._emptied.wait()

    def refresh(self, now: float) -> None:
        """Bring the gauges that age up to `now`, seconds since the epoch."""
        self._report.pending(self._spool.stats(), now)
        for reason, samples in self._spool.losses().items():
            self._report.lost(reason, samples, now)

    def status(self) -> LaneStatus:
        """What a status page shows."""
        stats, report, now = self._spool.stats(), self._report, self._clock()
        return LaneStatus(
            name=self.name,
            url=self._sink.url,
            up=report.state == "ok",
            state=report.state,
            queue_blocks=stats.blocks,
            queue_bytes=stats.bytes,
            queue_samples=stats.samples,
            oldest_pending_age_seconds=max(0.0, now - stats.oldest_created) if stats.oldest_created is not None else 0.0,
            last_success=report.last_success,
            last_error=report.last_error,
            last_error_at=report.last_error_at,
            retries=report.retries,
            samples_sent=report.sent,
            samples_dropped=report.dropped,
        )

    async def _deliver(self, entry: Entry[Item]) -> None:
        """Send one entry, in parts if it must be; at the end it is acknowledged, or waits in the spool again."""
        finished = False
        try:
            finished = await self._sent(self._parts_of(entry))
        finally:
            # Also when cancelled: what was not finished is still owed.
            if finished:
                self._spool.ack(entry.sequence)
            else:
                self._spool.requeue(entry.sequence)
            self.refresh(self._clock())
        if self._emptied is not None and not self._spool.stats().blocks:
            self._emptied.set()
            self._emptied = None

    def _parts_of(self, entry: Entry[Item]) -> deque[Item]:
        """What is left to send of an entry: of one that was split before, the parts not yet finished."""
        sequence, parts = self._parts
        if sequence != entry.sequence:
            parts = deque([entry.item])
            self._parts = (entry.sequence, parts)
            self._splits = 0
        return parts

    async def _sent(self, parts: deque[Item]) -> bool:
        """Send the parts in order; False when one is to be sent again later, which then is the first."""
        while parts:
            part, now = parts[0], self._clock()
            too_old = self._too_old(part, now)
            if too_old is not None:
                self._report.lost(too_old, part.samples, now)
                parts.popleft()
                continue
            outcome, bug = await self._send(part)
            now = self._clock()
            if isinstance(outcome, Retry | Misconfigured):
                self._report.held_up(outcome, self._wait(outcome), now, bug)
                return False
            parts.popleft()
            self._backoff.reset()
            if isinstance(outcome, Accepted):
                self._report.accepted(outcome, part.samples, size_of(part), part.timestamp_ms, now)
                self._hosts.succeeded(self._host, self._hurry)
            elif isinstance(outcome, TooLarge):
                parts.extendleft(reversed(self._split(part, outcome, now)))
            else:
                self._report.refused(outcome, "rejected", part.samples, now)
        return True

    def _too_old(self, part: Item, now: float) -> str | None:
        limits = self._policy
        if 0 < limits.max_sample_age_seconds < now - part.timestamp_ms / 1000:
            return "too_old"
        if 0 < limits.max_retry_age_seconds < now - part.created:
            return "retry_age"
        return None

    async def _send(self, part: Item) -> tuple[Outcome, Exception | None]:
        """One send within the time limit; what the sink raises is a bug of a plugin, contained here."""
        limit, bug = self._policy.timeout_seconds, None
        outcome: Outcome = Retry("timeout", f"no answer within {limit:g} s")
        started = anyio.current_time()
        with anyio.move_on_after(limit):
            try:
                outcome = await self._sink.send(part)
            except Exception as error:
                outcome, bug = Retry("bug", f"the sink raised {type(error).__name__}: {error}"), error
        self._report.answered(outcome, anyio.current_time() - started)
        return outcome, bug

    def _split(self, part: Item, outcome: TooLarge, now: float) -> tuple[Item, ...]:
        """The halves to send instead of `part`; none when it cannot be made smaller, and is dropped."""
        reason = outcome
        smaller: tuple[Item, ...] = ()
        self._splits += 1
        if isinstance(part, Block) and self._splits <= MOST_SPLITS:
            try:
                found = halves(part)
            except ValueError as error:
                reason, found = TooLarge(outcome.code, f"{outcome.reason}; and it cannot be split: {error}"), (part,)
            smaller = found if len(found) > 1 else ()
        if not smaller:
            self._report.refused(reason, "too_large", part.samples, now)
        return smaller

    def _wait(self, outcome: Retry | Misconfigured) -> float:
        """Seconds until the next try; also noted for `_rest`."""
        now = anyio.current_time()
        soonest = None
        if isinstance(outcome, Misconfigured):
            wait = self._backoff.jittered(PROBE_SECONDS)
        elif outcome.after is not None:
            # The receiver knows best, but not even it gets a tight loop.
            wait = max(outcome.after, FIRST_SECONDS)
        else:
            wait, soonest = self._backoff.failed(), now + FIRST_SECONDS
        self._next_try = now + wait
        # Another lane's success says nothing about this one's address, nor about what Retry-After asked for.
        self._soonest_try = soonest or self._next_try
        return wait

    async def _rest(self) -> None:
        """Wait until the next try is due; `_hurry` may bring it forward."""
        while (left := self._next_try - anyio.current_time()) > 0:
            self._hurried = anyio.Event()
            with anyio.move_on_after(left):
                await self._hurried.wait()

    def _hurry(self) -> None:
        """There is reason to believe that the next try succeeds: back to the shortest wait, where the wait was our own choice."""
        self._backoff.reset()
        self._next_try = min(self._next_try, self._soonest_try)
        if self._hurried is not None:
            self._hurried.set()
