"""Ground truth: a simulated organisation's days, and what the real VictoriaMetrics then says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.sim.github.deliveries import announcements
from agent.sim.github.faults import Weather, shipments
from agent.sim.github.sender import Sender
from agent.sim.github.truth import SECONDS, Way, truth
from tests import servers
from tests.github_proof import SECRET, Lives, configured, delivered, hasty, proven, recent

COUNTED_SECONDS = 60.0
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


API = {"token": "ghp_simulated", "organizations": ["tinker-works"], "poll": {"interval_seconds": 1}, "webhook": {}}
LOG = {
    "token": "ghp_simulated",
    "deliveries": {"hooks": [{"organization": "tinker-works"}], "interval_seconds": 1},
    "webhook": {},
}


@pytest.mark.parametrize(
    ("way", "source"),
    [("api", API), ("deliveries", LOG)],
    ids=["the API alone", "the delivery log alone"],
)
def test_behind_nat_they_are_the_same(
    tmp_path: Path, receiver: servers.VictoriaMetrics, way: Way, source: dict[str, Any]
) -> None:
    (tmp_path / "home").mkdir()
    with hasty(tmp_path, 17) as github:
        lives = Lives(tmp_path / "home", configured(receiver, tmp_path / "state", url=github.url, **source))
        with lives.life() as process:
            servers.eventually(lambda: github.counted(lives.url), "everything is counted", COUNTED_SECONDS)
            process.terminate()

    assert proven(receiver, truth(github.here, way), SECONDS) == []


def test_webhooks_that_are_lost_are_found_in_the_log_and_in_the_api(tmp_path: Path, receiver: servers.VictoriaMetrics) -> None:
    (tmp_path / "home").mkdir()
    lives = Lives(tmp_path / "home", {})
    with hasty(tmp_path, 22, "--rough", "--deliver-to", f"{lives.url}/webhook/github", "--secret", SECRET) as github:
        source = API | {"deliveries": LOG["deliveries"], "webhook": {"secret": SECRET}}
        lives.config = configured(receiver, tmp_path / "state", url=github.url, **source)
        with lives.life() as process:
            servers.eventually(lambda: github.counted(lives.url), "everything is counted", COUNTED_SECONDS)
            process.terminate()

    assert proven(receiver, truth(github.here), SECONDS) == []
