"""The store's rules, one claim a test: families, TTL, scopes, staleness."""

from __future__ import annotations

import math
import struct

import pytest

from agent.model import STALE_NAN_BITS, Collected, Family, Kind, Update
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from agent.wire import remote_write_pb2
from tests.store_world import MS, TEMP, TIMES, World


def test_a_page_is_the_message_the_generated_classes_build() -> None:
    world = World(rules=LabelRules({"job": "cipush"}))
    world.put("kitchen", value=-0.0)
    world.ms += 1000
    (page,) = world.pages(0.0, 0.0)

    message = remote_write_pb2.WriteRequest()
    series = message.timeseries.add()
    for name, value in (("__name__", "room_celsius"), ("job", "cipush"), ("room", "kitchen")):
        series.labels.add(name=name, value=value)
    series.samples.add(value=-0.0, timestamp=world.ms)
    assert bytes(page.payload) == message.SerializeToString()


def test_a_histogram_row_is_sent_as_its_buckets_sum_and_count() -> None:
    world = World()
    world.store.apply(world.feed, Collected([Update(TIMES, ("lint",), (1, 2, 4, 20.5), 0.0)]), 0.0)

    (request,) = world.walk()

    assert [(dict(k)["__name__"][12:], dict(k).get("le"), v) for k, v in request.items()] == [
        ("bucket", "1", 1), ("bucket", "5", 2), ("bucket", "+Inf", 4), ("sum", None, 20.5), ("count", None, 4),
    ]  # fmt: skip


def test_an_unchanged_page_waits_for_its_heartbeat() -> None:
    world = World()
    world.put("a")
    assert world.rooms(now=0, heartbeat=60) == {"a": 1.0}

    assert world.rooms(now=59, heartbeat=60) == {}
    assert world.rooms(now=60, heartbeat=60) == {"a": 1.0}


def test_the_same_value_again_is_no_change_and_another_is() -> None:
    world = World()
    world.put("a")
    world.rooms(heartbeat=60)
    world.put("a", at=1.0)
    assert world.rooms(heartbeat=60) == {}

    world.put("a", value=2.0, at=2.0)

    assert world.rooms(heartbeat=60) == {"a": 2.0}


def test_a_change_during_a_walk_is_sent_by_the_next() -> None:
    world = World()
    world.put("a")
    walk = world.pages(0.0, 60.0)
    next(walk)
    world.put("a", value=2.0, at=1.0)
    assert list(walk) == []

    assert world.rooms(heartbeat=60) == {"a": 2.0}


def test_a_birth_during_a_walk_is_sent_by_the_next() -> None:
    world = World()
    world.put("a")
    walk = world.pages(0.0, 60.0)
    next(walk)
    world.put("b")
    assert list(walk) == []

    assert world.rooms(heartbeat=60) == {"b": 1.0, "a": 1.0}
    assert world.rooms(heartbeat=60) == {}


def test_one_walk_per_group_at_a_time() -> None:
    world = World()
    world.put("a")
    walk = world.store.walk(world.view, "", MS, 0.0, 0.0)
    next(walk)

    with pytest.raises(RuntimeError, match="already"):
        next(world.store.walk(world.view, "", MS, 0.0, 0.0))
    walk.close()
    assert world.rooms() == {"a": 1.0}


def test_what_a_whole_scope_no_longer_lists_ends_with_one_marker() -> None:
    world = World()
    world.put("a", "b")
    world.put("other", scope="t")
    world.rooms()

    world.put("a", at=1.0, whole=True)

    assert world.rooms() == {"a": 1.0, "b": None, "other": 1.0}
    assert world.rooms() == {"a": 1.0, "other": 1.0}


def test_a_series_that_was_never_sent_gets_no_marker() -> None:
    world = World()
    world.put("a", "b")
    world.put("a", at=1.0, whole=True)

    assert world.rooms() == {"a": 1.0}


def test_a_series_that_lives_again_gets_no_marker() -> None:
    world = World()
    world.put("a", "b")
    world.rooms()
    world.put("a", at=1.0, whole=True)
    world.put("b", value=9.0, at=2.0)

    assert world.rooms() == {"a": 1.0, "b": 9.0}


def test_a_series_without_news_ends_after_its_ttl() -> None:
    world = World(Limits(default_ttl_seconds=100))
    world.put("a", now=0)
    world.rooms()
    world.expire(99)
    assert world.rooms(now=99) == {"a": 1.0}

    world.expire(105)

    assert world.rooms(now=105) == {"a": None}
    assert world.store.total_series == 0


def test_a_slow_poller_gives_its_series_two_and_a_half_intervals() -> None:
    store = Store(Limits(default_ttl_seconds=100))
    store.apply(store.add_feed("slow"), Collected([Update(TEMP, ("a",), 1.0, 0.0)]), 0.0, 60.0)

    for now, left in ((149.0, 1), (160.0, 0)):
        list(store.expiring(now))
        assert store.total_series == left


def test_an_unchanged_scope_keeps_its_series_alive() -> None:
    world = World(Limits(default_ttl_seconds=100))
    world.put("a", now=0)
    world.store.apply(world.feed, Collected(unchanged=["s"]), 80.0)

    world.expire(150)
    assert world.store.total_series == 1
    world.expire(186)
    assert world.store.total_series == 0


def test_a_failing_poller_prolongs_its_series() -> None:
    world = World(Limits(default_ttl_seconds=100))
    world.put("a", now=0)
    world.store.prolong(world.feed, ["s", "unknown"], 500.0)

    world.expire(400)
    assert world.store.total_series == 1
    world.expire(505)
    assert world.store.total_series == 0


def test_an_older_update_never_overwrites_a_newer() -> None:
    world = World()
    world.put("a", value=2.0, at=10.0)
    world.put("a", value=1.0, at=9.0)

    assert world.rooms() == {"a": 2.0}
    assert world.store.counts["late",] == 1


def test_a_nan_of_a_source_is_never_sent_as_a_marker() -> None:
    world = World()
    stale = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
    world.put("a", value=stale)
    first = world.rooms()["a"]
    world.put("a", value=1.0, at=1.0)
    world.put("a", value=stale, at=2.0)
    second = world.rooms()["a"]

    assert first is not None
    assert math.isnan(first)
    assert second is not None
    assert math.isnan(second)


@pytest.mark.parametrize(
    "update",
    [
        Update(TEMP, ("a", "b"), 1.0, 0.0),
        Update(TEMP, (1,), 1.0, 0.0),  # type: ignore[arg-type]
        Update(TEMP, ["a"], 1.0, 0.0),  # type: ignore[arg-type]
        Update(TEMP, ("a",), (1.0, 2.0), 0.0),
        Update(TEMP, ("a",), "1", 0.0),  # type: ignore[arg-type]
        Update(TEMP, ("a",), 10**400, 0.0),
        Update(TIMES, ("a",), 1.0, 0.0),
        Update(TIMES, ("a",), (1.0, 2.0), 0.0),
        Update(Family("bad-name", Kind.GAUGE, ""), (), 1.0, 0.0),
        Update(Family("ok", Kind.GAUGE, "", labels=("bad.label",)), ("v",), 1.0, 0.0),
        Update(Family("ok", Kind.GAUGE, "", labels=("a", "a")), ("v", "w"), 1.0, 0.0),
    ],
)
def test_what_no_receiver_would_take_is_refused_and_loses_nothing_else(update: Update) -> None:
    world = World()
    world.store.apply(world.feed, Collected([Update(TEMP, ("x",), 1.0, 0.0), update, Update(TEMP, ("y",), 2.0, 0.0)]), 0.0)

    assert world.rooms() == {"x": 1.0, "y": 2.0}
    assert world.store.counts["refused", "invalid"] == 1


def test_a_series_of_two_sources_is_sent_once() -> None:
    world = World()
    other = world.store.add_feed("other")
    world.put("a", value=1.0)
    world.store.apply(other, Collected([Update(TEMP, ("a",), 2.0, 0.0), Update(TEMP, ("b",), 2.0, 0.0)]), 0.0)

    assert world.rooms() == {"a": 1.0, "b": 2.0}
    assert world.store.counts["refused", "duplicate"] == 1


def test_a_removed_source_takes_its_series_along() -> None:
    world = World()
    world.put("a")
    world.rooms()
    world.store.remove_feed(world.feed)

    assert world.rooms() == {"a": None}
    assert world.store.tables == []


def test_places_of_ended_series_are_used_again_once_the_pages_let_go() -> None:
    world = World()
    for n in range(30):
        world.put(f"r{n}", at=float(n), whole=True)
        assert world.rooms()[f"r{n}"] == 1.0

    (table,) = world.store.tables
    assert len(table.labels) <= 3


def test_a_reader_keeps_places_from_being_used_again() -> None:
    world = World()
    world.put("a")
    world.rooms()
    token = world.store.begin_reading()
    world.put("b", at=1.0, whole=True)
    world.rooms()
    world.put("c", at=2.0)
    (table,) = world.store.tables
    assert table.labels[0] in {("a",), ()}
    assert table.index == {("b",): 1, ("c",): 2}

    world.store.end_reading(token)
    world.put("d", at=3.0)

    assert table.index["d",] == 0
