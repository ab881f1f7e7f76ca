"""Who leaves a full store first, and who has to stay out of it for a while."""

from __future__ import annotations

import heapq
import math
from collections.abc import ItemsView, Iterator, Sequence

from agent.store.table import DEAD, Scope, Table

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
        """Keep it out for its TTL, and note in its scope when to ask for it again."""
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
