"""Every case of Prometheus' remote-write 1.0 sender tests, and stricter: one run of cipush, one page for each case."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.capture import Answer, Page, Request
from tests.conformance import INTERVAL, STALE, Captured, Sample, Sink, capture, message1, unpacked

SCRAPES = 9
"""Of every page at least, before the run is ended."""
SERIES = 1000

HISTOGRAM = """\
# TYPE histogram histogram
histogram_bucket{le="1"} 1
histogram_bucket{le="2"} 2
histogram_bucket{le="+Inf"} 2
histogram_sum 3
histogram_count 2
"""
SUMMARY = """\
# TYPE summary summary
summary{quantile="0.5"} 2
summary{quantile="0.9"} 3
summary{quantile="0.99"} 3
summary_sum 6
summary_count 3
"""
GONE = range(3, 6)
"""The scrapes in which the series that comes back is not there."""
DOWN = 4
"""From this scrape on a page answers 500."""


def always(text: str) -> Page:
    """The same every time."""
    return lambda _: text


PAGES: dict[str, Page] = {
    "counter": lambda n: f"# TYPE counter counter\ncounter {n}\n",
    "gauge": lambda _: f"now {time.time() * 1000}\n",
    "histogram": always(HISTOGRAM),
    "summary": always(SUMMARY),
    "invalid": always("this is {not an exposition\n"),
    "labels": always("gauge 42\n"),
    "sorted": always('test{b="2",a="1",Z="0"} 1.0\n'),
    "repeated": always('test{a="1",a="1"} 1.0\n'),
    "empty": always('test{a=""} 1.0\n'),
    "nameless": always('{label="value"} 1.0\n'),
    "honor": always('test{job="original",instance="foo"} 1.0\n'),
    "stale": lambda n: "other 1\nstale 42\n" if n == 0 else "other 1\n",
    "returns": lambda n: "other 1\n" + ("" if n in GONE else f"returns {n}\n"),
    "down": lambda n: f"down {n}\n" if n < DOWN else "",
    "ordering": lambda n: "".join(f'test{{i="{i}"}} {n}\n' for i in range(SERIES)),
}


def hesitant(_request: Request, number: int) -> Answer:
    """A receiver that takes its time, differently for each request, and now and then longer than an interval."""
    return Answer(seconds=2 * INTERVAL if number % 50 == 20 else number * 37 % 11 * INTERVAL / 200)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """What arrived of all pages."""
    scraped_enough = lambda run: min(run.pages.scrapes.values()) >= SCRAPES  # noqa: E731
    return capture(tmp_path_factory.mktemp("v1"), PAGES, {"sink": Sink(hesitant)}, scraped_enough, "every page was scraped")


def values(samples: list[Sample]) -> set[float]:
    """Every number that came."""
    return {sample.value for sample in samples}


def times_seen(run: Captured, job: str, key: str) -> Counter[tuple[str, str]]:
    """How often each sample of a family came: its name, and the label called `key`."""
    found = [dict(one.labels) for one in run.samples(job) if dict(one.labels)["__name__"].startswith(job)]
    return Counter((one["__name__"], one.get(key, "")) for one in found)


def everything(run: Captured) -> list[Sample]:
    """All samples of the run."""
    return run.all_samples["sink"]


def counter(run: Captured) -> None:
    found = [sample.value for sample in run.samples("counter", "counter")]
    assert found == list(range(len(found)))
    # A scrape that was under way when the agent was told to stop is nobody's.
    assert run.pages.scrapes["counter"] - 1 <= len(found) <= run.pages.scrapes["counter"]


def gauge(run: Captured) -> None:
    found = run.samples("gauge", "now")
    assert len(found) >= SCRAPES
    assert all(abs(sample.value - sample.timestamp_ms) < 1000 for sample in found)


def histogram(run: Captured) -> None:
    seen = times_seen(run, "histogram", "le")
    buckets = {("histogram_bucket", bound) for bound in ("1", "2", "+Inf")}
    assert seen.keys() == buckets | {("histogram_sum", ""), ("histogram_count", "")}
    assert len(set(seen.values())) == 1
    for name, le, value in (("bucket", "1", 1), ("bucket", "2", 2), ("bucket", "+Inf", 2), ("sum", "", 3), ("count", "", 2)):
        found = run.samples("histogram", f"histogram_{name}")
        assert values([one for one in found if dict(one.labels).get("le", "") == le]) == {value}


def summary(run: Captured) -> None:
    seen = times_seen(run, "summary", "quantile")
    quantiles = {("summary", quantile) for quantile in ("0.5", "0.9", "0.99")}
    assert seen.keys() == quantiles | {("summary_sum", ""), ("summary_count", "")}
    assert len(set(seen.values())) == 1
    for name, quantile, value in (("", "0.5", 2), ("", "0.9", 3), ("", "0.99", 3), ("_sum", "", 6), ("_count", "", 3)):
        found = run.samples("summary", f"summary{name}")
        assert values([one for one in found if dict(one.labels).get("quantile", "") == quantile]) == {value}


def up(run: Captured) -> None:
    assert values(run.samples("labels", "up")) == {1}


def invalid(run: Captured) -> None:
    assert values(run.samples("invalid", "up")) == {0}


def job_label(run: Captured) -> None:
    assert values(run.samples("labels", "gauge")) == {42}


def instance_label(run: Captured) -> None:
    assert {dict(one.labels)["instance"] for one in everything(run)} == {run.pages.address}


def sorted_labels(run: Captured) -> None:
    for one in everything(run):
        names = [name.encode() for name, _ in one.labels]
        assert names == sorted(names)
    found = {tuple(name for name, _ in one.labels) for one in run.samples("sorted", "test")}
    assert found == {("Z", "__name__", "a", "b", "instance", "job")}


def repeated_labels(run: Captured) -> None:
    assert all(len(dict(one.labels)) == len(one.labels) for one in everything(run))
    assert run.samples("repeated", "test") == []
    assert values(run.samples("repeated", "up")) == {0}


def empty_labels(run: Captured) -> None:
    assert all(name and value for one in everything(run) for name, value in one.labels)
    assert {tuple(name for name, _ in one.labels) for one in run.samples("empty", "test")} == {("__name__", "instance", "job")}


def name_label(run: Captured) -> None:
    assert all("__name__" in dict(one.labels) for one in everything(run))
    assert not any(("label", "value") in one.labels for one in everything(run))
    assert values(run.samples("nameless", "up")) == {0}


def honor_labels(run: Captured) -> None:
    [labels] = {one.labels for one in run.samples("honor", "test")}
    assert {("exported_job", "original"), ("exported_instance", "foo"), ("instance", run.pages.address)} < set(labels)


def staleness(run: Captured) -> None:
    found = run.samples("stale", "stale")
    assert [one.value for one in found[:1]] == [42]
    assert [one.bits for one in found[1:]] == [STALE]
    assert found[0].timestamp_ms < found[1].timestamp_ms


def staleness_and_return(run: Captured) -> None:
    found = run.samples("returns", "returns")
    before, after = GONE.start, GONE.stop
    assert [one.value for one in found[:before]] == list(range(before))
    assert found[before].bits == STALE
    assert [one.value for one in found[before + 1 :]] == [after + i for i in range(len(found) - before - 1)]
    assert len(found) > before + 1
    assert [one.timestamp_ms for one in found] == sorted({one.timestamp_ms for one in found})


def staleness_of_a_target_that_is_down(run: Captured) -> None:
    found = run.samples("down", "down")
    assert [one.value for one in found[:DOWN]] == list(range(DOWN))
    assert [one.bits for one in found[DOWN:]] == [STALE]
    ups = [one.value for one in run.samples("down", "up")]
    assert ups == [1] * DOWN + [0] * (len(ups) - DOWN)
    assert 0 in ups


def stale_bits_are_used_for_nothing_else(run: Captured) -> None:
    ended = Counter(dict(one.labels)["__name__"] for one in everything(run) if one.bits == STALE)
    assert ended.keys() - {"scrape_duration_seconds"} == {"stale", "returns", "down"}
    assert set(ended.values()) == {1}


def timestamp(run: Captured) -> None:
    for job in PAGES:
        found = [one.timestamp_ms for one in run.samples(job)]
        assert found == sorted(found)
        assert run.started_ms < found[0] <= found[-1] < run.ended_ms


def headers(run: Captured) -> None:
    for request in run.requests():
        assert (request.method, request.path) == ("POST", "/api/v1/write")
        assert request.value("Content-Encoding") == "snappy"
        assert request.value("Content-Type") == "application/x-protobuf"
        assert request.value("X-Prometheus-Remote-Write-Version") == "0.1.0"
        assert re.fullmatch(r"cipush/[0-9]+\.[0-9]+\S*", request.value("User-Agent"))


def ordering(run: Captured) -> None:
    seen: dict[str, list[Sample]] = {}
    for sample in run.samples("ordering", "test"):
        seen.setdefault(dict(sample.labels)["i"], []).append(sample)
    assert seen.keys() == {str(i) for i in range(SERIES)}
    for found in seen.values():
        assert [one.value for one in found] == list(range(len(found)))
        assert all(one.timestamp_ms < other.timestamp_ms for one, other in pairwise(found))
        assert len(found) >= run.pages.scrapes["ordering"] - 1


def raw_snappy_blocks(run: Captured) -> None:
    assert all(unpacked(request) for request in run.requests())
    assert not any(request.body.startswith(b"\xff\x06\x00\x00sNaPpY") for request in run.requests())


def no_empty_requests(run: Captured) -> None:
    for request in run.requests():
        message = message1(request)
        assert all(series.samples and series.labels for series in message.timeseries)
        assert message.timeseries or message.metadata


def names_are_valid(run: Captured) -> None:
    for one in everything(run):
        assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", dict(one.labels)["__name__"])
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name, _ in one.labels)


def every_scrape_exactly_once(run: Captured) -> None:
    for job, scrapes in run.pages.scrapes.items():
        found = [one.timestamp_ms for one in run.samples(job, "up")]
        assert len(found) == len(set(found))
        assert scrapes - 1 <= len(found) <= scrapes, job


def stops_cleanly(run: Captured) -> None:
    assert run.exit_code == 0


CASES: tuple[Callable[[Captured], None], ...] = (
    *(counter, gauge, histogram, summary, up, invalid, job_label, instance_label, sorted_labels, repeated_labels),
    *(empty_labels, name_label, honor_labels, staleness, timestamp, headers, ordering),
    *(staleness_and_return, staleness_of_a_target_that_is_down, stale_bits_are_used_for_nothing_else, raw_snappy_blocks),
    *(no_empty_requests, names_are_valid, every_scrape_exactly_once, stops_cleanly),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_rw1(case: Callable[[Captured], None], run: Captured) -> None:
    case(run)
