"""The exposition: what a scraper reads is what the store holds."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from agent.model import Collected, Family, Kind, Update
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from agent.store.text import render, snapshot

ANY_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"), max_size=8
)
GAUGE = Family("room_celsius", Kind.GAUGE, 'Heat of a "room".\\', labels=("room", "floor"), constants=(("house", '50% "n"'),))
TIMES = Family("job_seconds", Kind.HISTOGRAM, "How long.", "seconds", ("job_name",), buckets=(0.5, 10.0))


def store_of(*updates: Update) -> Store:
    store = Store(Limits())
    store.apply(store.add_feed("one"), Collected(updates), 1.0)
    return store


def text_of(store: Store, *, openmetrics: bool = False, source: str | None = None) -> str:
    return b"".join(render(store, openmetrics=openmetrics, source=source)).decode()


def samples(text: str, *, openmetrics: bool = False) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = openmetrics_families(text) if openmetrics else text_families(text)  # type: ignore[no-untyped-call]
    found = [(sample.name, frozenset(sample.labels.items()), sample.value) for family in families for sample in family.samples]
    assert len({(name, labels) for name, labels, _ in found}) == len(found)
    return {(name, labels): value for name, labels, value in found}


@given(room=ANY_TEXT, floor=ANY_TEXT, value=st.floats(allow_nan=False))
def test_any_label_and_value_reads_back(room: str, floor: str, value: float) -> None:
    text = text_of(store_of(Update(GAUGE, (room, floor), value, 0.0)))

    labels = {"room": room, "floor": floor, "house": '50% "n"'}
    assert samples(text) == {("room_celsius", frozenset((k, v) for k, v in labels.items() if v)): value}


@given(job=ANY_TEXT, openmetrics=st.booleans())
def test_a_histogram_row_is_its_buckets_sum_and_count(job: str, openmetrics: bool) -> None:
    text = text_of(store_of(Update(TIMES, (job,), (1, 2, 3, 40.25), 0.0)), openmetrics=openmetrics)

    own = {("job_name", job)} if job else set()
    found = samples(text, openmetrics=openmetrics)
    assert sorted(found.values()) == [1, 2, 3, 3, 40.25]
    assert found["job_seconds_sum", frozenset(own)] == 40.25
    assert {dict(labels)["le"] for name, labels in found if name == "job_seconds_bucket"} >= {"0.5", "+Inf"}


def test_the_type_is_announced_once_for_all_tables_of_a_family() -> None:
    store = store_of(Update(GAUGE, ("a", ""), 1.0, 0.0))
    other = Family("room_celsius", Kind.GAUGE, "Heat.", labels=("cellar",))
    store.apply(store.add_feed("two"), Collected([Update(other, ("b",), 2.0, 0.0)]), 1.0)

    assert text_of(store).count("# TYPE room_celsius gauge\n") == 1


def test_a_family_whose_sources_disagree_on_its_kind_has_no_type() -> None:
    store = store_of(Update(GAUGE, ("a", ""), 1.0, 0.0))
    other = Family("room_celsius", Kind.COUNTER, "Heat.", labels=("cellar",))
    store.apply(store.add_feed("two"), Collected([Update(other, ("b",), 2.0, 0.0)]), 1.0)

    assert "# TYPE room_celsius untyped\n" in text_of(store)


def test_openmetrics_names_that_meet_are_told_apart() -> None:
    gauge, counter = Family("runs", Kind.GAUGE, "Now."), Family("runs_total", Kind.COUNTER, "Ever.")
    store = store_of(Update(gauge, (), 1.0, 0.0), Update(counter, (), 2.0, 0.0))

    found = samples(text_of(store, openmetrics=True), openmetrics=True)

    assert found == {("runs", frozenset()): 1.0, ("runs_total", frozenset()): 2.0}


def test_one_source_alone() -> None:
    store = store_of(Update(GAUGE, ("a", ""), 1.0, 0.0))
    store.apply(store.add_feed("two"), Collected([Update(TIMES, ("j",), (0, 0, 0, 0.0), 0.0)]), 1.0)

    assert "job_seconds" not in text_of(store, source="one")
    assert "room_celsius" not in text_of(store, source="two")


def test_what_is_not_finite_is_written_as_the_format_wants() -> None:
    rows = [Update(GAUGE, (str(value), ""), value, 0.0) for value in (math.inf, -math.inf, math.nan, -0.0, 2.0**53, 5e-324)]

    text = text_of(store_of(*rows))

    assert [line.rsplit(" ", 1)[1] for line in text.splitlines() if not line.startswith("#")] == [
        "+Inf", "-Inf", "NaN", "-0", "9007199254740992", "5e-324",
    ]  # fmt: skip


def test_a_series_that_ends_while_the_text_is_written_never_shows_another_in_its_place() -> None:
    store = store_of(*(Update(GAUGE, (f"r{n}", ""), float(n), 0.0, "all") for n in range(1500)))
    feed = store.feeds["one"]
    chunks = render(store, openmetrics=False)
    begun = [next(chunks), next(chunks)]

    store.apply(feed, Collected([Update(GAUGE, ("new", ""), 7.0, 1.0, "all")], complete=["all"]), 2.0)
    text = b"".join([*begun, *chunks]).decode()

    assert len(samples(text)) == 1000
    assert 'room="new"' not in text
    assert 'room="new"' in text_of(store)


def body_of(store: Store, rules: LabelRules) -> tuple[dict[tuple[str, str], str], int]:
    steps = snapshot(store, rules)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            bodies, count = end.value
            return {key: body.decode() for key, body in bodies}, count


def test_a_snapshot_has_one_body_per_job_and_instance() -> None:
    target = Family("up", Kind.GAUGE, "Up.", constants=(("job", "node"), ("instance", "h:1")))
    store = store_of(Update(GAUGE, ("a", ""), 1.5, 0.0), Update(target, (), 1.0, 0.0))

    bodies, count = body_of(store, LabelRules({"job": "cipush", "instance": "host", "site": "berlin"}, {"via": "gate"}))

    assert count == 2
    assert bodies["node", "h:1"].endswith('up{site="berlin",via="gate"} 1\n')
    assert list(samples(bodies["cipush", "host"])) == [
        ("room_celsius", frozenset({("room", "a"), ("house", '50% "n"'), ("site", "berlin"), ("via", "gate")}))
    ]


def test_a_lone_surrogate_does_not_stop_the_page() -> None:
    store = store_of(Update(GAUGE, ("\ud800", ""), 1.0, 0.0))

    assert 'room="?"' in text_of(store)
    assert 'room="?"' in body_of(store, LabelRules())[0]["", ""]
