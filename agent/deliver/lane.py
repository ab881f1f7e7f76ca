"""The one loop that takes what waits for a sink and has it delivered."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Generic, TypedDict
from urllib.parse import urlsplit

import anyio

from agent.backoff import Backoff, Hosts
from agent.deliver.courier import Courier, HeldUp, Quarantine, Sender
from agent.deliver.forms import Forms
from agent.deliver.parcel import Parcel
from agent.deliver.pause import Knock, Pause
from agent.deliver.report import Report, State
from agent.model import Block, Form
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.base import Spool
from agent.spool.entry import Entry, Item

MOST_PARCELS = 64
"""Begun entries remembered; only one at a time is in trouble, so most of more than a few are gone from the queue."""


class LaneStatus(TypedDict):
    """A lane for status pages; times are seconds since the epoch, 0.0 = never; None = nobody knows."""

    name: str
    url: str
    up: bool
    state: State
    form: str
    in_flight: int
    queue_blocks: int
    queue_bytes: int
    queue_disk_bytes: int
    queue_samples: int
    oldest_pending_age_seconds: float
    drain_seconds: float | None
    queue_hours_left: float | None
    accepted_flush: int | None
    spooled_flush: int | None
    synced_flush: int | None
    clock_skew_seconds: float | None
    last_success: float
    last_error: str
    last_error_at: float
    retries: int
    samples_sent: int
    samples_dropped: int


class Lane(Generic[Item]):
    """One sink's way out: up to `policy.max_in_flight` requests at once.

    Strictly in the order of the offers, but for `policy.fresh_first`: then what was offered after an outage, or after
    a start with a backlog, goes before that backlog. Two blocks of one flush group and different times are never in
    flight together: they may hold the same series.

    `clock` tells seconds since the epoch; waits run on the event loop's own clock. `hosts` is shared by all lanes.
    `knock` tries to open a connection to the receiver; `on_form` is told when new blocks should be made in another
    form. A block stays in the spool until the receiver has it or will never take it.
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
        *,
        quarantine: Quarantine | None = None,
        knock: Knock | None = None,
        on_form: Callable[[Form], None] | None = None,
    ) -> None:
        self.name = name
        self._sink: Sender[Item] = sink
        self._spool: Spool[Item] = spool
        self._policy = policy
        self._clock = clock
        self._hosts = hosts
        self._host = urlsplit(sink.url).netloc
        self._report = Report(name, sink.url, monitor)
        self._pause = Pause(Backoff(random), knock)
        self._on_form = on_form
        self._forms = Forms(f"sink {name} ({sink.url})", policy.forms, self._form_changed)
        self._courier: Courier[Item] = Courier(sink, policy, self._report, self._forms, clock, self._answered, quarantine)
        self._parcels: dict[int, Parcel[Item]] = {}
        """By sequence: those in flight, and those that were begun and wait for another try."""
        self._flying: dict[int, Item] = {}
        self._mark = 0
        """What has a sequence up to this is a backlog."""
        self._woken: anyio.Event | None = None
        self._settled: anyio.Event | None = None
        """Set when nothing is pending any more, and when a try failed."""
        self._failed = False

    def offer(self, item: Item) -> None:
        """Have `item` delivered; never waits. What no longer fits is dropped and counted, oldest first."""
        self._spool.put(item)
        self.refresh(self._clock())
        self._wake()

    async def run(self) -> None:
        """Deliver until cancelled; run it once."""
        self._hosts.join(self._host, self._pause.hurry)
        self._spool.listen(self._wake)
        self._mark = self._spool.last
        try:
            async with anyio.create_task_group() as flights:
                while True:
                    await self._pause.rest()
                    self._woken = anyio.Event()
                    entry = self._next()
                    if entry is None:
                        await self._woken.wait()
                        continue
                    self._flying[entry.sequence] = entry.item
                    flights.start_soon(self._fly, entry)
        finally:
            self._hosts.leave(self._host, self._pause.hurry)

    async def drained(self, *, patient: bool = True) -> None:
        """Wait until nothing is pending; a lane that rests between retries tries once more at once.

        Not `patient`: only until a try fails, for what waits is safe where it is.
        """
        self._pause.hurry()
        self._failed = False
        while self._spool.stats().blocks and (patient or not self._failed):
            if self._settled is None:
                self._settled = anyio.Event()
            await self._settled.wait()

    def refresh(self, now: float) -> None:
        """Bring the gauges that age up to `now`, seconds since the epoch."""
        self._report.pending(self._spool.stats(), now)
        for reason, samples in self._spool.losses().items():
            self._report.lost(reason, samples, now)

    def status(self) -> LaneStatus:
        """What a status page shows."""
        stats, report, now = self._spool.stats(), self._report, self._clock()
        form = self._forms.current
        return LaneStatus(
            name=self.name,
            url=self._sink.url,
            up=report.state == "ok",
            state=report.state,
            form=f"{form.protocol.value}, {form.encoding.value}" if form else "",
            in_flight=len(self._flying),
            queue_blocks=stats.blocks,
            queue_bytes=stats.bytes,
            queue_disk_bytes=stats.disk_bytes,
            queue_samples=stats.samples,
            oldest_pending_age_seconds=max(0.0, now - stats.oldest_created) if stats.oldest_created is not None else 0.0,
            drain_seconds=report.flow.drain_seconds,
            queue_hours_left=report.flow.hours_left(self._policy.queue_max_bytes),
            accepted_flush=stats.accepted_flush,
            spooled_flush=stats.spooled_flush,
            synced_flush=stats.synced_flush,
            clock_skew_seconds=report.skew,
            last_success=report.last_success,
            last_error=report.last_error,
            last_error_at=report.last_error_at,
            retries=report.retries,
            samples_sent=report.sent,
            samples_dropped=report.dropped,
        )

    def _next(self) -> Entry[Item] | None:
        """What to send now, taken from the spool; None when there is nothing, or it has to wait for what is in flight."""
        if len(self._flying) >= (1 if self._pause.trouble else self._policy.max_in_flight):
            return None
        entry = self._spool.take(self._mark) if self._policy.fresh_first else None
        if entry is None:
            entry = self._spool.take()
        if entry is not None and self._must_wait(entry.item):
            self._spool.requeue(entry.sequence)
            return None
        return entry

    def _must_wait(self, item: Item) -> bool:
        return isinstance(item, Block) and any(
            isinstance(other, Block) and other.group == item.group and other.timestamp_ms != item.timestamp_ms
            for other in self._flying.values()
        )

    async def _fly(self, entry: Entry[Item]) -> None:
        """Deliver one entry; at the end it is acknowledged, or waits in the spool again."""
        parcel = self._parcels.setdefault(entry.sequence, Parcel(entry))
        if len(self._parcels) > MOST_PARCELS:
            del self._parcels[min(self._parcels.keys() - self._flying.keys())]  # it left the full queue meanwhile
        finished = False
        try:
            await self._courier.deliver(parcel)
            finished = True
        except HeldUp as held:
            now = self._clock()
            self._report.held_up(held.outcome, self._pause.failed(held.outcome), now, held.bug)
            self._failed = True
        finally:
            # Also when cancelled: what was not finished is still owed.
            del self._flying[entry.sequence]
            if finished:
                del self._parcels[entry.sequence]
                self._spool.ack(entry.sequence)
            else:
                if not parcel.begun:
                    del self._parcels[entry.sequence]
                self._spool.requeue(entry.sequence)
            self.refresh(self._clock())
            self._wake()
        if self._settled is not None and (self._failed or not self._spool.stats().blocks):
            self._settled.set()
            self._settled = None

    def _answered(self) -> None:
        """The receiver took something, or refused it: it is there."""
        if self._pause.succeeded():
            self._mark = self._spool.last
            self._wake()
        self._hosts.succeeded(self._host, self._pause.hurry)

    def _form_changed(self, form: Form) -> None:
        self._report.fallen_back(self._forms.fallen_back)
        if self._on_form is not None:
            self._on_form(form)

    def _wake(self) -> None:
        if self._woken is not None:
            self._woken.set()
