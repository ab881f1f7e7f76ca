"""Deployments and environments as the REST API tells them (https://docs.gitlab.com/api/deployments/)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.model import Increment, Observation
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.parsed import Json, MalformedError, duration, moment, seconds, text, whole

STATUSES = ("created", "running", "success", "failed", "canceled", "skipped", "blocked")
FINAL = frozenset({"success", "failed", "canceled", "skipped"})


class Deployment(NamedTuple):
    """A deployment as it is now. Times in whole seconds since the epoch."""

    id: int
    environment: str
    """Its name."""
    status: str
    sha: str
    updated: int
    ended: int
    """When it came to its status."""
    duration: int | None
    """Seconds that its job ran; None = it has none, or has not ended."""
    committed: int | None
    """When the commit was made; None = not told."""

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


def deployment_of(found: Json) -> Deployment:
    """An item of the list. What was deployed through the API has no job. Raises MalformedError."""
    environment, deployable = found.get("environment"), found.get("deployable")
    if not isinstance(environment, dict) or not text(environment, "name"):
        raise MalformedError("environment has no name")
    job: Mapping[str, Any] = deployable if isinstance(deployable, dict) else {}
    status, updated, commit = text(found, "status"), moment(found, "updated_at"), job.get("commit")
    return Deployment(
        whole(found, "id"),
        text(environment, "name"),
        status,
        text(found, "sha"),
        updated,
        seconds(job.get("finished_at")) or updated,
        duration(job.get("duration")) if status in FINAL and status != "skipped" else None,
        seconds(commit.get("committed_date")) if isinstance(commit, dict) else None,
    )


def environment_of(found: Json) -> str:
    """The name of an environment. Raises MalformedError."""
    name = text(found, "name")
    if not name:
        raise MalformedError("name is empty")
    return name


def observed(host: str, families: Families, project: Project, deployment: Deployment) -> Observation:
    """A deployment that ended."""
    labels = (project.path, deployment.environment)
    increments = [
        Increment(families.environment_deployment_count, labels, 1),
        Increment(families.environment_deployments_by_status_total, (*labels, deployment.status), 1),
    ]
    if deployment.duration is not None:
        increments.append(Increment(families.environment_deployment_duration_seconds, labels, deployment.duration))
    return Observation(f"gitlab:{host}:deployment:{deployment.id}", tuple(increments))
