"""An outage of a real VictoriaMetrics under a real agent, as long as one likes, and what its export holds afterwards."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import agents, servers
from tests.agents import Agent
from tests.exported import NAME, Held, counting_target
from tests.servers import eventually

INTERVAL_SECONDS = 2
DRAINED_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of an outage."""

    waiting: int
    """Samples that waited when the receiver came back."""
    drain_seconds: float
    held: Held
    scrapes: int
    """Answers of the target."""

    @property
    def lost(self) -> set[int]:
        """Scrapes of which something is missing; the last one may have been cut short by the agent's end."""
        return self.held.gaps(1, self.scrapes - 1)

    def __str__(self) -> str:
        drained = f"drained {self.drain_seconds:.1f} s after the receiver's return"
        return f"{self.waiting} samples waited, {drained}, {self.held.samples} stored, {self.held.repeats} of them twice"


def configured(target: str, receiver: str, state: Path) -> dict[str, Any]:
    """A configuration that scrapes the target into a VictoriaMetrics."""
    return {
        "agent": {"job": "outage", "flush_interval_seconds": INTERVAL_SECONDS, "state_dir": str(state)},
        "sinks": {"vm": {"type": "remote_write", "url": f"{receiver}/api/v1/write", "receiver": "victoriametrics"}},
        "sources": {"target": {"type": "scrape", "interval_seconds": INTERVAL_SECONDS, "targets": [{"url": target}]}},
    }


def sink(agent: Agent) -> dict[str, Any]:
    """The sink's part of the status."""
    found: dict[str, Any] = agent.get("/api/status").json()["sinks"][0]
    return found


def outage(folder: Path, series: int, seconds: int) -> Outcome:
    """Stop the receiver for so long while that many series are scraped, then let everything drain."""
    port = servers.free_port()
    with counting_target(series) as target, ExitStack() as first, ExitStack() as last:
        first.enter_context(servers.victoria_metrics(folder, port))
        config = configured(target.url, f"http://127.0.0.1:{port}", folder / "state")
        agent = last.enter_context(agents.agent(folder, config))
        eventually(lambda: sink(agent)["samples_sent"] >= series, "the first scrape arrives")
        first.close()
        during = target.scrapes + seconds // INTERVAL_SECONDS
        eventually(lambda: target.scrapes >= during, "the outage lasts", 2 * seconds + 30)
        waiting = sink(agent)["queue_samples"]
        receiver = last.enter_context(servers.victoria_metrics(folder, port))
        back = time.monotonic()
        eventually(lambda: sink(agent)["queue_samples"] == 0, "the backlog drains", DRAINED_SECONDS + seconds)
        drained = time.monotonic() - back
        assert agent.process.terminate(20) == 0
        return Outcome(waiting, drained, Held(receiver.export(NAME), series), target.scrapes)
