"""The bodies of GitLab's webhooks, read into the source's own types.

Shapes: https://docs.gitlab.com/user/project/integrations/webhook_events/. Times are `2026-03-10 10:00:00 UTC` there, in some
events ISO 8601. What makes no sense raises `MalformedError`; of a pipeline's builds only the one that does is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.sources.gitlab import parsed
from agent.sources.gitlab.labels import RUNNER_TYPES, UNKNOWN_RUNNER
from agent.sources.gitlab.objects import BRANCH, MERGE_REQUEST, TAG, Job, Pipeline
from agent.sources.gitlab.parsed import MalformedError, text, whole
from agent.sources.gitlab.variables import Wanted

PIPELINE, JOB, DEPLOYMENT = "Pipeline Hook", "Job Hook", "Deployment Hook"
MERGE_REQUEST_HOOK, PUSH, TAG_PUSH = "Merge Request Hook", "Push Hook", "Tag Push Hook"
EVENTS = frozenset({PIPELINE, JOB, DEPLOYMENT, MERGE_REQUEST_HOOK, PUSH, TAG_PUSH})
"""The events that say something, as X-Gitlab-Event has them."""
MAX_BUILDS = 5000
"""Jobs of one pipeline in a body."""
DOWNSTREAM = ("pipeline", "parent_pipeline")
"""What starts pipelines that another one triggered."""
PASSED_WITH_WARNINGS = "passed with warnings"
"""The detailed status of a pipeline in which jobs failed that were allowed to."""

_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"

Json = Mapping[str, Any]


class Told(NamedTuple):
    """What a pipeline event says."""

    pipeline: Pipeline
    jobs: tuple[Job, ...]
    """Without those that others took the place of."""
    lost: int
    """How many more there are, which cannot be read."""
    is_downstream: bool
    """Whether another pipeline triggered it; the body does not say all about that."""
    latest: int
    """The latest time in it."""


def project_of(body: Json) -> int:
    """The number of the project that something happened in. Raises MalformedError."""
    project = body.get("project")
    return whole(project, "id") if isinstance(project, dict) else whole(body, "project_id")


def pipeline_of(body: Json, variables: Wanted | None = None) -> Told:
    """A pipeline event, with those of its `variables` that are wanted. Raises MalformedError."""
    found = _object(body, "object_attributes")
    request = body.get("merge_request")
    source = text(found, "source").lower()
    finished, created = _second(found, "finished_at"), _moment(found, "created_at")
    kind = TAG if found.get("tag") is True else BRANCH
    pipeline = Pipeline(
        whole(found, "id"),
        _pipeline_status(found),
        text(found, "ref"),
        MERGE_REQUEST if isinstance(request, dict) else kind,
        source,
        created,
        finished or created,
        None,
        finished,
        parsed.duration(found.get("duration")),
        parsed.duration(found.get("queued_duration")),
        None,
        whole(request, "iid") if isinstance(request, dict) and _is_ours(request, body) else 0,
        text(request, "state") if isinstance(request, dict) else "",
        variables=variables.of(found.get("variables"), f"project {project_of(body)}") if variables else (),
    )
    jobs, lost = _builds(body.get("builds"))
    times = (second or 0 for job in jobs for second in (job.created, job.started, job.finished))
    is_downstream = bool(body.get("source_pipeline")) or source in DOWNSTREAM
    return Told(pipeline, jobs, lost, is_downstream, max(pipeline.created, pipeline.updated, *times))


def _is_ours(request: Json, body: Json) -> bool:
    """Whether the project that a pipeline ran in numbers its merge request; in a fork the number is another project's."""
    target = request.get("target_project_id")
    return target is None or target == project_of(body)


def deleted_ref_of(body: Json) -> tuple[str, str] | None:
    """Kind and name of the branch or tag that a push deleted; None = it deleted none. Raises MalformedError."""
    ref, after = text(body, "ref", len(_BRANCHES) + parsed.MAX_TEXT), text(body, "after")
    if not after or after.strip("0"):
        return None
    for kind, prefix in ((BRANCH, _BRANCHES), (TAG, _TAGS)):
        if ref.startswith(prefix):
            return kind, ref.removeprefix(prefix)[: parsed.MAX_TEXT]
    return None


def merge_request_of(body: Json) -> tuple[int, str]:
    """Number and state of a merge request. Raises MalformedError."""
    found = _object(body, "object_attributes")
    return whole(found, "iid"), text(found, "state")


def _builds(found: object) -> tuple[tuple[Job, ...], int]:
    """The jobs that can be read, and how many cannot."""
    if found is None:
        return (), 0
    if not isinstance(found, list):
        raise MalformedError("builds is not a list")
    jobs = []
    for build in found[:MAX_BUILDS]:
        try:
            jobs.append(_job_of(build))
        except MalformedError:
            continue
    return tuple(jobs), len(found) - len(jobs)


def _job_of(found: object) -> Job:
    if not isinstance(found, dict):
        raise MalformedError("a build is not an object")
    status = text(found, "status")
    if status == "failed" and found.get("allow_failure") is True:
        status = "failed_with_warnings"
    return Job(
        whole(found, "id"),
        text(found, "name"),
        text(found, "stage"),
        status,
        _moment(found, "created_at"),
        _second(found, "started_at"),
        _second(found, "finished_at"),
        parsed.duration(found.get("duration")),
        parsed.duration(found.get("queued_duration")),
        runner_type=_runner_type(found.get("runner")),
        failure_reason=text(found, "failure_reason") if status.startswith("failed") else "",
    )


def _pipeline_status(found: Json) -> str:
    status = text(found, "status")
    with_warnings = status == "success" and found.get("detailed_status") == PASSED_WITH_WARNINGS
    return "success_with_warnings" if with_warnings else status


def _runner_type(runner: object) -> str:
    """instance, group, project or unknown."""
    if not isinstance(runner, dict):
        return UNKNOWN_RUNNER
    told = runner.get("runner_type")
    if isinstance(told, str):
        kind = told.removesuffix("_type")
        return kind if kind in RUNNER_TYPES else UNKNOWN_RUNNER
    return "instance" if runner.get("is_shared") is True else UNKNOWN_RUNNER


def _object(found: Json, key: str) -> Json:
    value = found.get(key)
    if not isinstance(value, dict):
        raise MalformedError(f"{key} is not an object")
    return value


def _second(found: Json, key: str) -> int | None:
    """A time; None for none. Raises MalformedError for what cannot be read."""
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        value = value.removesuffix(" UTC") + "+00:00" if value.endswith(" UTC") else value
    second = parsed.seconds(value)
    if second is None:
        raise MalformedError(f"{key} is not a time")
    return second


def _moment(found: Json, key: str) -> int:
    second = _second(found, key)
    if second is None:
        raise MalformedError(f"{key} is missing")
    return second
