"""Real receivers as test fixtures: started on free loopback ports, asked back what they stored.

Each server is a context manager; `conftest.py` makes fixtures of them. A missing binary skips the test
and names the server; with CI=true it fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

READY_SECONDS = 40.0
STOP_SECONDS = 10.0

Found = TypeVar("Found")

_INFINITY = re.compile(r"(?<=[\[,])\+?(-?)Inf(?=[,\]])(?=[^\"]*\],\"timestamps\":)")
"""What VictoriaMetrics writes for an infinity in the values of an export line; JSON parsers want another word."""


def eventually(probe: Callable[[], Found | None], what: str, seconds: float = READY_SECONDS) -> Found:
    """The first truthy answer of `probe`, asked until `seconds` have passed; then the test fails with `what`.

    For what another process does and does not announce; the only place in the suite that passes real time.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def binary(name: str) -> str:
    """The path of a server's binary; without it the test is skipped, or fails where CI=true."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@dataclass(frozen=True)
class Process:
    """A running program, and the file that holds what it printed."""

    popen: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(errors="replace")

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, then the exit code; the test fails when it takes longer than `seconds`."""
        self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running {seconds:g} s after SIGTERM:\n{self.output()}")


@contextmanager
def running(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Iterator[Process]:
    """`argv` as a child process that is gone when the block ends; its output goes to `log`."""
    with log.open("wb") as out:
        popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd)
    try:
        yield Process(popen, log)
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def answers(process: Process, url: str) -> bool:
    """Whether GET `url` is answered 200; fails the test with its output when the process has ended."""
    code = process.popen.poll()
    if code is not None:
        pytest.fail(f"ended with exit code {code} before it was ready:\n{process.output()}")
    try:
        return httpx.get(url, timeout=2.0).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _serving(argv: Sequence[str], url: str, ready_path: str, directory: Path) -> Iterator[Process]:
    name = Path(argv[0]).name
    with running(argv, directory / f"{name}.log", cwd=directory) as process:
        eventually(lambda: answers(process, url + ready_path), f"{name} answers on {url}{ready_path}")
        yield process


@dataclass(frozen=True)
class Series:
    """What a receiver holds of one series."""

    labels: dict[str, str]
    values: list[float]
    timestamps_ms: list[int]

    @property
    def name(self) -> str:
        """The metric name."""
        return self.labels["__name__"]


def _get(url: str, **params: str) -> httpx.Response:
    return httpx.get(url, params=params, timeout=10.0).raise_for_status()


@dataclass(frozen=True)
class VictoriaMetrics:
    """A VictoriaMetrics single node; `url` has no path."""

    url: str
    process: Process

    def export(self, selector: str) -> list[Series]:
        """The raw samples of every series that matches. Bare numbers only: a staleness marker is a NaN."""
        _get(f"{self.url}/internal/force_flush")
        # Without an end it is the present second's beginning, and the newest samples are missing.
        params = {"match[]": selector, "end": f"{time.time() + 3600:.0f}"}
        lines = _get(f"{self.url}/api/v1/export", **params).text.splitlines()
        found = [json.loads(_INFINITY.sub(r"\1Infinity", line)) for line in lines]
        return [
            Series(series["metric"], [float("nan" if v is None else v) for v in series["values"]], series["timestamps"])
            for series in found
        ]

    def rows_invalid(self) -> float:
        """Lines and rows it refused although it answered 204."""
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in _get(f"{self.url}/metrics").text.splitlines()
            if line.startswith("vm_rows_invalid_total")
        )


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus with its remote-write receiver on; `url` has no path."""

    url: str
    process: Process

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result vector of an instant query; `at` in seconds since the epoch, None = now."""
        params = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        result: list[dict[str, Any]] = _get(f"{self.url}/api/v1/query", **params).json()["data"]["result"]
        return result

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The result matrix of a range query; times in seconds since the epoch."""
        params = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        result: list[dict[str, Any]] = _get(f"{self.url}/api/v1/query_range", **params).json()["data"]["result"]
        return result

    def samples(self, selector: str, window: str = "1h") -> list[Series]:
        """The raw samples of the last `window`; Prometheus leaves staleness markers out of such answers."""
        return [
            Series(
                found["metric"],
                [float(value) for _, value in found["values"]],
                [round(float(at) * 1000) for at, _ in found["values"]],
            )
            for found in self.query(f"{selector}[{window}]")
        ]


@dataclass(frozen=True)
class Pushgateway:
    """A Pushgateway; `url` has no path."""

    url: str
    process: Process

    def groups(self) -> list[dict[str, Any]]:
        """Every group: its `labels` and one entry per family, with `type` and `metrics`."""
        data: list[dict[str, Any]] = _get(f"{self.url}/api/v1/metrics").json()["data"]
        return data

    def samples(self, family: str) -> list[Series]:
        """The scalar samples of one family over all groups; without timestamps, it knows none."""
        return [
            Series({"__name__": family, **metric.get("labels", {})}, [float(metric["value"])], [])
            for group in self.groups()
            for metric in group.get(family, {}).get("metrics", ())
        ]


@contextmanager
def victoria_metrics(directory: Path, port: int = 0, *flags: str) -> Iterator[VictoriaMetrics]:
    """VictoriaMetrics with its data below `directory`, and further flags; port 0 takes a free one."""
    port = port or free_port()
    argv = [
        binary("victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={directory / 'vm'}",
        "-search.latencyOffset=0s",
        "-memory.allowedBytes=128MiB",
        "-loggerLevel=WARN",
        *flags,
    ]
    url = f"http://127.0.0.1:{port}"
    with _serving(argv, url, "/health", directory) as process:
        yield VictoriaMetrics(url, process)


@contextmanager
def prometheus(directory: Path, *flags: str, more_config: str = "") -> Iterator[Prometheus]:
    """Prometheus that scrapes nothing, with further flags and lines of configuration."""
    port = free_port()
    config = directory / "prometheus.yml"
    config.write_text(f"global: {{scrape_interval: 1h}}\n{more_config}")
    argv = [
        binary("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--log.level=warn",
        *flags,
    ]
    url = f"http://127.0.0.1:{port}"
    with _serving(argv, url, "/-/ready", directory) as process:
        yield Prometheus(url, process)


@contextmanager
def pushgateway(directory: Path) -> Iterator[Pushgateway]:
    """Pushgateway, in memory."""
    port = free_port()
    argv = [
        binary("prometheus-pushgateway"),
        f"--web.listen-address=127.0.0.1:{port}",
        "--persistence.file=",  # Debian has a default here
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    with _serving(argv, url, "/-/ready", directory) as process:
        yield Pushgateway(url, process)
