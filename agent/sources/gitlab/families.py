"""What the source measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from agent.errors import ConfigError
from agent.model import Family, Kind, Priority
from agent.sources.gitlab.label_options import variable_label
from agent.sources.gitlab.options import Options

LEDGER_TTL_SECONDS = 86400.0
"""Totals are silent from one pipeline to the next, which may be a day."""
CASE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)
"""Test cases are shorter than jobs."""
REQUEST_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Up to the 30 s after which GitLab gives up a query (https://docs.gitlab.com/api/graphql/, "Limits")."""
SCRAPE_SECONDS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

PIPELINE = ("project", "ref", "kind", "source")
CHILD = ("project", "ref", "parent_project", "parent_ref", "bridge_name")
JOB = ("project", "ref", "stage", "job_name")
REF = ("project", "ref", "kind")
REPORT = ("project", "ref")
SUITE = ("project", "ref", "suite_name")
CASE = ("project", "ref", "suite", "case_name")
ENVIRONMENT = ("project", "environment")
STATUS = ("status",)
RUNNER = ("runner_type",)
REASON = ("failure_reason",)
WIDE = frozenset(
    {
        "ref",
        "stage",
        "job_name",
        "parent_project",
        "parent_ref",
        "bridge_name",
        "environment",
        "suite",
        "suite_name",
        "case_name",
    }
)
"""Labels whose values are chosen by those who write pipelines; all others say words of lists, or the project."""


@dataclass(frozen=True, slots=True)
class Families:
    """Every family; the attribute is its name without the prefix."""

    pipeline_duration_seconds: Family
    pipeline_queued_duration_seconds: Family
    pipeline_run_count: Family
    pipeline_runs_by_status_total: Family
    pipeline_retries_total: Family
    pipeline_stage_duration_seconds: Family
    child_pipeline_duration_seconds: Family
    child_pipeline_queued_duration_seconds: Family
    child_pipeline_run_count: Family
    child_pipeline_runs_by_status_total: Family
    job_duration_seconds: Family
    job_queued_duration_seconds: Family
    job_run_count: Family
    job_runs_by_status_total: Family
    job_failures_total: Family
    job_retries_total: Family
    environment_deployment_duration_seconds: Family
    environment_deployment_count: Family
    environment_deployments_by_status_total: Family
    test_case_duration_seconds: Family
    pipeline_status: Family
    pipeline_coverage: Family
    pipeline_id: Family
    pipeline_created_timestamp: Family
    pipeline_last_run_timestamp_seconds: Family
    child_pipeline_status: Family
    job_status: Family
    job_artifact_size_bytes: Family
    test_report_total_time_seconds: Family
    test_report_total_count: Family
    test_report_success_count: Family
    test_report_failed_count: Family
    test_report_skipped_count: Family
    test_report_error_count: Family
    test_suite_duration_seconds: Family
    test_suite_count: Family
    test_case_status: Family
    pipelines_unfinished: Family
    pipelines_oldest_timestamp_seconds: Family
    jobs_unfinished: Family
    jobs_oldest_timestamp_seconds: Family
    environment_deployment_status: Family
    environment_last_deployment_timestamp_seconds: Family
    environment_behind_commits: Family
    environment_behind_duration_seconds: Family
    api_requests_total: Family
    api_request_duration_seconds: Family
    api_rate_limit_remaining: Family
    api_rate_limit_reset_timestamp: Family
    projects_tracked: Family
    scrape_duration_seconds: Family
    scrape_errors_total: Family
    gitlab_tier: Family
    collector_enabled: Family
    events_ignored_total: Family
    webhook_deliveries_total: Family
    malformed_objects_total: Family
    pipelines_abandoned_total: Family

    def __iter__(self) -> Iterator[Family]:
        return (getattr(self, field.name) for field in fields(self))

    @property
    def counted(self) -> tuple[Family, ...]:
        """Those that the ledger feeds."""
        return tuple(getattr(self, name) for name, declared in _DECLARED.items() if declared.is_counted)


@dataclass(frozen=True, slots=True)
class _Declared:
    """One family under its built-in name."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    is_counted: bool = False
    buckets: tuple[float, ...] | str = ()
    """Bounds, or whose they are: pipelines or jobs."""


def _times(help: str, labels: tuple[str, ...], buckets: tuple[float, ...] | str) -> _Declared:
    return _Declared(Kind.HISTOGRAM, help, labels, "seconds", True, buckets)


def _total(help: str, labels: tuple[str, ...]) -> _Declared:
    return _Declared(Kind.COUNTER, help, labels, is_counted=True)


def _own(help: str, labels: tuple[str, ...] = ()) -> _Declared:
    return _Declared(Kind.COUNTER, help + ", since the agent's start.", labels)


def _gauge(help: str, labels: tuple[str, ...] = (), unit: str = "") -> _Declared:
    return _Declared(Kind.GAUGE, help, labels, unit)


_COUNTED = {
    "pipeline_duration_seconds": _times(
        "How long pipelines ran, by GitLab's own word: without what they waited.", PIPELINE + STATUS, "pipelines"
    ),
    "pipeline_queued_duration_seconds": _times("How long pipelines waited for their first job.", PIPELINE, "pipelines"),
    "pipeline_run_count": _total("Pipelines that ended, each once.", PIPELINE),
    "pipeline_runs_by_status_total": _total("Pipelines that ended, by their first end.", PIPELINE + STATUS),
    "pipeline_retries_total": _total("Ends of pipelines after their first: jobs were run again, or a manual one.", PIPELINE),
    "pipeline_stage_duration_seconds": _times(
        "From the start of the first job of a stage to the end of its last.", ("project", "ref", "stage"), "pipelines"
    ),
    "child_pipeline_duration_seconds": _times(
        "How long pipelines ran that another one triggered, child or downstream.", CHILD, "pipelines"
    ),
    "child_pipeline_queued_duration_seconds": _times(
        "How long pipelines that another one triggered waited for their first job.", CHILD, "pipelines"
    ),
    "child_pipeline_run_count": _total("Pipelines that another one triggered and that ended, each once.", CHILD),
    "child_pipeline_runs_by_status_total": _total("Pipelines that another one triggered, by their first end.", CHILD + STATUS),
    "job_duration_seconds": _times("How long jobs ran.", JOB + RUNNER + STATUS, "jobs"),
    "job_queued_duration_seconds": _times("How long jobs waited for a runner.", JOB, "jobs"),
    "job_run_count": _total("Jobs that ended; a retry is another job.", JOB),
    "job_runs_by_status_total": _total("Jobs that ended, by how.", JOB + RUNNER + STATUS),
    "job_failures_total": _total("Jobs that failed, by why.", JOB + REASON),
    "job_retries_total": _total("Jobs that another took the place of.", JOB),
    "environment_deployment_duration_seconds": _times("How long the jobs of deployments ran.", ENVIRONMENT, "jobs"),
    "environment_deployment_count": _total("Deployments that ended.", ENVIRONMENT),
    "environment_deployments_by_status_total": _total("Deployments that ended, by how.", ENVIRONMENT + STATUS),
    "test_case_duration_seconds": _times("How long test cases ran.", CASE, CASE_SECONDS),
}

_STATE = {
    "pipeline_status": _gauge("1 for the status of a ref's newest pipeline.", PIPELINE + STATUS),
    "pipeline_coverage": _gauge("Coverage in percent that pipelines of a ref last told.", REF),
    "pipeline_id": _gauge("Number of a ref's newest pipeline.", REF),
    "pipeline_created_timestamp": _gauge("When a ref's newest pipeline was created.", REF, "seconds"),
    "pipeline_last_run_timestamp_seconds": _gauge("When a pipeline of a ref last ended.", REF, "seconds"),
    "child_pipeline_status": _gauge("1 for the status of a pipeline that a ref's newest pipeline triggered.", CHILD + STATUS),
    "job_status": _gauge("1 for the status of a job of a ref's newest pipeline.", JOB + STATUS + REASON),
    "job_artifact_size_bytes": _gauge("Artifacts of a job of a ref's newest pipeline.", JOB, "bytes"),
    "test_report_total_time_seconds": _gauge("Of a ref's newest test report: how long all tests ran.", REPORT, "seconds"),
    "test_report_total_count": _gauge("Of a ref's newest test report: all tests.", REPORT),
    "test_report_success_count": _gauge("Of a ref's newest test report: tests that passed.", REPORT),
    "test_report_failed_count": _gauge("Of a ref's newest test report: tests that failed.", REPORT),
    "test_report_skipped_count": _gauge("Of a ref's newest test report: tests that were skipped.", REPORT),
    "test_report_error_count": _gauge("Of a ref's newest test report: tests that broke off.", REPORT),
    "test_suite_duration_seconds": _gauge("Of a ref's newest test report: how long a suite ran.", SUITE, "seconds"),
    "test_suite_count": _gauge("Of a ref's newest test report: tests of a suite.", SUITE),
    "test_case_status": _gauge("1 for the status of a test case in a ref's newest test report.", CASE + STATUS),
}

_NOW = {
    "pipelines_unfinished": _gauge("Pipelines that have not ended, by status.", ("project", "status")),
    "pipelines_oldest_timestamp_seconds": _gauge(
        "When the oldest pipeline that has not ended was created, by status.", ("project", "status"), "seconds"
    ),
    "jobs_unfinished": _gauge("Jobs of those pipelines that have not ended, by status.", ("project", "status")),
    "jobs_oldest_timestamp_seconds": _gauge(
        "When the oldest job that has not ended was created, by status.", ("project", "status"), "seconds"
    ),
    "environment_deployment_status": _gauge("1 for the status of an environment's newest deployment.", ENVIRONMENT + STATUS),
    "environment_last_deployment_timestamp_seconds": _gauge(
        "When something was last deployed to an environment.", ENVIRONMENT, "seconds"
    ),
    "environment_behind_commits": _gauge("Commits of the branch that an environment does not have.", ENVIRONMENT),
    "environment_behind_duration_seconds": _gauge(
        "How much older what an environment has is than the branch.", ENVIRONMENT, "seconds"
    ),
}

_INTERNAL = {
    "api_requests_total": _own("Requests to GitLab", ("method", "endpoint", "status_code")),
    "api_request_duration_seconds": _Declared(
        Kind.HISTOGRAM,
        "How long GitLab took to answer, since the agent's start.",
        ("method", "endpoint"),
        "seconds",
        buckets=REQUEST_SECONDS,
    ),
    "api_rate_limit_remaining": _gauge("Requests left until GitLab's limit is reset."),
    "api_rate_limit_reset_timestamp": _gauge("When GitLab's limit is reset.", unit="seconds"),
    "projects_tracked": _gauge("Projects that are read."),
    "scrape_duration_seconds": _Declared(
        Kind.HISTOGRAM,
        "How long polls took, since the agent's start.",
        ("collector_type",),
        "seconds",
        buckets=SCRAPE_SECONDS,
    ),
    "scrape_errors_total": _own("What could not be read, by kind", ("collector_type", "error_type")),
    "gitlab_tier": _gauge("What a top-level namespace has: 0 Free, 1 Premium, 2 Ultimate.", ("namespace",)),
    "collector_enabled": _gauge("Whether something is collected.", ("collector_type",)),
    "events_ignored_total": _own("Webhook events that were read and do not count, by why", ("reason",)),
    "webhook_deliveries_total": _own("Webhook deliveries, by what became of them", ("event", "outcome")),
    "malformed_objects_total": _own("Objects of GitLab's that could not be read and are left out", ("kind",)),
    "pipelines_abandoned_total": _own("Pipelines that were followed and given up before their end"),
}

_DECLARED = {**_COUNTED, **_STATE, **_NOW, **_INTERNAL}


def families(options: Options) -> Families:
    """The families as configured. Raises ConfigError for labels that the configuration makes and that are there already."""
    own = {label for declared in _DECLARED.values() for label in declared.labels}
    made = {variable_label(name): name for name in options.labels.variables}
    problems = [
        f"custom_labels: {label} is a label of this source's own; choose another name"
        for label in sorted((own | made.keys()) & options.custom_labels.keys())
    ]
    problems += [
        f"labels.variables: {made[label]} makes {label}, a label of this source's own" for label in sorted(own & made.keys())
    ]
    if problems:
        raise ConfigError(problems)
    return Families(**{name: _family(name, declared, options) for name, declared in _DECLARED.items()})


def _family(name: str, declared: _Declared, options: Options) -> Family:
    buckets = declared.buckets
    if isinstance(buckets, str):
        of = options.collectors
        buckets = (of.pipelines if buckets == "pipelines" else of.jobs).histogram_buckets
    size, own, added = len(PIPELINE), declared.labels, tuple(map(variable_label, options.labels.variables))
    if own[:size] == PIPELINE:
        own = PIPELINE + added + own[size:]
    wide = {*WIDE, *added}
    if declared.is_counted and options.labels.ref == "class":
        wide -= {"ref", "parent_ref"}
    return Family(
        name,
        declared.kind,
        declared.help,
        declared.unit,
        labels=own,
        wide=tuple(label for label in own if label in wide),
        ttl_seconds=LEDGER_TTL_SECONDS if declared.is_counted else None,
        priority=Priority.HIGH if declared.is_counted else Priority.NORMAL,
        buckets=buckets,
        project="project" if "project" in own else "",
    )
