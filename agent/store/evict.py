"""Who leaves a full store first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from agent.store.table import DEAD, Scope, Table


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
