"""Ground truth: a simulated GitLab's hours, polled alone, and what the real VictoriaMetrics then says of them."""

from __future__ import annotations

import time
from pathlib import Path

from tests import servers
from tests.github_proof import Lives
from tests.gitlab_proof import configured, hasty, watched, wrong


def test_polls_alone_count_every_pipeline_and_job_once(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with servers.victoria_metrics(tmp_path) as receiver, hasty(tmp_path, 5, "--showers", "0.02") as gitlab:
        config = configured(receiver, tmp_path / "state", gitlab.url, gitlab.here.groups)
        watched(Lives(tmp_path / "home", config), gitlab, kills=0, seed=0)
        true = gitlab.true(time.time())

        assert wrong(receiver, true) == []
