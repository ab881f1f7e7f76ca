"""What scraping costs: `python -m tests.bench.scrape [--series N] [--dataset D] [--json]`.

Each row is a process of its own (peak RSS), which scrapes a target in another process over the loopback. The path is
the real one, from the poll loop to the bytes handed to the sink's HTTP transport: client, reader, store, flusher, lane,
sink. 20 % of the rows change between two scrapes, every page is sent. CPU-seconds are of the whole agent process.
"""

from __future__ import annotations

import statistics
import sys
import time

import anyio
import psutil
from anyio.streams.buffered import BufferedByteReceiveStream

from agent.poll import PollLoop
from agent.sources.scrape import Options, build
from tests.bench.datasets import DATASETS
from tests.bench.report import Row, peak_rss_mib, run
from tests.bench.rig import INTERVAL_SECONDS, Rig, ticker
from tests.core import Uncounted

SCRAPES = 5
PATIENCE_SECONDS = 120.0
"""Interval and timeout: a first scrape of a million lines takes a while, and is not what is measured."""
MAX_BYTES = 1 << 30


def scraper(rig: Rig, port: str) -> PollLoop:
    """The poll loop of one target."""
    target = {"url": f"http://127.0.0.1:{port}/metrics", "timeout_seconds": PATIENCE_SECONDS, "max_bytes": MAX_BYTES}
    options = Options.model_validate({"type": "scrape", "interval_seconds": PATIENCE_SECONDS, "targets": [target]})
    poller = build("bench", options, rig.context).pollers()[0]
    return PollLoop(rig.store, rig.feed, poller, rig.flusher, Uncounted(), rig.monitor, rig.clock)


async def scrape(rig: Rig, loop: PollLoop) -> float:
    """CPU-seconds of one scrape and its remote-write, until the last block was answered."""
    rig.wall += INTERVAL_SECONDS
    at = time.process_time()
    assert await loop.collect(), loop.last_error
    await rig.lane.drained()
    return time.process_time() - at


async def measure(series: int, dataset: str) -> Row:
    """One target, scraped for the first time and then again and again."""
    rig = Rig(series, "remote_write")
    target = [sys.executable, "-m", "tests.bench.target", str(series), dataset]
    lateness: list[float] = []
    async with await anyio.open_process(target, stderr=None) as process, anyio.create_task_group() as tasks:
        assert process.stdout is not None
        port = (await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 20)).decode()
        loop = scraper(rig, port)
        tasks.start_soon(rig.lane.run)
        tasks.start_soon(ticker, lateness)
        first = await scrape(rig, loop)
        first_late, filled = max(lateness), peak_rss_mib()
        lateness.clear()
        rig.sent.reset()
        seconds = [await scrape(rig, loop) for _ in range(SCRAPES)]
        tasks.cancel_scope.cancel()
        process.kill()
    live = rig.store.total_series
    return {
        "dataset": dataset,
        "series": live,
        "first CPU-s/M": first / live * 1e6,
        "CPU-s/M samples": statistics.fmean(seconds) / live * 1e6,
        "slowest CPU-s/M": max(seconds) / live * 1e6,
        "bytes/sample": rig.sent.bytes / (live * SCRAPES),
        "first ticker late ms": first_late * 1000,
        "ticker late ms": max(lateness) * 1000,
        "RSS MiB": psutil.Process().memory_info().rss / (1 << 20),
        "first peak RSS MiB": filled,
        "peak RSS MiB": peak_rss_mib(),
    }


if __name__ == "__main__":
    run("scrape", __doc__, measure, {"dataset": DATASETS})
