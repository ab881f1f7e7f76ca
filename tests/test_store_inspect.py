"""What people ask of a store at 3 a.m."""

from __future__ import annotations

import json
import math

import pytest

from agent.model import Collected, Family, Kind, Priority, Update
from agent.store.inspect import explain, series, stats
from agent.store.store import Limits, Store

LOAD = Family("host_load1", Kind.GAUGE, "Load.", labels=("zone",), priority=Priority.LOW)
TIMES = Family("job_seconds", Kind.HISTOGRAM, "How long.", "seconds", ("job_name",), buckets=(1.0,))


@pytest.fixture
def store() -> Store:
    store = Store(Limits())
    rows = [
        Update(LOAD, ("a",), 1.5, 0.0, "all"),
        Update(LOAD, ('b"c',), math.nan, 0.0, "all"),
        Update(TIMES, ("j",), (1, 1, 1), 0.0),
    ]
    store.apply(store.add_feed("host"), Collected(rows), 100.0)
    return store


@pytest.mark.parametrize(
    ("match", "count"),
    [
        ("", 3),
        ("host_load1", 2),
        ("host_*", 2),
        ('host_load1{zone="a"}', 1),
        ('{zone="a"}', 1),
        (r'{zone="b\"c"}', 1),
        ("nothing", 0),
    ],
)
def test_series_are_found_by_name_glob_and_label(store: Store, match: str, count: int) -> None:
    assert len(series(store, match, 10, 101.0)) == count


@pytest.mark.parametrize("match", ["{", "a b", '{zone=~"a"}', '{zone="a"', "a{zone}", '{zone="a"x="b"}'])
def test_a_selector_that_cannot_be_read_is_refused(store: Store, match: str) -> None:
    with pytest.raises(ValueError, match=r"write|is not"):
        series(store, match, 10, 101.0)


def test_no_more_series_than_asked_for(store: Store) -> None:
    assert len(series(store, "", 2, 101.0)) == 2


def test_a_series_tells_its_source_age_and_end(store: Store) -> None:
    found = series(store, 'host_load1{zone="a"}', 1, 130.0)[0]

    assert found["source"] == "host"
    assert found["value"] == "1.5"
    assert (found["age_seconds"], found["expires_in_seconds"]) == (30.0, 270.0)
    assert found["priority"] == "low"


def test_explain_tells_why_a_series_ended(store: Store) -> None:
    store.apply(store.feeds["host"], Collected([Update(LOAD, ("a",), 1.0, 1.0, "all")], complete=["all"]), 110.0)

    found = explain(store, "host_load1", 115.0)

    assert found["live"] == 1
    assert found["ended"] == [
        {
            "name": "host_load1",
            "labels": {"zone": 'b"c'},
            "source": "host",
            "ended_seconds_ago": 5.0,
            "reason": "no longer reported",
        }
    ]


def test_explain_tells_what_is_kept_out() -> None:
    store = Store(Limits())
    feed = store.add_feed("host", max_series=1)
    store.apply(feed, Collected([Update(LOAD, ("a",), 1.0, 0.0), Update(LOAD, ("b",), 1.0, 0.0)]), 100.0)

    found = explain(store, "host_load1", 101.0)

    assert found["kept_out"] == [{"labels": {"zone": "b"}, "may_return_in_seconds": 299.0}]
    assert found["refused"] == {"source_limit": 1}


def test_every_answer_is_json(store: Store) -> None:
    for answer in (series(store, "", 10, 101.0), explain(store, "host_load1", 101.0), explain(store, "no", 101.0), stats(store)):
        assert json.loads(json.dumps(answer, allow_nan=False)) is not None
