"""A burst of webhook deliveries: `python -m tests.bench.webhook [--deliveries N] [--connections C] [--body json|form] [--json]`.

The agent as a process, on one core where the system can hold it there, with its ledger on disk; a second process delivers over
kept connections, each as fast as it is answered. Afterwards every job and every run must be in the agent's totals.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.agents import Agent, agent
from tests.bench.github_payloads import completed_jobs, completed_runs
from tests.bench.peers import cpu, peak_mib
from tests.bench.report import Row, show

SECRET = "the secret of a benchmark"
CONFIG = {
    "sources": {"github": {"webhook": {"secret": SECRET}, "labels": {"strip_matrix": False}}},
    "log": {"level": "warning"},
}
SETTLE_SECONDS = 1.0
"""Between the start and the burst."""


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on this core alone, where the system knows that and has more than one."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def total(metrics: str, name: str) -> float:
    """The sum of a family's samples on a metrics page."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", metrics, re.MULTILINE))


def burst(port: str, deliveries: int, connections: int, body: str) -> dict[str, object]:
    """What the delivering process tells of it."""
    argv = [sys.executable, "-m", "tests.bench.deliver", port, "/webhook/github", str(deliveries), str(connections), body]
    with on_core(1):
        told = subprocess.run(argv, input=SECRET + "\n", stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, object] = json.loads(told)
    return found


def measure(deliveries: int, connections: int, body: str) -> Row:
    """One burst at an agent of its own."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        with on_core(0):
            running = stack.enter_context(agent(Path(name), CONFIG))
        return _measured(running, deliveries, connections, body)


def _measured(running: Agent, deliveries: int, connections: int, body: str) -> Row:
    time.sleep(SETTLE_SECONDS)
    process = psutil.Process(running.process.popen.pid)
    before = cpu(process)
    told = burst(running.url.rpartition(":")[2], deliveries, connections, body)
    used = cpu(process) - before
    codes, seconds = told["codes"], told["seconds"]
    assert isinstance(codes, dict)
    assert isinstance(seconds, float)
    metrics = running.metrics()
    expected = {"github_job_run_total": completed_jobs(deliveries), "github_workflow_run_total": completed_runs(deliveries)}
    return {
        "deliveries": deliveries,
        "connections": connections,
        "body": body,
        "bytes each": told["bytes"],
        "a second": deliveries / seconds,
        **{key: value for key, value in told.items() if key.endswith(" ms")},
        "not 202": deliveries - codes.get("202", 0),
        "5xx": sum(count for code, count in codes.items() if code.startswith("5")),
        "lost": sum(abs(count - total(metrics, name)) for name, count in expected.items()),
        "CPU us each": used / deliveries * 1e6,
        "peak RSS MiB": peak_mib(process.pid),
    }


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, action="append", help="default 10000; may be repeated")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--body", choices=("json", "form"), action="append", help="may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    args = parser.parse_args()
    rows = [
        measure(count, args.connections, body) for body in args.body or ("json", "form") for count in args.deliveries or [10_000]
    ]
    show(rows, as_json=args.json, bench="webhook")


if __name__ == "__main__":
    main()
