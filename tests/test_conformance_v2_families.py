"""Prometheus' remote-write 2.0 sender tests of metadata, histograms, exemplars, batches and edge cases, and stricter."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable

import pytest

from agent.wire import remote_write2_pb2 as v2
from tests.conformance import V2, About, Captured, Series, capture, message2, series2
from tests.conformance_pages import HUGE, LONG_NAME, MANY, PAGES

SCRAPES = 5
LARGEST_BATCH = 10_000
OWN = "cipush_sink_request_duration_seconds"
"""A histogram of the agent's own: one row in its store, and so a candidate for a native histogram."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """What arrived of all pages; the sink `native` is sent the agent's own histograms too, as native ones."""
    scraped_enough = lambda run: min(run.pages.scrapes.values()) >= SCRAPES  # noqa: E731
    without = [{"name": "cipush_.*"}]
    sinks = {
        "sink": V2.with_options(drop=without),
        "native": V2.with_options(native_histograms=True, keep=[{"name": f"{OWN}|rpc.*"}]),
    }
    return capture(tmp_path_factory.mktemp("v2"), PAGES, sinks, scraped_enough, "every page was scraped", drop=[])


def about(run: Captured, name: str, job: str = "metadata") -> About:
    """The metadata of a metric, which every series has that is called so."""
    [found] = {series.about for series in run.series(job, name)}
    return found


def newest(run: Captured, job: str, name: str) -> list[Series]:
    """The series of that name as the last request with one of them has them."""
    for request in reversed(run.requests()):
        found = [one for one in series2(request) if ("job", job) in one.labels and ("__name__", name) in one.labels]
        if found:
            return found
    return []


def value(run: Captured, job: str, name: str) -> set[float]:
    """Every value of a metric."""
    found = {one.value for one in run.samples(job, name)}
    assert found
    return found


def metadata_type_counter(run: Captured) -> None:
    assert about(run, "requests_total").type == v2.Metadata.METRIC_TYPE_COUNTER


def metadata_type_gauge(run: Captured) -> None:
    assert about(run, "temperature").type == v2.Metadata.METRIC_TYPE_GAUGE


def metadata_type_histogram(run: Captured) -> None:
    assert {about(run, f"latency_{part}").type for part in ("bucket", "sum", "count")} == {v2.Metadata.METRIC_TYPE_HISTOGRAM}


def metadata_type_summary(run: Captured) -> None:
    assert {about(run, f"size{part}").type for part in ("", "_sum", "_count")} == {v2.Metadata.METRIC_TYPE_SUMMARY}


def metadata_help_text(run: Captured) -> None:
    assert about(run, "requests_total").help == "HTTP requests"


def metadata_unit(run: Captured) -> None:
    assert about(run, "size_bytes", "unit") == (v2.Metadata.METRIC_TYPE_GAUGE, "", "bytes")


def metadata_help_with_newlines(run: Captured) -> None:
    assert about(run, "temperature").help == "first line\nsecond line"


def metadata_help_with_special_chars(run: Captured) -> None:
    assert about(run, "latency_sum").help == 'He said "quotes" and C:\\path'


def metadata_refs_valid(run: Captured) -> None:
    for request in run.requests():
        message = message2(request)
        references = [ref for one in message.timeseries for ref in (one.metadata.help_ref, one.metadata.unit_ref)]
        assert max(references) < len(message.symbols)


def metadata_consistent_across_series(run: Captured) -> None:
    assert len({one.labels for one in run.series("metadata", "requests_total")}) == 2
    assert len({one.about for one in run.series("metadata", "requests_total")}) == 1


def metadata_empty_help_allowed(run: Captured) -> None:
    assert about(run, "size_sum").help == ""
    assert about(run, "nameless") == (v2.Metadata.METRIC_TYPE_UNSPECIFIED, "", "")


def histogram_structure(run: Captured) -> None:
    seen = Counter(dict(one.labels)["__name__"] for one in run.series("histogram") if "rpc" in dict(one.labels)["__name__"])
    assert seen["rpc_bucket"] == 4 * seen["rpc_count"] == 4 * seen["rpc_sum"] > 0


def histogram_count(run: Captured) -> None:
    assert value(run, "histogram", "rpc_count") == {100}


def histogram_sum(run: Captured) -> None:
    assert value(run, "histogram", "rpc_sum") == {250.5}


def histogram_buckets_ordered(run: Captured) -> None:
    found = [(dict(one.labels)["le"], one.samples[0].value) for one in newest(run, "histogram", "rpc_bucket")]
    assert found == [("0.1", 10), ("0.5", 60), ("1", 90), ("+Inf", 100)]


def histogram_empty_buckets(run: Captured) -> None:
    assert value(run, "histogram", "none_count") == value(run, "histogram", "none_bucket") == {0}


def histogram_large_counts(run: Captured) -> None:
    assert value(run, "histogram", "large_count") == {1e9}


def histogram_no_mixed_with_samples(run: Captured) -> None:
    both = [*run.all_series["sink"], *run.all_series["native"]]
    assert all(bool(one.samples) != bool(one.histograms) for one in both)


def own_histograms(run: Captured) -> list[Series]:
    """What came of the agent's own histogram as a native one."""
    found = [one for one in run.all_series["native"] if ("__name__", OWN) in one.labels]
    assert found
    return found


def native_histogram_structure(run: Captured) -> None:
    for series in own_histograms(run):
        [histogram] = series.histograms
        deltas = list(histogram.positive_deltas)
        counts = [sum(deltas[: i + 1]) for i in range(len(deltas))]
        assert sum(span.length for span in histogram.positive_spans) == len(deltas) == len(histogram.custom_values) + 1
        assert sum(counts) == histogram.count_int
        assert min(counts) >= 0
        assert math.isfinite(histogram.sum)


def native_histogram_schema(run: Captured) -> None:
    for series in own_histograms(run):
        [histogram] = series.histograms
        assert histogram.schema == -53
        assert list(histogram.custom_values) == sorted(set(histogram.custom_values))
        assert not histogram.negative_spans
        assert histogram.zero_count_int == 0


def native_histogram_timestamp(run: Captured) -> None:
    times = [one.histograms[0].timestamp for one in own_histograms(run)]
    assert all(run.started_ms < at < run.ended_ms for at in times)


def native_histogram_start_timestamp(run: Captured) -> None:
    assert all(0 < one.histograms[0].start_timestamp <= one.histograms[0].timestamp for one in own_histograms(run))


def native_histogram_replaces_classic(run: Captured) -> None:
    names = {dict(one.labels)["__name__"] for one in run.all_series["native"]}
    assert names == {OWN, "rpc_bucket", "rpc_sum", "rpc_count"}  # of a scraped histogram nobody knows whether it is whole


def exemplars_of(run: Captured, name: str) -> list[tuple[dict[str, str], float, int]]:
    """Every exemplar of a metric, in the order of arrival."""
    found = [one for series in run.series("exemplars", name) for one in series.exemplars]
    assert found
    return [(dict(labels), number, at) for labels, number, at in found]


def exemplars_with_trace_id(run: Captured) -> None:
    found = [labels["trace_id"] for labels, _, _ in exemplars_of(run, "hits_total")]
    assert found == [f"t{i}" for i in range(len(found))]
    assert len(found) >= SCRAPES - 1


def exemplars_with_span_id(run: Captured) -> None:
    found = [labels["span_id"] for labels, _, _ in exemplars_of(run, "hits_total")]
    assert found == [f"s{i}" for i in range(len(found))]


def exemplars_with_custom_labels(run: Captured) -> None:
    assert "grün" in {labels.get("user") for labels, _, _ in exemplars_of(run, "slow_bucket")}


def exemplars_on_histogram(run: Captured) -> None:
    of_bucket = {
        (dict(series.labels)["le"], dict(labels)["trace_id"][0])
        for series in run.series("exemplars", "slow_bucket")
        for labels, _, _ in series.exemplars
    }
    assert of_bucket == {("1", "b"), ("+Inf", "i")}


def exemplars_value_valid(run: Captured) -> None:
    assert {number for _, number, _ in exemplars_of(run, "hits_total")} == {0.5}
    assert {number for _, number, _ in exemplars_of(run, "slow_bucket")} == {0.25, 1.5}


def exemplars_timestamp_valid(run: Captured) -> None:
    assert all(run.started_ms <= at <= run.ended_ms for _, _, at in exemplars_of(run, "hits_total"))


def exemplars_labels_valid_refs(run: Captured) -> None:
    for request in run.requests():
        message = message2(request)
        found = [list(one.labels_refs) for series in message.timeseries for one in series.exemplars]
        assert all(refs and len(refs) % 2 == 0 and max(refs) < len(message.symbols) for refs in found)


def combined_samples_with_metadata(run: Captured) -> None:
    assert all(
        one.about.type == v2.Metadata.METRIC_TYPE_COUNTER and one.samples for one in run.series("services", "api_requests_total")
    )


def combined_samples_with_exemplars(run: Captured) -> None:
    assert all(one.samples for one in run.series("exemplars", "hits_total") if one.exemplars)


def combined_histogram_with_metadata_and_exemplars(run: Captured) -> None:
    found = [one for one in run.series("exemplars", "slow_bucket") if one.exemplars]
    assert {one.about.type for one in found} == {v2.Metadata.METRIC_TYPE_HISTOGRAM}


def combined_multiple_metric_types(run: Captured) -> None:
    kinds = {one.about.type for one in run.series("services")}
    assert {v2.Metadata.METRIC_TYPE_COUNTER, v2.Metadata.METRIC_TYPE_GAUGE, v2.Metadata.METRIC_TYPE_HISTOGRAM} <= kinds


def combined_mixed_labels(run: Captured) -> None:
    found = {
        tuple(dict(one.labels)[key] for key in ("service", "method", "endpoint"))
        for one in newest(run, "services", "api_requests_total")
    }
    assert found == {(name, method, f"/v1/{name}") for name in ("users", "orders", "bills") for method in ("GET", "POST")}


def combined_real_world_scenario(run: Captured) -> None:
    assert len({dict(one.labels)["__name__"] for one in run.series("services")}) > 3


def batching_multiple_series_per_request(run: Captured) -> None:
    request = next(one for one in run.requests() if any(("job", "services") in series.labels for series in series2(one)))
    assert len({dict(one.labels)["__name__"] for one in series2(request)}) >= 3


def batching_batch_size_reasonable(run: Captured) -> None:
    sizes = [len(message2(request).timeseries) for request in run.requests()]
    assert max(sizes) <= LARGEST_BATCH
    assert sum(sizes) > MANY
    assert max(sizes) > 1000


def batching_everything_once(run: Captured) -> None:
    seen = Counter((one.labels, one.timestamp_ms) for one in run.samples("many", "many"))
    assert set(seen.values()) == {1}
    times = {at for _, at in seen}
    assert len(seen) == MANY * len(times)
    assert run.pages.scrapes["many"] - 1 <= len(times) <= run.pages.scrapes["many"]


def batching_varying_cardinality(run: Captured) -> None:
    by_time = Counter(one.timestamp_ms for one in run.samples("varying", "varying") if not math.isnan(one.value))
    found = [by_time[at] for at in sorted(by_time)]
    assert found == [1 + 10 * (n % 3) for n in range(len(found))]


def batching_efficient_symbol_reuse(run: Captured) -> None:
    for request in run.requests():
        symbols = list(message2(request).symbols)
        assert len(symbols) == len(set(symbols))


def batching_no_symbol_without_use(run: Captured) -> None:
    large = max(run.requests(), key=lambda request: len(request.body))
    message = message2(large)
    used = {ref for one in message.timeseries for ref in (*one.labels_refs, one.metadata.help_ref, one.metadata.unit_ref)}
    assert used | {0} >= set(range(len(message.symbols)))


def edge_empty_scrape(run: Captured) -> None:
    assert value(run, "blank", "up") == {1}
    names = {dict(one.labels)["__name__"] for one in run.series("blank")}
    assert all(name == "up" or name.startswith("scrape_") for name in names)


def edge_huge_label_values(run: Captured) -> None:
    assert {dict(one.labels)["text"] for one in run.series("huge", "huge")} == {HUGE}


def edge_very_long_metric_name(run: Captured) -> None:
    assert value(run, "names", LONG_NAME) == {1}


def edge_metric_name_with_colons(run: Captured) -> None:
    assert value(run, "names", "recording:rule:name") == {2}


def edge_zero_timestamp(run: Captured) -> None:
    assert all(run.started_ms < one.timestamp_ms < run.ended_ms for one in run.samples("times", "zero_time"))
    assert value(run, "times", "zero_time") == {42}


def edge_future_timestamp(run: Captured) -> None:
    assert all(run.started_ms < one.timestamp_ms < run.ended_ms for one in run.samples("times", "future_time"))
    assert value(run, "times", "future_time") == {43}


def edge_special_float_combinations(run: Captured) -> None:
    found = {dict(one.labels)["i"]: struct.pack("<Q", one.bits) for one in run.samples("floats", "special")}
    wanted = [struct.pack("<d", number) for number in (math.inf, -math.inf, 0.0, -123.45)]
    assert [found[i] for i in "1234"] == wanted
    assert struct.unpack("<Q", found["0"])[0] == 0x7FF8000000000000


def edge_stale_marker_as_text(run: Captured) -> None:
    assert value(run, "marker", "up") == {0}
    assert run.samples("marker", "test_metric") == []


def every_scrape_exactly_once(run: Captured) -> None:
    for job, scrapes in run.pages.scrapes.items():
        times = [one.timestamp_ms for one in run.samples(job, "up")]
        assert times == sorted(set(times))
        assert scrapes - 1 <= len(times) <= scrapes


GROUPS = ("metadata_", "histogram_", "native_", "exemplars_", "combined_", "batching_", "edge_", "every_")
CASES = [case for name, case in sorted(globals().items()) if name.startswith(GROUPS) and name != "exemplars_of"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_rw2(case: Callable[[Captured], None], run: Captured) -> None:
    case(run)
