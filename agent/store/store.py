"""The store: every live series, its TTL, the limits, and the views that send it.

Synchronous, without locks and without a clock: the core calls it from one task at a time and passes the
time in. Work over many series is a generator, so that the caller can let others run between two steps;
the state is whole at every step.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from agent.model import Collected, Family, Priority, Protocol, Update
from agent.store.encode import LabelRules
from agent.store.evict import stalest
from agent.store.pages import Rendered, View
from agent.store.table import DEAD, Feed, Scope, Table, Ticks, same_shape

STEP = 2_000
"""Updates applied between two chances for others to run: 2,000 births take about 10 ms."""
EXPIRY_STEP = 20_000
KEEP_OUT = 100_000
"""Refused and evicted series remembered, so that they stay out for their TTL."""
KEEP_ENDINGS = 10_000
ROOM = 0.95
"""A full store is swept down to this share of its limits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The hard limits of a store. 0 series or bytes is not "unlimited": every store has both."""

    max_series: int = 1_000_000
    max_bytes: int = 512 << 20
    default_ttl_seconds: float = 300.0
    flush_interval_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class Ending:
    """When and why a series ended."""

    source: str
    at: float
    reason: str


class Store:
    """Tables of series by feed, and the views on them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.max_bytes = limits.max_bytes
        """The effective limit: lowered when the process' memory is over its own."""
        self.ticks = Ticks()
        self.feeds: dict[str, Feed] = {}
        self.tables: list[Table] = []
        self.views: list[View] = []
        self.series = [0] * len(Priority)
        """Live series by priority; a histogram row counts as the series it is sent as."""
        self.row_bytes = [0] * len(Priority)
        self.page_bytes = 0
        self.counts: Counter[tuple[str, ...]] = Counter()
        """("expired",), ("evicted", reason, priority), ("refused", reason), ("ended",), ("late",)."""
        self.endings: OrderedDict[tuple[Table, tuple[str, ...]], Ending] = OrderedDict()
        self._out: dict[tuple[Table, tuple[str, ...]], float] = {}
        self._scopes: list[Scope] = []
        self._siblings: dict[tuple[str, tuple[tuple[str, str], ...], frozenset[str]], list[Table]] = {}
        self._ends = 0
        self._ended: dict[str, deque[tuple[int, Table, int]]] = {}
        self._readers: list[int] = []
        self._strings: dict[str, str] = {}
        self._full_until = [-math.inf] * len(Priority)

    @property
    def total_series(self) -> int:
        """All live series."""
        return sum(self.series)

    @property
    def bytes(self) -> int:
        """Estimated bytes of rows and pages."""
        return sum(self.row_bytes) + self.page_bytes

    def add_feed(self, name: str, prefix: str = "", custom_labels: Sequence[tuple[str, str]] = (), max_series: int = 0) -> Feed:
        """A new source's share; replaces nothing: remove the old one of that name first."""
        feed = self.feeds[name] = Feed(name, prefix, custom_labels, max_series)
        return feed

    def remove_feed(self, feed: Feed) -> None:
        """End all its series; their markers go out with the next flush of their groups."""
        feed.removed = True
        for table in list(feed.tables.values()):
            for row in list(table.index.values()):
                self._end(table, row, "source removed", 0.0)
        if self.feeds.get(feed.name) is feed:
            del self.feeds[feed.name]
        for group in {table.group for table in feed.tables.values()}:
            self._reclaim(group)

    def add_view(self, protocol: Protocol, rules: LabelRules) -> View:
        """A new view of every series there is."""
        view = View(protocol, rules, self.ticks)
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
        complete = {name: self._scope(feed, name) for name in collected.complete}
        listed: dict[Table, set[int]] = {}
        updates = collected.updates
        for first in range(0, len(updates), STEP):
            if feed.removed:
                return
            self._apply_step(feed, collected.group, updates[first : first + STEP], now, interval, complete, listed)
            yield
        for name in collected.unchanged:
            scope = self._scope(feed, name)
            scope.confirmed, scope.interval, scope.prolonged_until = now, interval, 0.0
        for scope in complete.values():
            scope.interval, scope.prolonged_until, scope.lost_until = interval, 0.0, 0.0
            self._end_unlisted(scope, listed, now)

    def prolong(self, feed: Feed, until: float) -> None:
        """Its poller failed: nothing of the feed expires before `until`."""
        for scope in feed.scopes.values():
            scope.prolonged_until = max(scope.prolonged_until, until)

    def wants_listing(self, feed: Feed, scope_names: Sequence[str], now: float) -> bool:
        """Whether a series of these scopes that was refused or evicted may come back by now."""
        scopes = [feed.scopes[name] for name in scope_names if name in feed.scopes]
        return any(scope.lost_until and scope.lost_until <= now for scope in scopes)

    def _apply_step(
        self,
        feed: Feed,
        group: str,
        updates: Sequence[Update],
        now: float,
        interval: float,
        complete: dict[str, Scope],
        listed: dict[Table, set[int]],
    ) -> None:
        self.ticks.now += 1
        tick = self.ticks.now
        table: Table | None = None
        scope: Scope | None = None
        last_family = last_scope = None
        for update in updates:
            # the hot loop of an agent: unpacked once, attributes looked up only when the family changes
            family, labels, value, at, scope_name = update
            if family is not last_family:
                last_family = family
                table = feed.tables.get((family, group)) or self._open_table(feed, family, group)
                if table is not None:
                    index, ats, updated, values, scope_of = table.index, table.at, table.updated, table.values, table.scope
                    scalar = table.width == 1
            if table is None:
                self.counts["refused", "invalid"] += 1
                continue
            if scope is None or scope_name != last_scope:
                last_scope = scope_name
                scope = self._scope(feed, scope_name)
                scope.interval = interval
                number = scope.number
                completes = scope_name in complete
            try:
                row = index.get(labels)
                if row is None:
                    row = self._birth(table, update, scope, now, tick)
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
                scope_of[row] = number
                scope.rows.setdefault(table, array("I")).append(row)
            if completes:
                listed.setdefault(table, set()).add(row)

    def _end_unlisted(self, scope: Scope, listed: dict[Table, set[int]], now: float) -> None:
        for table, rows in list(scope.rows.items()):
            known = listed.get(table, set())
            live = array("I")
            for row in set(rows):
                if table.scope[row] != scope.number or table.changed[row] == DEAD:
                    continue
                if row in known:
                    live.append(row)
                else:
                    self._end(table, row, "no longer reported", now)
            if live:
                scope.rows[table] = live
            else:
                del scope.rows[table]

    # -- births and ends ---------------------------------------------------------------------------

    def _scope(self, feed: Feed, name: str) -> Scope:
        scope = feed.scopes.get(name)
        if scope is None:
            scope = feed.scopes[name] = Scope(feed, name, len(self._scopes))
            self._scopes.append(scope)
        return scope

    def _open_table(self, feed: Feed, family: Family, group: str) -> Table | None:
        try:
            table = Table(feed, family, group, self.limits.default_ttl_seconds)
        except ValueError:
            return None
        feed.tables[family, group] = table
        self.tables.append(table)
        self._siblings.setdefault((table.name, table.constants, frozenset(family.labels)), []).append(table)
        return table

    def _birth(self, table: Table, update: Update, scope: Scope, now: float, tick: int) -> int | None:
        if not same_shape(update, table.arity):
            raise ValueError("labels")
        labels = update.labels
        cells = table.cells(update.value)
        refusal = self._refusal(table, labels, now)
        if refusal:
            self.counts["refused", refusal] += 1
            if refusal in ("source_limit", "store_full"):
                self._keep_out(table, labels, scope, now)
            return None
        strings = self._strings
        if len(strings) > 20_000:
            strings.clear()
        labels = tuple([strings.setdefault(text, text) for text in labels])
        row = table.add(labels, cells, update.at, now, tick, scope.number)
        table.next_expiry = min(table.next_expiry, now)
        scope.rows.setdefault(table, array("I")).append(row)
        priority = table.family.priority
        self.series[priority] += table.width
        self.row_bytes[priority] += table.cost(labels)
        table.feed.series += table.width
        for view in self.views:
            self.page_bytes += view.born(table, row)
        return row

    def _refusal(self, table: Table, labels: tuple[str, ...], now: float) -> str:
        """Why a birth is refused, or ""; makes room in a full store where that is allowed."""
        if self._out and self._out.get((table, labels), 0.0) > now:
            return "kept_out"
        siblings = self._siblings[table.name, table.constants, frozenset(table.family.labels)]
        if len(siblings) > 1:
            pairs = dict(zip(table.family.labels, labels, strict=True))
            for other in siblings:
                if other is not table and tuple([pairs[name] for name in other.family.labels]) in other.index:
                    return "duplicate"
        feed, priority = table.feed, table.family.priority
        if feed.max_series and feed.series + table.width > feed.max_series:
            return "source_limit"
        if priority is not Priority.PINNED and self._full(table.width) and not self._make_room(table, now):
            return "store_full"
        return ""

    def _full(self, width: int) -> bool:
        return self.total_series + width > self.limits.max_series or self.bytes >= self.max_bytes

    def _make_room(self, table: Table, now: float) -> bool:
        priority = table.family.priority
        if now < self._full_until[priority]:
            return False
        self.page_bytes = sum(view.size for view in self.views)
        if not self._full(table.width):
            return True
        reason = "max_series" if self.total_series + table.width > self.limits.max_series else "max_bytes"
        idle = now - 2 * self.limits.flush_interval_seconds
        per_series = self.page_bytes / max(1, self.total_series)
        excess = max(self.total_series + table.width - ROOM * self.limits.max_series, 0.0)
        excess_bytes = self.bytes - ROOM * self.max_bytes
        for level in range(priority + 1):
            before = now + 1 if level < priority else idle
            tables = [t for t in self.tables if t.family.priority == level]
            wanted = int(max(excess, excess_bytes / 200)) + 1
            for victim, row in stalest(tables, self._scopes, wanted, before):
                if excess <= 0 and excess_bytes <= 0:
                    break
                excess -= victim.width
                excess_bytes -= victim.cost(victim.labels[row]) + per_series * victim.width
                self._evict(victim, row, reason, now)
        self.page_bytes -= int(per_series * max(0.0, (self.page_bytes / max(per_series, 1e-9)) - self.total_series))
        if self._full(table.width):
            self._full_until[priority] = now + self.limits.flush_interval_seconds
            return False
        return True

    def _evict(self, table: Table, row: int, reason: str, now: float) -> None:
        self.counts["evicted", reason, table.family.priority.name.lower()] += 1
        self._keep_out(table, table.labels[row], self._scopes[table.scope[row]], now)
        self._end(table, row, f"evicted: {reason}", now)

    def _keep_out(self, table: Table, labels: tuple[str, ...], scope: Scope, now: float) -> None:
        until = now + table.ttl
        if len(self._out) >= KEEP_OUT:
            self._out = {key: when for key, when in self._out.items() if when > now}
        if len(self._out) < KEEP_OUT:
            self._out[table, labels] = until
        scope.lost_until = until

    def _end(self, table: Table, row: int, reason: str, now: float) -> None:
        labels = table.labels[row]
        table.end(row)
        priority = table.family.priority
        self.series[priority] -= table.width
        self.row_bytes[priority] -= table.cost(labels)
        table.feed.series -= table.width
        self._ends += 1
        self._ended.setdefault(table.group, deque()).append((self._ends, table, row))
        self.endings[table, labels] = Ending(table.feed.name, now, reason)
        self.endings.move_to_end((table, labels))
        if len(self.endings) > KEEP_ENDINGS:
            self.endings.popitem(last=False)

    # -- time --------------------------------------------------------------------------------------

    def expiring(self, now: float) -> Iterator[None]:
        """End the series whose TTL has run out, in steps."""
        for table in list(self.tables):
            if table.next_expiry <= now:
                nearest = math.inf
                for first in range(0, len(table.labels), EXPIRY_STEP):
                    nearest = min(nearest, self._expire_step(table, first, now))
                    yield
                # looked at again no sooner than a twentieth of its TTL: that is how exact a TTL is
                table.next_expiry = max(nearest, now + table.ttl / 20)

    def _expire_step(self, table: Table, first: int, now: float) -> float:
        updated = table.updated[first : first + EXPIRY_STEP]
        nearest = min(updated) + table.ttl
        if nearest > now:
            return nearest
        nearest = math.inf
        for row in range(first, first + len(updated)):
            if table.changed[row] != DEAD:
                due = self.expiry(table, row)
                if due <= now:
                    self.counts["expired",] += 1
                    self._end(table, row, "expired", now)
                else:
                    nearest = min(nearest, due)
        return nearest

    def expiry(self, table: Table, row: int) -> float:
        """When a series ends if nothing more is heard of it."""
        scope = self._scopes[table.scope[row]]
        due = max(table.updated[row], scope.confirmed) + max(table.ttl, 2.5 * scope.interval)
        return max(due, scope.prolonged_until)

    # -- readers -----------------------------------------------------------------------------------

    def walk(
        self, view: View, group: str, timestamp_ms: int, now: float, heartbeat: float
    ) -> Generator[Rendered | None, None, None]:
        """Write a view's pages of one flush group, one a step; see `View.walk`."""
        yield from view.walk(group, timestamp_ms, now, self._ends, heartbeat)
        self.page_bytes = sum(view.size for view in self.views)
        self._reclaim(group)

    def begin_reading(self) -> int:
        """Keep every row where it is until `end_reading`; returns what to hand to that."""
        self._readers.append(self._ends)
        return self._ends

    def end_reading(self, token: int) -> None:
        """Let places of ended rows be used again."""
        self._readers.remove(token)
        for group in list(self._ended):
            self._reclaim(group)

    def _reclaim(self, group: str) -> None:
        """Free the places of rows that no page and no reader can still hold."""
        ended = self._ended.get(group)
        if not ended:
            return
        floor = min([self._ends, *self._readers, *(view.group(group).clean for view in self.views)])
        while ended and ended[0][0] <= floor:
            _, table, row = ended.popleft()
            table.free.append(row)
            table.labels[row] = ()
            if table.feed.removed and len(table.free) == len(table.labels):
                self._close_table(table)

    def _close_table(self, table: Table) -> None:
        self.tables.remove(table)
        key = (table.name, table.constants, frozenset(table.family.labels))
        self._siblings[key].remove(table)
        if not self._siblings[key]:
            del self._siblings[key]
        for view in self.views:
            view.forget(table)
        if table.group and not any(t.group == table.group for t in self.tables):
            self._ended.pop(table.group, None)
            for view in self.views:
                view.drop_group(table.group)
