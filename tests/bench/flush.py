"""What a flush costs: `python -m tests.bench.flush [--series N] [--dataset D] [--protocol P] [--json]`.

Each row is a process of its own (peak RSS). The path is the real one, from updates to the bytes handed to
the HTTP transport: store, flusher, lane, sink, httpx; only the socket is missing. 20 % of the rows change before each
flush, every page is sent. CPU-seconds are of the whole process, garbage collection included.
"""

from __future__ import annotations

import time

import anyio
import psutil
from anyio.lowlevel import checkpoint

from agent.model import Collected
from tests.bench.datasets import DATASETS, changes
from tests.bench.report import Row, peak_rss_mib, run
from tests.bench.rig import INTERVAL_SECONDS, SINKS, Rig, ticker

FLUSHES = 3


async def measure(series: int, dataset: str, protocol: str) -> Row:
    """One store, born and flushed."""
    data = DATASETS[dataset](series)
    rig = Rig(series, protocol)
    born_cpu = rig.fill(data)
    flush_cpu = apply_cpu = 0.0
    lateness: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.lane.run)
        await rig.flush()
        rig.sent.reset()
        tasks.start_soon(ticker, lateness)
        for flush in range(1, FLUSHES + 1):
            rig.wall += INTERVAL_SECONDS
            for step in changes(data, flush, rig.wall):
                at = time.process_time()
                rig.store.apply(rig.feed, Collected(step), rig.wall, INTERVAL_SECONDS)
                apply_cpu += time.process_time() - at
                await checkpoint()
            at = time.process_time()
            await rig.flush()
            flush_cpu += time.process_time() - at
        tasks.cancel_scope.cancel()
    live = rig.store.total_series
    return {
        "dataset": dataset,
        "protocol": protocol,
        "series": live,
        "birth us/series": born_cpu / live * 1e6,
        "update us/row": apply_cpu / (data.rows * 0.2 * FLUSHES) * 1e6,
        "flush CPU-s/M samples": flush_cpu / (live * FLUSHES) * 1e6,
        "bytes/sample": rig.sent.bytes / (live * FLUSHES),
        "requests/flush": rig.sent.requests / FLUSHES,
        "ticker late ms": max(lateness) * 1000,
        "RSS MiB": psutil.Process().memory_info().rss / (1 << 20),
        "peak RSS MiB": peak_rss_mib(),
    }


if __name__ == "__main__":
    run("flush", __doc__, measure, {"dataset": DATASETS, "protocol": SINKS})
