"""Ground truth: a simulated organisation's days, and what the real VictoriaMetrics then says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from agent.sim.github.deliveries import announcements
from agent.sim.github.faults import shipments
from agent.sim.github.sender import Sender
from agent.sim.github.truth import SECONDS, truth
from agent.sim.weather import Weather
from tests import servers
from tests.github_proof import SECRET, Lives, configured, delivered, proven, recent

HARSH = Weather(redelivered=0.05, duplicated=0.05, reordered=0.2)
"""What is lost is delivered again; a delivery log is read in other tests."""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[servers.VictoriaMetrics]:
    with servers.victoria_metrics(tmp_path) as found:
        yield found


@pytest.mark.parametrize("kills", [0, 8])
def test_webhooks_alone_lead_to_the_worlds_own_totals(tmp_path: Path, receiver: servers.VictoriaMetrics, kills: int) -> None:
    here = recent(kills, repositories=8, jobs=600)
    (tmp_path / "home").mkdir()
    lives = Lives(tmp_path / "home", configured(receiver, tmp_path / "state"))
    planned = [shipment for shipment in shipments(announcements(here), HARSH, 1) if not shipment.failure]

    delivered(lives, Sender(here, SECRET), planned, kills, Random(kills))

    assert proven(receiver, truth(here), SECONDS) == []
