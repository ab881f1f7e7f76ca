"""Values as JSON text: what the fields without fields of their own say, by type.

The things that fields are read of are tuples: (pipeline, view), (job, view, pipeline), an artifact's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.sim.gitlab.graphql.formats import floating, moment, number, text, truth, word
from agent.sim.gitlab.graphql.pages import cursor
from agent.sim.gitlab.objects import BRIDGE, FINAL, Job, JobView, Pipeline, PipelineView, TestSuite
from agent.sim.gitlab.profile import Profile

Leaf = Callable[[Any], str]
Seen = tuple[Pipeline, PipelineView]
JobSeen = tuple[Job, JobView, Pipeline]
RUNNERS = {"instance": '"INSTANCE_TYPE"', "group": '"GROUP_TYPE"', "project": '"PROJECT_TYPE"'}
ACTIVE = frozenset({"pending", "running", "preparing", "waiting_for_resource", "waiting_for_callback", "canceling", "created"})

_MESSAGES = {
    "unknown_failure": "There is an unknown failure, please try again",
    "script_failure": None,
    "api_failure": "There has been an API failure, please try again",
    "stuck_or_timeout_failure": ("There has been a timeout failure or the job got stuck. Check your timeout limits or try again"),
    "runner_system_failure": "There has been a runner system failure, please try again",
    "missing_dependency_failure": "There has been a missing dependency failure",
    "runner_unsupported": "Your runner is outdated, please upgrade your runner",
    "job_execution_timeout": "The script exceeded the maximum execution time set for the job",
    "archived_failure": "The job is archived and cannot be run",
    "unmet_prerequisites": "The job failed to complete prerequisite tasks",
    "scheduler_failure": ("The scheduler failed to assign job to the runner, please try again or contact system administrator"),
    "data_integrity_failure": (
        "There has been an unknown job problem, please contact your system administrator with the job ID to review the logs"
    ),
    "forward_deployment_failure": (
        "The deployment job is older than the previously succeeded deployment job, and therefore cannot be run"
    ),
    "ci_quota_exceeded": "No more compute minutes available",
    "no_matching_runner": "No matching runner available",
}
"""What people are told, by the word that REST has: app/presenters/commit_status_presenter.rb, English texts."""


def _ref_path(pipeline: Pipeline) -> str:
    if pipeline.ref.startswith("refs/"):
        return pipeline.ref
    return f"refs/tags/{pipeline.ref}" if pipeline.tag else f"refs/heads/{pipeline.ref}"


def group_of(status: str, has_warnings: bool) -> str:
    """The group of a detailed status, such as success-with-warnings."""
    return (status + ("-with-warnings" if has_warnings else "")).replace("_", "-")


_PIPELINE: dict[str, Leaf] = {
    "id": lambda seen: f'"gid://gitlab/Ci::Pipeline/{seen[0].id}"',
    "iid": lambda seen: f'"{seen[0].iid}"',
    "source": lambda seen: text(seen[0].source),
    "ref": lambda seen: text(seen[0].ref),
    "refPath": lambda seen: text(_ref_path(seen[0])),
    "sha": lambda seen: text(seen[0].sha),
    "type": lambda seen: text(seen[0].kind),
    "child": lambda seen: truth(seen[0].is_child),
    "coverage": lambda seen: floating(seen[1].coverage),
    "createdAt": lambda seen: moment(seen[0].created),
    "startedAt": lambda seen: moment(seen[1].started_at),
    "finishedAt": lambda seen: moment(seen[1].finished_at),
    "updatedAt": lambda seen: moment(seen[1].updated_at),
    "duration": lambda seen: number(seen[1].duration),
    "queuedDuration": lambda seen: floating(seen[1].queued_duration),
    "warnings": lambda seen: truth(seen[1].warnings),
    "complete": lambda seen: truth(seen[1].status in FINAL),
    "active": lambda seen: truth(seen[1].status in ACTIVE),
    "yamlErrors": lambda seen: truth(bool(seen[0].yaml_error)),
    "failureReason": lambda seen: text(
        "The pipeline failed due to an error on the CI/CD configuration file." if seen[0].yaml_error else None
    ),
}
_JOB: dict[str, Leaf] = {
    "id": lambda seen: f'"gid://gitlab/Ci::{"Bridge" if seen[0].spec.kind == BRIDGE else "Build"}/{seen[0].id}"',
    "name": lambda seen: text(seen[0].spec.name),
    "kind": lambda seen: word(seen[0].spec.kind),
    "allowFailure": lambda seen: truth(seen[0].spec.allow_failure),
    "createdAt": lambda seen: moment(seen[0].created),
    "queuedAt": lambda seen: moment(seen[1].queued_at),
    "startedAt": lambda seen: moment(seen[1].started_at),
    "finishedAt": lambda seen: moment(seen[1].finished_at),
    "duration": lambda seen: "null" if seen[1].duration is None else str(int(seen[1].duration)),
    "queuedDuration": lambda seen: floating(seen[1].queued_duration),
    "retried": lambda seen: truth(seen[1].retried),
    "failureMessage": lambda seen: text(_MESSAGES.get(seen[1].failure_reason)),
    "coverage": lambda seen: floating(seen[1].coverage),
    "refName": lambda seen: text(seen[2].ref),
    "tags": lambda seen: "null" if seen[0].spec.kind == BRIDGE else json.dumps(seen[0].spec.tags),
    "manualJob": lambda seen: truth(seen[0].spec.when == "manual"),
}


class Variable(NamedTuple):
    """A variable that a pipeline was given, as somebody sees it."""

    id: int
    key: str
    value: str | None
    """None = it is not for them."""


_DORA = ("deploymentFrequency", "leadTimeForChanges", "timeToRestoreService", "changeFailureRate")
_STATES = ("success", "failed", "skipped", "error")


def _of(name: str, render: Leaf) -> Leaf:
    return lambda found: render(found.get(name))


_PLAIN: dict[str, dict[str, Leaf]] = {
    "UserCore": {
        "id": lambda user: f'"gid://gitlab/User/{user.id}"',
        "username": lambda user: text(user.username),
        "name": lambda user: text(user.name),
    },
    "Group": {
        "id": lambda group: f'"gid://gitlab/Group/{group.id}"',
        "name": lambda group: text(group.name),
        "path": lambda group: text(group.path.rpartition("/")[2]),
        "fullPath": lambda group: text(group.path),
    },
    "CiStage": {"name": text},
    "PipelineManualVariable": {
        "id": lambda given: f'"gid://gitlab/Ci::PipelineVariable/{given.id}"',
        "key": lambda given: text(given.key),
        "value": lambda given: text(given.value),
    },
    "CiRunner": {
        "runnerType": lambda job: RUNNERS[job.spec.runner_type],
        "description": lambda job: text(f"{job.spec.runner_type}-runner-{job.runner}"),
        "shortSha": lambda job: text(f"{job.spec.runner_type[:2]}{job.runner:06x}"),
    },
    "CiJobArtifact": {
        "name": lambda artifact: text(artifact.filename),
        "size": lambda artifact: f'"{artifact.size}"',
        "fileType": lambda artifact: word(artifact.file_type),
    },
    "DetailedStatus": {
        "group": lambda of: text(group_of(*of)),
        "text": lambda of: text("Warning" if of[1] else of[0].replace("_", " ").capitalize()),
        "label": lambda of: text(of[0].replace("_", " ")),
    },
    "DoraMetric": {name: _of(name, floating) for name in ("date", *_DORA)},
    "TestReportTotal": {
        **{name: _of(name, number) for name in ("count", *_STATES)},
        "time": _of("time", floating),
        "suiteError": lambda _: "null",
    },
    "TestSuiteSummary": {
        **{f"{name}Count": _of(name, number) for name in _STATES},
        "totalCount": _of("count", number),
        "totalTime": _of("time", floating),
        "name": _of("name", text),
        "suiteError": lambda _: "null",
        "buildIds": _of("builds", json.dumps),
    },
    "QueryComplexity": {"score": _of("score", number), "limit": _of("limit", number)},
    "PageInfo": {
        "hasNextPage": lambda page: truth(page.has_next),
        "hasPreviousPage": lambda page: truth(page.has_previous),
        "startCursor": lambda page: text(cursor(page.keys[0]) if page.keys else None),
        "endCursor": lambda page: text(cursor(page.keys[-1]) if page.keys else None),
    },
    "Repository": {
        "rootRef": lambda project: text(project.default_branch or None),
        "exists": lambda _project: "true",
        "empty": lambda project: truth(not project.default_branch),
    },
}


def totals(suites: tuple[TestSuite, ...]) -> dict[str, float]:
    """A report in summary."""
    cases = [case for suite in suites for case in suite.cases]
    found: dict[str, float] = {"time": float(sum(case.seconds for case in cases)), "count": len(cases)}
    for status in _STATES:
        found[status] = sum(case.status == status for case in cases)
    return found


def leaves(now: float, url: str, profile: Profile) -> dict[str, dict[str, Leaf]]:
    """How to read the fields of each type, by type and name, at that moment and in that version."""

    def status(seen: tuple[Any, Any]) -> str:
        return word(profile.says(seen[1].status))

    return {
        **_PLAIN,
        **_changing(now, url),
        "CurrentUser": _PLAIN["UserCore"],
        "Pipeline": {**_PIPELINE, "status": status},
        "CiJob": {**_JOB, "status": status},
        "Metadata": {
            "version": lambda _: text(profile.version),
            "revision": lambda _: text(profile.revision),
            "enterprise": lambda _: truth(profile.is_enterprise),
        },
    }


def _changing(now: float, url: str) -> dict[str, dict[str, Leaf]]:
    """Of things that are what they are at a moment."""
    return {
        "Project": {
            "id": lambda project: f'"gid://gitlab/Project/{project.id}"',
            "name": lambda project: text(project.place(now).path),
            "path": lambda project: text(project.place(now).path),
            "fullPath": lambda project: text(project.path_at(now)),
            "archived": lambda project: truth(project.archived),
            "visibility": lambda project: text(project.visibility),
            "createdAt": lambda project: moment(project.created),
            "webUrl": lambda project: text(f"{url}/{project.path_at(now)}"),
        },
        "MergeRequest": {
            "id": lambda request: f'"gid://gitlab/MergeRequest/{request.id}"',
            "iid": lambda request: f'"{request.iid}"',
            "state": lambda request: text(request.state(now)),
        },
        "Environment": {
            "id": lambda environment: f'"gid://gitlab/Environment/{environment.id}"',
            "name": lambda environment: text(environment.name),
            "state": lambda environment: text(environment.state(now)),
            "tier": lambda environment: word(environment.tier),
            "externalUrl": lambda environment: text(environment.external_url or None),
        },
    }
