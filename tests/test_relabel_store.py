"""Rules at birth: what a view with rules sends, who sends a series that rules made of several, what is counted."""

from __future__ import annotations

import json

import pytest

from agent.model import Collected, Family, Kind, Protocol, Update
from agent.relabel.rules import LabelLimits
from agent.selfmon import SelfMonitor
from agent.store.encode import LabelRules
from agent.store.publish import RELABEL_DROPPED, publish_refused
from agent.store.relabel import renamed
from agent.store.store import Limits, Store
from agent.store.table import Feed, Table
from agent.wire.remote_write2_pb2 import Request as Request2
from agent.wire.remote_write_pb2 import WriteRequest
from tests.store_rules import rules
from tests.store_world import MS, TEMP, TIMES, World

POD = Family("pod_seconds", Kind.GAUGE, "Time.", labels=("app", "pod"))
WITHOUT_POD = LabelRules(own=rules(relabel=[{"drop_labels": "pod"}]))


def named(world: World) -> dict[str, float | None]:
    """What one walk sends: the labels in one line -> value, None for a marker."""
    return {
        " ".join(f"{value}" if name == "__name__" else f"{name}={value}" for name, value in labels): value
        for request in world.walk()
        for labels, value in request.items()
    }


def pods(world: World, *names: str, value: float = 1.0, whole: bool = False) -> None:
    """Report pods of one app; `whole`: there are no others."""
    updates = [Update(POD, ("a", name), value + number, 0.0, "pods") for number, name in enumerate(names)]
    world.store.apply(world.feed, Collected(updates, complete=["pods"] if whole else []), 0.0)


def refused(world: World) -> dict[str, int]:
    return dict(world.view.refused)


def test_what_is_dropped_is_never_sent_and_needs_no_marker() -> None:
    world = World(rules=LabelRules(own=rules(drop=[{"labels": {"room": "b"}}])))
    world.put("a", "b", whole=True)

    assert world.rooms() == {"a": 1}
    world.put("a", whole=True)
    assert world.rooms() == {"a": 1}
    assert refused(world) == {"drop": 1}


def test_places_of_dropped_rows_are_used_again() -> None:
    world = World(rules=LabelRules(own=rules(drop=[{"name": ".*"}])))
    for number in range(10):
        world.put(f"r{number}", whole=True)
        world.walk()

    (table,) = world.store.tables
    assert len(table.labels) == 2


def test_the_agents_rules_see_external_labels_and_the_sinks_see_its_extra_labels() -> None:
    shared = rules(drop=[{"labels": {"via": ".+"}}], relabel=[{"replace": {"label": "job", "regex": "j", "replacement": "job1"}}])
    own = rules(keep=[{"labels": {"job": "job1", "via": "gate"}}], relabel=[{"rename": {"via": "by"}}])
    world = World(rules=LabelRules({"job": "j"}, {"via": "gate"}, shared, own))
    world.put("a")

    assert named(world) == {"room_celsius by=gate job=job1 room=a": 1}


def test_labels_stay_sorted_and_empty_ones_are_left_out() -> None:
    own = rules(relabel=[{"rename": {"room": "zz"}}, {"add": {"Z": "1", "aa": "2"}}])
    world = World(rules=LabelRules({"job": "j"}, own=own))
    world.put("a", "")

    assert list(named(world)) == ["Z=1 room_celsius aa=2 job=j zz=a", "Z=1 room_celsius aa=2 job=j"]


def test_a_histogram_is_one_series_under_its_familys_name() -> None:
    own = rules(
        keep=[{"name": "job_seconds", "labels": {"le": ""}}],
        relabel=[{"replace": {"label": "__name__", "regex": "job_(.*)", "replacement": "run_$1"}}, {"add": {"le": "x"}}],
    )
    world = World(rules=LabelRules(own=own))
    world.store.apply(world.feed, Collected([Update(TIMES, ("j",), (1, 2, 3, 9.5), 0.0)]), 0.0)

    assert named(world) == {
        "run_seconds_bucket job_name=j le=1": 1,
        "run_seconds_bucket job_name=j le=5": 2,
        "run_seconds_bucket job_name=j le=+Inf": 3,
        "run_seconds_sum job_name=j": 9.5,
        "run_seconds_count job_name=j": 3,
    }


def test_a_metric_name_that_is_none_refuses_the_series() -> None:
    world = World(
        rules=LabelRules(
            own=rules(relabel=[{"replace": {"label": "room", "regex": "(.*)", "replacement": "$1", "to": "__name__"}}])
        )
    )
    world.put("ok", "not ok", "")

    assert list(named(world)) == ["ok room=ok"]
    assert refused(world) == {"invalid": 2}


def test_limits_count_what_is_sent() -> None:
    world = World(rules=LabelRules({"job": "j"}, limits=LabelLimits(max_labels=3)))
    histogram = Update(TIMES, ("j",), (1, 2, 3, 9.5), 0.0)
    world.put("a")
    world.store.apply(world.feed, Collected([histogram]), 0.0)

    assert named(world) == {"room_celsius job=j room=a": 1}
    assert refused(world) == {"limit": 5}


def test_the_second_of_two_series_that_become_one_is_refused() -> None:
    world = World(rules=WITHOUT_POD)
    pods(world, "p1", "p2")

    assert named(world) == {"pod_seconds app=a": 1}
    assert refused(world) == {"collision": 1}


def test_the_second_takes_over_without_a_marker_when_the_first_ends() -> None:
    world = World(rules=WITHOUT_POD)
    pods(world, "p1", "p2")
    world.walk()
    pods(world, "p2", value=7.0, whole=True)

    assert named(world) == {}
    assert named(world) == {"pod_seconds app=a": 7}
    assert refused(world) == {"collision": 1}
    pods(world, whole=True)
    assert named(world) == {"pod_seconds app=a": None}


def test_those_that_wait_come_in_order_and_those_that_ended_meanwhile_do_not() -> None:
    world = World(rules=WITHOUT_POD)
    pods(world, "p1", "p2", "p3", "p4")
    world.walk()
    pods(world, "p1", "p3", "p4", whole=True)
    world.walk()
    pods(world, "p3", "p4", value=30.0, whole=True)
    world.walk()

    assert named(world) == {"pod_seconds app=a": 30}


def test_the_series_ends_with_the_last_that_could_send_it() -> None:
    world = World(rules=WITHOUT_POD)
    pods(world, "p1", "p2")
    world.walk()
    pods(world, whole=True)

    assert named(world) == {"pod_seconds app=a": None}
    assert named(world) == {}


def test_a_series_that_was_never_sent_passes_on_no_debt() -> None:
    world = World(rules=WITHOUT_POD)
    pods(world, "p1", "p2")
    pods(world, whole=True)

    assert named(world) == {}


def test_what_waits_and_ends_is_forgotten() -> None:
    world = World(rules=WITHOUT_POD)
    pods(world, "p0")
    for number in range(1, 1000):
        pods(world, "p0", f"p{number}", whole=True)
        world.walk()

    relabelling = world.view.relabelling
    assert relabelling is not None
    assert relabelling.claims is not None
    assert relabelling.claims.waiting <= 64


def test_a_scalar_that_is_called_as_a_histograms_bucket_collides_with_it() -> None:
    to_sum = {"replace": {"label": "__name__", "regex": "room_celsius", "replacement": "job_seconds_sum"}}
    world = World(rules=LabelRules(own=rules(relabel=[to_sum, {"rename": {"room": "job_name"}}])))
    world.put("j", "k")
    world.store.apply(world.feed, Collected([Update(TIMES, ("j",), (1, 2, 3, 9.5), 0.0)]), 0.0)

    assert list(named(world)) == ["job_seconds_sum job_name=j", "job_seconds_sum job_name=k"]
    assert refused(world) == {"collision": 5}


def test_a_series_moves_to_another_flush_group_without_a_marker() -> None:
    world = World(rules=WITHOUT_POD)
    pods(world, "p1")
    world.store.apply(world.feed, Collected([Update(POD, ("a", "p2"), 9.0, 0.0, "t")], group="t"), 0.0)
    world.walk()
    pods(world, whole=True)

    assert named(world) == {}
    assert [list(request.values()) for request in world.walk(group="t")] == [[9.0]]


def test_without_rules_and_with_rules_that_change_no_label_nothing_is_kept() -> None:
    for own in (LabelRules({"job": "j"}), LabelRules(own=rules(drop=[{"name": "x"}]), limits=LabelLimits(30))):
        relabelling = World(rules=own).view.relabelling
        assert relabelling is None or relabelling.claims is None


def test_views_of_one_store_have_rules_of_their_own() -> None:
    world = World(rules=LabelRules(own=rules(drop=[{"labels": {"room": "a"}}])))
    world.put("a", "b")
    import_rules = LabelRules(own=rules(relabel=[{"rename": {"room": "r"}}]))
    view = world.store.add_view(Protocol.IMPORT, import_rules)

    (page,) = [page for page in world.store.walk(view, "", MS, 0.0, 0.0) if page]

    assert [json.loads(line)["metric"] for line in bytes(page.payload).splitlines()] == [
        {"__name__": "room_celsius", "r": "a"},
        {"__name__": "room_celsius", "r": "b"},
    ]
    assert world.rooms() == {"b": 1}


def test_many_names_of_one_table_are_not_remembered_for_ever() -> None:
    world = World(
        rules=LabelRules(
            own=rules(relabel=[{"replace": {"label": "room", "regex": "(.*)", "replacement": "n_$1", "to": "__name__"}}])
        )
    )
    world.put(*(f"r{number}" for number in range(1000)))

    assert len(named(world)) == 1000
    assert world.view.relabelling is not None
    assert world.view.relabelling.shapes <= 256


def test_a_part_of_a_histogram_keeps_its_family_under_another_name() -> None:
    feed = Feed("f")
    bucket = Table(feed, Family("x_bucket", Kind.HISTOGRAM, "h", labels=("le",), exposition_name="x"), "", 1.0)

    assert renamed(bucket, "x_bucket") == ("x", Kind.HISTOGRAM)
    assert renamed(bucket, "y_bucket") == ("y", Kind.HISTOGRAM)
    assert renamed(bucket, "y") == ("y", Kind.UNKNOWN)
    assert renamed(Table(feed, TEMP, "", 1.0), "z") == ("z", Kind.GAUGE)


def test_families_are_described_under_the_names_they_are_sent_by() -> None:
    renaming = {"replace": {"label": "__name__", "regex": "room_(.*)", "replacement": "heat_$1"}}
    world = World(rules=LabelRules(own=rules(drop=[{"name": "job_.*"}], relabel=[renaming])))
    world.put("a")
    world.store.apply(world.feed, Collected([Update(TIMES, ("j",), (1, 2, 3, 9.5), 0.0)]), 0.0)

    entries = [entry for told in world.view.described("", 0.0) for entry in WriteRequest.FromString(bytes(told.payload)).metadata]
    assert [(entry.metric_family_name, entry.help) for entry in entries] == [("heat_celsius", "Heat.")]


def test_a_native_histogram_obeys_rules_and_passes_its_series_on() -> None:
    own = LabelRules(own=rules(relabel=[{"drop_labels": "job_name"}]))
    store = Store(Limits())
    view = store.add_view(Protocol.REMOTE_WRITE_2, own, native_histograms=True)
    feed = store.add_feed("f")

    def walked(at: int, *jobs: str) -> list[int]:
        updates = [Update(TIMES, (job,), (1, 1, 1, 1.0), 0.0, "s") for job in jobs]
        store.apply(feed, Collected(updates, complete=["s"]), 0.0)
        pages = [page for page in store.walk(view, "", MS + at, 0.0, 0.0) if page]
        return [len(Request2.FromString(bytes(page.payload)).timeseries) for page in pages]

    assert walked(1, "a", "b") == [1]
    assert walked(2, "b") == []
    assert walked(3, "b") == [1]
    assert walked(4) == [1], "the marker"


def test_refusals_are_counted_for_every_sink_of_the_view_once() -> None:
    world = World(rules=WITHOUT_POD)
    monitor = SelfMonitor()
    pods(world, "p1", "p2", "p3")

    for _ in range(2):
        publish_refused(world.view.refused, ["one", "two"], monitor)

    assert [monitor.value(RELABEL_DROPPED, (sink, "collision")) for sink in ("one", "two")] == [2, 2]


@pytest.mark.parametrize("own", [rules(), rules(drop=[{"name": "x"}])])
def test_a_full_page_is_still_a_full_page(own: object) -> None:
    store = Store(Limits())
    view = store.add_view(Protocol.REMOTE_WRITE, LabelRules(own=own))  # type: ignore[arg-type]
    feed = store.add_feed("f")
    store.apply(feed, Collected([Update(TEMP, (str(n),), 1.0, 0.0) for n in range(10_001)]), 0.0)

    assert [page.samples for page in store.walk(view, "", MS, 0.0, 0.0) if page] == [10_000, 1]
