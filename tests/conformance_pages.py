"""Expositions for the conformance tests of metadata, histograms, exemplars, batches and edge cases."""

from __future__ import annotations

import time

from tests.capture import Page

MANY = 12_000
HUGE = "h" * 10_000
LONG_NAME = "very_long_metric_name" * 36
METADATA = """\
# HELP requests_total HTTP requests
# TYPE requests_total counter
requests_total{method="GET"} 10
requests_total{method="POST"} 20
# HELP temperature first line\\nsecond line
# TYPE temperature gauge
temperature 20
# HELP latency He said "quotes" and C:\\\\path
# TYPE latency histogram
latency_bucket{le="1"} 3
latency_bucket{le="+Inf"} 5
latency_sum 7.5
latency_count 5
# TYPE size summary
size{quantile="0.5"} 2
size_sum 6
size_count 3
nameless 1
"""
UNIT = "# TYPE size_bytes gauge\n# UNIT size_bytes bytes\nsize_bytes 5\n# EOF\n"
HISTOGRAM = """\
# TYPE rpc histogram
rpc_bucket{le="0.1"} 10
rpc_bucket{le="0.5"} 60
rpc_bucket{le="1"} 90
rpc_bucket{le="+Inf"} 100
rpc_sum 250.5
rpc_count 100
# TYPE none histogram
none_bucket{le="1"} 0
none_bucket{le="+Inf"} 0
none_sum 0
none_count 0
# TYPE large histogram
large_bucket{le="1"} 999999999
large_bucket{le="+Inf"} 1000000000
large_sum 1e9
large_count 1000000000
"""


def exemplified(n: int) -> str:
    """OpenMetrics with new exemplars in every scrape."""
    now = f"{time.time():.3f}"
    return (
        f'# TYPE hits counter\nhits_total {n + 1} # {{trace_id="t{n}",span_id="s{n}"}} 0.5 {now}\n'
        f"# TYPE slow histogram\n"
        f'slow_bucket{{le="1"}} {n + 1} # {{trace_id="b{n}"}} 0.25 {now}\n'
        f'slow_bucket{{le="+Inf"}} {n + 2} # {{trace_id="i{n}",user="grün"}} 1.5 {now}\n'
        f"slow_sum {n + 2}\nslow_count {n + 2}\n# EOF\n"
    )


def services() -> str:
    """Series that share labels, families of several kinds, as an application shows them."""
    lines = ["# HELP api_requests_total Requests.", "# TYPE api_requests_total counter"]
    lines += [
        f'api_requests_total{{service="{service}",method="{method}",endpoint="/v1/{service}"}} 1'
        for service in ("users", "orders", "bills")
        for method in ("GET", "POST")
    ]
    return "\n".join([*lines, "# TYPE api_up gauge", "api_up 1", HISTOGRAM])


PAGES: dict[str, Page] = {
    "metadata": lambda _: METADATA,
    "unit": lambda _: UNIT,
    "histogram": lambda _: HISTOGRAM,
    "exemplars": exemplified,
    "services": lambda _: services(),
    "many": lambda n: "".join(f'many{{i="{i}"}} {n}\n' for i in range(MANY)),
    "varying": lambda n: "".join(f'varying{{i="{i}"}} 1\n' for i in range(1 + 10 * (n % 3))),
    "blank": lambda _: "\n",
    "huge": lambda _: f'huge{{text="{HUGE}"}} 1\n',
    "names": lambda _: f"{LONG_NAME} 1\nrecording:rule:name 2\n",
    "times": lambda _: f"zero_time 42 0\nfuture_time 43 {int(time.time() * 1000) + 3_600_000}\n",
    "floats": lambda _: "".join(f'special{{i="{i}"}} {text}\n' for i, text in enumerate(("NaN", "+Inf", "-Inf", "0", "-123.45"))),
    "marker": lambda _: "test_metric StaleNaN\n",
}
