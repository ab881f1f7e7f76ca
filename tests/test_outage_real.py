"""An outage of a real receiver, as long as it takes: every sample is in its export afterwards."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests import servers
from tests.agents import Agent
from tests.conftest import StartAgent
from tests.exported import NAME, Held, counting_target
from tests.servers import eventually

SERIES = 10_000
INTERVAL_SECONDS = 2
OUTAGE_SECONDS = 30


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


def test_every_sample_of_an_outage_of_30_s_is_in_victoria_metrics(tmp_path: Path, start_agent: StartAgent, capsys: Any) -> None:
    port = servers.free_port()
    with counting_target(SERIES) as target:
        with servers.victoria_metrics(tmp_path, port) as receiver:
            agent = start_agent(configured(target.url, receiver.url, tmp_path / "state"))
            eventually(lambda: sink(agent)["samples_sent"] >= SERIES, "the first scrape arrives")
        during = target.scrapes + OUTAGE_SECONDS // INTERVAL_SECONDS
        eventually(lambda: target.scrapes >= during, "the outage lasts", 2 * OUTAGE_SECONDS)
        waiting = sink(agent)["queue_samples"]

        with servers.victoria_metrics(tmp_path, port) as receiver:
            back = time.monotonic()
            eventually(lambda: sink(agent)["queue_samples"] == 0, "the backlog drains", 60)
            drained = time.monotonic() - back
            assert agent.process.terminate(20) == 0
            held = Held(receiver.export(NAME), SERIES)

    assert waiting >= SERIES * (OUTAGE_SECONDS // INTERVAL_SECONDS - 2)
    # The last one may have been cut short by the agent's end.
    assert held.gaps(1, max(held.scrapes.values())) == set()
    assert max(held.scrapes.values()) >= target.scrapes - 1
    with capsys.disabled():
        print(
            f"\noutage: {waiting} samples waited, drained {drained:.1f} s after the receiver's return, {held.repeats} came twice"
        )
