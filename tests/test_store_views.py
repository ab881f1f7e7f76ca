"""What a view sends: labels, requests, formats."""

from __future__ import annotations

import json
import math

from agent.model import Collected, Protocol, Update
from agent.store.encode import LabelRules
from agent.store.pages import PAGE_RECORDS, View
from agent.store.store import Limits, Store
from tests.store_world import MS, TEMP, TIMES, World, decoded


def test_external_labels_fill_and_extra_labels_win() -> None:
    world = World(rules=LabelRules({"room": "none", "site": "berlin"}, {"site": "extra"}))
    world.put("a", "")

    assert [dict(labels) for request in world.walk() for labels in request] == [
        {"__name__": "room_celsius", "room": "a", "site": "extra"},
        {"__name__": "room_celsius", "room": "none", "site": "extra"},
    ]


def test_prefix_and_custom_labels_of_a_feed() -> None:
    store = Store(Limits())
    view = store.add_view(Protocol.REMOTE_WRITE, LabelRules())
    store.apply(store.add_feed("f", "my_", [("team", "ci")]), Collected([Update(TEMP, ("a",), 1.0, 0.0)]), 0.0)

    (page,) = [page for page in store.walk(view, "", MS, 0.0, 0.0) if page]

    assert list(decoded(bytes(page.payload), MS)) == [(("__name__", "my_room_celsius"), ("room", "a"), ("team", "ci"))]


def test_a_page_holds_ten_thousand_records_and_no_row_straddles_two() -> None:
    world = World()
    rows = [Update(TIMES, (f"j{n}",), (1, 1, 1, 1.0), 0.0) for n in range(2001)]
    world.store.apply(world.feed, Collected(rows), 0.0)

    assert [len(request) for request in world.walk()] == [PAGE_RECORDS, 5]


def test_a_page_stays_under_two_mebibytes() -> None:
    world = World()
    for first in range(0, 300, 10):
        world.put(*(f"{n}-" + "x" * 10_000 for n in range(first, first + 10)))

    sizes = [len(page.payload) for page in world.pages(0.0, 0.0)]

    assert sum(sizes) > 3_000_000
    assert max(sizes) <= 2 << 20


def test_small_pages_are_joined() -> None:
    world = World()
    for n in range(20):
        walk = world.pages(0.0, 0.0)
        next(walk, None)
        world.put(f"r{n}")
        list(walk)

    assert [len(request) for request in world.walk()] == [20]


def test_the_import_view_sends_json_lines() -> None:
    store = Store(Limits())
    view: View = store.add_view(Protocol.IMPORT, LabelRules({"job": "cipush"}))
    store.apply(store.add_feed("f"), Collected([Update(TEMP, ('a"b',), 1.5, 0.0), Update(TEMP, ("inf",), math.inf, 0.0)]), 0.0)

    (page,) = [page for page in store.walk(view, "", MS, 0.0, 0.0) if page]

    assert page.samples == 1
    assert json.loads(page.payload) == {
        "metric": {"__name__": "room_celsius", "job": "cipush", "room": 'a"b'},
        "values": [1.5],
        "timestamps": [MS],
    }


def test_a_view_that_comes_later_has_every_series() -> None:
    world = World()
    world.put("a", "b")
    view = world.store.add_view(Protocol.REMOTE_WRITE, LabelRules({"via": "second"}))

    (page,) = [page for page in world.store.walk(view, "", MS, 0.0, 0.0) if page]

    assert len(decoded(bytes(page.payload), MS)) == 2
