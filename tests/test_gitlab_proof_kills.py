"""Ground truth: webhooks that get lost, polls, and an agent that is killed now and then."""

from __future__ import annotations

import time
from pathlib import Path

from tests import servers
from tests.github_proof import Lives
from tests.gitlab_proof import SECRET, configured, hasty, watched, wrong


def test_webhooks_polls_and_kills_count_every_pipeline_and_job_once(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    lives = Lives(tmp_path / "home", {})
    flags = ("--showers", "0.02", "--rough", "--deliver-to", f"{lives.url}/webhook/gitlab", "--secret", SECRET)
    with servers.victoria_metrics(tmp_path) as receiver, hasty(tmp_path, 11, *flags) as gitlab:
        hook = {"secret_token": SECRET}
        lives.config = configured(receiver, tmp_path / "state", gitlab.url, gitlab.here.groups, webhook=hook)
        watched(lives, gitlab, kills=6, seed=6)
        true = gitlab.true(time.time())

        assert wrong(receiver, true) == []
