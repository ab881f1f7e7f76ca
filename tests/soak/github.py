"""A week of an organisation of two hundred repositories and fifty thousand jobs, observed in each way."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

import anyio
from trio.testing import MockClock

from agent.sim.github import world
from agent.sim.github.deliveries import announcements
from agent.sim.github.faults import shipments
from agent.sim.github.sender import Sender
from agent.sim.github.truth import SECONDS, Way, truth
from tests import servers
from tests.github_proof import DAY, SECRET, Lives, configured, delivered, proven
from tests.github_truth import differences
from tests.test_github_proof import HARSH
from tests.test_sim_github_observed import LOG, OWNER, RUNS, UNHEARD, observed

WAYS: dict[Way, dict[str, Any]] = {
    "api": RUNS | {"poll": {"interval_seconds": 300}},
    "deliveries": LOG | {"deliveries": {"hooks": [{"organization": OWNER}], "interval_seconds": 300}, "poll": {"enabled": False}},
}


def week_of_webhooks(folder: Path, kills: int, seed: int) -> tuple[str, list[str]]:
    """All deliveries to an agent that is killed so many times, and what VictoriaMetrics then says."""
    here = world.build(seed, start=int(time.time()) - 9 * DAY)
    (folder / "home").mkdir()
    with servers.victoria_metrics(folder) as receiver:
        lives = Lives(folder / "home", configured(receiver, folder / "state"))
        planned = [shipment for shipment in shipments(announcements(here), HARSH, seed) if not shipment.failure]
        began = time.monotonic()
        delivered(lives, Sender(here, SECRET), planned, kills, Random(seed))
        took, true = time.monotonic() - began, truth(here)
        wrong = proven(receiver, true, SECONDS)
    return f"{true.runs} runs, {true.jobs} jobs, {len(planned)} deliveries in {took:.0f} s, {kills} kills", wrong


def week_behind_nat(folder: Path, way: Way, seed: int) -> tuple[str, list[str]]:
    """The API alone or the delivery log alone, on a virtual clock."""
    del folder
    here = world.build(seed)
    found = anyio.run(
        observed, here, UNHEARD, WAYS[way], backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)}
    )
    true = truth(here, way)
    return f"{true.runs} runs, {true.jobs} jobs", differences(found.tally, true)
