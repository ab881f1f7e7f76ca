"""What the conformance tests share: a run of cipush between pages and receivers, and requests decoded strictly.

Labels keep the order they have on the wire, and a value is the eight bytes that were sent: neither a dict nor a
float comes between the wire and an assertion.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import snappy

from agent.wire import remote_write2_pb2 as v2
from agent.wire import remote_write_pb2 as v1
from tests import agents
from tests.capture import Answer, Page, Pages, Pairs, Request, Script, receivers
from tests.servers import eventually

INTERVAL = 1.0
"""Seconds between two scrapes of each page, and between two flushes."""
TRIES = 3
DURATION = "scrape_duration_seconds"
STALE = 0x7FF0000000000002
"""The bits of a staleness marker, as both specifications give them."""
V2_TYPE = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


class Sample(NamedTuple):
    """One sample. `labels` in the order of the wire; `start_ms`: 0 = not said."""

    labels: Pairs
    bits: int
    timestamp_ms: int
    start_ms: int = 0

    @property
    def value(self) -> float:
        """The bits as a number."""
        found: float = struct.unpack("<d", struct.pack("<Q", self.bits))[0]
        return found


class About(NamedTuple):
    """A series' metadata; `type` as the enumeration of remote-write 2.0 numbers it."""

    type: int
    help: str
    unit: str


class Series(NamedTuple):
    """One `TimeSeries` of a 2.0 request with its references looked up."""

    labels: Pairs
    samples: list[Sample]
    histograms: list[v2.Histogram]
    exemplars: list[tuple[Pairs, float, int]]
    about: About


def bits_of(sample: v1.Sample | v2.Sample) -> int:
    """The eight bytes of the value, as they stand in the message."""
    raw = sample.SerializeToString()
    assert raw[:1] == b"\x09", "a sample begins with its value"
    return int.from_bytes(raw[1:9], "little")


def unpacked(request: Request) -> bytes:
    """The body, which has to be one raw block of snappy."""
    body: bytes = snappy.uncompress(request.body)
    return body


def is_v2(request: Request) -> bool:
    """Whether a request says that it is of version 2.0."""
    return request.value("Content-Type") == V2_TYPE


def message1(request: Request) -> v1.WriteRequest:
    """A request of version 1.0."""
    return v1.WriteRequest.FromString(unpacked(request))


def message2(request: Request) -> v2.Request:
    """A request of version 2.0."""
    return v2.Request.FromString(unpacked(request))


def samples1(request: Request) -> list[Sample]:
    """The samples of a 1.0 request, in its order."""
    return [
        Sample(tuple((label.name, label.value) for label in series.labels), bits_of(sample), sample.timestamp)
        for series in message1(request).timeseries
        for sample in series.samples
    ]


def looked_up(references: Sequence[int], symbols: Sequence[str]) -> Pairs:
    """Label references as labels; raises IndexError for one that points nowhere, ValueError for an odd number."""
    texts = [symbols[reference] for reference in references]
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def series2(request: Request) -> list[Series]:
    """The series of a 2.0 request, in its order."""
    message = message2(request)
    symbols = list(message.symbols)
    found = []
    for series in message.timeseries:
        labels = looked_up(series.labels_refs, symbols)
        samples = [Sample(labels, bits_of(one), one.timestamp, one.start_timestamp) for one in series.samples]
        exemplars = [(looked_up(one.labels_refs, symbols), one.value, one.timestamp) for one in series.exemplars]
        about = About(series.metadata.type, symbols[series.metadata.help_ref], symbols[series.metadata.unit_ref])
        found.append(Series(labels, samples, list(series.histograms), exemplars, about))
    return found


def samples_of(request: Request) -> list[Sample]:
    """The samples of a request of either version."""
    if is_v2(request):
        return [sample for series in series2(request) for sample in series.samples]
    return samples1(request)


def obliging(request: Request, _number: int) -> Answer:
    """A receiver that stores everything, and says so where the protocol asks it to."""
    if not is_v2(request):
        return Answer()
    found = series2(request)
    counts = {
        "Samples": sum(len(series.samples) for series in found),
        "Histograms": sum(len(series.histograms) for series in found),
        "Exemplars": sum(len(series.exemplars) for series in found),
    }
    return Answer(headers=tuple((f"X-Prometheus-Remote-Write-{what}-Written", str(count)) for what, count in counts.items()))


@dataclass(frozen=True)
class Captured:
    """What one run exposed and what came of it."""

    pages: Pages
    received: Mapping[str, Sequence[Request]]
    """By sink, in the order of arrival."""
    unread: Mapping[str, Sequence[Request]]
    """By sink, those whose answer the sender did not read to its end."""
    started_ms: int
    ended_ms: int
    log: str
    metrics: str
    exit_code: int
    """Of the agent, which was told to stop."""

    def requests(self, sink: str = "sink") -> Sequence[Request]:
        """What one sink sent, in the order of arrival."""
        return self.received[sink]

    @cached_property
    def all_samples(self) -> Mapping[str, list[Sample]]:
        """By sink, in the order of arrival; of a run that has ended."""
        return {
            sink: [sample for request in requests for sample in samples_of(request)] for sink, requests in self.received.items()
        }

    @cached_property
    def all_series(self) -> Mapping[str, list[Series]]:
        """The 2.0 series by sink, one entry for each request they were in; of a run that has ended."""
        return {
            sink: [series for request in requests if is_v2(request) for series in series2(request)]
            for sink, requests in self.received.items()
        }

    def samples(self, job: str, name: str = "", sink: str = "sink") -> list[Sample]:
        """What came of one page, in the order of arrival; `name`: of one metric of it."""
        return [one for one in self.all_samples[sink] if belongs(one.labels, job, name)]

    @property
    def was_slow(self) -> bool:
        """Whether a scrape took longer than it may, or about that."""
        times = [one for samples in self.all_samples.values() for one in samples if ("__name__", DURATION) in one.labels]
        return any(one.value > 0.9 * INTERVAL for one in times)

    def series(self, job: str, name: str = "", sink: str = "sink") -> list[Series]:
        """The same as 2.0 series."""
        return [one for one in self.all_series[sink] if belongs(one.labels, job, name)]


def belongs(labels: Pairs, job: str, name: str) -> bool:
    """Whether a series is of this job and, unless that is empty, of this name."""
    return ("job", job) in labels and (not name or ("__name__", name) in labels)


@dataclass(frozen=True)
class Sink:
    """One sink of a run: who answers, and its further options."""

    script: Script = obliging
    options: tuple[tuple[str, Any], ...] = ()

    def with_options(self, **more: Any) -> Sink:
        """The same with further options."""
        return replace(self, options=(*self.options, *more.items()))


V2 = Sink(options=(("protocol", "v2"),))
"""A sink that speaks 2.0 to a receiver that understands it."""


def config_of(pages: Pages, sinks: Mapping[str, dict[str, Any]], interval: float, **agent: Any) -> dict[str, Any]:
    """A configuration that scrapes every page as a job of its own into these sinks."""
    targets = [{"url": f"http://{pages.address}/{name}", "job": name} for name in pages.scrapes]
    own = [{"name": "cipush_.*"}]  # what the agent says of itself is none of the cases' business
    section = {"flush_interval_seconds": interval, "state_dir": "none", "shutdown_grace_seconds": 20, "drop": own, **agent}
    sources = {
        "internal": {"interval_seconds": interval},
        "pages": {"type": "scrape", "interval_seconds": interval, "targets": targets},
    }
    return {"agent": section, "sinks": dict(sinks), "sources": sources}


@contextmanager
def between(
    home: Path, pages: Mapping[str, Page], sinks: Mapping[str, Sink], interval: float = INTERVAL, **agent_section: Any
) -> Iterator[tuple[agents.Agent, Captured]]:
    """A running agent and what was captured so far; it is stopped when the block ends."""
    scripts = {name: sink.script for name, sink in sinks.items()}
    with Pages(pages).serving() as served, receivers(scripts) as listening:
        options = {
            name: {"type": "remote_write", "url": listening[name].url, **dict(sink.options)} for name, sink in sinks.items()
        }
        started = int(time.time() * 1000)
        with agents.agent(home, config_of(served, options, interval, **agent_section)) as agent:
            received = {name: receiver.requests for name, receiver in listening.items()}
            unread = {name: receiver.unread for name, receiver in listening.items()}
            yield agent, Captured(served, received, unread, started, 0, "", "", -1)


def capture(
    home: Path,
    pages: Mapping[str, Page],
    sinks: Mapping[str, Sink],
    done: Callable[[Captured], object],
    what: str,
    **agent_section: Any,
) -> Captured:
    """Run the agent until `done`, stop it as a user would, and wait until it has sent everything.

    Once more where the machine was too slow to answer a scrape within its interval: what the agent then says is another case.
    """
    for number in range(TRIES):
        folder = home / f"run{number}"
        folder.mkdir()
        found = _captured(folder, pages, sinks, done, what, **agent_section)
        if not found.was_slow:
            break
    return found


def _captured(
    home: Path,
    pages: Mapping[str, Page],
    sinks: Mapping[str, Sink],
    done: Callable[[Captured], object],
    what: str,
    **agent_section: Any,
) -> Captured:
    with between(home, pages, sinks, **agent_section) as (agent, so_far):
        eventually(lambda: done(so_far), what)
        metrics = agent.metrics()
        code = agent.process.terminate(25)
        return replace(so_far, ended_ms=_now_ms(), log=agent.process.output(), metrics=metrics, exit_code=code)


def watch(
    home: Path, pages: Mapping[str, Page], sinks: Mapping[str, Sink], done: Callable[[Captured], object], what: str
) -> Captured:
    """Run the agent until `done`: what had arrived by then. How it stops afterwards shows in the exit code only."""
    with between(home, pages, sinks, 2 * INTERVAL, shutdown_grace_seconds=0) as (agent, so_far):
        eventually(lambda: done(so_far), what)
        received = {sink: tuple(requests) for sink, requests in so_far.received.items()}
        log, metrics, ended = agent.process.output(), agent.metrics(), _now_ms()
        code = agent.process.terminate()
        return replace(so_far, received=received, ended_ms=ended, log=log, metrics=metrics, exit_code=code)


def _now_ms() -> int:
    return int(time.time() * 1000)
