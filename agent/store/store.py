"""The store: every live series, its TTL, the limits, and the views that send it.

Synchronous, without locks and without a clock: the core calls it from one task at a time and passes the
time in. Work over many series is a generator, so that the caller can let others run between two steps;
the state is whole at every step.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from agent.model import Collected, Family, Priority, Protocol, Update
from agent.store.encode import LabelRules, sample_names
from agent.store.ended import Ended
from agent.store.evict import KeptOut, stalest
from agent.store.pages import Place, Rendered, View
from agent.store.table import DEAD, Feed, Scope, Table, Ticks, same_shape

STEP = 2_000
"""Updates applied between two chances for others to run: 2,000 births take about 10 ms."""
EXPIRY_STEP = 20_000
ROOM = 0.95
"""A full store is swept down to this share of its limits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The hard limits of a store. 0 series or bytes is not "unlimited": every store has both."""

    max_series: int = 1_000_000
    max_bytes: int = 512 << 20
    default_ttl_seconds: float = 300.0
    flush_interval_seconds: float = 15.0


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
        """Bytes of all pages, the share of ended series taken off."""
        self.counts: Counter[tuple[str, ...]] = Counter()
        """("expired",), ("evicted", reason, priority), ("refused", reason), ("ended",), ("late",)."""
        self._ended = Ended(self.ticks)
        self.endings = self._ended.endings
        self.kept_out = KeptOut()
        self._scopes: list[Scope] = []
        self._free_scopes: list[int] = []
        self._siblings: dict[tuple[str, tuple[tuple[str, str], ...], frozenset[str]], list[Table]] = {}
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
        for table in [table for table in feed.tables.values() if table.unused]:
            self._close_table(table)
        self._free_scopes += [scope.number for scope in feed.scopes.values() if not scope.held]

    def add_view(self, protocol: Protocol, rules: LabelRules) -> View:
        """A new view of every series there is, in one step: 3-6 us a series; only configuration changes do this."""
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
        if feed.removed:
            return
        complete = {name: self._scope(feed, name) for name in collected.complete}
        for scope in complete.values():
            scope.held += 1
            scope.lost_until = 0.0  # what this listing loses is noted anew
        listed: dict[Table, set[int]] = {}
        updates = collected.updates
        try:
            for first in range(0, len(updates), STEP):
                if feed.removed:
                    return
                self._apply_step(feed, collected.group, updates[first : first + STEP], now, interval, complete, listed)
                yield
            if feed.removed:
                return
            for name in collected.unchanged:
                scope = self._scope(feed, name)
                scope.confirmed, scope.interval, scope.prolonged_until = now, interval, 0.0
            for scope in complete.values():
                scope.interval, scope.prolonged_until = interval, 0.0
                self._end_unlisted(scope, listed, now)
        finally:
            for scope in complete.values():
                scope.held -= 1
                if feed.removed and not scope.held:
                    self._free_scopes.append(scope.number)

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
                self._scopes[scope_of[row]].live -= 1
                scope_of[row] = number
                scope.take(table, row)
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
            number = self._free_scopes.pop() if self._free_scopes else len(self._scopes)
            scope = feed.scopes[name] = Scope(feed, name, number)
            self._scopes[number : number + 1] = [scope]
        return scope

    def _drop_scopes(self) -> None:
        """Forget scopes without a series that no collect is under way for."""
        for feed in self.feeds.values():
            for scope in [s for s in feed.scopes.values() if not (s.live or s.held or s.lost_until)]:
                del feed.scopes[scope.name]
                self._free_scopes.append(scope.number)

    def _open_table(self, feed: Feed, family: Family, group: str) -> Table | None:
        try:
            table = Table(feed, family, group, self.limits.default_ttl_seconds)
        except ValueError:
            return None
        feed.tables[family, group] = table
        self.tables.append(table)
        self._siblings.setdefault(table.key, []).append(table)
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
                self.kept_out.add(table, labels, scope, now)
            elif refusal == "kept_out":
                scope.lose(self.kept_out.until(table, labels))
            return None
        strings = self._strings
        if len(strings) > 20_000:
            strings.clear()
        labels = tuple([strings.setdefault(text, text) for text in labels])
        row = table.add(labels, cells, update.at, now, tick, scope.number)
        table.next_expiry = min(table.next_expiry, now)
        table.empty_since = None
        scope.take(table, row)
        priority = table.family.priority
        self.series[priority] += table.width
        self.row_bytes[priority] += table.cost(labels)
        table.feed.series += table.width
        for view in self.views:
            self.page_bytes += view.born(table, row)
        return row

    def _refusal(self, table: Table, labels: tuple[str, ...], now: float) -> str:
        """Why a birth is refused, or ""; makes room in a full store where that is allowed."""
        if self.kept_out.until(table, labels) > now:
            return "kept_out"
        if len(self._siblings[table.key]) > 1 and any(True for _ in self._elsewhere(table, labels)):
            return "duplicate"
        feed, priority = table.feed, table.family.priority
        if feed.max_series and feed.series + table.width > feed.max_series:
            return "source_limit"
        if priority is not Priority.PINNED and self._full(table.width) and not self._make_room(table, now):
            return "store_full"
        return ""

    def _elsewhere(self, table: Table, labels: tuple[str, ...]) -> Iterator[Place]:
        """Live rows of these labels in other tables of the same name."""
        siblings = self._siblings.get(table.key, ())
        if len(siblings) > 1:
            pairs = dict(zip(table.family.labels, labels, strict=True))
            for other in siblings:
                row = other.index.get(tuple([pairs[name] for name in other.family.labels]))
                if row is not None and other is not table:
                    yield other, row

    def _heirs(self, table: Table, labels: tuple[str, ...]) -> tuple[Sequence[Place], Sequence[int]]:
        """See `pages.Heirs`."""
        row = table.index.get(labels)
        if row is not None:
            return [(table, row)], ()
        places = list(self._elsewhere(table, labels))
        if not places:
            return (), range(table.width)
        alive = {sample for other, _ in places for sample in sample_names(other)}
        return places, [number for number, sample in enumerate(sample_names(table)) if sample not in alive]

    def _full(self, width: int) -> bool:
        return self.total_series + width > self.limits.max_series or self.bytes >= self.max_bytes

    def _make_room(self, table: Table, now: float) -> bool:
        """Sweep a full store for a birth into `table`; whether there is room now."""
        priority, width = table.family.priority, table.width
        if now < self._full_until[priority]:
            return False
        reason = "max_series" if self.total_series + width > self.limits.max_series else "max_bytes"
        idle = now - 2 * self.limits.flush_interval_seconds
        for level in range(priority + 1):
            tables = [t for t in self.tables if t.family.priority == level and t.index]
            before = math.inf if level < priority else idle
            while excess := self._excess(width):
                victims = stalest(tables, self._scopes, excess, before)
                for victim, row in victims:
                    if self._excess(width):
                        self._evict(victim, row, reason, now)
                if not victims:
                    break
        if self._full(width):
            self._full_until[priority] = now + self.limits.flush_interval_seconds
            return False
        return True

    def _excess(self, width: int) -> int:
        """About how many series have to leave before the store is swept, `width` new ones counted in."""
        total, used = self.total_series, self.bytes
        series = total + width - ROOM * self.limits.max_series
        share = (used - ROOM * self.max_bytes) / used * total if used else 0.0
        return math.ceil(max(series, share, 0.0))

    def _evict(self, table: Table, row: int, reason: str, now: float) -> None:
        self.counts["evicted", reason, table.family.priority.name.lower()] += 1
        self.kept_out.add(table, table.labels[row], self._scopes[table.scope[row]], now)
        self._end(table, row, f"evicted: {reason}", now)

    def _end(self, table: Table, row: int, reason: str, now: float) -> None:
        width, priority = table.width, table.family.priority
        self.page_bytes -= self.page_bytes * width // self.total_series
        self._ended.add(table, row, reason, now)
        self._scopes[table.scope[row]].live -= 1
        self.series[priority] -= width
        self.row_bytes[priority] -= table.cost(table.labels[row])
        table.feed.series -= width
        table.end(row)

    # -- time --------------------------------------------------------------------------------------

    def expiring(self, now: float) -> Iterator[None]:
        """End the series whose TTL has run out, in steps; let go of tables and scopes that nothing uses."""
        for table in list(self.tables):
            if table.next_expiry <= now:
                nearest = math.inf
                for first in range(0, len(table.labels), EXPIRY_STEP):
                    nearest = min(nearest, self._expire_step(table, first, now))
                    yield
                # looked at again no sooner than a twentieth of its TTL: that is how exact a TTL is
                table.next_expiry = max(nearest, now + table.ttl / 20)
        for group in self._ended.groups:
            self._reclaim(group)
        for table in [table for table in self.tables if not table.index]:
            if table.empty_since is None:
                table.empty_since = now
            elif table.unused and now - table.empty_since > table.ttl:
                self._close_table(table)
        self._drop_scopes()

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
        yield from view.walk(group, timestamp_ms, now, heartbeat, self._heirs)
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
        self.tables.remove(table)
        table.feed.tables.pop((table.family, table.group), None)
        self._siblings[table.key].remove(table)
        if not self._siblings[table.key]:
            del self._siblings[table.key]
        for scope in table.feed.scopes.values():
            scope.rows.pop(table, None)
        self.kept_out.forget(table)
        for view in self.views:
            view.forget(table)
        if table.group and not any(t.group == table.group for t in self.tables):
            for view in self.views:
                view.drop_group(table.group)
