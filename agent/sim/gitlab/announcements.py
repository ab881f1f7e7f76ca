"""Everything a world's webhooks announce, in order of time.

https://docs.gitlab.com/user/project/integrations/webhook_events/. A pipeline is told at each of its statuses, children too;
its jobs as well; deployments, merge requests, pushes, and the deletion of branches and tags.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from agent.sim.gitlab.objects import BUILD, Job, Pipeline
from agent.sim.gitlab.places import Deployment, MergeRequest, Project, Ref, World

PIPELINE, JOB, DEPLOYMENT = "Pipeline Hook", "Job Hook", "Deployment Hook"
MERGE_REQUEST, PUSH, TAG_PUSH = "Merge Request Hook", "Push Hook", "Tag Push Hook"
GRAIN = 64
"""Events are told at multiples of 1/64 s, which floats hold exactly."""
Thing = Pipeline | Job | Deployment | MergeRequest | Ref


class Announcement(NamedTuple):
    """One event, to be told once."""

    at: float
    """When it is told, seconds since the epoch."""
    moment: int
    """When it happened."""
    event: str
    """As X-Gitlab-Event has it."""
    project: Project
    thing: Thing
    pipeline: Pipeline | None = None
    """Of a job, or what a push started."""
    guid: str = ""


def announcements(world: World, *, jobs: bool = True) -> list[Announcement]:
    """All events of a world, oldest first; `jobs`: whether those of single jobs are among them."""
    rng = random.Random(f"webhooks {world.seed}")
    found = [each for project in world.projects for each in _of_project(project, jobs=jobs)]
    found.sort(key=_order)
    return [each._replace(guid=_guid(rng)) for each in found]


def _order(each: Announcement) -> tuple[float, str, int]:
    return each.at, each.event, getattr(each.thing, "id", 0)


def _guid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _of_project(project: Project, *, jobs: bool) -> Iterator[Announcement]:
    for pipeline in project.pipelines:
        yield from _of_pipeline(project, pipeline, jobs=jobs)
    for deployment in project.deployments:
        for moment in (deployment.started, deployment.ended):
            if moment:
                yield Announcement(_told(moment, deployment.id), moment, DEPLOYMENT, project, deployment, deployment.pipeline)
    for request in project.merge_requests:
        for moment in (request.created, request.merged, request.closed):
            if moment:
                yield Announcement(_told(moment, request.id), moment, MERGE_REQUEST, project, request)
    for event, refs in ((PUSH, project.branches), (TAG_PUSH, project.tags)):
        for ref in refs:
            if ref.deleted:
                yield Announcement(_told(ref.deleted, project.id), ref.deleted, event, project, ref)


def _of_pipeline(project: Project, pipeline: Pipeline, *, jobs: bool) -> Iterator[Announcement]:
    until = pipeline.deleted_at or float("inf")
    if pipeline.source == "push":
        ref = Ref(pipeline.ref, pipeline.created)
        told = _told(pipeline.created, project.id)
        yield Announcement(told, pipeline.created, TAG_PUSH if pipeline.tag else PUSH, project, ref, pipeline)
    before = ""
    for view in pipeline.views:
        if view.status != before and view.updated_at < until:
            moment = view.updated_at
            yield Announcement(_told(moment, pipeline.id) + 0.5, moment, PIPELINE, project, pipeline)
        before = view.status
    for job in pipeline.jobs if jobs else ():
        for moment in sorted(set(_moments(job))):
            if job.spec.kind == BUILD and moment < until:
                yield Announcement(_told(moment, job.id), moment, JOB, project, job, pipeline)


def _moments(job: Job) -> Iterator[int]:
    for life in (job, job.again):
        if life is not None:
            yield from (moment for moment in (life.created, life.queued, life.started, life.canceling, life.ended) if moment)


def _told(moment: int, identity: int) -> float:
    """When what happens at that moment is told."""
    return moment + (identity % GRAIN + GRAIN // 4) / GRAIN
