"""A week of a GitLab of a thousand projects, observed by poll alone and by webhooks beside, and an agent that is killed."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import anyio
from trio.testing import MockClock

from agent.model import Delivery
from agent.sim.gitlab.announcements import announcements
from agent.sim.gitlab.faults import ROUGH, shipments
from agent.sim.gitlab.places import World
from agent.sim.gitlab.sender import Sender
from agent.sim.gitlab.truth import Truth, truth
from agent.sim.gitlab.world import build
from tests import servers
from tests.github_proof import Lives
from tests.github_truth import differences
from tests.gitlab_observed import SECRET, Observer
from tests.gitlab_proof import STATES, bounds, configured, hasty, watched, wrong
from tests.soak.replay import replayed

PIPELINES = 20
"""Of each project in the week, their children beside."""
TROUBLE = 0.02
STEP_SECONDS = 240.0
"""Four looks before anything that has ended can run again."""
LONGEST_STEP_SECONDS = 4 * 3_600.0
"""Where nothing changes: what waits for people does so for days."""
UNSEEN_SECONDS = 3_900
"""A project in which nothing happens is asked for deployments once an hour."""
REPLAY_KILLS = 10
KILLED_PROJECTS, KILLED_PIPELINES = 40, 400
KILLED_SECONDS = 160.0
"""Twenty lives in it are long enough that one of them sees an end before the pipeline is run again, 15 s later."""
Way = Literal["polls", "webhooks"]


def week_of_gitlab(folder: Path, way: Way, projects: int, seed: int) -> tuple[str, list[str]]:
    """On a virtual clock, with trouble of every kind and deaths of the agent; what it counted then goes to VictoriaMetrics."""
    here = build(seed, projects=projects, pipelines=PIPELINES * projects)
    began = time.monotonic()
    backend = {"clock": MockClock(autojump_threshold=0)}
    found = anyio.run(_observed, here, way, backend="trio", backend_options=backend)
    since = {int(key[6:]): float(value) for key, value in found.notes.items() if key.startswith("since:")}
    true = truth(here, since, found.now - UNSEEN_SECONDS)
    differing = differences(found.tally, true)  # type: ignore[arg-type]
    took = time.monotonic() - began
    differing += replayed(folder, found.observed, true, bounds, STATES, "age_", REPLAY_KILLS, seed)
    return f"{_said(true)}, {found.api.totals.requests} requests, {found.deaths} deaths, {took:.0f} s", differing


async def _observed(here: World, way: Way) -> Observer:
    options: dict[str, Any] = {"metric_prefix": "", "wildcards": [{}], "collectors": {"environments": {"enabled": True}}}
    if way == "webhooks":
        options["webhook"] = {"secret_token": SECRET, "max_per_second": 100_000}
    heard = _heard(here) if way == "webhooks" else ()
    observer = Observer(here, options, trouble=TROUBLE, heard=heard, step=STEP_SECONDS)
    changes = sorted({view.updated_at for pipeline in here.pipelines() for view in pipeline.views})
    while observer.now < here.end + 3_600:
        coming = bisect_right(changes, observer.now)
        quiet = changes[coming] - observer.now - STEP_SECONDS if coming < len(changes) else 0
        observer.step_seconds = min(max(STEP_SECONDS, quiet), LONGEST_STEP_SECONDS)
        await observer.step()
    observer.step_seconds = STEP_SECONDS
    await observer.clear_up()
    return observer


def _heard(here: World) -> Iterator[Delivery]:
    """What arrives of everything that the instance announces: some of it is lost, doubled, late or out of order."""
    sender = Sender(here, SECRET)
    for shipment in shipments(announcements(here), ROUGH, here.seed):
        sent = sender.request(shipment)
        yield Delivery(sent.headers, sent.body, shipment.at)


def kills_of_gitlab(folder: Path, kills: int, seed: int) -> tuple[str, list[str]]:
    """Hours that pass in a minute, an agent that is killed so many times in it, and what VictoriaMetrics then says."""
    (folder / "home").mkdir()
    lives = Lives(folder / "home", {})
    flags = ("--showers", str(TROUBLE), "--rough", "--deliver-to", f"{lives.url}/webhook/gitlab", "--secret", SECRET)
    size = {"projects": KILLED_PROJECTS, "pipelines": KILLED_PIPELINES, "seconds": int(KILLED_SECONDS / 2)}
    with servers.victoria_metrics(folder) as receiver, hasty(folder, seed, *flags, is_watched_anew=True, **size) as gitlab:
        hook = {"secret_token": SECRET}
        lives.config = configured(receiver, folder / "state", gitlab.url, gitlab.here.groups, webhook=hook)
        watched(lives, gitlab, kills, seed, KILLED_SECONDS)
        true = gitlab.true(time.time())
        return f"{_said(true)}, {kills} kills", wrong(receiver, true)


def _said(true: Truth) -> str:
    counts = dict.fromkeys(("pipeline_run_count", "child_pipeline_run_count", "job_run_count"), 0)
    for (name, _), value in true.counters.items():
        if name in counts:
            counts[name] += int(value)
    return "{} pipelines, {} of them triggered, {} jobs".format(*counts.values())
