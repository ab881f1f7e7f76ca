"""A full store: who leaves, who is refused, who stays out."""

from __future__ import annotations

from agent.model import Collected, Family, Kind, Priority, Update
from agent.store.store import Limits, Store
from agent.store.table import Feed
from tests.store_world import World


def family(name: str, priority: Priority) -> Family:
    return Family(name, Kind.GAUGE, "", labels=("n",), priority=priority)


LOW, NORMAL, HIGH, PINNED = (family(priority.name.lower(), priority) for priority in Priority)


def fill(store: Store, feed: Feed, family: Family, count: int, now: float, first: int = 0) -> None:
    store.apply(feed, Collected([Update(family, (str(first + n),), 1.0, now) for n in range(count)]), now)


def live(store: Store) -> dict[str, int]:
    return {table.name: len(table.index) for table in store.tables if table.index}


def test_lower_priorities_leave_a_full_store_first_down_to_95_percent() -> None:
    store = Store(Limits(max_series=100))
    feed = store.add_feed("f")
    fill(store, feed, LOW, 50, 0.0)
    fill(store, feed, NORMAL, 50, 0.0)

    fill(store, feed, HIGH, 1, 1.0)

    assert live(store) == {"low": 44, "normal": 50, "high": 1}
    assert store.counts["evicted", "max_series", "low"] == 6


def test_the_longest_silent_leaves_first() -> None:
    store = Store(Limits(max_series=10))
    feed = store.add_feed("f")
    fill(store, feed, LOW, 5, 0.0)
    fill(store, feed, LOW, 5, 10.0, first=5)
    fill(store, feed, LOW, 1, 20.0)

    fill(store, feed, NORMAL, 1, 21.0)

    (table,) = [table for table in store.tables if table.name == "low"]
    assert ("1",) not in table.index
    assert ("0",) in table.index
    assert ("9",) in table.index


def test_equal_priority_leaves_only_when_silent_for_two_flush_intervals() -> None:
    store = Store(Limits(max_series=10, flush_interval_seconds=15))
    feed = store.add_feed("f")
    fill(store, feed, NORMAL, 10, 0.0)

    fill(store, feed, NORMAL, 1, 29.0, first=10)
    assert store.counts["refused", "store_full"] == 1
    fill(store, feed, NORMAL, 1, 60.0, first=11)

    assert store.counts["evicted", "max_series", "normal"] >= 1
    assert live(store)["normal"] <= 10


def test_a_higher_priority_never_leaves_for_a_lower() -> None:
    store = Store(Limits(max_series=10))
    feed = store.add_feed("f")
    fill(store, feed, HIGH, 10, 0.0)

    fill(store, feed, LOW, 1, 1000.0)

    assert live(store) == {"high": 10}


def test_pinned_series_are_admitted_over_the_limit_and_never_leave() -> None:
    store = Store(Limits(max_series=10))
    feed = store.add_feed("f")
    fill(store, feed, PINNED, 12, 0.0)
    fill(store, feed, HIGH, 1, 1000.0)

    assert live(store) == {"pinned": 12}


def test_an_evicted_series_stays_out_for_its_ttl_and_is_then_asked_for() -> None:
    store = Store(Limits(max_series=10, default_ttl_seconds=300))
    feed = store.add_feed("f")
    fill(store, feed, LOW, 10, 0.0)
    fill(store, feed, NORMAL, 1, 1.0)
    gone = 10 - live(store)["low"]

    fill(store, feed, LOW, 10, 2.0)
    assert live(store)["low"] == 10 - gone
    assert not store.wants_listing(feed, [""], 200.0)
    assert store.wants_listing(feed, [""], 302.0)


def test_an_evicted_series_ends_with_a_marker() -> None:
    world = World(Limits(max_series=2))
    world.store.apply(world.feed, Collected([Update(LOW, ("a",), 1.0, 0.0), Update(LOW, ("b",), 1.0, 0.0)]), 0.0)
    world.walk()
    fill(world.store, world.feed, HIGH, 1, 1.0)

    values = {dict(labels)["n"]: value for request in world.walk() for labels, value in request.items()}

    assert values == {"0": 1.0, "a": None, "b": None}


def test_max_bytes_evicts_too() -> None:
    store = Store(Limits(max_series=10_000, max_bytes=200_000))
    feed = store.add_feed("f")
    fill(store, feed, LOW, 2000, 0.0)
    fill(store, feed, HIGH, 50, 1.0)

    assert store.bytes <= 200_000
    assert live(store)["high"] == 50
    assert store.counts["refused", "store_full"] > 0
    assert store.counts["evicted", "max_bytes", "low"] > 0


def test_a_source_over_its_own_limit_is_refused_births() -> None:
    store = Store(Limits())
    feed = store.add_feed("f", max_series=3)
    fill(store, feed, NORMAL, 5, 0.0)

    assert live(store) == {"normal": 3}
    assert store.counts["refused", "source_limit"] == 2
