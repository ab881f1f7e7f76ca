"""What `/metrics` costs: `python -m tests.bench.exposition [--series N] [--dataset D] [--json]`.

Each row is a process of its own (peak RSS), which serves a client in another process over the loopback: store, view,
web application, uvicorn, socket. CPU-seconds are of the serving process for one answer, the median of three. A last
answer is rendered while an interval flush takes place, and the flush is timed beside one that has the agent for itself.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from agent.runtime import Runtime
from agent.secret import Secret
from agent.view import AgentView
from agent.web.app import make_app
from agent.web.server import serve
from tests.bench.datasets import DATASETS
from tests.bench.report import Row, peak_rss_mib, run
from tests.bench.rig import INTERVAL_SECONDS, Rig, ticker

ANSWERS = 3
TEXT = "text/plain"
FORMATS = {
    "text": (TEXT, "identity"),
    "text gzip": (TEXT, "gzip"),
    "OpenMetrics": ("application/openmetrics-text", "identity"),
    "OpenMetrics gzip": ("application/openmetrics-text", "gzip"),
}
FLUSH_AFTER_SECONDS = 0.02


class Client:
    """The other process."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asks = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def ask(self, accept: str, encoding: str) -> tuple[int, float, float]:
        """Bytes, seconds to the first and to the last of them."""
        await self._asks.send(f"{accept}\t{encoding}\n".encode())
        size, first, last = (await self._answers.receive_until(b"\n", 200)).split()
        return int(size), float(first), float(last)


async def timed_flush(rig: Rig, after: float, seconds: list[float]) -> None:
    """One flush, begun `after` seconds from now; notes how long after that its last block was handed over."""
    due = anyio.current_time() + after
    await anyio.sleep_until(due)
    rig.wall += INTERVAL_SECONDS
    await rig.flusher.flush()
    seconds.append(anyio.current_time() - due)


async def costs(client: Client) -> tuple[Row, Row]:
    """CPU-seconds and megabytes of one answer in each format."""
    cpu: Row = {}
    size: Row = {}
    for name, (accept, encoding) in FORMATS.items():
        seconds = []
        for _ in range(ANSWERS):
            at = time.process_time()
            taken, _, _ = await client.ask(accept, encoding)
            seconds.append(time.process_time() - at)
        cpu[f"{name} CPU s"] = statistics.median(seconds)
        size[f"{name} MB"] = taken / 1e6
    return cpu, size


async def measure(series: int, dataset: str) -> Row:
    """One store, born, flushed once and rendered."""
    rig = Rig(series, "remote_write")
    rig.fill(DATASETS[dataset](series))
    # the view asks nothing else of the runtime for an exposition
    view = AgentView(cast("Runtime", SimpleNamespace(store=rig.store)))
    lateness: list[float] = []
    alone: list[float] = []
    beside: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.lane.run)
        await rig.flush()
        filled = peak_rss_mib()
        address = await tasks.start(serve, make_app(view, rig.monitor, Secret("")), "127.0.0.1:0")
        command = [sys.executable, str(Path(__file__).with_name("client.py")), address.rpartition(":")[2]]
        async with await anyio.open_process(command) as process:
            client = Client(process)
            await client.ask(TEXT, "identity")
            tasks.start_soon(ticker, lateness)
            cpu, size = await costs(client)
            await timed_flush(rig, 0.0, alone)
            await rig.lane.drained()
            async with anyio.create_task_group() as both:
                both.start_soon(timed_flush, rig, FLUSH_AFTER_SECONDS, beside)
                _, first, last = await client.ask(TEXT, "identity")
            process.terminate()
        tasks.cancel_scope.cancel()
    return {
        "dataset": dataset,
        "series": rig.store.total_series,
        **cpu,
        **size,
        "first byte ms": first * 1000,
        "last byte s": last,
        "flush alone s": alone[0],
        "flush beside s": beside[0],
        "ticker late ms": max(lateness) * 1000,
        "peak RSS before MiB": filled,
        "peak RSS MiB": peak_rss_mib(),
    }


if __name__ == "__main__":
    run("exposition", __doc__, measure, {"dataset": DATASETS})
