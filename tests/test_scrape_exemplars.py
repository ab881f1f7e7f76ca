"""Exemplars, from a target's OpenMetrics to the 2.0 request that carries them once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Collected, Exemplar, Exemplified, Family, Kind, Protocol, Update
from agent.sources.scrape.exemplars import exemplars
from agent.sources.scrape.reading import Known
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from agent.wire.remote_write2_pb2 import Request
from tests.scraping import World
from tests.store_world import MS
from tests.test_store_v2 import Pair, points1, points2, temp

pytestmark = pytest.mark.anyio
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = """# TYPE h histogram
h_bucket{le="1"} 3 # {trace_id="abc",span="{}"} 0.5 1600000000.25
h_bucket{le="+Inf"} 4 # {} 7
h_count 4
h_sum 9
# TYPE c counter
c_total{path="# {"} 1 # {a="b"} 1.0 1600000001
# TYPE g gauge
g 1 # {a="b"} 1.0 1600000001
# EOF
"""
DONE = Family("done_total", Kind.COUNTER, "Done.", labels=("job",))
NOW = MS / 1000


def told(found: Collected) -> list[tuple[str, Exemplar]]:
    return [(family.name, exemplar) for family, _, exemplar in found.exemplars]


async def test_counters_and_buckets_have_theirs_and_no_other_series_has() -> None:
    world = World(TEXT, OPENMETRICS)

    found = await world.scrape()

    assert told(found) == [
        ("h_bucket", Exemplar((("trace_id", "abc"), ("span", "{}")), 0.5, 1_600_000_000_250)),
        ("h_bucket", Exemplar((), 7.0, int(world.now * 1000))),
        ("c_total", Exemplar((("a", "b"),), 1.0, 1_600_000_001_000)),
    ]


async def test_only_lines_that_differ_are_looked_at_again() -> None:
    world = World(TEXT, OPENMETRICS)
    await world.scrape()

    found = await world.scrape(TEXT.replace("0.5 1600000000.25", "0.75 1600000002"))

    assert told(found) == [("h_bucket", Exemplar((("trace_id", "abc"), ("span", "{}")), 0.75, 1_600_000_002_000))]


async def test_the_text_format_knows_none() -> None:
    assert told(await World(TEXT).scrape()) == []


@pytest.mark.parametrize(
    "broken",
    [
        '{a="b"}',
        '{a="b"} x',
        "{a} 1",
        '{a="b"} 1 2 3',
        '{a="b"} 1 NaN',
        '{a="b"} 1 -5',
        '{a="b",a="c"} 1',
        '{a="' + "x" * 128 + '"} 1',
    ],
)
async def test_a_broken_exemplar_costs_itself_only(broken: str) -> None:
    line = f"c_total 1 # {broken}".encode()
    known = [Known(len("c_total"), Family("c_total", Kind.COUNTER, ""), ())]

    assert list(exemplars([line], known, [0], NOW)) == []


async def test_128_characters_of_labels_are_taken() -> None:
    line = b'c_total 1 # {a="' + b"x" * 127 + b'"} 1'

    assert len(list(exemplars([line], [Known(7, Family("c_total", Kind.COUNTER, ""), ())], [0], NOW))) == 1


@given(st.binary(max_size=60))
async def test_no_bytes_raise_anything(text: bytes) -> None:
    list(exemplars([b"c_total 1 # {" + text], [Known(7, Family("c_total", Kind.COUNTER, ""), ())], [0], NOW))


def put(pair: Pair, *jobs: str, trace: str = "", value: float = 0.0, started: float = 0.0) -> None:
    updates = [Update(DONE, (job,), value, 0.0, "s") for job in jobs]
    found = [
        Exemplified(DONE, (job,), Exemplar((("trace_id", trace + job), ("job", job)), value, MS - 5)) for job in jobs if trace
    ]
    pair.store.apply(pair.feed, Collected(updates, exemplars=found, started=started), NOW)


def sent(request: Request) -> dict[str, str]:
    """Label job -> trace, of the series with an exemplar."""
    text = request.symbols
    return {
        text[series.exemplars[0].labels_refs[3]]: text[series.exemplars[0].labels_refs[1]]
        for series in request.timeseries
        if series.exemplars
    }


def test_an_exemplar_is_sent_once_in_a_request_that_protobuf_would_build() -> None:
    pair = Pair()
    put(pair, "a", "b", "c", trace="t", started=NOW - 9)

    (payload,) = pair.walk(pair.two)

    request = Request.FromString(payload)
    assert request.SerializeToString() == payload
    assert len(set(request.symbols)) == len(request.symbols)
    assert sent(request) == {"a": "ta", "b": "tb", "c": "tc"}
    (again,) = pair.walk(pair.two)
    assert sent(Request.FromString(again)) == {}
    assert points2(iter([again])) == points1(pair.walk(pair.one))


def test_only_a_new_exemplar_is_sent_again() -> None:
    pair = Pair()
    put(pair, "a", "b", trace="t")
    list(pair.walk(pair.two))
    put(pair, "a", trace="t")
    put(pair, "b", trace="u")

    (payload,) = pair.walk(pair.two)

    assert sent(Request.FromString(payload)) == {"b": "ub"}


def test_exemplars_go_beside_native_histograms_and_other_series() -> None:
    pair = Pair(native_histograms=True)
    pair.put(temp("a", 1.0))
    put(pair, "a", trace="t", value=-0.0)

    (payload,) = pair.walk(pair.two)

    request = Request.FromString(payload)
    assert request.SerializeToString() == payload
    assert sent(request) == {"a": "ta"}


def test_without_a_view_that_sends_them_none_are_kept() -> None:
    store = Store(Limits())
    store.add_view(Protocol.REMOTE_WRITE, LabelRules())
    feed = store.add_feed("f")
    found = [Exemplified(DONE, ("a",), Exemplar((), 1.0, MS))]
    store.apply(feed, Collected([Update(DONE, ("a",), 1.0, 0.0)], exemplars=found), NOW)

    assert not feed.tables[DONE, ""].exemplars
