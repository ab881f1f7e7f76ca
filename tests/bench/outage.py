"""An outage of the receiver: `python -m tests.bench.outage [--series N ...] [--seconds S] [--kill] [--agent A] [--json]`.

One target is scraped every 5 seconds and remote-written. In the middle the receiver is gone for S seconds (connections are
refused) while scrapes go on; with `--kill` the agent is killed (`kill -9`) half way through that and started again. What was
scraped and never arrived is lost. Each agent runs alone.
"""

from __future__ import annotations

import argparse
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
from tests.bench.peers import cpu, peak_mib, started, until_served
from tests.bench.peers_agents import AGENTS
from tests.bench.report import Row, show
from tests.servers import free_port

INTERVAL = 5.0
AFTER_SECONDS = 30.0
"""Given to the drain."""


@contextmanager
def null(lines: int, file: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A null receiver that listens while the block runs."""
    argv = [sys.executable, "-m", "tests.bench.null_receiver", str(lines), str(file), str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def disk_mib(folder: Path) -> float:
    """What the agents keep below: cipush's state, vmagent's queue, Prometheus' log."""
    total = 0
    for path in (path for kept in ("state", "queue", "wal") for path in (folder / kept).rglob("*")):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # gone meanwhile
            continue
    return total / (1 << 20)


def scrapes(targets: str) -> int:
    """How often the target was asked."""
    return int(sum(httpx.get(targets + "/served").json().values()))


def measure(agent: str, series: int, seconds: float, kill: bool) -> Row:
    """One agent through one outage."""
    lines = series // 12 * 12
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "received"
        served, port = free_port(), free_port()
        targets, write = f"http://127.0.0.1:{served}", f"http://127.0.0.1:{port}"
        with null(series, folder / "unused", served):
            with null(series, file, port), started(agent, folder, targets, write, 1, INTERVAL) as first:
                until_served(targets, 1, 3, 120)
                time.sleep(INTERVAL / 2)
                gone = time.time()
                row = through(agent, folder, targets, write, first, (series, file, port), seconds, kill)
                asked = scrapes(targets)
            arrived = Arrived(file)
        back = row.pop("back")
        assert isinstance(back, float)
    late = [(arrival, stamp) for arrival, stamp in zip(arrived.arrivals, arrived.stamps, strict=True) if stamp / 1000 < back]
    drained = [arrival for arrival, stamp in late if arrival >= back and stamp / 1000 >= gone]
    begun, ended = min(drained, default=float("nan")), max(drained, default=float("nan"))
    return {
        "agent": agent,
        "series": series,
        "outage s": seconds,
        "killed": kill,
        # the scrapes of the agent's end, and those it was killed in, never became samples
        "lost": max(0, (asked - 1 - kill) * lines - arrived.distinct),
        "twice": arrived.samples - arrived.distinct,
        "drain begins s": begun - back,
        "drain M samples/s": len(drained) / max(0.01, ended - begun) / 1e6,
        **row,
    }


def through(
    agent: str,
    folder: Path,
    targets: str,
    write: str,
    first: subprocess.Popen[bytes],
    receiver: tuple[int, Path, int],
    seconds: float,
    kill: bool,
) -> Row:
    """The outage itself: the receiver that `measure` started is killed here, and another one takes its place."""
    for process in psutil.process_iter(["cmdline"]):
        if str(receiver[1]) in (process.info["cmdline"] or ()):
            process.kill()
    time.sleep(seconds / 2)
    if kill:
        first.kill()
        first.wait()
        with started(agent, folder, targets, write, 1, INTERVAL) as second:
            return rest(folder, second, receiver, seconds)
    return rest(folder, first, receiver, seconds)


def rest(folder: Path, agent: subprocess.Popen[bytes], receiver: tuple[int, Path, int], seconds: float) -> Row:
    """The second half of the outage, the drain, and the stop."""
    time.sleep(seconds / 2)
    process = psutil.Process(agent.pid)
    disk, before = disk_mib(folder), cpu(process)
    back = time.time()
    with null(*receiver):
        time.sleep(AFTER_SECONDS)
        used, peak = cpu(process) - before, peak_mib(agent.pid)
        agent.terminate()
        agent.wait(60)
    return {"back": back, "disk MiB": disk, "peak RSS MiB": peak, "CPU s of the drain": used}


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the receiver is gone")
    parser.add_argument("--kill", action="store_true", help="kill -9 the agent in the middle, and start it again")
    parser.add_argument("--agent", choices=AGENTS, action="append", help="may be repeated")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(agent, series, args.seconds, args.kill) for series in args.series for agent in (args.agent or list(AGENTS))]
    show(rows, as_json=args.json, bench="outage")


if __name__ == "__main__":
    main()
