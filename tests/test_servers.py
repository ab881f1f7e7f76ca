"""The real receivers store what they are sent; what the end-to-end tests stand on."""

from __future__ import annotations

import time

import httpx
import snappy

from agent.wire import remote_write_pb2 as pb
from tests import servers

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def write(url: str, value: float, timestamp_ms: int) -> httpx.Response:
    """One sample of `probe{job="servers"}` by remote-write."""
    series = pb.TimeSeries(
        labels=[pb.Label(name="__name__", value="probe"), pb.Label(name="job", value="servers")],
        samples=[pb.Sample(value=value, timestamp=timestamp_ms)],
    )
    body = pb.WriteRequest(timeseries=[series]).SerializeToString()
    return httpx.post(f"{url}/api/v1/write", content=snappy.compress(body), headers=HEADERS).raise_for_status()


def test_victoria_metrics_gives_back_what_was_written(victoria_metrics: servers.VictoriaMetrics) -> None:
    at = int(time.time() * 1000)
    write(victoria_metrics.url, 1.5, at)

    found = victoria_metrics.export('probe{job="servers"}')

    assert found == [servers.Series({"__name__": "probe", "job": "servers"}, [1.5], [at])]


def test_prometheus_gives_back_what_was_written(prometheus: servers.Prometheus) -> None:
    at = int(time.time() * 1000)
    write(prometheus.url, 1.5, at)

    found = prometheus.samples('probe{job="servers"}')

    assert found == [servers.Series({"__name__": "probe", "job": "servers"}, [1.5], [at])]


def test_pushgateway_gives_back_what_was_put(pushgateway: servers.Pushgateway) -> None:
    httpx.put(f"{pushgateway.url}/metrics/job/servers/instance/a", content=b"probe 1.5\n").raise_for_status()

    found = pushgateway.samples("probe")

    assert found == [servers.Series({"__name__": "probe", "instance": "a", "job": "servers"}, [1.5], [])]
