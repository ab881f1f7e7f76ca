"""The agent as a process beside a simulated GitLab in haste and a real VictoriaMetrics."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx

from agent.sim.gitlab import world
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.places import Group, World
from agent.sim.gitlab.rules import CASE_SECONDS, JOB_SECONDS, PIPELINE_SECONDS
from agent.sim.gitlab.truth import Truth, truth
from tests import servers
from tests.agents import clean_env
from tests.github_proof import Lives, proven

SECRET = "It's a secret"
HASTE = 60.0
"""A retry comes a quarter of an hour after an end, which is 15 s: whoever looks every second has seen the end."""
BEGIN_SECONDS = 16
"""Until the world begins: the agent has looked once by then, for what was before does not count."""
BUSY_SECONDS = 30.0
"""In which nearly all of it happens."""
QUIET_SECONDS = 4.0
"""In which nothing ends: the agent has then seen all, and stops before there is more."""
COUNTED_SECONDS = 200.0
STATES = (
    "pipeline_(status|coverage|id|created_timestamp|last_run_timestamp_seconds)|child_pipeline_status|job_(status|artifact_size_bytes)"
    "|test_(report|suite)_.*|test_case_status|.*_unfinished|.*_oldest_timestamp_seconds|environment_(deployment_status|last_.*|behind_.*)"
    "|api_.*|projects_tracked|scrape_.*|gitlab_tier|collector_enabled|events_ignored_total|webhook_deliveries_total"
    "|malformed_objects_total|pipelines_abandoned_total"
)
"""What the ledger does not feed, without the prefix."""


def configured(
    receiver: servers.VictoriaMetrics, state: Path, url: str, groups: Sequence[Group], **source: Any
) -> dict[str, Any]:
    """An agent that reads every group and user there is, and sends what it counts to `receiver`."""
    owners = [{"name": group.path, "kind": "user" if group.is_user else "group"} for group in groups if group.parent is None]
    collectors = {
        "pipelines": {"interval_seconds": 1},
        "jobs": {"interval_seconds": 1},
    }
    gitlab = {
        "type": "gitlab",
        "url": url,
        "token": TOKEN,
        "max_requests_per_second": 1000,
        "burst_requests_per_second": 1000,
        "wildcards": [{"owner": owner} for owner in owners],
        "collectors": collectors,
    } | source
    agent = {"job": "ci", "instance": "one", "flush_interval_seconds": 1, "state_dir": str(state), "shutdown_grace_seconds": 20}
    return {
        "agent": agent,
        "sinks": {"vm": {"type": "remote_write", "url": f"{receiver.url}/api/v1/write", "receiver": "victoriametrics"}},
        "sources": {"gitlab": gitlab},
        "log": {"format": "text"},
    }


@dataclass(frozen=True)
class Hasty:
    """A simulated GitLab as a process, in which hours pass in seconds, beginning soon."""

    url: str
    here: World
    is_watched_anew: bool = False
    """Whether an agent begins anew after the last project has been made: it finds those, which takes half an hour else."""

    def true(self, until: float) -> Truth:
        """What is to be counted by then, of the projects there are at the beginning or of all."""
        found = (project for project in self.here.projects if project.created < self.here.start or self.is_watched_anew)
        since = {project.id: max(project.created, self.here.start - 1.0) for project in found}
        whole = truth(self.here, since, until)
        for totals in (whole.counters, whole.histograms):
            for key in [key for key in totals if key[0].startswith("environment")]:
                del totals[key]  # a project in which nothing runs is asked for deployments once an hour
        return whole

    def counted(self, agent: str, busy: float = BUSY_SECONDS) -> bool:
        """Whether all is over for now, and the agent at that address shows as many pipelines and jobs as there were."""
        now = time.time()
        there = _runs(self.true(now + QUIET_SECONDS))
        if now < self.here.start + busy or _runs(self.true(now - QUIET_SECONDS)) != there:
            return False
        lines = httpx.get(f"{agent}/metrics?source=gitlab", timeout=10.0).text.splitlines()
        shown = sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(r"age_(pipeline|job)_run_count\{", line))
        return shown >= there


def _runs(true: Truth) -> float:
    return sum(value for (name, _), value in true.counters.items() if name in ("pipeline_run_count", "job_run_count"))


@contextmanager
def hasty(
    home: Path,
    seed: int,
    *flags: str,
    projects: int = 6,
    pipelines: int = 40,
    seconds: int = 12,
    is_watched_anew: bool = False,
) -> Iterator[Hasty]:
    """See `Hasty`; `flags` of `python -m agent.sim.gitlab`."""
    start = int(time.time()) + BEGIN_SECONDS
    size = {"projects": projects, "pipelines": pipelines, "seconds": seconds, "haste": HASTE}
    words = [word for name, value in (size | {"seed": seed, "start": start}).items() for word in (f"--{name}", str(value))]
    argv = [sys.executable, "-m", "agent.sim.gitlab", *words, "--now", str(time.time()), *flags]
    with servers.running(argv, home / "gitlab.log", clean_env(home)) as process:
        servers.eventually(lambda: "http://" in process.output(), "the simulated GitLab has an address")
        here = world.build(seed, start=start, **size)  # type: ignore[arg-type]
        yield Hasty(re.findall(r"http://\S+", process.output())[0], here, is_watched_anew)


def bounds(family: str) -> Sequence[float]:
    """Of a histogram's buckets."""
    if family.startswith("test_case"):
        return CASE_SECONDS
    return JOB_SECONDS if family.startswith(("job", "environment")) else PIPELINE_SECONDS


def wrong(receiver: servers.VictoriaMetrics, true: Truth) -> list[str]:
    """What VictoriaMetrics says otherwise."""
    return proven(receiver, true, bounds, "age_", STATES)


def watched(lives: Lives, gitlab: Hasty, kills: int, seed: int, busy: float = BUSY_SECONDS) -> None:
    """Run the agent until all is counted, killed so many times in between; at the end it stops in order."""
    random, start = Random(seed), gitlab.here.start
    moments = sorted(start + random.uniform(0, busy) for _ in range(kills))
    for moment in moments:
        with lives.life() as process:
            time.sleep(max(0.0, moment - time.time()))
            process.popen.kill()
    with lives.life() as process:
        servers.eventually(lambda: gitlab.counted(lives.url, busy), "everything is counted", COUNTED_SECONDS)
        process.terminate()
