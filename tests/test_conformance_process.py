"""The sender's process between two lives, beside receivers that only seem to understand 2.0, and its refusals at check."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import agents, servers
from tests.capture import Answer, Pages, Receiver, Request
from tests.conformance import INTERVAL, config_of, obliging, samples1
from tests.servers import eventually

RESERVED = ("Content-Encoding", "content-type", "User-Agent", "X-Prometheus-Remote-Write-Version")
BAD_URLS = ("ftp://127.0.0.1/api/v1/write", "127.0.0.1:9090/api/v1/write", "http:///api/v1/write", "http://127.0.0.1:99999/")


@dataclass
class Deadly:
    """Stores nothing at first; then stores one request and ends the sender before it can have read the answer; then well."""

    kill: Callable[[], None]
    armed: threading.Event = field(default_factory=threading.Event)
    fatal: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, number: int) -> Answer:
        if not self.armed.is_set():
            return Answer(503)
        if not self.fatal:
            self.fatal.append(request)
            self.kill()
        return obliging(request, number)


def test_killed_between_the_answer_and_its_acknowledgement_only_identical_duplicates(tmp_path: Path) -> None:
    running: list[agents.Agent] = []
    deadly = Deadly(lambda: running[0].process.popen.kill())
    with Pages({"page": lambda n: f"test_metric {n}\n"}).serving() as pages, Receiver(deadly).serving() as receiver:
        sink = {"type": "remote_write", "url": receiver.url, "queue": {"fsync_interval_seconds": 0.1}}
        config = config_of(pages, {"sink": sink}, INTERVAL, state_dir=str(tmp_path / "state"))
        with agents.agent(tmp_path, config) as first:
            running.append(first)
            synced = lambda: first.get("/api/status").json()["sinks"][0]["synced_flush"]  # noqa: E731
            eventually(synced, "a flush is synced while the receiver is down")
            deadly.armed.set()
            first.process.popen.wait(20)
        [fatal] = deadly.fatal
        place = receiver.requests.index(fatal)
        with agents.agent(tmp_path, config):
            repeated = lambda: [one for one in receiver.requests[place + 1 :] if one.body == fatal.body]  # noqa: E731
            eventually(repeated, "the block comes again after the restart")
            fresh = lambda: max_value(receiver.requests) >= pages.scrapes["page"] - 2  # noqa: E731
            eventually(fresh, "the backlog is sent, and fresh samples after it")
        stored = receiver.requests[place:]

    assert [one.body for one in stored].count(fatal.body) == 2
    values: dict[tuple[Any, int], int] = {}
    for sample in [sample for request in stored for sample in samples1(request)]:
        assert values.setdefault((sample.labels, sample.timestamp_ms), sample.bits) == sample.bits


def max_value(requests: list[Request]) -> float:
    """The newest count that has arrived."""
    found = [sample for request in list(requests) for sample in samples1(request)]
    return max((sample.value for sample in found if ("__name__", "test_metric") in sample.labels), default=-1)


@contextmanager
def sending(home: Path, url: str) -> Iterator[Pages]:
    """The agent sends a page's count to `url` in version 2.0 while the block runs."""
    with ExitStack() as stack:
        pages = stack.enter_context(Pages({"fallback": lambda n: f"test_metric {n}\n"}).serving())
        sink = {"type": "remote_write", "url": f"{url}/api/v1/write", "protocol": "v2"}
        stack.enter_context(agents.agent(home, config_of(pages, {"sink": sink}, INTERVAL)))
        yield pages


def counts(found: list[servers.Series]) -> list[float]:
    """The values of the one series there is, from the first scrape on without a gap."""
    [series] = found
    assert series.values == [float(i) for i in range(len(series.values))]
    return series.values


def test_prometheus_that_answers_204_to_2_0_gets_every_sample_by_1_0(prometheus: servers.Prometheus, tmp_path: Path) -> None:
    with sending(tmp_path, prometheus.url) as pages:
        eventually(lambda: pages.scrapes["fallback"] > 8, "some scrapes")
        found = eventually(lambda: prometheus.samples('test_metric{job="fallback"}'), "Prometheus holds the series")

    assert len(counts(found)) > 4


def test_victoria_metrics_that_answers_204_to_2_0_gets_every_sample_by_1_0(
    victoria_metrics: servers.VictoriaMetrics, tmp_path: Path
) -> None:
    with sending(tmp_path, victoria_metrics.url) as pages:
        eventually(lambda: pages.scrapes["fallback"] > 8, "some scrapes")
        found = eventually(lambda: victoria_metrics.export('test_metric{job="fallback"}'), "VictoriaMetrics holds the series")

    assert len(counts(found)) > 4


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What `cipush check` says of sinks that break the rules, each in its way."""
    home = tmp_path_factory.mktemp("check")
    good = "http://127.0.0.1:9090/api/v1/write"
    sinks = {f"header{i}": {"type": "remote_write", "url": good, "headers": {name: "mine"}} for i, name in enumerate(RESERVED)}
    sinks |= {f"url{i}": {"type": "remote_write", "url": url} for i, url in enumerate(BAD_URLS)}
    sinks["good"] = {"type": "remote_write", "url": good, "headers": {"X-Scope-OrgID": "me"}}
    file = home / "cipush.json"
    file.write_text(json.dumps({"agent": {"state_dir": "none"}, "sinks": sinks}))
    argv = [*agents.COMMAND, "check", "--config", str(file)]
    return subprocess.run(argv, env=agents.clean_env(home), cwd=home, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", range(len(RESERVED)), ids=RESERVED)
def test_a_reserved_header_is_refused_at_check(number: int, refused: subprocess.CompletedProcess[str]) -> None:
    said = [line for line in refused.stderr.splitlines() if f"sinks.header{number}" in line]
    assert refused.returncode == 78
    assert f"{RESERVED[number]} is set by cipush itself".lower() in "".join(said).lower()


@pytest.mark.parametrize("number", range(len(BAD_URLS)), ids=BAD_URLS)
def test_an_invalid_address_is_refused_at_check(number: int, refused: subprocess.CompletedProcess[str]) -> None:
    assert f"sinks.url{number}.url" in refused.stderr


def test_another_header_is_fine_at_check(refused: subprocess.CompletedProcess[str]) -> None:
    assert "sinks.good" not in refused.stderr
