"""What a perfect observer counts in a world, worked out from the world's own plan and from nothing that observes it.

Ways of observing differ in one thing by design. Who hears webhooks, or reads their log, knows when an approval was
asked for and given: a job's waiting time is its own, and its queue time begins with the approval. The API tells neither, so
there the queue time of such a job holds both and no waiting time is known. Who hears some webhooks and reads the rest
from the list of runs may have missed the approval's; to compare such totals, make the world without approvals.

Series that are 0 are not here: to whoever compares, a series at 0 and none are the same. Times add up exactly, in whole and
64th seconds; dollars are sums of decimal fractions in no special order, equal to about 1e-9.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.sim.github.deliveries import job_delay
from agent.sim.github.plan import Attempt, Job, Run
from agent.sim.github.world import World

Way = Literal["webhooks", "deliveries", "api"]
WAYS: tuple[Way, ...] = ("webhooks", "deliveries", "api")
Labels = tuple[tuple[str, str], ...]
"""(name, value) of the labels that are not empty, sorted."""
Key = tuple[str, Labels]
"""(family without prefix, labels)."""

SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0)
"""The source's own buckets."""
_NO_DURATION = ("startup_failure", "action_required", "skipped", "stale")
_STANDARD = "github-hosted"


@dataclass
class Truth:
    """The totals of every series, by family and labels."""

    counters: dict[Key, float] = field(default_factory=dict)
    histograms: dict[Key, list[float]] = field(default_factory=dict)
    """How many were up to each bound, how many in all, and their sum: as rows of a histogram."""
    runs: int = 0
    jobs: int = 0

    def as_json(self) -> dict[str, object]:
        """The same for a query: lists of `{family, labels, value}`."""
        both: tuple[tuple[str, Mapping[Key, object]], ...] = (("counters", self.counters), ("histograms", self.histograms))
        listed = {
            name: [{"family": family, "labels": dict(labels), "value": value} for (family, labels), value in series.items()]
            for name, series in both
        }
        return {"runs": self.runs, "jobs": self.jobs, **listed}


def prices() -> dict[str, float]:
    """USD a minute by SKU, out of the table that is shipped with the source."""
    table = json.loads((Path(__file__).parents[2] / "sources" / "github" / "prices.json").read_text(encoding="utf-8"))
    return {rate["sku"]: float(rate["usd_per_minute"]) for rate in table["rates"]}


def truth(
    world: World,
    way: Way = "webhooks",
    *,
    buckets: Sequence[float] = SECONDS,
    until: float = math.inf,
    rates: Mapping[str, float] | None = None,
) -> Truth:
    """The totals of everything that ended by `until`, seconds since the epoch; `rates`: USD a minute by SKU."""
    counted = _Counted(Truth(), buckets, way == "api", prices() if rates is None else rates)
    for run, attempt in world.attempts():
        if attempt.completed <= until:
            counted.run(run, attempt)
        for job in attempt.jobs:
            if job.completed <= until:
                counted.job(run, job)
    return counted.found


@dataclass(frozen=True)
class _Counted:
    found: Truth
    buckets: Sequence[float]
    is_api: bool
    rates: Mapping[str, float]

    def run(self, run: Run, attempt: Attempt) -> None:
        """One attempt of a run: each is a run of its own."""
        self.found.runs += 1
        labels = _run_labels(run)
        ended = labels | {"status": attempt.conclusion}
        self._add("workflow_run_total", ended, 1)
        if attempt.conclusion not in _NO_DURATION:
            self._observe("workflow_run_duration_seconds", ended, attempt.completed - attempt.started)
        if attempt.first_start:
            self._observe("workflow_run_queue_duration_seconds", labels, attempt.first_start - attempt.started)

    def job(self, run: Run, job: Job) -> None:
        """One job, in the attempt that ran it."""
        self.found.jobs += 1
        runner = job.runner
        labels = _run_labels(run) | {
            "job_name": _without_matrix(job.template.name),
            "runner_type": runner.pool.kind if runner else "none",
            "runner_group": runner.pool.group if runner else "",
        }
        ended = labels | {"status": job.conclusion}
        self._add("job_run_total", ended, 1)
        for seconds in self._waits(job):
            self._observe("job_waiting_duration_seconds", labels, seconds)
        if runner:
            self._observe("job_run_duration_seconds", ended, job.completed - job.started)
            self._observe("job_queue_duration_seconds", labels, self._queue(job))
            self._cost(run, job, labels)

    def _waits(self, job: Job) -> Iterator[float]:
        if not self.is_api and job.waiting and job.approved and job.runner:
            yield job.approved - job.waiting

    def _queue(self, job: Job) -> float:
        if job.approved and not self.is_api:
            return job.started - (job.approved + job_delay(job))
        return max(0, job.started - job.created)

    def _cost(self, run: Run, job: Job, labels: dict[str, str]) -> None:
        pool = job.template.pool
        minutes = max(1, math.ceil((job.completed - job.started) / 60))
        if pool.kind == "unknown":
            self._add("job_unpriced_minutes_total", labels, minutes)
            return
        is_free = pool.kind == _STANDARD and not run.repository.private
        rate = 0.0 if is_free or pool.kind == "self-hosted" else self.rates[pool.sku]
        if rate:
            self._add("job_billed_minutes_total", labels, minutes)
            self._add("job_cost_dollars_total", labels, minutes * rate)

    def _add(self, family: str, labels: Mapping[str, str], value: float) -> None:
        key = _key(family, labels)
        self.found.counters[key] = self.found.counters.get(key, 0.0) + value

    def _observe(self, family: str, labels: Mapping[str, str], value: float) -> None:
        row = self.found.histograms.setdefault(_key(family, labels), [0.0] * (len(self.buckets) + 2))
        for place, bound in enumerate(self.buckets):
            row[place] += value <= bound
        row[-2] += 1
        row[-1] += value


def _key(family: str, labels: Mapping[str, str]) -> Key:
    return family, tuple(sorted((name, value) for name, value in labels.items() if value))


def _run_labels(run: Run) -> dict[str, str]:
    return {
        "repository": run.repository.full_name,
        "workflow": run.workflow.name,
        "event": run.event,
        "ref": _ref(run),
    }


def _ref(run: Run) -> str:
    """The class of what the run ran on."""
    if run.event == "merge_group":
        return "merge_queue"
    if run.event in ("pull_request", "pull_request_target"):
        return "pull_request"
    if run.event == "release" or run.head_branch.startswith(("release/", "releases/")):
        return "release"
    if run.head_branch == run.repository.default_branch:
        return "default"
    return "tag" if run.event == "push" and run.head_branch.startswith("v") else "other"


def _without_matrix(name: str) -> str:
    """`test (linux, 3.12)` is a `test`."""
    return name[: name.rindex(" (")] if name.endswith(")") else name
