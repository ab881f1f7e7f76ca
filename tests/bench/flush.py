"""What a flush costs: `python -m tests.bench.flush [--series N] [--dataset D] [--protocol P] [--json]`.

Each row is a process of its own (peak RSS). The path is the real one, from updates to the bytes handed to
the HTTP transport: store, flusher, lane, sink, httpx; only the socket is missing. 20 % of the rows change before each
flush, every page is sent. CPU-seconds are of the whole process, garbage collection included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from random import Random

import anyio
import httpx
import psutil
from anyio.lowlevel import checkpoint

from agent.backoff import Hosts
from agent.deliver import Lane
from agent.flush import Flusher
from agent.garbage import Garbage
from agent.model import Collected
from agent.plugin import Context, Policy
from agent.selfmon import SelfMonitor
from agent.sinks import remote_write, vm_import
from agent.spool.memory import MemoryQueue
from agent.store.encode import LabelRules
from agent.store.store import Limits, Store
from tests.bench.datasets import DATASETS, births, changes
from tests.bench.report import peak_rss_mib, show

SINKS = {"remote_write": (remote_write, "/api/v1/write"), "import": (vm_import, "/api/v1/import")}
FLUSHES = 3
TICK_SECONDS = 0.005
WALL = 1_790_000_000.0


class Sent:
    """Counts what reaches the transport."""

    def __init__(self) -> None:
        self.bytes = 0
        self.requests = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bytes += len(request.content)
        self.requests += 1
        return httpx.Response(204, stream=httpx.ByteStream(b""))


async def ticker(lateness: list[float]) -> None:
    """How late a 5 ms timer is: what every other task of the agent feels."""
    while True:
        due = anyio.current_time() + TICK_SECONDS
        await anyio.sleep_until(due)
        lateness.append(anyio.current_time() - due)


async def measure(series: int, dataset: str, protocol: str) -> dict[str, object]:
    """One store, born and flushed."""
    Garbage().install()
    data = DATASETS[dataset](series)
    wall = [WALL]
    sent = Sent()
    store = Store(Limits(max_series=2 * series, max_bytes=4 << 30))
    monitor = SelfMonitor()
    flusher = Flusher(store, monitor, lambda: wall[0], interval=15, heartbeat=0, max_future=300)
    module, path = SINKS[protocol]
    context = Context(clock=lambda: wall[0], job="cipush", instance="bench-1", user_agent="cipush/bench")
    sink = module.build("bench", module.Options(url="http://127.0.0.1:1" + path), context, transport=httpx.MockTransport(sent))
    lane = Lane("bench", sink, MemoryQueue(1 << 30), Policy(), monitor, lambda: wall[0], Random(1), Hosts())
    flusher.attach(lane, module.PROTOCOL, module.ENCODING, LabelRules({"job": "cipush", "instance": "bench-1"}))
    feed = store.add_feed("bench")
    born_cpu = 0.0
    for step in births(data):
        at = time.process_time()
        store.apply(feed, Collected(step), wall[0], 15)
        born_cpu += time.process_time() - at
    flush_cpu = apply_cpu = 0.0
    lateness: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lane.run)
        await flusher.flush()
        await lane.drained()
        sent.bytes = sent.requests = 0
        tasks.start_soon(ticker, lateness)
        for flush in range(1, FLUSHES + 1):
            wall[0] += 15
            for step in changes(data, flush, wall[0]):
                at = time.process_time()
                store.apply(feed, Collected(step), wall[0], 15)
                apply_cpu += time.process_time() - at
                await checkpoint()
            at = time.process_time()
            await flusher.flush()
            await lane.drained()
            flush_cpu += time.process_time() - at
        tasks.cancel_scope.cancel()
    samples = store.total_series * FLUSHES
    return {
        "dataset": dataset,
        "protocol": protocol,
        "series": store.total_series,
        "birth us/series": born_cpu / store.total_series * 1e6,
        "update us/row": apply_cpu / (data.rows * 0.2 * FLUSHES) * 1e6,
        "flush CPU-s/M samples": flush_cpu / samples * 1e6,
        "bytes/sample": sent.bytes / samples,
        "requests/flush": sent.requests / FLUSHES,
        "ticker late ms": max(lateness) * 1000,
        "RSS MiB": psutil.Process().memory_info().rss / (1 << 20),
        "peak RSS MiB": peak_rss_mib(),
    }


def main() -> None:
    """One row a process, then all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, action="append")
    parser.add_argument("--dataset", choices=DATASETS, action="append")
    parser.add_argument("--protocol", choices=SINKS, action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    rows = []
    for dataset in args.dataset or list(DATASETS):
        for protocol in args.protocol or list(SINKS):
            for series in args.series or [10_000, 100_000, 1_000_000]:
                if args.one:
                    print(json.dumps(anyio.run(measure, series, dataset, protocol)))
                    return
                words = ["--one", "--series", str(series), "--dataset", dataset, "--protocol", protocol]
                done = subprocess.run(
                    [sys.executable, "-m", "tests.bench.flush", *words], check=True, stdout=subprocess.PIPE, text=True
                )
                rows.append(json.loads(done.stdout))
    show(rows, as_json=args.json, bench="flush")


if __name__ == "__main__":
    main()
