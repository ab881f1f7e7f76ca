"""One agent, every kind of real receiver behind a relay of its own, and faults at random until the time is over.

Between the faults come calm moments: the ways are open, everything drains, and the agent is measured. What it
uses then must not grow.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import psutil

from tests import agents, servers
from tests.agents import Agent
from tests.exported import NAME, CountingTarget, Held, counting_target
from tests.relay import Relay, Through, relay
from tests.servers import eventually

SERIES = 2000
SCRAPE_SECONDS = 2
TROUBLE_SECONDS = 40.0
"""From one calm moment to the next."""
DRAIN_SECONDS = 120.0
GROWTH = 1.15
"""How much larger the memory of the last calm moments may be than that of the first."""
GROWTH_BYTES = 10 << 20
MORE_FILES = 8
SINKS = ("vm", "imp", "prom", "gate")


@dataclass(frozen=True)
class Calm:
    """What the agent uses in a calm moment."""

    rss: int
    files: int
    threads: int


@dataclass(frozen=True)
class Course:
    """What happened."""

    faults: int
    scrapes: int
    calms: list[Calm]
    lost: dict[str, int]
    """Scrapes of which something is missing, by receiver."""
    dropped: dict[str, int]
    """Samples that the agent gave up, by sink."""

    @property
    def problems(self) -> list[str]:
        """What is wrong, one line each."""
        found = [f"{name}: {count} scrapes are not whole" for name, count in self.lost.items() if count]
        found += [f"{name}: {count} samples dropped" for name, count in self.dropped.items() if count]
        share = max(1, len(self.calms) // 3)
        # The first moment is the start: caches fill, queues get their files.
        first, last = self.calms[1 : share + 1] or self.calms[:1], self.calms[-share:]
        rss = [statistics.median(calm.rss for calm in calms) for calms in (first, last)]
        if rss[1] > rss[0] * GROWTH + GROWTH_BYTES:
            found.append(f"memory grew from {rss[0] / 2**20:.0f} to {rss[1] / 2**20:.0f} MiB")
        files = [statistics.median(calm.files for calm in calms) for calms in (first, last)]
        if files[1] > files[0] + MORE_FILES:
            found.append(f"open files grew from {files[0]:.0f} to {files[1]:.0f}")
        if last[-1].threads > first[0].threads + MORE_FILES:
            found.append(f"threads grew from {first[0].threads} to {last[-1].threads}")
        return found

    def __str__(self) -> str:
        calm = self.calms[-1]
        used = f"{calm.rss / 2**20:.0f} MiB, {calm.files} files, {calm.threads} threads at the end"
        return f"{self.faults} faults, {self.scrapes} scrapes of {SERIES} series, {len(self.calms)} calm moments, {used}"


@dataclass(frozen=True)
class World:
    """Everything that runs."""

    agent: Agent
    target: CountingTarget
    ways: dict[str, Relay]
    victoria: servers.VictoriaMetrics
    prometheus: servers.Prometheus

    def sinks(self) -> dict[str, dict[str, Any]]:
        """The status of each sink."""
        return {sink["name"]: sink for sink in self.agent.get("/api/status").json()["sinks"]}

    def calm_down(self) -> Calm:
        """Open every way, wait until nothing waits, and measure."""
        for way in self.ways.values():
            way.through = Through.OPEN
        drained = lambda: all(sink["queue_blocks"] == 0 for sink in self.sinks().values())  # noqa: E731
        eventually(drained, "everything drains", DRAIN_SECONDS)
        process = psutil.Process(self.agent.process.popen.pid)
        return Calm(process.memory_info().rss, process.num_fds(), process.num_threads())

    def lost(self) -> dict[str, int]:
        """Scrapes that are not whole, by receiver; the last one may have been cut short by the agent's end."""
        last = self.target.scrapes - 1
        return {
            name: len(Held(found, SERIES).gaps(1, last))
            for name, found in (
                ("vm", self.victoria.export(f'{NAME}{{via="vm"}}')),
                ("imp", self.victoria.export(f'{NAME}{{via="imp"}}')),
                ("prom", self.prometheus.samples(NAME, "1d")),
            )
        }


def configured(ways: dict[str, Relay], target: CountingTarget, state: Path) -> dict[str, Any]:
    """One source of everything, one sink of every kind."""
    common = {"timeout_seconds": 5}
    write = {"type": "remote_write", **common}
    to_vm = {"url": f"{ways['vm'].url}/api/v1/write", "receiver": "victoriametrics", "extra_labels": {"via": "vm"}}
    return {
        "agent": {"job": "soak", "flush_interval_seconds": 2, "state_dir": str(state)},
        "sinks": {
            "vm": {**write, **to_vm},
            "imp": {"type": "vm_import", "url": f"{ways['imp'].url}/api/v1/import", **common, "extra_labels": {"via": "imp"}},
            "prom": {**write, "url": f"{ways['prom'].url}/api/v1/write", "receiver": "prometheus"},
            "gate": {"type": "pushgateway", "url": ways["gate"].url, **common},
        },
        "sources": {
            "host": {"interval_seconds": 2},
            "internal": {"interval_seconds": 2},
            "target": {"type": "scrape", "interval_seconds": SCRAPE_SECONDS, "targets": [{"url": target.url}]},
        },
    }


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Start everything, and end it with the block."""
    with ExitStack() as stack:
        victoria = stack.enter_context(servers.victoria_metrics(folder))
        prometheus = stack.enter_context(servers.prometheus(folder))
        gateway = stack.enter_context(servers.pushgateway(folder))
        urls = {"vm": victoria.url, "imp": victoria.url, "prom": prometheus.url, "gate": gateway.url}
        ways = {name: stack.enter_context(relay(int(urls[name].rsplit(":", 1)[1]))) for name in SINKS}
        target = stack.enter_context(counting_target(SERIES))
        agent = stack.enter_context(agents.agent(folder, configured(ways, target, folder / "state")))
        yield World(agent, target, ways, victoria, prometheus)


def soak(folder: Path, seconds: float, seed: int) -> Course:
    """Faults for so long, then what came of it."""
    random, clock, faults, calms = Random(seed), Event(), 0, []
    with world(folder) as found:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            calms.append(found.calm_down())
            trouble = time.monotonic() + TROUBLE_SECONDS
            while time.monotonic() < min(trouble, end):
                found.ways[random.choice(SINKS)].through = random.choice(list(Through))
                faults += 1
                clock.wait(random.uniform(0.1, 4.0))
        calms.append(found.calm_down())
        dropped = {name: sink["samples_dropped"] for name, sink in found.sinks().items()}
        assert found.agent.process.terminate(30) == 0, found.agent.process.output()
        return Course(faults, found.target.scrapes, calms, found.lost(), dropped)
