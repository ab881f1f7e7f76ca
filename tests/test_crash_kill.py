"""`kill -9` of the agent at 50 moments of an outage and of the drain after it: what it had promised is there."""

from __future__ import annotations

from pathlib import Path

from tests import servers
from tests.killed import kill_many

AGENTS = 5
LIVES = 10
SEED = 20261121


def test_what_was_on_disk_before_a_kill_arrives(victoria_metrics: servers.VictoriaMetrics, tmp_path: Path) -> None:
    found = kill_many(tmp_path, victoria_metrics, agents=AGENTS, lives=LIVES, seed=SEED)

    assert found.missing == {}
    assert found.kills == AGENTS * LIVES
    assert found.promised > 0
