"""Prometheus' remote-write 2.0 sender tests of the protocol, symbols, labels, samples and timestamps, and stricter."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.capture import Page
from tests.conformance import STALE, V2, V2_TYPE, Captured, Sample, capture, message2, series2, unpacked

SCRAPES = 6
LONG_NAME = "l" * 250
LONG_VALUE = "v" * 5000
TEXTS = {"emoji": "🎉 ok", "chinese": "中文标签", "path": "/api/v1/users", "query": "foo=bar&baz=qux"}
FLOATS: dict[str, tuple[str, float]] = {
    "float_value": ("123.45", 123.45),
    "integer_value": ("42", 42.0),
    "zero_value": ("0", 0.0),
    "negative_value": ("-15.5", -15.5),
    "positive_infinity": ("+Inf", math.inf),
    "negative_infinity": ("-Inf", -math.inf),
    "large_float_values": ("1.797e308", 1.797e308),
    "small_float_values": ("2.2e-308", 2.2e-308),
    "scientific_notation": ("1.23e-4", 1.23e-4),
    "precision_preservation": ("0.1234567890123456789", 0.1234567890123456789),
}
ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def text_of(name: str, labels: dict[str, str], value: str = "1") -> str:
    """One line of an exposition."""
    inside = ",".join(f'{key}="{text.translate(ESCAPED)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value}\n"


LABELS = (
    text_of("ordered", {"zzz": "3", "aaa": "1", "bbb": "2", "ZZZ": "0"})
    + text_of("texts", TEXTS)
    + text_of("awkward", {"text": 'a "quote", a \\ and\na line'})
    + text_of("long_name", {LONG_NAME: "here"})
    + text_of("long_value", {"text": LONG_VALUE})
    + text_of("many", {f"label_{i}": str(i) for i in range(10)})
    + text_of("empty", {"nothing": "", "something": "1"})
)
STARTED = 1_700_000_000
KINDS = f"""\
# TYPE process_start_time_seconds gauge
process_start_time_seconds {STARTED}
# TYPE requests_total counter
requests_total 10
# TYPE temperature gauge
temperature 20
# TYPE latency histogram
latency_bucket{{le="1"}} 3
latency_bucket{{le="+Inf"}} 5
latency_sum 7.5
latency_count 5
"""
PAGES: dict[str, Page] = {
    "plain": lambda _: "test_metric 42\n",
    "shared": lambda _: 'one{foo="bar"} 1\ntwo{foo="bar"} 2\n',
    "efficient": lambda _: "".join(
        f'http_requests_total{{method="{method}",status="{status}"}} 1\n' for method in ("GET", "POST") for status in (200, 500)
    ),
    "labels": lambda _: LABELS,
    "floats": lambda _: "".join(f"{name} {text}\n" for name, (text, _) in FLOATS.items()) + "nan_value NaN\n",
    "kinds": lambda _: KINDS,
    "counting": lambda n: f"counted {n}\n",
    "stale": lambda n: "other 1\n" + ("" if 2 <= n < 4 else f"returns {n}\n"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """What arrived of all pages."""
    scraped_enough = lambda run: min(run.pages.scrapes.values()) >= SCRAPES  # noqa: E731
    return capture(tmp_path_factory.mktemp("v2"), PAGES, {"sink": V2}, scraped_enough, "every page was scraped")


def each_series(run: Captured, name: str) -> list[dict[str, str]]:
    """The labels of a series of the page of labels, one entry for each time it came."""
    found = [dict(one.labels) for one in run.series("labels", name)]
    assert len(found) >= SCRAPES - 1
    return found


def every_header(run: Captured, name: str) -> set[str]:
    """Every value of a header."""
    assert run.requests()
    return {request.value(name) for request in run.requests()}


def content_type_protobuf(run: Captured) -> None:
    assert {kind.split(";")[0] for kind in every_header(run, "Content-Type")} == {"application/x-protobuf"}


def content_type_with_proto_param(run: Captured) -> None:
    assert every_header(run, "Content-Type") == {V2_TYPE}


def content_encoding_snappy(run: Captured) -> None:
    assert every_header(run, "Content-Encoding") == {"snappy"}


def version_header_present(run: Captured) -> None:
    assert all(request.values("X-Prometheus-Remote-Write-Version") for request in run.requests())


def version_header_value(run: Captured) -> None:
    assert every_header(run, "X-Prometheus-Remote-Write-Version") == {"2.0.0"}


def user_agent_present(run: Captured) -> None:
    [agent] = every_header(run, "User-Agent")
    assert re.fullmatch(r"cipush/[0-9]+\.[0-9]+\S*", agent)


def snappy_block_format(run: Captured) -> None:
    assert all(unpacked(request) for request in run.requests())
    assert not any(request.body.startswith(b"\xff\x06\x00\x00sNaPpY") for request in run.requests())


def protobuf_parseable(run: Captured) -> None:
    for request in run.requests():
        assert message2(request).symbols
        assert message2(request).timeseries


def http_method(run: Captured) -> None:
    assert {(request.method, request.path) for request in run.requests()} == {("POST", "/api/v1/write")}


def empty_string_at_index_zero(run: Captured) -> None:
    assert {message2(request).symbols[0] for request in run.requests()} == {""}


def string_deduplication(run: Captured) -> None:
    assert run.series("shared", "one")
    assert run.series("shared", "two")
    for request in run.requests():
        symbols = list(message2(request).symbols)
        assert len(symbols) == len(set(symbols))


def labels_refs_valid_indices(run: Captured) -> None:
    for request in run.requests():
        message = message2(request)
        refs = [ref for series in message.timeseries for ref in series.labels_refs]
        assert refs
        assert max(refs) < len(message.symbols)


def labels_refs_even_length(run: Captured) -> None:
    for request in run.requests():
        lengths = [len(series.labels_refs) for series in message2(request).timeseries]
        assert all(length and length % 2 == 0 for length in lengths)


def symbol_table_efficiency(run: Captured) -> None:
    found = [request for request in run.requests() if any(("job", "efficient") in one.labels for one in series2(request))]
    alone = [request for request in found if {dict(one.labels)["job"] for one in series2(request)} == {"efficient"}]
    assert alone
    assert all(len(message2(request).symbols) <= 31 for request in alone)


def label_lexicographic_ordering(run: Captured) -> None:
    for one in run.all_series["sink"]:
        names = [name.encode() for name, _ in one.labels]
        assert all(left < right for left, right in pairwise(names))
    [names_of_ordered] = {tuple(name for name, _ in one.labels) for one in run.series("labels", "ordered")}
    assert names_of_ordered == ("ZZZ", "__name__", "aaa", "bbb", "instance", "job", "zzz")


def metric_name_label_present(run: Captured) -> None:
    assert all("__name__" in dict(one.labels) for one in run.all_series["sink"])


def metric_name_format_valid(run: Captured) -> None:
    names = {dict(one.labels)["__name__"] for one in run.all_series["sink"]}
    assert "test_metric" in names
    assert all(re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name) for name in names)


def label_name_format_valid(run: Captured) -> None:
    names = {name for one in run.all_series["sink"] for name, _ in one.labels}
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in names)


def no_duplicate_label_names(run: Captured) -> None:
    assert all(len(dict(one.labels)) == len(one.labels) for one in run.all_series["sink"])


def label_names_not_empty(run: Captured) -> None:
    assert all(name for one in run.all_series["sink"] for name, _ in one.labels)


def label_values_are_not_empty(run: Captured) -> None:
    assert all(value for one in run.all_series["sink"] for _, value in one.labels)
    assert all("nothing" not in labels and labels["something"] == "1" for labels in each_series(run, "empty"))


def reserved_label_prefix(run: Captured) -> None:
    names = {name for one in run.all_series["sink"] for name, _ in one.labels if name.startswith("__")}
    assert names == {"__name__"}


def unicode_in_label_values(run: Captured) -> None:
    for labels in each_series(run, "texts"):
        assert (labels["emoji"], labels["chinese"]) == (TEXTS["emoji"], TEXTS["chinese"])


def special_chars_in_label_values(run: Captured) -> None:
    for labels in each_series(run, "texts"):
        assert (labels["path"], labels["query"]) == (TEXTS["path"], TEXTS["query"])
    assert all(labels["text"] == 'a "quote", a \\ and\na line' for labels in each_series(run, "awkward"))


def very_long_label_names(run: Captured) -> None:
    assert all(labels[LONG_NAME] == "here" for labels in each_series(run, "long_name"))


def very_long_label_values(run: Captured) -> None:
    assert all(labels["text"] == LONG_VALUE for labels in each_series(run, "long_value"))


def many_labels_per_series(run: Captured) -> None:
    for labels in each_series(run, "many"):
        assert {key: value for key, value in labels.items() if key.startswith("label_")} == {
            f"label_{i}": str(i) for i in range(10)
        }


def nan_value(run: Captured) -> None:
    found = run.samples("floats", "nan_value")
    assert found
    assert all(math.isnan(one.value) and one.bits != STALE for one in found)


def timestamp_milliseconds_format(run: Captured) -> None:
    assert all(10**12 < one.timestamp_ms < 10**16 for one in run.all_samples["sink"])


def timestamp_recent(run: Captured) -> None:
    assert all(run.started_ms < one.timestamp_ms < run.ended_ms for one in run.all_samples["sink"])


def multiple_samples_same_series(run: Captured) -> None:
    found = [one.value for one in run.samples("counting", "counted")]
    assert found == list(range(len(found)))
    assert run.pages.scrapes["counting"] - 1 <= len(found) <= run.pages.scrapes["counting"]


def job_instance_labels_present(run: Captured) -> None:
    assert {(dict(one.labels)["job"], dict(one.labels)["instance"]) for one in run.all_series["sink"]} == {
        (job, run.pages.address) for job in PAGES
    }


def sample_ordering(run: Captured) -> None:
    by_series: dict[object, list[Sample]] = {}
    for one in run.all_samples["sink"]:
        by_series.setdefault(one.labels, []).append(one)
    for found in by_series.values():
        times = [one.timestamp_ms for one in found]
        assert times == sorted(set(times))


def start_timestamp_for_counters(run: Captured) -> None:
    found = run.samples("kinds", "requests_total")
    assert {one.start_ms for one in found} == {STARTED * 1000}


def start_timestamp_for_histograms(run: Captured) -> None:
    found = [one for name in ("bucket", "sum", "count") for one in run.samples("kinds", f"latency_{name}")]
    assert {one.start_ms for one in found} == {STARTED * 1000}


def start_timestamp_zero_handling(run: Captured) -> None:
    found = run.samples("kinds", "temperature") + run.samples("plain")
    assert found
    assert {one.start_ms for one in found} == {0}


def start_timestamp_not_after_sample(run: Captured) -> None:
    assert all(one.start_ms <= one.timestamp_ms for one in run.all_samples["sink"])


def timestamp_precision(run: Captured) -> None:
    times = {one.timestamp_ms for one in run.samples("counting", "counted")}
    assert any(at % 1000 for at in times)
    assert max(times) - min(times) < 600_000


def future_values(run: Captured) -> None:
    assert max(one.timestamp_ms for one in run.all_samples["sink"]) <= time.time() * 1000


def staleness_and_return(run: Captured) -> None:
    found = run.samples("stale", "returns")
    assert [one.value for one in found[:2]] == [0, 1]
    assert found[2].bits == STALE
    assert [one.value for one in found[3:]] == [4 + i for i in range(len(found) - 3)]
    assert len(found) > 3
    assert sum(one.bits == STALE for one in run.all_samples["sink"]) == 1


def one_kind_of_value_in_a_series(run: Captured) -> None:
    assert all(bool(one.samples) != bool(one.histograms) for one in run.all_series["sink"])


PROTOCOL = (
    *(content_type_protobuf, content_type_with_proto_param, content_encoding_snappy, version_header_present),
    *(version_header_value, user_agent_present, snappy_block_format, protobuf_parseable, http_method),
)
SYMBOLS = (
    *(empty_string_at_index_zero, string_deduplication, labels_refs_valid_indices, labels_refs_even_length),
    symbol_table_efficiency,
)
LABEL_CASES = (
    *(label_lexicographic_ordering, metric_name_label_present, metric_name_format_valid, label_name_format_valid),
    *(no_duplicate_label_names, label_names_not_empty, label_values_are_not_empty, reserved_label_prefix),
    *(unicode_in_label_values, special_chars_in_label_values, very_long_label_names, very_long_label_values),
    many_labels_per_series,
)
SAMPLES = (
    *(nan_value, timestamp_milliseconds_format, timestamp_recent, multiple_samples_same_series),
    *(job_instance_labels_present, sample_ordering, one_kind_of_value_in_a_series, staleness_and_return),
)
TIMES = (
    *(start_timestamp_for_counters, start_timestamp_for_histograms, start_timestamp_zero_handling),
    *(start_timestamp_not_after_sample, timestamp_precision, future_values),
)


@pytest.mark.parametrize("case", [*PROTOCOL, *SYMBOLS, *LABEL_CASES, *SAMPLES, *TIMES], ids=lambda case: case.__name__)
def test_rw2(case: Callable[[Captured], None], run: Captured) -> None:
    case(run)


@pytest.mark.parametrize("name", FLOATS)
def test_rw2_values(name: str, run: Captured) -> None:
    found = run.samples("floats", name)
    assert found
    assert {one.value for one in found} == {FLOATS[name][1]}
