"""What labels say: names without what changes from run to run, and words out of closed sets."""

from __future__ import annotations

import re

from agent.sources.gitlab.label_options import LabelsOptions
from agent.sources.gitlab.objects import Job, Pipeline

OTHER, UNKNOWN_FAILURE = "other", "unknown_failure"
SOURCES = frozenset(
    {
        "unknown",
        "push",
        "web",
        "trigger",
        "schedule",
        "api",
        "external",
        "pipeline",
        "chat",
        "webide",
        "merge_request_event",
        "external_pull_request_event",
        "parent_pipeline",
        "ondemand_dast_scan",
        "ondemand_dast_validation",
        "security_orchestration_policy",
        "container_registry_push",
        "duo_workflow",
        "pipeline_execution_policy_schedule",
    }
)
"""What starts pipelines (https://docs.gitlab.com/ci/jobs/job_rules/, CI_PIPELINE_SOURCE; newer ones from GitLab's own enum)."""
STATUSES = (
    "created",
    "waiting_for_resource",
    "preparing",
    "waiting_for_callback",
    "pending",
    "running",
    "success",
    "failed",
    "canceling",
    "canceled",
    "skipped",
    "manual",
    "scheduled",
)
"""Of pipelines and jobs (https://docs.gitlab.com/api/pipelines/)."""
PIPELINE_STATUSES = (*STATUSES, "success_with_warnings")
JOB_STATUSES = (*STATUSES, "failed_with_warnings")
RUNNER_TYPES = frozenset({"instance", "group", "project"})
UNKNOWN_RUNNER = "unknown"

_KNOWN_STATUSES = frozenset((*PIPELINE_STATUSES, *JOB_STATUSES))
_SHARD = re.compile(r" \d+/\d+\Z", re.ASCII)
"""Behind the name of one of several like jobs (https://docs.gitlab.com/ci/yaml/#parallel)."""
_MATRIX = ": ["
"""In front of the values of a matrix (https://docs.gitlab.com/ci/yaml/#parallelmatrix)."""


class Labeller:
    """Names and words as configured."""

    def __init__(self, options: LabelsOptions, *, with_runners: bool) -> None:
        self._names = [(re.compile(rule.regex), rule.replacement) for rule in options.job_names]
        self._reasons = frozenset(options.failure_reasons)
        self._with_runners = with_runners
        self._variables = tuple(options.variables)

    def job_name(self, name: str) -> str:
        """A job's name without its number among its like and without its matrix values, then as configured."""
        short = _SHARD.sub("", name)
        if short.endswith("]"):
            short = short.partition(_MATRIX)[0]
        name = short or name
        for pattern, replacement in self._names:
            found = pattern.fullmatch(name)
            if found is not None:
                return found.expand(replacement) or name
        return name

    def failure_reason(self, job: Job) -> str:
        """Why it failed; "" for one that did not."""
        if not job.status.startswith("failed"):
            return ""
        reason = job.failure_reason or UNKNOWN_FAILURE
        return reason if reason in self._reasons else OTHER

    def variables(self, pipeline: Pipeline) -> tuple[str, ...]:
        """The values of the variables that are labels; "" for what it does not have."""
        if not self._variables:
            return ()
        known = dict(pipeline.variables)
        return tuple(known.get(name, "") for name in self._variables)

    def runner_type(self, job: Job) -> str:
        """Whose runner it had."""
        return job.runner_type if self._with_runners and job.runner_type in RUNNER_TYPES else UNKNOWN_RUNNER


def source(word: str) -> str:
    """What started a pipeline; "" = GitLab did not tell."""
    return word if not word or word in SOURCES else OTHER


def status(word: str) -> str:
    """A status, or `other` for one of a newer GitLab."""
    return word if word in _KNOWN_STATUSES else OTHER
