"""What the pipelines and jobs of a thousand projects cost to read: `python -m tests.bench.gitlab --json`.

A simulated GitLab in a process of its own, every answer after `--latency`, no limit of its own, is read by the agent's
source: a first look, then all that has run since then at once, then polls in each of which 2 % of the projects have one
new pipeline. `exporter_requests` is what gitlab-ci-pipelines-exporter (721b566a, one pipeline a ref in steady polls) would
ask for the same: by its code a list for each ref, and detail, jobs and bridges for each pipeline, whatever has changed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from agent.garbage import Garbage
from agent.model import Poller
from agent.plugin import Context
from agent.sim.gitlab.flat import MONDAY, TOKEN
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.source import GitlabSource
from tests.bench.report import Row, peak_rss_mib, show

SPACING = 600
"""Seconds of the world from one pipeline of a project to its next."""
STEADY = 0.02
POLLS = 3
"""In the last of which projects, refs and merge requests are listed anew; that is one of sixty polls every 30 s."""
PER_PAGE = 100


@dataclass
class Bench:
    """The source, the simulated GitLab it reads, and the time that both believe it is."""

    address: str
    control: httpx.Client
    args: argparse.Namespace
    now: float
    notes: dict[str, str] = field(default_factory=dict)
    cursor: object = None

    def connect(self) -> Poller:
        """The poller of pipelines."""
        options = Options.model_validate(
            {
                "url": self.address,
                "token": TOKEN,
                "wildcards": [{}],
                "use_graphql": not self.args.rest,
                "max_concurrent_requests": self.args.connections,
                **({} if self.args.limits else {"max_requests_per_second": 1e6, "burst_requests_per_second": 1e6}),
            }
        )
        context = Context(lambda: self.now, "cipush", "bench", "bench", recall=lambda _name: self.notes)
        return next(poller for poller in GitlabSource("gitlab", options, context).pollers() if poller.name == "pipelines")

    def move(self, now: float) -> None:
        """Let it be that time, and forget what has been asked."""
        self.now = now
        self.control.post("/_now", params={"to": str(now)}).raise_for_status()
        self.control.post("/_forget").raise_for_status()

    async def poll(self, pipelines: Poller) -> tuple[int, int, float]:
        """(pipelines, jobs) that were counted in one poll, and the seconds until the first of them."""
        began, first, counted = time.perf_counter(), 0.0, {"pipeline": 0, "job": 0}
        again = True
        while again:
            collected = await pipelines.collect(self.cursor)
            if collected.problem:
                raise RuntimeError(collected.problem)
            for observation in collected.observations:
                _, kind, *rest = observation.key.rsplit(":", 2)
                if kind in counted and not (rest and not rest[-1].isdigit()):
                    counted[kind] += 1
            self.notes |= {note.key: note.value for note in collected.notes if note.value is not None}
            self.cursor, again = collected.cursor, collected.again
            if collected.observations and not first:
                first = time.perf_counter() - began
        return counted["pipeline"], counted["job"], first

    async def row(self, name: str, pipelines: Poller, moments: list[float], exporter: int) -> Row:
        """The figures of polls at these moments, mean of one."""
        wall = cpu = first = 0.0
        asked = {"requests": 0, "nodes": 0, "bytes": 0}
        ended = jobs = refused = 0
        for moment in moments:
            self.move(moment)
            began, used = time.perf_counter(), time.process_time()
            counted = await self.poll(pipelines)
            wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - used
            ended, jobs, first = ended + counted[0], jobs + counted[1], max(first, counted[2])
            told = self.control.get("/_requests").json()
            asked = {key: value + told["totals"][key] for key, value in asked.items()}
            refused += sum(each["count"] for each in told["counts"] if each["status"] == 429)
        share = len(moments)
        return {
            "poll": name,
            "projects": self.args.projects,
            "pipelines_counted": round(ended / share),
            "jobs_counted": round(jobs / share),
            "requests": asked["requests"] // share if asked["requests"] % share == 0 else asked["requests"] / share,
            "refused_429": refused,
            "exporter_requests": exporter,
            "nodes": round(asked["nodes"] / share),
            "mib": asked["bytes"] / share / (1 << 20),
            "wall_seconds": wall / share,
            "first_seconds": first,
            "cpu_seconds": cpu / share,
            "peak_rss_mib": peak_rss_mib(),
        }


async def measure(bench: Bench) -> list[Row]:
    """A first look, all of it, and steady polls."""
    args, pipelines = bench.args, bench.connect()
    of_one = 2 + -(-args.jobs // PER_PAGE)  # detail, bridges, pages of jobs
    cold = args.projects * (1 + args.pipelines * of_one)
    begun = MONDAY + args.pipelines * SPACING
    steady = [float(begun + (poll + 1) * SPACING - 1) for poll in range(POLLS)]
    return [
        await bench.row("first look", pipelines, [MONDAY - 60.0], args.projects),
        await bench.row("all of it", pipelines, [begun - 1.0], cold),
        await bench.row("2 % changed", pipelines, steady[:-1], args.projects * (1 + of_one)),
        await bench.row("with the lists of every half hour", pipelines, steady[-1:], args.projects * (1 + of_one)),
    ]


@contextmanager
def simulated(args: argparse.Namespace) -> Iterator[str]:
    """A simulated GitLab, as a process of its own; its address."""
    words = {
        "projects": args.projects,
        "pipelines": args.pipelines,
        "jobs": args.jobs,
        "latency": args.latency,
        "steady": STEADY,
        "rounds": POLLS,
        "speed": 0,
    }
    command = [sys.executable, "-m", "agent.sim.gitlab", *(f"--{name}={value}" for name, value in words.items())]
    command += ["--limits"] * args.limits
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--projects", type=int, default=1_000)
    parser.add_argument("--pipelines", type=int, default=10, help="of each project")
    parser.add_argument("--jobs", type=int, default=50, help="of each pipeline")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds")
    parser.add_argument("--connections", type=int, default=8, help="requests at one time")
    parser.add_argument("--limits", action="store_true", help="gitlab.com's limits there, and the agent's own defaults here")
    parser.add_argument("--rest", action="store_true", help="ask the REST API alone")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    return parser.parse_args()


def main() -> None:
    """The program."""
    args = arguments()
    Garbage().install()
    with simulated(args) as address, httpx.Client(base_url=address, timeout=60, trust_env=False) as control:
        rows: Any = anyio.run(measure, Bench(address, control, args, MONDAY - 60.0))
    show(rows, as_json=args.json, bench="gitlab")
    if not args.json:
        print(json.dumps({"latency": args.latency, "connections": args.connections, "api": "rest" if args.rest else "graphql"}))


if __name__ == "__main__":
    main()
