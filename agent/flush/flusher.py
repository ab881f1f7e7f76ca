"""The flush: writes the store's pages and hands finished blocks to the lanes.

Everything that is not a scrape target is one group, flushed on the interval; a scrape target is a group
of its own, flushed when its scrape ends, with the scrape's time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from agent import model
from agent.flush.clock import SampleClock
from agent.flush.numbers import Flushed, Numbers, group_code
from agent.flush.outputs import Lane, Output, Outputs
from agent.flush.owing import Extra, Nothing, Owing, Tables
from agent.leaps import Leaps
from agent.model import Block, Encoding, Family, Form, Kind, Snapshot
from agent.selfmon import SelfMonitor, counter, gauge
from agent.store.encode import LabelRules
from agent.store.epoch import rewind
from agent.store.pages import Rendered, View
from agent.store.snapshot import Snapshots
from agent.store.store import Store
from agent.wire.compress import compress

log = logging.getLogger(__name__)

FIRST_SECONDS = 1.0
"""When the first interval flush takes place, after start."""

SOON_SECONDS = 0.25
"""When a flush that is brought forward takes place: what happens meanwhile goes with it."""

EVERYTHING = -math.inf
"""A heartbeat that every page is due for, even one that was sent by a clock that was ahead."""

DURATION = Family(
    "cipush_flush_duration_seconds",
    Kind.HISTOGRAM,
    "From the start of an interval flush to its last block handed over.",
    "seconds",
    buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SAMPLES = counter("cipush_flush_samples_total", "Samples written into blocks, staleness markers included.", "protocol")
MARKERS = counter("cipush_flush_stale_markers_total", "Staleness markers written for series that ended.")
PAGES = counter("cipush_flush_pages_total", "Pages visited: sent, or skipped because unchanged.", "protocol", "outcome")
HELD = counter("cipush_flush_held_total", "Flushes that did not take place because the clock is not usable.", "reason")
EPOCHS = counter("cipush_clock_epochs_total", "Times the system clock stepped back so far that sample times started anew.")
LAST = gauge("cipush_flush_last_timestamp_seconds", "Sample time of the last interval flush.", unit="seconds")
FAMILIES = (DURATION, SAMPLES, MARKERS, PAGES, HELD, EPOCHS, LAST)


class Flusher:
    """Owns when pages are written; one per agent."""

    def __init__(
        self,
        store: Store,
        monitor: SelfMonitor,
        clock: Callable[[], float],
        *,
        interval: float,
        heartbeat: float,
        max_future: float,
        last_ms: int = 0,
    ) -> None:
        self._store = store
        self._monitor = monitor
        self._clock = clock
        self._interval = interval
        # a page due within half an interval is due now: intervals jitter
        self._heartbeat = max(0.0, heartbeat - interval / 2)
        self.max_future = max_future
        self._groups = {"": SampleClock(last_ms)}
        self._leaps = Leaps()
        for family in (EPOCHS, MARKERS):
            monitor.add(family, (), 0)
        self._lock = anyio.Lock()
        self._reconfigured: anyio.Event | None = None
        self._hastened = False
        self.outputs = Outputs(store)
        self.numbers = Numbers()
        self.outbox: Owing = Nothing()
        self._tables = Tables(store)
        self.begun_ms = last_ms
        """Sample time of the last interval flush that takes in no more births."""
        self.held = ""
        """Why interval flushes are not taking place now, or ""."""

    @property
    def last_ms(self) -> int:
        """Sample time of the last interval flush, ms since the epoch; 0 before the first."""
        return self._groups[""].last_ms

    def reconfigure(self, *, interval: float, heartbeat: float, max_future: float) -> None:
        """Other times from now on; a flush that would come later than the new interval is brought forward."""
        self._interval, self._heartbeat, self.max_future = interval, max(0.0, heartbeat - interval / 2), max_future
        if self._reconfigured is not None:
            self._reconfigured.set()

    def attach(
        self, lane: Lane, protocol: model.Protocol, encoding: Encoding, rules: LabelRules, *, native_histograms: bool = False
    ) -> Output:
        """Send to this lane from now on; lanes with equal protocol and labels share a view."""
        return self.outputs.attach(lane, Form(protocol, encoding), rules, native_histograms)

    def switch(self, lane: Lane, form: Form) -> None:
        """Render in another form for this lane, from the first flush that begins when none is on."""
        self.outputs.switch(lane, form)
        self._settle_switches()

    def detach(self, lane: Lane) -> None:
        """Stop sending to it; a view without lanes goes."""
        self.outputs.detach(lane)

    def _settle_switches(self) -> None:
        # In the middle of a walk the lane would get the rest of that flush from neither view.
        if not self.numbers.open:
            self.outputs.settle_switches()

    def hasten(self) -> None:
        """Bring the next interval flush forward: something has happened that somebody waits for."""
        if self._reconfigured is not None:
            self._hastened = True
            self._reconfigured.set()

    async def retire(self, lane: Lane) -> None:
        """Stop sending to a lane whose series get other labels: those that it was sent end there, with markers."""
        async with self._lock:
            for output in self.outputs:
                encoding = next((encoding for own, encoding in output.lanes if own is lane), None)
                if encoding is None or not isinstance(output.view, View):
                    continue
                now = self._clock()
                ms = max(int(now * 1000), *(clock.last_ms + 1 for clock in self._groups.values()))
                for clock in self._groups.values():
                    clock.last_ms = ms
                # in one go: a flush in between would send after its marker what has just ended
                with self.numbers.flush(ms, "") as this:
                    for ending in output.view.endings(ms):
                        self._monitor.add(MARKERS, (), ending.markers)
                        lane.offer(_block(ending, output.protocol, encoding, this, now))
            self.detach(lane)

    async def run(self) -> None:
        """Flush on the interval until cancelled; a late flush shifts none of the next.

        The first comes soon: somebody who has just started the agent waits for it. It stays behind the
        start by that much, so that collects on the same interval are done when their flush comes.
        A flush that has begun is ended before the cancellation: the markers it owes come last.
        """
        due = anyio.current_time() + min(FIRST_SECONDS, self._interval / 4)
        while True:
            self._reconfigured = anyio.Event()
            with anyio.CancelScope(deadline=due):
                await self._reconfigured.wait()
                due = min(due, anyio.current_time() + (min(SOON_SECONDS, self._interval) if self._hastened else self._interval))
                self._hastened = False
                continue
            with anyio.CancelScope(shield=True):
                await self.flush()
            now = anyio.current_time()
            due += self._interval * max(1, int((now - due) // self._interval) + 1)

    async def flush(self, *, pace: bool = True) -> None:
        """One interval flush: expire, then write and hand over what is due. `pace` spreads the work."""
        async with self._lock:
            begun = anyio.current_time()
            now = self._clock()
            ms, reason = self._stamp("", now)
            self._note_hold("" if ms else reason)
            if not ms:
                return
            for _ in self._store.expiring(now):
                await checkpoint()
            # after a step back no page says anything about when it was sent
            heartbeat = EVERYTHING if reason else self._heartbeat
            self._settle_switches()
            with self.numbers.flush(ms, "") as this:
                walks, self.begun_ms = self._begin(this, heartbeat), ms
                for walk in walks:
                    self._send_owed(walk.output, walk.view, this)
                for walk in walks:
                    await self._walk(walk, this, pace)
                for output in self.outputs:
                    if not isinstance(output.view, View):
                        await self._snapshot(output, output.view, ms)
            self._monitor.set(LAST, (), ms / 1000)
            self._monitor.observe(DURATION, (), anyio.current_time() - begun)

    async def flush_group(self, group: str, at: float) -> None:
        """Flush one scrape target's series, all of them, with the scrape's time, `at` seconds since the epoch.

        Beside an interval flush, not after it: groups share no page. One at a time for the same group.
        """
        if at > self._clock() + self.max_future:
            self._monitor.add(HELD, ("too_far_ahead",))
            return
        ms, _ = self._stamp(group, at)
        if not ms:
            return
        self._settle_switches()
        with self.numbers.flush(ms, group) as this:
            for walk in self._begin(this, EVERYTHING):
                await self._walk(walk, this, False)

    async def end_groups(self, groups: Iterable[str]) -> None:
        """The last flush of groups whose source is gone: their staleness markers.

        Their sample clocks stay: a source that takes over the target begins after these markers.
        """
        for group in groups:
            if group:
                await self.flush_group(group, self._clock())

    def _stamp(self, group: str, at: float) -> tuple[int, str]:
        """(sample time of a flush, "" or "epoch"), or (0, why it cannot take place), counted."""
        if self._leaps.doubts(self._clock(), anyio.current_time(), self.max_future):
            self._monitor.add(HELD, ("clock_leapt_ahead",))
            return 0, "clock_leapt_ahead"
        ms, reason = self._groups.setdefault(group, SampleClock()).next(at, self.max_future)
        if reason == "epoch":
            self._monitor.add(EPOCHS)
            rewind(self._store, self._clock())
            log.warning("the system clock stepped back by more than %g s: sample times start anew", self.max_future)
        elif reason:
            self._monitor.add(HELD, (reason,))
        return ms, reason

    def _note_hold(self, held: str) -> None:
        if held and not self.held:
            log.warning("flushes are held: %s; check the system clock", held)
        elif self.held and not held:
            log.info("flushes go on: the clock is usable again")
        self.held = held

    def _begin(self, this: Flushed, heartbeat: float) -> list[_Walk]:
        """The walks of every view, begun at once: what is born from now on is part of none of them."""
        found = []
        for output in self.outputs:
            if isinstance(output.view, View):
                steps = self._store.walk(output.view, this.group, this.timestamp_ms, self._clock(), heartbeat)
                next(steps)
                found.append(_Walk(output, output.view, steps))
        return found

    async def _walk(self, walk: _Walk, this: Flushed, pace: bool) -> None:
        output, view, steps = walk
        name = output.protocol.value
        try:
            while True:
                begun = anyio.current_time()
                rendered = next(steps, _END)
                if isinstance(rendered, _End):
                    break
                self._monitor.add(PAGES, (name, "skipped" if rendered is None else "sent"))
                if rendered is None:
                    continue
                self._hand_over(output, rendered, this)
                # half the time to others: a large flush takes longer, nothing else waits for it
                await anyio.sleep(anyio.current_time() - begun if pace else 0)
        finally:
            steps.close()  # a cancelled walk lets the next one begin
        for said in view.described(this.group, self._clock()):
            self._hand_over(output, said, this)

    def _hand_over(self, output: Output, rendered: Rendered, this: Flushed) -> None:
        self._monitor.add(SAMPLES, (output.protocol.value,), rendered.samples)
        if rendered.markers:
            self._monitor.add(MARKERS, (), rendered.markers)
        if not (rendered.samples or rendered.metadata):
            return
        created = self._clock()
        blocks: dict[Encoding, Block] = {}
        for lane, encoding in output.lanes:
            block = blocks.get(encoding)
            if block is None:
                block = blocks[encoding] = _block(rendered, output.protocol, encoding, this, created)
            lane.offer(block)

    def _send_owed(self, output: Output, view: View, this: Flushed) -> None:
        """What the outbox owes to these lanes goes ahead of the flush: it says where series begin."""
        created, extras = self._clock(), dict[int, list[Extra]]()
        for lane, encoding in output.lanes:
            rows = self.outbox.owed(lane.name)
            if not rows:
                continue
            first = rows[0].number
            if first not in extras:
                extras[first] = [
                    extra._replace(rendered=replace(extra.rendered, payload=bytes(extra.rendered.payload)))
                    for extra in self._tables.extras(view, rows, this.timestamp_ms - 1)
                ]
            for rendered, newest, events in extras[first]:
                if rendered.samples:
                    self._monitor.add(SAMPLES, (output.protocol.value,), rendered.samples)
                    block = _block(rendered, output.protocol, encoding, this, created)
                    lane.offer(replace(block, timestamp_ms=newest, events=events))
            self.outbox.hand_over(lane.name, rows[-1].number, this.number)

    async def _snapshot(self, output: Output, snapshots: Snapshots, ms: int) -> None:
        steps = snapshots.take()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                bodies, samples = end.value
                break
            await checkpoint()
        self._monitor.add(SAMPLES, (output.protocol.value,), samples)
        for lane, _ in output.lanes:
            lane.offer(Snapshot(bodies, samples, ms, self._clock()))


def _block(rendered: Rendered, protocol: model.Protocol, encoding: Encoding, this: Flushed, created: float) -> Block:
    return Block(
        compress(rendered.payload, encoding),
        protocol,
        encoding,
        rendered.samples,
        this.timestamp_ms,
        created,
        this.number,
        group_code(this.group) if this.group else 0,
    )


class _Walk(NamedTuple):
    """A walk that has begun."""

    output: Output
    view: View
    steps: Generator[Rendered | None, None, None]


class _End:
    """The end of a walk, told apart from a skipped page."""


_END = _End()
