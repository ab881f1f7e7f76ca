"""The 2.0 view sends what the 1.0 view sends, in its own words."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Iterator

import pytest

from agent.model import Collected, Family, Kind, Protocol, Update
from agent.store.body2 import RecordBody2
from agent.store.encode import LabelRules
from agent.store.encode2 import Record2
from agent.store.epoch import rewind
from agent.store.pages import Rendered, View
from agent.store.store import Limits, Store
from agent.wire.remote_write2 import About
from agent.wire.remote_write2_pb2 import Request, TimeSeries
from agent.wire.remote_write_pb2 import WriteRequest
from tests.store_world import MS, TEMP, TIMES

RULES = LabelRules({"instance": "me"}, {"site": "x" * 200})
DONE = Family("jobs_total", Kind.COUNTER, "Jobs.", labels=("job_name",))
NOW = MS / 1000
Points = dict[tuple[tuple[str, str], ...], bytes]
"""Labels -> the bytes of the value."""


class Pair:
    """A store with a 1.0 and a 2.0 view."""

    def __init__(self, *, native_histograms: bool = False) -> None:
        self.store = Store(Limits())
        self.feed = self.store.add_feed("src")
        self.one = self.store.add_view(Protocol.REMOTE_WRITE, RULES)
        self.two = self.store.add_view(Protocol.REMOTE_WRITE_2, RULES, native_histograms=native_histograms)
        self.ms = MS

    def put(self, *updates: Update, whole: bool = False, started: float = 0.0) -> None:
        self.store.apply(self.feed, Collected(updates, complete=["s"] if whole else [], started=started), NOW)

    def walk(self, view: View) -> Iterator[bytes]:
        for page in self.pages(view):
            yield bytes(page.payload)

    def pages(self, view: View) -> Iterator[Rendered]:
        walk = self.store.walk(view, "", self.ms, NOW, 0.0)
        yield from (page for page in walk if page is not None)

    def series(self) -> list[TimeSeries]:
        return [series for payload in self.walk(self.two) for series in Request.FromString(payload).timeseries]


def points1(payloads: Iterator[bytes]) -> Points:
    found: Points = {}
    for payload in payloads:
        for series in WriteRequest.FromString(payload).timeseries:
            labels = tuple((label.name, label.value) for label in series.labels)
            assert labels not in found
            found[labels] = struct.pack("<d", series.samples[0].value)
    return found


def points2(payloads: Iterator[bytes]) -> Points:
    found: Points = {}
    for payload in payloads:
        request = Request.FromString(payload)
        assert request.SerializeToString() == payload
        assert request.symbols[0] == ""
        assert len(set(request.symbols)) == len(request.symbols)
        for series in request.timeseries:
            labels = labels_of(request, series)
            assert labels not in found
            found[labels] = struct.pack("<d", series.samples[0].value)
    return found


def labels_of(request: Request, series: TimeSeries) -> tuple[tuple[str, str], ...]:
    texts = [request.symbols[reference] for reference in series.labels_refs]
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def temp(room: str, value: float) -> Update:
    return Update(TEMP, (room,), value, 0.0, "s")


def times(job: str, *cells: float) -> Update:
    return Update(TIMES, (job,), cells, 0.0, "s")


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_born_and_ends_both_views_send_the_same(seed: int) -> None:
    pair, rng = Pair(), random.Random(seed)
    for _ in range(40):
        updates = [temp(f"r{rng.randrange(60)}", rng.choice([0.0, -0.0, 1.5])) for _ in range(rng.randrange(40))]
        updates += [times(f"j{rng.randrange(9)}", 1, 2, 3, rng.random()) for _ in range(rng.randrange(4))]
        updates += [Update(DONE, (f"j{rng.randrange(9)}",), rng.random(), 0.0, "s") for _ in range(rng.randrange(4))]
        pair.put(*updates, whole=rng.random() < 0.5, started=NOW - rng.choice([0.0, 5.0, 6.0]))
        pair.ms += 1000

        assert points2(pair.walk(pair.two)) == points1(pair.walk(pair.one))


def test_a_series_says_its_type_help_and_unit() -> None:
    pair = Pair()
    pair.put(times("a", 1, 2, 3, 4.5), temp("a", 1.0))

    (payload,) = pair.walk(pair.two)

    request = Request.FromString(payload)
    said = {
        (s.metadata.type, request.symbols[s.metadata.help_ref], request.symbols[s.metadata.unit_ref]) for s in request.timeseries
    }
    assert said == {(3, "How long.", "seconds"), (2, "Heat.", "")}


def test_counters_and_histograms_say_since_when_they_count() -> None:
    pair = Pair()
    pair.put(Update(DONE, ("a",), 1.0, 0.0, "s"), times("a", 1, 2, 3, 4.5), temp("a", 1.0), started=NOW - 9)

    assert [series.samples[0].start_timestamp for series in pair.series()] == [MS - 9000] * 6 + [0]


def test_a_start_learnt_later_or_anew_is_told_from_the_next_flush_on() -> None:
    pair = Pair()
    starts = []
    for started in (0.0, NOW - 9, NOW - 9, NOW - 3):
        pair.put(Update(DONE, ("a",), 1.0, 0.0, "s"), started=started)
        starts += [series.samples[0].start_timestamp for series in pair.series()]

    assert starts == [0, MS - 9000, MS - 9000, MS - 3000]


def test_a_start_in_the_future_is_not_told() -> None:
    pair = Pair()
    pair.put(Update(DONE, ("a",), 1.0, 0.0, "s"), started=NOW + 1)

    assert [series.samples[0].start_timestamp for series in pair.series()] == [0]


def test_a_start_that_lies_ahead_of_a_clock_set_back_is_forgotten() -> None:
    pair = Pair()
    pair.put(Update(DONE, ("a",), 1.0, 0.0, "s"), started=NOW - 9)
    list(pair.walk(pair.two))
    rewind(pair.store, NOW - 10)

    assert [series.samples[0].start_timestamp for series in pair.series()] == [0]


def test_symbols_of_series_that_are_gone_leave_in_the_end() -> None:
    pair = Pair()
    for flush in range(30):
        pair.put(*(temp(f"{flush}-{n}", 1.0) for n in range(50)), whole=True)
        list(pair.walk(pair.two))

    (payload,) = pair.walk(pair.two)

    assert len(Request.FromString(payload).symbols) < 3 * 50


def test_a_histogram_row_is_one_native_histogram() -> None:
    pair = Pair(native_histograms=True)
    pair.put(temp("a", 1.0), times("a", 1, 2, 5, 4.5), times("b", 0, 0, 0, 0.0), temp("b", 2.0))

    found = pair.series()

    assert [len(series.samples) for series in found] == [1, 0, 0, 1]
    histogram = found[1].histograms[0]
    assert (histogram.count_int, histogram.sum, list(histogram.positive_deltas)) == (5, 4.5, [1, 0, 2])
    assert (histogram.schema, list(histogram.custom_values), histogram.timestamp) == (-53, [1.0, 5.0], pair.ms)


def test_a_native_histogram_that_ends_is_sent_as_stale_and_the_others_go_on() -> None:
    pair = Pair(native_histograms=True)
    pair.put(temp("a", 1.0), times("a", 1, 2, 5, 4.5), times("b", 1, 1, 1, 0.5))
    list(pair.walk(pair.two))
    pair.put(temp("a", 1.0), times("b", 1, 1, 2, 0.5), whole=True)

    pages = list(pair.pages(pair.two))

    assert [(page.samples, page.markers) for page in pages] == [(2, 0), (1, 1)]
    live = [s for s in Request.FromString(bytes(pages[0].payload)).timeseries if s.histograms]
    assert [series.histograms[0].count_int for series in live] == [2]


def test_bodies_are_joined_with_one_table_of_symbols() -> None:
    about = About(Kind.COUNTER, "Help.", "")
    one, two = RecordBody2(), RecordBody2()
    one.extend([Record2(about, ["__name__", "a", "x", "y"])], MS - 5)
    two.extend([Record2(about, ["__name__", "b", "x", "y"]), Record2(about, ["__name__", "c", "x", "z"])], MS - 7)

    one.join(two)

    payload, _ = one.render([(0, array("d", [1.0, 2.0, 3.0]))], MS)
    request = Request.FromString(payload)
    assert [(labels_of(request, s)[0][1], s.samples[0].value, s.samples[0].start_timestamp) for s in request.timeseries] == [
        ("a", 1.0, MS - 5),
        ("b", 2.0, MS - 7),
        ("c", 3.0, MS - 7),
    ]
    assert list(request.symbols) == ["", "__name__", "a", "x", "y", "Help.", "b", "c", "z"]
