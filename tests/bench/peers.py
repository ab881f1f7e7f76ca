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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.bench.arrived import Arrived
from tests.bench.peers_agents import AGENTS, command
from tests.bench.report import Row, show

WINDOWS = {1: 25, 5: 6}
"""Intervals of the steady window by their length in seconds; 2 of any longer: enough ticks of the kernel's clock."""
LINES_PER_TARGET = 100_000


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
    lines = series // targets // 12 * 12
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "received"
        ends = [sys.executable, "-m", "tests.bench.null_receiver", str(series // targets), str(file)]
        with subprocess.Popen(ends, stdout=subprocess.PIPE, text=True) as null:
            assert null.stdout is not None
            url = f"http://127.0.0.1:{null.stdout.readline().strip()}"
            with started(agent, folder, url, url, targets, interval) as running:
                row = watch(psutil.Process(running.pid), url, targets, lines, interval)
                running.terminate()
                running.wait(60)
                scraped = sum(httpx.get(url + "/served").json().values())
            null.kill()
        arrived = Arrived(file)
    return {
        "agent": agent,
        "series": series,
        **row,
        "bytes/sample": arrived.bytes / max(1, arrived.samples),
        "requests": arrived.requests,
        "twice": arrived.samples - arrived.distinct,
        # what was scraped while the agent was told to stop may be given up
        "lost": max(0, (scraped - targets) * lines - arrived.distinct),
    }


@contextmanager
def started(agent: str, folder: Path, url: str, write: str, targets: int, interval: float) -> Iterator[subprocess.Popen[bytes]]:
    """The agent as a process while the block runs; what it said is printed when the block fails."""
    log = folder / "log"
    with log.open("ab") as out:
        argv = command(agent, folder, url, write, targets, interval)
        running = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, "HOME": str(folder)})
        try:
            yield running
        except BaseException:
            sys.stderr.write(log.read_text(errors="replace")[-4000:])
            raise
        finally:
            running.kill()
            running.wait()


def watch(process: psutil.Process, url: str, targets: int, lines: int, interval: float) -> Row:
    """CPU-seconds of the start with two scrapes, and per million samples of the window; the peak of memory after it."""
    window = WINDOWS.get(int(interval), 2)
    until_served(url, targets, 2, 4 * interval + 60)
    time.sleep(interval / 2)
    start, before = cpu(process), sum(httpx.get(url + "/served").json().values())
    time.sleep(window * interval)
    used = cpu(process) - start
    scrapes = sum(httpx.get(url + "/served").json().values()) - before
    return {"CPU-s/M": used / max(1, scrapes) / lines * 1e6, "start CPU-s": start, "peak RSS MiB": peak_mib(process.pid)}


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
    parser.add_argument("--seconds", type=float, help="between two scrapes; default 1, 5 or 45 by the series")
    parser.add_argument("--agent", choices=AGENTS, action="append", help="may be repeated")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    agents, rows = args.agent or list(AGENTS), []
    for series in args.series:
        interval = args.seconds or (1 if series < 50_000 else 5 if series < 500_000 else 45)
        found: dict[str, list[Row]] = {agent: [] for agent in agents}
        for run in range(args.runs):
            for n in range(len(agents)):
                agent = agents[(n + run) % len(agents)]
                found[agent].append(measure(agent, series, float(interval)))
        rows += [median(found[agent]) for agent in agents]
    show(rows, as_json=args.json, bench="peers")


if __name__ == "__main__":
    main()
