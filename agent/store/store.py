"""The store: every live series, its TTL, the limits, and the views that send it.

Synchronous, without locks and without a clock: the core calls it from one task at a time and passes the
time in. Work over many series is a generator, so that the caller can let others run between two steps;
the state is whole at every step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import is_

from agent.model import Collected, Priority, Protocol, Update
from agent.store import expire
from agent.store.caps import CAPPED, SOURCE_LIMIT
from agent.store.catalog import Catalog
from agent.store.encode import LabelRules
from agent.store.ended import Ended
from agent.store.evict import KeptOut, Room
from agent.store.pages import Rendered, View
from agent.store.table import LEDGER, Feed, Scope, Table, Ticks, same_shape

STEP = 2_000
"""Updates applied between two chances for others to run: 2,000 births take about 10 ms."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The hard limits of a store. 0 series or bytes is not "unlimited": every store has both."""

    max_series: int = 1_000_000
    max_bytes: int = 512 << 20
    default_ttl_seconds: float = 300.0
    flush_interval_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one collect brought, while it is applied."""

    feed: Feed
    group: str
    now: float
    interval: float
    complete: dict[str, Scope]
    listed: dict[Table, set[int]]
    waiting: list[Update] | None
    """What a cap keeps out until what is no longer listed has made room; None = nothing will."""


class Store:
    """Tables of series by feed, and the views on them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.max_bytes = limits.max_bytes
        """The effective limit: lowered when the process' memory is over its own."""
        self.ticks = Ticks()
        self.feeds: dict[str, Feed] = {}
        self.views: list[View] = []
        self.series = [0] * len(Priority)
        """Live series by priority; a histogram row counts as the series it is sent as."""
        self.row_bytes = [0] * len(Priority)
        self.page_bytes = 0
        """Bytes of all pages, the share of ended series taken off."""
        self.counts: Counter[tuple[str, ...]] = Counter()
        """("expired",), ("evicted", reason, priority), ("refused", reason), ("ended",), ("late",)."""
        self._ended = Ended(self.ticks)
        self.endings = self._ended.endings
        self.kept_out = KeptOut()
        self._catalog = Catalog()
        self.tables = self._catalog.tables
        self.scopes = self._catalog.scopes
        self.elsewhere = self._catalog.elsewhere
        self._strings: dict[str, str] = {}
        self._room = Room()

    @property
    def total_series(self) -> int:
        """All live series."""
        return sum(self.series)

    @property
    def bytes(self) -> int:
        """Estimated bytes of rows and pages."""
        return sum(self.row_bytes) + self.page_bytes

    def add_feed(self, name: str, prefix: str = "", custom_labels: Sequence[tuple[str, str]] = (), **limits: int) -> Feed:
        """A new source's share, with the limits of a `Feed`; replaces nothing: remove the old one of that name first."""
        feed = self.feeds[name] = Feed(name, prefix, custom_labels, **limits)
        return feed

    def remove_feed(self, feed: Feed) -> None:
        """End all its series; their markers go out with the next flush of their groups."""
        feed.removed = True
        for table in list(feed.tables.values()):
            for row in list(table.index.values()):
                self.end(table, row, "source removed", 0.0)
        if self.feeds.get(feed.name) is feed:
            del self.feeds[feed.name]
        for group in {table.group for table in feed.tables.values()}:
            self._reclaim(group)
        for table in [table for table in feed.tables.values() if table.unused]:
            self._close_table(table)
        for scope in [scope for scope in feed.scopes.values() if not scope.held]:
            self._catalog.free_scope(scope)

    def add_view(self, protocol: Protocol, rules: LabelRules, *, native_histograms: bool = False) -> View:
        """A new view of every series there is, in one step: 3-6 us a series; only configuration changes do this."""
        view = View(protocol, rules, self.ticks, native_histograms)
        for table in self.tables:
            for row in table.index.values():
                self.page_bytes += view.born(table, row)
        self.views.append(view)
        return view

    def remove_view(self, view: View) -> None:
        """Drop a view and its pages."""
        self.views.remove(view)
        self.page_bytes = sum(view.size for view in self.views)

    # -- updates ---------------------------------------------------------------------------------

    def apply(self, feed: Feed, collected: Collected, now: float, interval: float = 0.0) -> None:
        """`applying`, all at once."""
        for _ in self.applying(feed, collected, now, interval):
            pass

    def applying(self, feed: Feed, collected: Collected, now: float, interval: float = 0.0) -> Iterator[None]:
        """Take over what was collected, in steps. `interval`: seconds until the poller's next collect."""
        if feed.removed:
            return
        feed.learn(collected, now, self.ticks)
        complete = {name: self._catalog.scope(feed, name) for name in collected.complete}
        for scope in complete.values():
            scope.held += 1
            scope.lost_until = 0.0  # what this listing loses is noted anew
        batch = _Batch(feed, collected.group, now, interval, complete, {}, [] if complete else None)
        try:
            yield from self._stepping(batch, collected.updates)
            if feed.removed:
                return
            for name in collected.unchanged:
                scope = self._catalog.scope(feed, name)
                scope.confirmed, scope.interval, scope.prolonged_until = now, interval, 0.0
            for scope in complete.values():
                scope.interval, scope.prolonged_until = interval, 0.0
                expire.unlisted(self, scope, batch.listed, now)
            if batch.waiting:
                yield from self._stepping(replace(batch, waiting=None), batch.waiting)
            if any(view.protocol is Protocol.REMOTE_WRITE_2 for view in self.views):
                feed.exemplify(collected, self.ticks)
        finally:
            for scope in complete.values():
                scope.held -= 1
                if feed.removed and not scope.held:
                    self._catalog.free_scope(scope)

    def prolong(self, feed: Feed, scope_names: Iterable[str], until: float) -> None:
        """Their poller failed: nothing of these scopes expires before `until`."""
        for scope in [feed.scopes[name] for name in scope_names if name in feed.scopes]:
            scope.prolonged_until = max(scope.prolonged_until, until)

    def wants_listing(self, feed: Feed, scope_names: Iterable[str], now: float) -> bool:
        """Whether a series of these scopes that was refused or evicted may come back by now."""
        scopes = [feed.scopes[name] for name in scope_names if name in feed.scopes]
        return any(scope.lost_until and scope.lost_until <= now for scope in scopes)

    def _stepping(self, batch: _Batch, updates: Sequence[Update]) -> Iterator[None]:
        for first in range(0, len(updates), STEP):
            if batch.feed.removed:
                return
            self._apply_step(batch, updates[first : first + STEP])
            yield

    def _apply_step(self, batch: _Batch, updates: Sequence[Update]) -> None:
        feed, group, now = batch.feed, batch.group, batch.now
        tick = self.ticks.now = self.ticks.now + 1
        table: Table | None
        last_family = last_scope = None
        for update in updates:
            # the hot loop of an agent: unpacked once, attributes looked up only when the family changes
            family, labels, value, at, scope_name = update
            if family is not last_family:
                last_family = family
                table = feed.tables.get((family, group)) or self._catalog.open_table(
                    feed, family, group, self.limits.default_ttl_seconds
                )
                if table is not None:
                    index, ats, updated, values, scope_of = table.index, table.at, table.updated, table.values, table.scope
                    scalar = table.width == 1
            if table is None:
                self.counts["refused", "invalid"] += 1
                continue
            if scope_name != last_scope:
                last_scope = scope_name
                scope = self._catalog.scope(feed, scope_name)
                scope.interval = batch.interval
                number = scope.number
                completes = scope_name in batch.complete
            try:
                row = index.get(labels)
                if row is None:
                    row = self._birth(batch, table, update, scope, tick)
                    if row is None:
                        continue
                elif at >= ats[row]:
                    if not scalar:
                        table.write(row, value, tick)
                    elif values[row] != value:
                        values[row] = value if value == value else math.nan  # type: ignore[assignment]  # a sequence raises
                        table.changed[row] = tick
                    ats[row] = at
                    updated[row] = now
                else:
                    self.counts["late",] += 1
            except (TypeError, ValueError, OverflowError):
                self.counts["refused", "invalid"] += 1
                continue
            if scope_of[row] != number:
                self.scopes[scope_of[row]].live -= 1
                scope_of[row] = number
                scope.take(table, row)
            if completes:
                batch.listed.setdefault(table, set()).add(row)

    # -- births and ends ---------------------------------------------------------------------------

    def _birth(self, batch: _Batch, table: Table, update: Update, scope: Scope, tick: int) -> int | None:
        if not same_shape(update, table.arity):
            raise ValueError("labels")
        labels, now = update.labels, batch.now
        cells = table.cells(update.value)
        refusal = self._refusal(table, labels, now, is_ledger=scope.name == LEDGER)
        if refusal:
            if refusal in CAPPED and batch.waiting is not None:
                batch.waiting.append(update)
                return None
            self.counts["refused", refusal] += 1
            if refusal in CAPPED:
                table.feed.caps.say(refusal, table.family, labels, now)
            if refusal in CAPPED or refusal == "store_full":
                self.kept_out.add(table, labels, scope, now)
            elif refusal == "kept_out":
                scope.lose(self.kept_out.until(table, labels))
            elif refusal == "duplicate":
                scope.lose(now + table.ttl)  # the other may have ended by then
            return None
        strings = self._strings
        if len(strings) > 20_000:
            strings.clear()
        shared = [strings.setdefault(text, text) for text in labels]
        if not all(map(is_, shared, labels)):
            labels = tuple(shared)  # a tuple of shared strings is kept as it came: its source may hold it as well
        row = table.add(labels, cells, update.at, now, tick, scope.number)
        table.next_expiry = min(table.next_expiry, now)
        table.empty_since = None
        scope.take(table, row)
        priority = table.family.priority
        self.series[priority] += table.width
        self.row_bytes[priority] += table.cost(labels)
        table.feed.caps.take(table.family, labels, table.width)
        for view in self.views:
            self.page_bytes += view.born(table, row)
        return row

    def _refusal(self, table: Table, labels: tuple[str, ...], now: float, *, is_ledger: bool) -> str:
        """Why a birth is refused, or ""; makes room in a full store where that is allowed."""
        if self.kept_out.until(table, labels) > now:
            return "kept_out"
        if next(self._catalog.elsewhere(table, labels), None) is not None:
            return "duplicate"
        caps, priority = table.feed.caps, table.family.priority
        if not is_ledger and (excess := caps.excess(table.family, labels, table.width)):
            return excess
        if is_ledger and caps.max_series and caps.series + table.width > caps.max_series:
            return SOURCE_LIMIT  # what is its own was folded where it had to be, when it was counted
        if priority is not Priority.PINNED and self.is_full(table.width) and not self._room.make(self, table, now):
            return "store_full"
        return ""

    def is_full(self, width: int) -> bool:
        """Whether `width` more series are over a limit."""
        return self.total_series + width > self.limits.max_series or self.bytes >= self.max_bytes

    def end(self, table: Table, row: int, reason: str, now: float) -> None:
        """A series is over, whyever; the next flush of its group sends its marker."""
        width, priority = table.width, table.family.priority
        self.page_bytes -= self.page_bytes * width // self.total_series
        self._ended.add(table, row, reason, now)
        self.scopes[table.scope[row]].live -= 1
        self.series[priority] -= width
        self.row_bytes[priority] -= table.cost(table.labels[row])
        table.feed.caps.take(table.family, table.labels[row], -width)
        table.end(row)

    # -- time --------------------------------------------------------------------------------------

    def expiring(self, now: float) -> Iterator[None]:
        """End the series whose TTL has run out, in steps; let go of tables and scopes that nothing uses."""
        yield from expire.expiring(self, now)
        for group in self._ended.groups:
            self._reclaim(group)
        for table in [table for table in self.tables if not table.index]:
            if table.empty_since is None:
                table.empty_since = now
            elif table.unused and now - table.empty_since > table.ttl:
                self._close_table(table)
        self._catalog.drop_scopes(list(self.feeds.values()))

    def expiry(self, table: Table, row: int) -> float:
        """When a series ends if nothing more is heard of it."""
        return expire.due(self, table, row)

    # -- readers -----------------------------------------------------------------------------------

    def walk(
        self, view: View, group: str, timestamp_ms: int, now: float, heartbeat: float
    ) -> Generator[Rendered | None, None, None]:
        """Write a view's pages of one flush group, one a step; see `View.walk`."""
        yield from view.walk(group, timestamp_ms, now, heartbeat, self._catalog.heirs)
        self.page_bytes = sum(view.size for view in self.views)
        self._reclaim(group)

    def begin_reading(self) -> int:
        """Keep every row where it is until `end_reading`; returns what to hand to that."""
        return self._ended.begin_reading()

    def end_reading(self, token: int) -> None:
        """Let places of ended rows be used again."""
        self._ended.end_reading(token)
        for group in self._ended.groups:
            self._reclaim(group)

    def _reclaim(self, group: str) -> None:
        """Free the places of rows that no page and no reader can still hold."""
        for table in self._ended.freed(group, self.views):
            if table.feed.removed and table.unused:
                self._close_table(table)

    def _close_table(self, table: Table) -> None:
        self.kept_out.forget(table)
        self._catalog.close_table(table, self.views)
