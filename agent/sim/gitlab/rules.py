"""By which rules things are counted, and under which labels: the agent's words, said again independently of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.sim.gitlab.objects import Job, Pipeline, PipelineView
from agent.sim.gitlab.places import Token

PIPELINE_SECONDS = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
JOB_SECONDS = PIPELINE_SECONDS[:-1]
LONGEST_VALUE = 100
"""Characters of a variable's value in a label."""
CASE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)
REASONS = frozenset(
    (
        "script_failure",
        "runner_system_failure",
        "stuck_or_timeout_failure",
        "job_execution_timeout",
        "api_failure",
        "missing_dependency_failure",
        "unmet_prerequisites",
        "data_integrity_failure",
        "scheduler_failure",
        "archived_failure",
        "unknown_failure",
    )
)
SOURCES = frozenset(
    (
        *("unknown", "push", "web", "trigger", "schedule", "api", "external", "pipeline", "chat", "webide", "duo_workflow"),
        *("merge_request_event", "external_pull_request_event", "parent_pipeline", "ondemand_dast_scan"),
        *("ondemand_dast_validation", "security_orchestration_policy", "container_registry_push"),
        "pipeline_execution_policy_schedule",
    )
)
"""What GitLab calls the sources of pipelines: https://docs.gitlab.com/ci/jobs/job_rules/, CI_PIPELINE_SOURCE."""
_RELEASE = re.compile(r"releases?($|[/])|release-")
_PART = re.compile(r" \d+/\d+$")
_MATRIX = re.compile(r": \[.*\]$")


@dataclass(frozen=True)
class Rules:
    """What the configuration says about counting; None = no branch or tag keeps its name."""

    branches: str | None = r"^(main|master|develop|release/.*)$"
    tags: str | None = r"^v.*"
    names: bool = True
    """Whether refs keep names at all; else classes only."""
    tells_source: bool = True
    """Whether the API that is read tells the sources of pipelines; where it does not, children are known all the same."""
    child_pipelines: bool = True
    """Whether pipelines of the source parent_pipeline are read."""
    cases: bool = False
    """Whether single test cases are counted and shown."""
    variables: tuple[str, ...] = ()
    """Names of variables that are labels of pipelines."""
    pipeline_seconds: tuple[float, ...] = PIPELINE_SECONDS
    job_seconds: tuple[float, ...] = JOB_SECONDS
    case_seconds: tuple[float, ...] = CASE_SECONDS

    def ref(self, pipeline: Pipeline) -> str:
        """What label `ref` of totals says."""
        kind, ref = pipeline.kind, pipeline.ref
        if kind == "merge_request":
            return kind
        pattern = self.tags if kind == "tag" else self.branches
        if self.names and pattern is not None and re.search(pattern, ref):
            return ref
        if kind == "tag":
            return kind
        if not self.names and ref == pipeline.project.default_branch:
            return "default"
        return "release" if _RELEASE.match(ref) else "other"

    def given(self, pipeline: Pipeline, token: Token) -> dict[str, str]:
        """What the labels of its variables say, as far as a token is told."""
        told = dict(pipeline.variables) if token.reads_variables(pipeline) else {}
        return {f"variable_{name.lower()}": told.get(name, "")[:LONGEST_VALUE] for name in self.variables}

    def source(self, pipeline: Pipeline) -> str:
        """What label `source` says."""
        if not self.tells_source:
            return pipeline.source if pipeline.is_child else ""
        return pipeline.source if pipeline.source in SOURCES else "other"


def job_name(name: str) -> str:
    """A job's name without what parallel and matrix jobs have at their ends."""
    return _MATRIX.sub("", _PART.sub("", name))


def reason(word: str) -> str:
    """What label `failure_reason` says of a failed job."""
    return word if word in REASONS else "other"


def pipeline_status(view: PipelineView) -> str:
    """What label `status` says of a pipeline."""
    return "success_with_warnings" if view.warnings and view.status == "success" else view.status


def job_status(job: Job, status: str) -> str:
    """What it says of a job."""
    return "failed_with_warnings" if status == "failed" and job.spec.allow_failure else status
