"""The agent as a process beside a simulated GitHub and a real VictoriaMetrics: what it stored against what happened."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import anyio
import httpx

from agent.sim.github import world
from agent.sim.github.faults import Shipment
from agent.sim.github.sender import Sender
from agent.sim.github.truth import Key
from agent.sim.github.truth import truth as truth_of
from tests import servers
from tests.agents import COMMAND, clean_env, with_listener

SECRET = "It's a secret"
WINDOW = "6h"
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
NOT_COUNTED = "job_cost|jobs.*|workflow_runs|webhook.*|events_ignored.*|invalid.*|api.*"
"""Metrics of the source, without its prefix, that the ledger does not feed."""
DAY = 86_400
CONNECTIONS = 16
HASTE = 300.0
STARTED_SECONDS = 8
"""Until the hasty world begins: the agent runs by then, for what was before its first start does not count."""
ANSWER_SECONDS = 300.0
"""For a question about a million series."""
SHOWN_SECONDS = 15.0
"""VictoriaMetrics shows what it has taken a second or two later."""


Bounds = Sequence[float] | Callable[[str], Sequence[float]]
"""Those of every histogram, or of the family of that name."""


class Totals(Protocol):
    """What a world knows of itself."""

    counters: dict[Key, float]
    histograms: dict[Key, list[float]]


def recent(seed: int, *, repositories: int, jobs: int) -> world.World:
    """A day of an organisation that has just ended."""
    return world.build(seed, start=int(time.time()) - 2 * DAY, seconds=DAY // 2, repositories=repositories, jobs=jobs)


def configured(receiver: servers.VictoriaMetrics, state: Path, **source: Any) -> dict[str, Any]:
    """An agent that sends what it counts to `receiver`."""
    github = {"type": "github", "webhook": {"secret": SECRET}} | source
    return {
        "agent": {
            "job": "ci",
            "instance": "one",
            "flush_interval_seconds": 1,
            "state_dir": str(state),
            "shutdown_grace_seconds": 20,
        },
        "sinks": {"vm": {"type": "remote_write", "url": f"{receiver.url}/api/v1/write", "receiver": "victoriametrics"}},
        "sources": {"github": github},
        "log": {"format": "text"},
    }


@dataclass
class Lives:
    """One agent's state directory and address, and the processes that come and go."""

    home: Path
    config: Mapping[str, Any]
    address: str = field(default_factory=lambda: f"127.0.0.1:{servers.free_port()}")

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://{self.address}"

    @contextmanager
    def life(self) -> Iterator[servers.Process]:
        """One process, from ready on; terminated in order unless it was killed."""
        file = self.home / "cipush.json"
        file.write_text(json.dumps(with_listener(self.config, self.address)))
        with servers.running([*COMMAND, "run", "--config", str(file)], self.home / "cipush.log", clean_env(self.home)) as process:
            servers.eventually(lambda: servers.answers(process, self.url + "/ready"), "cipush is ready")
            yield process


class Progress:
    """How many were taken."""

    def __init__(self) -> None:
        self.count = 0
        self._wanted: tuple[int, anyio.Event] | None = None

    def step(self) -> None:
        """One more."""
        self.count += 1
        if self._wanted is not None and self.count >= self._wanted[0]:
            self._wanted[1].set()

    async def reach(self, count: int) -> None:
        """Wait until it is so many."""
        if self.count < count:
            self._wanted = (count, anyio.Event())
            await self._wanted[1].wait()


async def deliver(url: str, sender: Sender, shipments: Sequence[Shipment], progress: Progress) -> None:
    """Post every shipment until it was taken, as somebody does who redelivers what failed; counts them in `progress`."""
    left = iter(shipments)

    async def work(client: httpx.AsyncClient) -> None:
        for shipment in left:
            sent = sender.request(shipment)
            while not await _taken(client, url, sent.body, dict(sent.headers)):  # noqa: ASYNC110  another process has no events
                await anyio.sleep(0.05)
            progress.step()

    async with httpx.AsyncClient(timeout=30.0) as client, anyio.create_task_group() as tasks:
        for _ in range(CONNECTIONS):
            tasks.start_soon(work, client)


async def _taken(client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        return (await client.post(f"{url}/webhook/github", content=body, headers=headers)).status_code == httpx.codes.ACCEPTED
    except httpx.HTTPError:
        return False


def delivered(lives: Lives, sender: Sender, shipments: Sequence[Shipment], kills: int, random: Random) -> None:
    """Deliver everything while the agent is killed so many times; at the end it stops in order."""
    moments = sorted(random.randrange(1, len(shipments)) for _ in range(kills))
    progress = Progress()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliver, lives.url, sender, shipments, progress)
            for moment in moments:
                with lives.life() as process:
                    await progress.reach(moment)
                    process.popen.kill()
            with lives.life() as process:
                await progress.reach(len(shipments))
                await anyio.to_thread.run_sync(process.terminate)

    anyio.run(main)


def stored(receiver: servers.VictoriaMetrics, expression: str, prefix: str, others: str) -> dict[Key, float]:
    """What a query with METRIC for the metric says of everything of the source, job and instance left out."""
    selector = f'{{__name__=~"{prefix}.+",__name__!~"{prefix}({others})"}}'
    query = {"query": f"{expression.replace('METRIC', selector)} keep_metric_names", "time": str(int(time.time()) + 1)}
    httpx.get(f"{receiver.url}/internal/force_flush", timeout=ANSWER_SECONDS).raise_for_status()
    answer = httpx.get(f"{receiver.url}/api/v1/query", params=query, timeout=ANSWER_SECONDS).raise_for_status().json()
    found = {}
    for series in answer["data"]["result"]:
        labels = {name: value for name, value in series["metric"].items() if name not in ("__name__", "job", "instance")}
        found[series["metric"]["__name__"].removeprefix(prefix), tuple(sorted(labels.items()))] = float(series["value"][1])
    return found


def expected(truth: Totals, bounds: Bounds) -> dict[Key, float]:
    """The world's own totals, series by series as they are sent."""
    found = dict(truth.counters)
    for (family, labels), row in truth.histograms.items():
        of_family = bounds(family) if callable(bounds) else bounds
        for bound, count in zip([*of_family, math.inf], row, strict=False):
            le = "+Inf" if bound == math.inf else f"{bound:g}"
            found[f"{family}_bucket", tuple(sorted((*labels, ("le", le))))] = count
        found[f"{family}_count", labels], found[f"{family}_sum", labels] = row[-2], row[-1]
    return found


def differences(mine: Mapping[Key, float], true: Mapping[Key, float]) -> list[str]:
    """Every series that is not as it should be; a series that is not there counts as 0."""
    return sorted(
        f"{key}: {mine.get(key, 0.0)} instead of {true.get(key, 0.0)}"
        for key in mine.keys() | true.keys()
        if not math.isclose(mine.get(key, 0.0), true.get(key, 0.0), rel_tol=1e-6, abs_tol=1e-9)
    )


def proven(
    receiver: servers.VictoriaMetrics, truth: Totals, bounds: Bounds, prefix: str = "github_", others: str = NOT_COUNTED
) -> list[str]:
    """What is wrong with the last values and with their increase, once the receiver shows what it has taken."""
    true = expected(truth, bounds)
    wrong: list[str] = []

    def is_right() -> bool:
        wrong[:] = [
            f"{function}: {difference}"
            for function in ("last_over_time", "increase")
            for difference in differences(stored(receiver, f"{function}(METRIC[{WINDOW}])", prefix, others), true)
        ]
        return not wrong

    deadline = time.monotonic() + SHOWN_SECONDS
    while not is_right() and time.monotonic() < deadline:
        time.sleep(0.5)
    return wrong


@dataclass(frozen=True)
class Hasty:
    """A simulated GitHub as a process, in whose organisation a day passes in seconds, beginning soon."""

    url: str
    here: world.World

    def counted(self, agent: str) -> bool:
        """Whether the agent at that address shows as many runs and jobs as there were."""
        lines = httpx.get(f"{agent}/metrics?source=github", timeout=10.0).text.splitlines()
        shown = sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(r"github_(workflow_run|job_run)_total\{", line))
        true = truth_of(self.here, "webhooks")
        return shown >= true.runs + true.jobs


@contextmanager
def hasty(home: Path, seed: int, *flags: str, repositories: int = 4, jobs: int = 250, seconds: int = 15) -> Iterator[Hasty]:
    """See `Hasty`; `flags` of `python -m agent.sim.github`."""
    start = int(time.time()) + STARTED_SECONDS
    size = {"repositories": repositories, "jobs": jobs, "seconds": seconds, "haste": HASTE}
    words = [word for name, value in (size | {"seed": seed, "start": start}).items() for word in (f"--{name}", str(value))]
    argv = [sys.executable, "-m", "agent.sim.github", *words, "--now", str(time.time()), "--no-approvals", *flags]
    log = home / "github.log"
    with servers.running(argv, log, clean_env(home)) as process:
        servers.eventually(lambda: "http://" in process.output(), "the simulated GitHub has an address")
        here = world.build(seed, start=start, approvals=False, **size)  # type: ignore[arg-type]
        yield Hasty(re.findall(r"http://\S+", process.output())[0], here)
