"""What the source measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from agent.errors import ConfigError
from agent.model import Family, Kind, Priority
from agent.sources.github.options import BucketsOptions, Options

LEDGER_TTL_SECONDS = 86400.0
"""Totals are silent from one run to the next, which may be a day."""

RUN = ("repository", "workflow", "event", "ref")
JOB = ("repository", "workflow", "job_name", "event", "ref", "runner_type", "runner_group")
STATUS = ("status",)
WIDE = frozenset({"workflow", "job_name", "runner_group", "runner"})
"""Labels whose values people choose; all others say words of lists, classes, the repository or its owner."""


@dataclass(frozen=True, slots=True)
class Families:
    """Every family, under the names that the configuration gives them; the attribute is the built-in name."""

    workflow_run_total: Family
    workflow_run_duration_seconds: Family
    workflow_run_queue_duration_seconds: Family
    job_run_total: Family
    job_run_duration_seconds: Family
    job_queue_duration_seconds: Family
    job_waiting_duration_seconds: Family
    job_cost: Family
    job_cost_dollars_total: Family
    job_billed_minutes_total: Family
    job_unpriced_minutes_total: Family
    workflow_runs: Family
    jobs: Family
    jobs_oldest_queued_timestamp_seconds: Family
    runner_online: Family
    runner_busy: Family
    webhook_deliveries_total: Family
    events_ignored_total: Family
    invalid_timestamps_total: Family
    api_requests_total: Family
    api_rate_limit_remaining: Family
    api_rate_limit_reset_timestamp_seconds: Family
    workflow_run_event: Family
    job_event: Family

    def __iter__(self) -> Iterator[Family]:
        return (getattr(self, field.name) for field in fields(self))

    @property
    def counted(self) -> tuple[Family, ...]:
        """Those that the ledger feeds."""
        return (
            self.workflow_run_total,
            self.workflow_run_duration_seconds,
            self.workflow_run_queue_duration_seconds,
            self.job_run_total,
            self.job_run_duration_seconds,
            self.job_queue_duration_seconds,
            self.job_waiting_duration_seconds,
            self.job_cost_dollars_total,
            self.job_billed_minutes_total,
            self.job_unpriced_minutes_total,
        )


@dataclass(frozen=True, slots=True)
class _Declared:
    """One family under its built-in name."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    is_counted: bool = False
    priority: Priority = Priority.NORMAL


def _counted(kind: Kind, help: str, labels: tuple[str, ...], unit: str = "") -> _Declared:
    return _Declared(kind, help, labels, unit, True, Priority.HIGH)


_COUNTER, _HISTOGRAM, _GAUGE = Kind.COUNTER, Kind.HISTOGRAM, Kind.GAUGE

_DECLARED = {
    "workflow_run_total": _counted(_COUNTER, "Attempts of runs that ended, by conclusion.", RUN + STATUS),
    "workflow_run_duration_seconds": _counted(
        _HISTOGRAM, "From the start of an attempt to its end; of runs that ran at all.", RUN + STATUS, "seconds"
    ),
    "workflow_run_queue_duration_seconds": _counted(
        _HISTOGRAM, "From the start of an attempt to the start of its first job.", RUN, "seconds"
    ),
    "job_run_total": _counted(_COUNTER, "Jobs that ended, by conclusion.", JOB + STATUS),
    "job_run_duration_seconds": _counted(
        _HISTOGRAM, "From a job's start on a runner to its end; of jobs that had a runner.", JOB + STATUS, "seconds"
    ),
    "job_queue_duration_seconds": _counted(
        _HISTOGRAM,
        "From when a job could run to its start on a runner, without the time it waited for an approval.",
        JOB,
        "seconds",
    ),
    "job_waiting_duration_seconds": _counted(
        _HISTOGRAM, "How long jobs that then ran waited for an approval; known from webhooks and their log only.", JOB, "seconds"
    ),
    "job_cost": _Declared(_GAUGE, "What the last job cost in USD, estimated from its length and the price table.", JOB),
    "job_cost_dollars_total": _counted(_COUNTER, "What jobs cost in USD, estimated as in job_cost.", JOB),
    "job_billed_minutes_total": _counted(
        _COUNTER, "Minutes of jobs with a price above zero, each job rounded up.", JOB, "minutes"
    ),
    "job_unpriced_minutes_total": _counted(_COUNTER, "Minutes, rounded up, of jobs whose price is not known.", JOB, "minutes"),
    "workflow_runs": _Declared(_GAUGE, "Runs that have not ended, by status.", ("repository", "workflow", "status")),
    "jobs": _Declared(
        _GAUGE, "Jobs that have not ended, by status.", ("repository", "workflow", "runner_type", "runner_group", "status")
    ),
    "jobs_oldest_queued_timestamp_seconds": _Declared(
        _GAUGE, "Since when the longest queued job is queued.", ("repository", "runner_type", "runner_group"), "seconds"
    ),
    "runner_online": _Declared(_GAUGE, "Whether a runner is online.", ("owner", "runner", "runner_group", "os")),
    "runner_busy": _Declared(_GAUGE, "Whether a runner has a job.", ("owner", "runner", "runner_group", "os")),
    "webhook_deliveries_total": _Declared(_COUNTER, "Deliveries that came in, by what became of them.", ("event", "outcome")),
    "events_ignored_total": _Declared(_COUNTER, "Events that were read and do not count, by why.", ("reason",)),
    "invalid_timestamps_total": _Declared(_COUNTER, "Durations left out because their times cannot be.", ("kind",)),
    "api_requests_total": _Declared(_COUNTER, "Requests to the API, by kind and answer.", ("resource", "code")),
    "api_rate_limit_remaining": _Declared(_GAUGE, "Requests left until the limit is reset.", ("resource",)),
    "api_rate_limit_reset_timestamp_seconds": _Declared(_GAUGE, "When the limit is reset.", ("resource",), "seconds"),
    "workflow_run_event": _Declared(
        _GAUGE, "One sample for each run, its length in seconds, at the time it ended; where `events` is on.", RUN + STATUS
    ),
    "job_event": _Declared(
        _GAUGE, "One sample for each job, its length in seconds, at the time it ended; where `events` is on.", JOB + STATUS
    ),
}


def families(options: Options) -> Families:
    """The families as configured. Raises ConfigError for names of families and labels that there are not."""
    labels = {label for declared in _DECLARED.values() for label in declared.labels}
    problems = [f"names: there is no metric {name}; there is {', '.join(_DECLARED)}" for name in options.names.keys() - _DECLARED]
    problems += [
        f"label_names: there is no label {name}; there is {', '.join(sorted(labels))}"
        for name in options.label_names.keys() - labels
    ]
    renamed = [options.names.get(name, name) for name in _DECLARED]
    problems += [f"names: {name} is the name of two metrics" for name in {name for name in renamed if renamed.count(name) > 1}]
    for name, declared in _DECLARED.items():
        own = [options.label_names.get(label, label) for label in declared.labels]
        if len(set(own)) < len(own) or set(own) & options.custom_labels.keys():
            problems.append(f"label_names: {name} would have a label twice: {', '.join([*own, *options.custom_labels])}")
    if problems:
        raise ConfigError(sorted(problems))
    return Families(**{name: _family(name, declared, options) for name, declared in _DECLARED.items()})


def _family(name: str, declared: _Declared, options: Options) -> Family:
    named = {label: options.label_names.get(label, label) for label in declared.labels}
    return Family(
        options.names.get(name, name),
        declared.kind,
        declared.help,
        declared.unit,
        labels=tuple(named.values()),
        wide=tuple(own for label, own in named.items() if label in WIDE),
        ttl_seconds=LEDGER_TTL_SECONDS if declared.is_counted or name == "job_cost" else None,
        priority=declared.priority,
        buckets=options.buckets.of(name) if name in BucketsOptions.model_fields else (),
        project=named.get("repository", ""),
    )
