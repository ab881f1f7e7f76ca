"""Ground truth behind NAT, and with webhooks that are lost: the agent beside a simulated GitHub in haste."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sim.github.truth import SECONDS, Way, truth
from tests import servers
from tests.github_proof import SECRET, Lives, configured, hasty, proven

COUNTED_SECONDS = 90.0


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[servers.VictoriaMetrics]:
    with servers.victoria_metrics(tmp_path) as found:
        yield found


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
