"""Real receivers take what only newer ones can use, metadata and exemplars, and store every sample beside it."""

from __future__ import annotations

import time

import httpx

from agent.model import Block, Collected, Encoding, Exemplar, Exemplified, Family, Kind, Protocol, Update
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from agent.wire.compress import compress
from agent.wire.transcode import recoded
from tests import servers
from tests.test_wire_convert import ONE, TWO

DONE = Family("done_total", Kind.COUNTER, "Done.", labels=("job",))
TOOK = Family("took_seconds", Kind.HISTOGRAM, "How long.", "seconds", buckets=(1.0, 5.0))
HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}


def bodies(instance: str, now: float) -> list[bytes]:
    """Metadata by itself, then a 2.0 request with metadata, an exemplar and a native histogram, recoded to 1.0."""
    rules, store = LabelRules({"instance": instance}), Store(Limits())
    one = store.add_view(Protocol.REMOTE_WRITE, rules)
    two = store.add_view(Protocol.REMOTE_WRITE_2, rules, native_histograms=True)
    updates = [Update(DONE, ("a",), 3.0, now), Update(TOOK, (), (1, 2, 5, 4.5), now)]
    exemplar = Exemplified(DONE, ("a",), Exemplar((("trace_id", "abc"),), 1.0, int(now * 1000) - 1))
    store.apply(store.add_feed("f"), Collected(updates, exemplars=[exemplar], started=now - 60), now)
    (said,) = one.described("", now)
    (page,) = [page for page in store.walk(two, "", int(now * 1000), now, 0.0) if page]
    new = Block(compress(page.payload, Encoding.SNAPPY), *TWO, 2, int(now * 1000), now)
    return [compress(said.payload, Encoding.SNAPPY), recoded(new, ONE).payload]


def send(url: str, instance: str) -> list[int]:
    found = [httpx.post(f"{url}/api/v1/write", content=body, headers=HEADERS) for body in bodies(instance, time.time())]
    return [answer.status_code for answer in found]


EXPECTED = {
    ("done_total", ""): 3.0,
    ("took_seconds_bucket", "1"): 1.0,
    ("took_seconds_bucket", "5"): 2.0,
    ("took_seconds_bucket", "+Inf"): 5.0,
    ("took_seconds_sum", ""): 4.5,
    ("took_seconds_count", ""): 5.0,
}


def stored(found: list[servers.Series]) -> dict[tuple[str, str], float]:
    return {(series.labels["__name__"], series.labels.get("le", "")): series.values[-1] for series in found}


def test_victoria_metrics_stores_the_samples(victoria_metrics: servers.VictoriaMetrics) -> None:
    assert send(victoria_metrics.url, "wire") == [204, 204]

    found = servers.eventually(lambda: stored(victoria_metrics.export('{instance="wire"}')), "the samples")
    assert found == EXPECTED


def test_prometheus_stores_the_samples(prometheus: servers.Prometheus) -> None:
    assert send(prometheus.url, "wire") == [204, 204]

    assert stored(prometheus.samples('{instance="wire"}')) == EXPECTED
