"""From an ended run or job to what it counts as: which series, how much, and what of its times can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.model import Event, Family, Increment, Observation, Update
from agent.sources.github.cost import Prices
from agent.sources.github.families import Families
from agent.sources.github.join import Context, Pending
from agent.sources.github.labels import Labeller
from agent.sources.github.payload import Job, Repository, Run

CLOCKS_SECONDS = 2.0
"""GitHub's own clocks disagree by so much: jobs are created up to two seconds after they started."""
FUTURE_SECONDS = 3600.0
"""An end that is further ahead of the agent's clock is none."""
NEVER_RAN = ("startup_failure", "action_required", "skipped", "stale")
"""Conclusions of runs whose times say nothing."""
NOWHERE = Context("", "", "", "", {}, 0.0, False)
"""Of a run that never became known."""

Labels = tuple[str, ...]


class Counted(NamedTuple):
    """An observation, and the gauges that go with it."""

    observation: Observation
    updates: Sequence[Update] = ()


class Counting:
    """Pure: the same run or job gives the same observation, but for the numbers in `invalid`."""

    def __init__(self, host: str, families: Families, labeller: Labeller, prices: Prices, *, events: bool) -> None:
        self._host = host
        self._families = families
        self._labeller = labeller
        self._prices = prices
        self._events = events
        self.invalid: Counter[str] = Counter()
        """Durations left out, by kind."""

    def run(self, run: Run, repository: Repository, context: Context, ended: float | None) -> Counted:
        """One attempt of a run; `ended`: when its last job did, seconds since the epoch."""
        families, labels = self._families, self._run_labels(repository, context)
        status = (*labels, run.conclusion or "other")
        increments = [Increment(families.workflow_run_total, status, 1)]
        seconds = None if run.conclusion in NEVER_RAN else self._between("run_duration", run.started, ended)
        if seconds is not None:
            increments.append(Increment(families.workflow_run_duration_seconds, status, seconds))
        events = self._event(families.workflow_run_event, status, seconds, ended, run.id)
        key = f"github:{self._host}:run:{run.id}:{run.attempt}"
        return Counted(Observation(key, tuple(increments), events))

    def run_queue(self, run: Run, repository: Repository, context: Context, first: float | None) -> Iterator[Counted]:
        """How long an attempt waited for its first job, which started at `first`."""
        seconds = self._between("run_queue", run.started, first)
        if seconds is not None:
            key = f"github:{self._host}:run:{run.id}:{run.attempt}:queue"
            labels = self._run_labels(repository, context)
            increment = Increment(self._families.workflow_run_queue_duration_seconds, labels, seconds)
            yield Counted(Observation(key, (increment,)))

    def job(self, ended: Pending, context: Context | None) -> Counted:
        """One job; `context` None: its run never became known."""
        families, job, repository = self._families, ended.job, ended.repository
        if job.completed is not None and job.completed > ended.since + FUTURE_SECONDS:
            job = job._replace(completed=None)  # it cannot have ended yet
        labels = self._job_labels(job, repository, context)
        status = (*labels, job.conclusion or "other")
        increments = [Increment(families.job_run_total, status, 1)]
        updates: list[Update] = []
        seconds = None
        if job.ran:
            start = ended.picked or job.started
            seconds = self._between("job_duration", start, job.completed)
            queued = self._queue(job, start, ended.queued)
            if queued is not None:
                increments.append(Increment(families.job_queue_duration_seconds, labels, queued))
            if seconds is not None:
                increments.append(Increment(families.job_run_duration_seconds, status, seconds))
                bill, updates = self._bill(job, labels, seconds, repository)
                increments += bill
        if ended.waited is not None and job.ran:
            increments.append(Increment(families.job_waiting_duration_seconds, labels, ended.waited))
        events = self._event(families.job_event, status, seconds, job.completed, job.run_id)
        return Counted(Observation(f"github:{self._host}:job:{job.id}", tuple(increments), events), updates)

    def _bill(self, job: Job, labels: Labels, seconds: float, repository: Repository) -> tuple[list[Increment], list[Update]]:
        families, bill = self._families, self._prices.bill(job, seconds, private=repository.private)
        if bill.dollars is None:
            return [Increment(families.job_unpriced_minutes_total, labels, bill.minutes)], []
        increments = []
        if bill.billed:  # what is free has no series of its own
            increments = [
                Increment(families.job_billed_minutes_total, labels, bill.billed),
                Increment(families.job_cost_dollars_total, labels, bill.dollars),
            ]
        return increments, [Update(families.job_cost, labels, bill.dollars, job.completed or 0.0, "cost")]

    def _queue(self, job: Job, start: float | None, queued: float | None) -> float | None:
        """From when it could run to its start; None where that is not known."""
        if job.created is None:
            return None
        return self._between("job_queue", queued or job.created, start)

    def _between(self, kind: str, start: float | None, end: float | None) -> float | None:
        """Seconds from one to the other; None for what cannot be, which is counted."""
        if start is None or end is None:
            self.invalid[kind] += 1
            return None
        if end - start < -CLOCKS_SECONDS:
            self.invalid[kind] += 1
            return None
        return max(0.0, end - start)

    def _event(self, family: Family, labels: Labels, seconds: float | None, at: float | None, run_id: int) -> tuple[Event, ...]:
        if not self._events or at is None:
            return ()
        return (Event(family, labels, seconds or 0.0, at, (("run_id", str(run_id)),)),)

    def _run_labels(self, repository: Repository, context: Context) -> Labels:
        return (repository.name, self._labeller.workflow(context.workflow, context.path), context.event, context.ref)

    def _job_labels(self, job: Job, repository: Repository, context: Context | None) -> Labels:
        known = context or NOWHERE
        return (
            repository.name,
            self._labeller.workflow(known.workflow or job.workflow, known.path),
            self._labeller.job_name(job.name),
            known.event,
            known.ref or self._labeller.ref("", job.branch, repository.default_branch),
            self._prices.runner_type(job),
            job.group if job.ran else "",
        )
