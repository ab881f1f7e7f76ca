"""The end of series that nothing is heard of any more."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agent.store.table import DEAD, Scope, Table

if TYPE_CHECKING:
    from agent.store.store import Store

STEP = 20_000
"""Rows looked at between two chances for others to run."""


def expiring(store: Store, now: float) -> Iterator[None]:
    """End every series that is due, in steps."""
    for table in list(store.tables):
        if table.next_expiry <= now:
            nearest = math.inf
            for first in range(0, len(table.labels), STEP):
                nearest = min(nearest, _step(store, table, first, now))
                yield
            # looked at again no sooner than a twentieth of its TTL: that is how exact a TTL is
            table.next_expiry = max(nearest, now + table.ttl / 20)


def due(store: Store, table: Table, row: int) -> float:
    """When a series ends if nothing more is heard of it."""
    scope = store.scopes[table.scope[row]]
    silent = max(table.updated[row], scope.confirmed) + max(table.ttl, 2.5 * scope.interval)
    return max(silent, scope.prolonged_until)


def unlisted(store: Store, scope: Scope, listed: Mapping[Table, set[int]], now: float) -> None:
    """End what a scope had and did not list."""
    for table, rows in list(scope.rows.items()):
        known = listed.get(table, set())
        live = array("I")
        for row in set(rows):
            if table.scope[row] != scope.number or table.changed[row] == DEAD:
                continue
            if row in known:
                live.append(row)
            else:
                store.counts["ended",] += 1
                store.end(table, row, "no longer reported", now)
        if live:
            scope.rows[table] = live
        else:
            del scope.rows[table]


def _step(store: Store, table: Table, first: int, now: float) -> float:
    """Look at some rows; when the next of them is due."""
    updated = table.updated[first : first + STEP]
    nearest = min(updated) + table.ttl
    if nearest > now:
        return nearest
    nearest = math.inf
    for row in range(first, first + len(updated)):
        if table.changed[row] != DEAD:
            when = due(store, table, row)
            if when <= now:
                store.counts["expired",] += 1
                store.end(table, row, "expired", now)
            else:
                nearest = min(nearest, when)
    return nearest
