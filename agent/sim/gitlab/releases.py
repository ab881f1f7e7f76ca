"""Environments and deployments of a world: those that jobs make, and some made through the API."""

from __future__ import annotations

import random
from operator import attrgetter

from agent.sim.gitlab.growth import Growth
from agent.sim.gitlab.objects import Job, Pipeline
from agent.sim.gitlab.places import Deployment, Environment, Project

_TIERS = {"production": "production", "staging": "staging"}


def deliver(rng: random.Random, growth: Growth, projects: list[Project], start: int) -> None:
    """Give projects the deployments of their jobs and the environments that those take."""
    for project in projects:
        environments: dict[str, Environment] = {}
        found = []
        for pipeline in project.pipelines:
            for job in pipeline.jobs:
                if job.spec.environment:
                    found += _of_job(growth, environments, pipeline, job)
        if found and project.ordinal % 4 == 1:
            found += _by_api(rng, growth, environments, project, start)
        if environments and project.ordinal % 6 == 1:
            environments["old"] = Environment(project.id * 100 + 99, "review/old", project.created, stopped=start + 3_600)
        found.sort(key=attrgetter("id"))
        for number, deployment in enumerate(found, 1):
            deployment.iid = number
        project.deployments, project.environments = tuple(found), tuple(environments.values())


def _environment(environments: dict[str, Environment], project: Project, name: str) -> Environment:
    if name not in environments:
        identity = project.id * 100 + len(environments)
        url = f"https://{name}.example.com/{project.ordinal}"
        environments[name] = Environment(identity, name, project.created, _TIERS.get(name, "development"), external_url=url)
    return environments[name]


def _of_job(growth: Growth, environments: dict[str, Environment], pipeline: Pipeline, job: Job) -> list[Deployment]:
    """One for each of its lives in which it got as far as being queued; one whose pipeline is deleted meanwhile never ends."""
    found = []
    for life in (job, job.again):
        if life is None or not life.queued or life.status == "skipped":
            continue
        until = pipeline.deleted_at or life.queued + life.started + life.ended + 1
        if life.queued >= until:
            continue
        where = _environment(environments, pipeline.project, job.spec.environment)
        started, ended = (at if at < until else 0 for at in (life.started, life.ended))
        identity = growth.deployment_ids.take(life.queued)
        status, ref = life.status or "success", pipeline.ref
        made = Deployment(identity, where, ref, pipeline.sha, pipeline.user, life.queued, ended, status, started, job)
        made.pipeline = pipeline
        found.append(made)
    return found


def _by_api(
    rng: random.Random, growth: Growth, environments: dict[str, Environment], project: Project, start: int
) -> list[Deployment]:
    where = _environment(environments, project, "production")
    found = []
    for _ in range(1 + project.ordinal % 3):
        pipeline = rng.choice(project.pipelines)
        at = max(start, pipeline.created) + rng.randrange(1, 50_000)
        status = rng.choice(("success", "success", "failed", "canceled"))
        identity = growth.deployment_ids.take(at)
        ended = at + rng.randrange(5, 400)
        found.append(Deployment(identity, where, pipeline.ref, pipeline.sha, pipeline.user, at, ended, status, at + 1))
    return found
