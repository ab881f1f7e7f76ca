"""Everything a world's webhooks announce, in order of time: the payloads and the ids that tell when they were sent.

`X-GitHub-Delivery` is a version-1 UUID in all that was ever recorded: it holds the time of the event.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from agent.sim.github import runs
from agent.sim.github.objects import Json, account, full_repository, moment, node_id, organization, workflow
from agent.sim.github.plan import Attempt, Job, Lookalike, Run
from agent.sim.github.world import World

GRAIN = 64
"""Events happen at multiples of 1/64 s, which floats hold exactly."""
_UUID_EPOCH = 0x01B21DD213814000
"""100 ns steps from 1582-10-15, where version-1 UUIDs begin, to 1970 (RFC 9562, section 5.1)."""


class Announcement(NamedTuple):
    """One event, to be told once to every hook."""

    at: float
    """Seconds since the epoch."""
    guid: str
    event: str
    action: str
    run: Run
    attempt: Attempt
    job: Job | Lookalike | None = None
    carried: bool = False
    """Whether it repeats the end of an earlier attempt's job."""


def announcements(world: World) -> list[Announcement]:
    """All events of a world, oldest first; the same world has the same ones, ids and all."""
    rng = random.Random(f"deliveries {world.seed}")
    found: list[Announcement] = []
    for run, attempt in world.attempts():
        found += (_with_id(announcement, rng) for announcement in _of_attempt(run, attempt))
    return sorted(found, key=lambda announcement: (announcement.at, announcement.guid))


def job_delay(job: Job) -> float:
    """Seconds from what happens to a job until GitHub's event of it."""
    return (job.id % GRAIN + GRAIN // 2) / GRAIN


def _with_id(announcement: Announcement, rng: random.Random) -> Announcement:
    steps = int(announcement.at * 10_000_000) + _UUID_EPOCH
    fields = (steps & 0xFFFFFFFF, steps >> 32 & 0xFFFF, steps >> 48 & 0x0FFF | 0x1000)
    guid = uuid.UUID(fields=(*fields, rng.getrandbits(6) | 0x80, rng.getrandbits(8), rng.getrandbits(48) | 1 << 40))
    return announcement._replace(guid=str(guid))


def _of_attempt(run: Run, attempt: Attempt) -> Iterator[Announcement]:
    """Its events: the run often closes before its last job's end is told."""
    delay = (run.id % GRAIN + 16) / GRAIN
    is_first = attempt.number == 1
    if is_first and attempt.conclusion != "startup_failure":
        yield Announcement(attempt.started + delay, "", "workflow_run", "requested", run, attempt)
    for carried in attempt.carried:
        at = attempt.started + 1 + job_delay(carried.job)
        yield Announcement(at, "", "workflow_job", "completed", run, attempt, carried.job, carried=True)
    for job in attempt.jobs:
        for action, at in _of_job(job):
            yield Announcement(at + job_delay(job), "", "workflow_job", action, run, attempt, job)
    for check in attempt.lookalikes:
        yield Announcement(check.at + delay, "", "workflow_job", "completed", run, attempt, check)
    if attempt.first_start:
        yield Announcement(attempt.first_start + delay + 0.5, "", "workflow_run", "in_progress", run, attempt)
    yield Announcement(attempt.completed + delay + 0.5, "", "workflow_run", "completed", run, attempt)


def _of_job(job: Job) -> Iterator[tuple[str, int]]:
    """(action, when) of each of a job's events."""
    if job.conclusion != "skipped":
        yield "queued", job.created
    if job.waiting:
        yield "waiting", job.waiting
    if job.approved:
        yield "queued", job.approved
    if job.runner:
        yield "in_progress", job.started
        if job.heard_twice:
            yield "in_progress", (job.started + job.completed) // 2
    yield "completed", job.completed


def payload(world: World, announcement: Announcement) -> Json:
    """The body of one announcement, as of its time."""
    run, attempt, action = announcement.run, announcement.attempt, announcement.action
    top: Json = {"action": action}
    if announcement.event == "workflow_run":
        top["workflow_run"] = _run(run, attempt, action)
        top["workflow"] = workflow(run.repository, run.workflow)
    elif isinstance(announcement.job, Lookalike):
        top["workflow_job"] = runs.lookalike_object(run, attempt.number, announcement.job)
    elif announcement.job:
        status = "waiting" if action == "waiting" else action
        top["workflow_job"] = runs.job_object(run, attempt.number, announcement.job, status)
        if announcement.job.template.environment:
            top["deployment"] = _deployment(run, announcement.job, announcement.at)
    return top | _surroundings(world, run) | {"sender": account(run.actor)}


def _run(run: Run, attempt: Attempt, action: str) -> Json:
    status, updated = action, attempt.completed
    if action == "requested":
        # the first run of somebody new waits for a maintainer, and says so in a shape of its own
        status = "completed" if attempt.conclusion == "action_required" else "queued"
        updated = attempt.started
    elif action == "in_progress":
        updated = attempt.first_start
    return runs.run_object(run, attempt, status, updated, name=run.workflow.name)


def _surroundings(world: World, run: Run) -> Json:
    return {
        "repository": full_repository(run.repository),
        "organization": organization(world.owner, world.owner_id),
        "installation": {"id": 40_400_040, "node_id": node_id("INS", 40_400_040)},
    }


def _deployment(run: Run, job: Job, at: float) -> Json:
    identity = job.id + 3
    url = f"{run.repository.full_name}/deployments/{identity}"
    return {
        "url": f"https://api.github.com/repos/{url}",
        "id": identity,
        "node_id": node_id("DE", identity),
        "task": "deploy",
        "original_environment": job.template.environment,
        "environment": job.template.environment,
        "description": None,
        "created_at": moment(job.created),
        "updated_at": moment(at),
        "statuses_url": f"https://api.github.com/repos/{url}/statuses",
        "repository_url": f"https://api.github.com/repos/{run.repository.full_name}",
        "creator": account(run.actor),
        "sha": run.head_sha,
        "ref": run.head_branch,
        "payload": {},
        "transient_environment": False,
        "production_environment": True,
    }
