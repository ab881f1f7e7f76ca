"""cipush beside its peers: `python -m tests.bench.peers [--series N ...] [--runs 3] [--json]`.

The same work for each agent, alone, in an order that rotates between runs: scrape targets, a fifth of whose rows changes, and
remote-write them to a receiver that does nothing. The steady window is a whole number of intervals, after two scrapes of every
target. Each figure is the median of the runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from agent.model import Encoding
from agent.wire.compress import decompress
from agent.wire.remote_write_pb2 import WriteRequest
from tests.bench.null_receiver import FRAME
from tests.bench.peers_agents import AGENTS, command
from tests.bench.report import Row, show

WINDOW = 3
"""Intervals of the steady window."""
LINES_PER_TARGET = 100_000
MAX_BODY = 1 << 26


def counted(file: Path) -> tuple[int, int, int]:
    """Requests, bytes and samples of the targets' own series that arrived."""
    data = file.read_bytes()
    at = requests = size = samples = 0
    while at + FRAME.size <= len(data):
        encoding, length = FRAME.unpack_from(data, at)
        body = data[at + FRAME.size : at + FRAME.size + length]
        at += FRAME.size + length
        plain = decompress(body, Encoding.ZSTD if encoding == b"zstd" else Encoding.SNAPPY, MAX_BODY)
        requests, size = requests + 1, size + length
        for series in WriteRequest.FromString(plain).timeseries:
            name = next(label.value for label in series.labels if label.name == "__name__")
            samples += len(series.samples) if name.startswith("ci_") else 0
    return requests, size, samples


def until_served(url: str, targets: int, times: int, seconds: float) -> None:
    """Wait until every target was asked that often; TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        served = httpx.get(url + "/served").json()
        if len(served) == targets and min(served.values()) >= times:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the targets were asked {served} within {seconds:g} s, wanted {times} each")
        time.sleep(0.05)


def cpu(process: psutil.Process) -> float:
    """CPU-seconds the process has used, user and system."""
    times = process.cpu_times()
    return float(times.user + times.system)


def peak_mib(pid: int) -> float:
    """The most memory it ever had resident, VmHWM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(agent: str, series: int, interval: float) -> Row:
    """One agent, alone, from its start to its end."""
    targets = max(1, series // LINES_PER_TARGET)
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "received"
        ends = [sys.executable, "-m", "tests.bench.null_receiver", str(series // targets), str(file)]
        with subprocess.Popen(ends, stdout=subprocess.PIPE, text=True) as null:
            assert null.stdout is not None
            url = f"http://127.0.0.1:{null.stdout.readline().strip()}"
            argv = command(agent, folder, url, targets, interval)
            log = (folder / "log").open("wb")
            running = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "HOME": name})
            try:
                row = watch(psutil.Process(running.pid), url, targets, interval)
                running.terminate()
                running.wait(60)
                scraped = sum(httpx.get(url + "/served").json().values()) * (series // targets // 12 * 12)
            finally:
                running.kill()
                running.wait()
                null.kill()
        _, size, samples = counted(file)
    used = row.pop("CPU s")
    assert isinstance(used, float)
    per_million = used / (WINDOW * series) * 1e6
    return {
        "agent": agent,
        "series": series,
        "CPU-s/M": per_million,
        "bytes/sample": size / samples,
        "lost": scraped - samples,
        **row,
    }


def watch(process: psutil.Process, url: str, targets: int, interval: float) -> Row:
    """CPU-seconds of the start with two scrapes, and of the window; the peak of memory after it."""
    until_served(url, targets, 2, 4 * interval + 60)
    time.sleep(interval / 2)
    start = cpu(process)
    time.sleep(WINDOW * interval)
    used = cpu(process) - start
    return {"CPU s": used, "start CPU-s": start, "peak RSS MiB": peak_mib(process.pid)}


def middle(values: list[object]) -> object:
    """The median of numbers; of anything else, the first."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    return statistics.median(numbers) if numbers else values[0]


def median(rows: list[Row]) -> Row:
    """Of each figure."""
    return {key: middle([row[key] for row in rows]) for key in rows[0]}


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="between two scrapes; default 5, 10 or 60 by the series")
    parser.add_argument("--agent", choices=AGENTS, action="append", help="may be repeated")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    agents, rows = args.agent or list(AGENTS), []
    for series in args.series:
        interval = args.seconds or (5 if series < 50_000 else 10 if series < 500_000 else 60)
        found: dict[str, list[Row]] = {agent: [] for agent in agents}
        for run in range(args.runs):
            for n in range(len(agents)):
                agent = agents[(n + run) % len(agents)]
                found[agent].append(measure(agent, series, float(interval)))
        rows += [median(found[agent]) for agent in agents]
    show(rows, as_json=args.json, bench="peers")


if __name__ == "__main__":
    main()
