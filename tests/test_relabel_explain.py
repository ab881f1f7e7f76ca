"""What people are told who miss a series at their receiver."""

from __future__ import annotations

import json

import pytest

from agent.model import Collected, Family, Kind, Protocol, Update
from agent.relabel.rules import LabelLimits
from agent.store.encode import LabelRules
from agent.store.explain import ROWS, explain_view
from agent.store.inspect import explain
from agent.store.store import Limits, Store
from tests.store_rules import rules
from tests.store_world import TEMP, TIMES

RENAMING = {"replace": {"label": "__name__", "regex": "room_(.*)", "replacement": "heat_$1"}}


def asked(own: LabelRules, name: str, *rooms: str) -> dict[str, object]:
    """The answer for a store of these rooms and one histogram row."""
    store = Store(Limits())
    view = store.add_view(Protocol.REMOTE_WRITE, own)
    updates = [Update(TEMP, (room,), 1.0, 0.0) for room in rooms]
    store.apply(store.add_feed("src"), Collected([*updates, Update(TIMES, ("j",), (1, 1, 1, 1.0), 0.0)]), 0.0)
    found = explain_view(store, own, name, view)
    assert json.loads(json.dumps(found)) == found
    return found


def test_a_dropped_series_names_the_rule() -> None:
    found = asked(LabelRules(shared=rules(drop=[{"name": "x"}, {"labels": {"room": "a"}}])), "room_celsius", "a", "b")

    assert (found["verdict"], found["sent"], found["refused"]) == ("1 sent, 1 refused by drop", 1, {"drop": 1})
    assert found["series"] == [
        {
            "series": 'room_celsius{room="a"}',
            "source": "src",
            "refused": "drop",
            "rule": "agent.drop[1]: {labels: {room: 'a'}}",
        },
        {"series": 'room_celsius{room="b"}', "source": "src", "sent_as": 'room_celsius{room="b"}'},
    ]


@pytest.mark.parametrize("name", ["room_celsius", "heat_celsius"])
def test_a_renamed_series_is_found_under_both_names_with_what_changed_it(name: str) -> None:
    found = asked(LabelRules({"job": "j"}, own=rules(relabel=[{"drop_labels": "x"}, RENAMING])), name, "a")

    assert found["series"] == [
        {
            "series": 'room_celsius{room="a"}',
            "source": "src",
            "sent_as": 'heat_celsius{job="j",room="a"}',
            "changed_by": [
                "relabel[1]: {replace: {label: '__name__', regex: 'room_(.*)', replacement: 'heat_$1'}}",
            ],
        }
    ]


@pytest.mark.parametrize("name", ["job_seconds", "job_seconds_bucket", "job_seconds_count"])
def test_a_histogram_is_found_by_its_samples_names(name: str) -> None:
    assert asked(LabelRules(own=rules(drop=[{"name": "x"}])), name)["sent"] == 1


def test_a_collision_names_the_series_that_is_sent() -> None:
    found = asked(LabelRules(own=rules(relabel=[{"drop_labels": "room"}])), "room_celsius", "a", "b")

    assert found["verdict"] == "1 sent, 1 refused by collision"
    assert found["series"][1] == {  # type: ignore[index]
        "series": 'room_celsius{room="b"}',
        "source": "src",
        "refused": "collision",
        "rule": 'room_celsius{room="a"} is sent under the same name and labels, until it ends',
        "would_be_sent_as": "room_celsius",
        "changed_by": ["relabel[0]: {drop_labels: 'room'}"],
    }


def test_a_limit_is_named() -> None:
    found = asked(LabelRules(limits=LabelLimits(max_label_value_length=3)), "job_seconds")

    assert found["series"][0]["rule"].startswith("limits.max_label_value_length: the value of __name__ has 18")  # type: ignore[index]


def test_a_name_that_nobody_has_gets_a_verdict() -> None:
    found = asked(LabelRules(own=rules(relabel=[RENAMING])), "nonsense", "a")

    assert found["verdict"] == "no series is called so, neither before its rules nor after them"
    assert found["series"] == []


def test_no_more_rows_are_looked_at_than_an_answer_may_cost() -> None:
    found = asked(LabelRules(own=rules(relabel=[RENAMING])), "heat_celsius", *map(str, range(ROWS + 1000)))

    assert found["looked_at"] == f"{ROWS // 2 + 1} of {ROWS + 1001} rows"
    assert len(found["series"]) == 100  # type: ignore[arg-type]


def verdict(store: Store, name: str) -> object:
    return explain(store, name, 10.0)["verdict"]


def test_the_verdict_says_what_became_of_a_name() -> None:
    store = Store(Limits())
    feed = store.add_feed("src")
    gone = Family("gone", Kind.GAUGE, "h")
    store.apply(feed, Collected([Update(TEMP, ("a",), 1.0, 0.0), Update(gone, (), 1.0, 0.0, "g")], complete=["g"]), 0.0)
    store.apply(feed, Collected([], complete=["g"]), 4.0)

    assert verdict(store, "room_celsius") == "1 live, from src"
    assert verdict(store, "gone") == "none is live; the last ended 6.0 s ago: no longer reported"
    assert str(verdict(store, "room")).startswith("no source has reported a series called room")
