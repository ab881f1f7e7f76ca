"""Who leaves a full store first, and who has to stay out of it for a while."""

from __future__ import annotations

import heapq
import math
from collections.abc import ItemsView, Iterator, Sequence
from typing import TYPE_CHECKING

from agent.model import Priority
from agent.store.table import DEAD, LEDGER, Scope, Table

if TYPE_CHECKING:
    from agent.store.store import Store

ROOM = 0.95
"""A full store is swept down to this share of its limits."""

KEEP_OUT = 100_000
"""Refused and evicted series remembered, so that they stay out for their TTL."""
SWEEP_SECONDS = 15.0
"""A full memory of them is looked through for what has run out no more often than this."""


def stalest(tables: Sequence[Table], scopes: Sequence[Scope], count: int, before: float) -> list[tuple[Table, int]]:
    """At most `count` live rows last updated before `before`, the longest silent first."""

    def candidates() -> Iterator[tuple[float, int, int]]:
        for number, table in enumerate(tables):
            updated, scope_of = table.updated, table.scope
            for row, changed in enumerate(table.changed):
                if changed != DEAD:
                    last = max(updated[row], scopes[scope_of[row]].confirmed)
                    if last < before:
                        yield last, number, row

    return [(tables[number], row) for _, number, row in heapq.nsmallest(count, candidates())]


class KeptOut:
    """Series that were refused or evicted, until when; bounded, the newest are forgotten first."""

    def __init__(self) -> None:
        self._until: dict[tuple[Table, tuple[str, ...]], float] = {}
        self._sweep_at = -math.inf

    def __len__(self) -> int:
        return len(self._until)

    def items(self) -> ItemsView[tuple[Table, tuple[str, ...]], float]:
        """(table, label values) -> until when."""
        return self._until.items()

    def until(self, table: Table, labels: tuple[str, ...]) -> float:
        """When it may come back; 0 for a series that may at once."""
        return self._until.get((table, labels), 0.0) if self._until else 0.0

    def add(self, table: Table, labels: tuple[str, ...], scope: Scope, now: float) -> None:
        """Keep it out for its TTL, and note in its scope when to ask for it again; but for what the ledger feeds."""
        if scope.name == LEDGER:
            return
        until = now + table.ttl
        if len(self._until) >= KEEP_OUT and now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self._until = {key: when for key, when in self._until.items() if when > now}
        if len(self._until) < KEEP_OUT:
            self._until[table, labels] = until
        scope.lose(until)

    def forget(self, table: Table) -> None:
        """Drop a table that is gone."""
        self._until = {key: when for key, when in self._until.items() if key[0] is not table}


class Room:
    """Makes room in a full store; remembers for a flush interval that there was none to make."""

    def __init__(self) -> None:
        self._full_until = [-math.inf] * len(Priority)

    def make(self, store: Store, table: Table, now: float) -> bool:
        """Sweep a full store for a birth into `table`; whether there is room now."""
        priority, width = table.family.priority, table.width
        if now < self._full_until[priority]:
            return False
        reason = "max_series" if store.total_series + width > store.limits.max_series else "max_bytes"
        idle = now - 2 * store.limits.flush_interval_seconds
        for level in range(priority + 1):
            tables = [t for t in store.tables if t.family.priority == level and t.index]
            before = math.inf if level < priority else idle
            while excess := _excess(store, width):
                victims = stalest(tables, store.scopes, excess, before)
                for victim, row in victims:
                    if _excess(store, width):
                        _evict(store, victim, row, reason, now)
                if not victims:
                    break
        if store.is_full(width):
            self._full_until[priority] = now + store.limits.flush_interval_seconds
            return False
        return True


def _excess(store: Store, width: int) -> int:
    """About how many series have to leave before the store is swept, `width` new ones counted in."""
    total, used = store.total_series, store.bytes
    series = total + width - ROOM * store.limits.max_series
    share = (used - ROOM * store.max_bytes) / used * total if used else 0.0
    return math.ceil(max(series, share, 0.0))


def _evict(store: Store, table: Table, row: int, reason: str, now: float) -> None:
    store.counts["evicted", reason, table.family.priority.name.lower()] += 1
    store.kept_out.add(table, table.labels[row], store.scopes[table.scope[row]], now)
    store.end(table, row, f"evicted: {reason}", now)
