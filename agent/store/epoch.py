"""A store whose clock was set back: nothing in it may wait for a time that comes again."""

from __future__ import annotations

from array import array

from agent.store.evict import KeptOut
from agent.store.store import Store


def rewind(store: Store, now: float) -> None:
    """Bring every time later than `now` (seconds since the epoch) back to it, in one step.

    Else updates would count as older than what is there, and silent series would not expire, until the
    clock has caught up with where it was.
    """
    for table in store.tables:
        table.at = array("d", [min(at, now) for at in table.at])
        table.updated = array("d", [at if at == float("inf") else min(at, now) for at in table.updated])
        table.next_expiry = min(table.next_expiry, now)
        if table.empty_since is not None:
            table.empty_since = min(table.empty_since, now)
    store.ticks.now += 1
    for feed in store.feeds.values():
        feed.unstart(int(now * 1000), store.ticks.now)
        for scope in feed.scopes.values():
            scope.confirmed = min(scope.confirmed, now)
            scope.prolonged_until = 0.0
            scope.lost_until = min(scope.lost_until, now)
    store.kept_out = KeptOut()
