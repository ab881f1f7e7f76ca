"""Pipelines that were made up beforehand, what GitLab says of them at a moment, by API and by webhook, and what they count as.

The expectations are worked out from the plans and from nothing that observes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from agent.sources.gitlab.objects import Job, Pipeline, Upstream

START = 1_790_000_000
"""When the agent first reads the project."""
PATH, NUMBER = "acme/rocket", 501
RETRY_AFTER = 900
KINDS = {
    "main": "branch",
    "topic/x": "branch",
    "release/2": "branch",
    "v1.2": "tag",
    "nightly": "tag",
    "refs/merge-requests/7/head": "merge_request",
}
LABELS = {
    "main": "main",
    "topic/x": "other",
    "release/2": "release/2",
    "v1.2": "v1.2",
    "nightly": "tag",
    "refs/merge-requests/7/head": "merge_request",
}
"""What label `ref` says of each, by the rules that hold where nothing is configured."""

Totals = Counter[tuple[str, tuple[str, ...]]]
"""(name, labels) -> value of a counter; of a histogram how many, and their sum with `:sum` behind the name."""


@dataclass
class JobPlan:
    """One job; 0 = never."""

    id: int
    name: str
    stage: str
    status: str
    created: int
    started: int
    finished: int
    allow_failure: bool = False
    reason: str = ""
    runner: str = "instance"
    retried_at: int = 0

    @property
    def label(self) -> str:
        """How it ends."""
        return "failed_with_warnings" if self.status == "failed" and self.allow_failure else self.status

    def at(self, now: int) -> Job:
        """What the API says of it."""
        ended = self.ended_at
        is_over = 0 < ended <= now
        status = self.label if is_over else "running" if 0 < self.started <= now else "pending"
        ran = 0 < self.started <= now
        return Job(
            self.id,
            self.name,
            self.stage,
            status,
            self.created,
            self.started if ran else None,
            self.finished if is_over and self.finished else None,
            (self.finished if is_over else now) - self.started if ran else None,
            self.started - self.created if ran else None,
            0 < self.retried_at <= now,
            self.runner if ran else "unknown",
            self.reason if is_over else "",
        )

    @property
    def ended_at(self) -> int:
        """When it came to its last status."""
        return self.finished or self.created + 1

    def build(self, now: int) -> dict[str, Any]:
        """What a webhook says of it."""
        job = self.at(now)
        is_over = self.ended_at <= now
        fraction = self.id % 997 / 1000
        return {
            "id": self.id,
            "stage": self.stage,
            "name": self.name,
            "status": self.status if is_over else job.status,
            "created_at": stamp(self.created),
            "started_at": stamp(job.started),
            "finished_at": stamp(job.finished),
            "duration": None if job.duration is None else job.duration + fraction,
            "queued_duration": None if job.queued is None else job.queued + fraction,
            "failure_reason": self.reason or None,
            "allow_failure": self.allow_failure,
            "runner": {"id": 3, "runner_type": f"{self.runner}_type", "is_shared": True} if job.started else None,
        }


@dataclass
class Run:
    """From when on a pipeline runs, and when and how that ends."""

    begun: int
    ended: int
    status: str


@dataclass
class Plan:
    """One pipeline and its runs; the jobs of a later one begin with it."""

    id: int
    ref: str
    source: str
    created: int
    runs: list[Run]
    jobs: list[JobPlan] = field(default_factory=list)
    parent: str = ""
    """The ref of the pipeline that triggered it; "" = none did."""

    def at(self, now: int) -> Pipeline:
        """What the API says of it."""
        run = [self.runs[0], *(run for run in self.runs if run.begun <= now)][-1]
        is_over = run.ended <= now
        ran = is_over and run.status != "skipped"
        upstream = Upstream(PATH, self.parent, "deploy", KINDS[self.parent], self.id - 1) if self.parent else None
        return Pipeline(
            self.id,
            run.status if is_over else "running" if run.begun <= now else "pending",
            self.ref,
            KINDS[self.ref],
            self.source,
            self.created,
            run.ended if is_over else run.begun if run.begun <= now else self.created,
            self.runs[0].begun,
            run.ended if ran else None,
            self.seconds(run) if ran else None,
            self.runs[0].begun - self.created if ran else None,
            merge_request=7 if KINDS[self.ref] == "merge_request" else 0,
            upstream=upstream,
        )

    def seconds(self, run: Run) -> int:
        """Its duration at the end of a run: all runs until then."""
        return sum(one.ended - one.begun for one in self.runs if one.ended <= run.ended)

    def jobs_at(self, now: int) -> list[Job]:
        """All jobs, as the API has them."""
        return [job.at(now) for job in self.jobs if job.created <= now]

    def body(self, now: int) -> dict[str, Any]:
        """A pipeline event."""
        told, is_request = self.at(now), KINDS[self.ref] == "merge_request"
        source = {"project": {"path_with_namespace": PATH}, "pipeline_id": self.id - 1, "job_id": 5} if self.parent else None
        return {
            "object_kind": "pipeline",
            "object_attributes": {
                "id": self.id,
                "ref": "some-branch" if is_request else self.ref,
                "tag": KINDS[self.ref] == "tag",
                "source": self.source,
                "status": told.status.removesuffix("_with_warnings"),
                "detailed_status": "passed with warnings" if told.status.endswith("warnings") else "passed",
                "created_at": stamp(self.created),
                "finished_at": stamp(told.finished),
                "duration": told.duration,
                "queued_duration": told.queued,
            },
            "merge_request": {"id": 9, "iid": 7, "state": "opened"} if is_request else None,
            "project": {"id": NUMBER, "path_with_namespace": PATH},
            "source_pipeline": source,
            "builds": [job.build(now) for job in self.jobs if job.created <= now and not 0 < job.retried_at <= now],
        }


def stamp(at: int | None) -> str | None:
    """A time as webhooks have it."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plans(random: Random, count: int, *, retries: bool) -> list[Plan]:
    """Pipelines that begin some time before or after START."""
    return [_plan(random, 10 * (number + 1), retries=retries) for number in range(count)]


def _plan(random: Random, number: int, *, retries: bool) -> Plan:
    created = START + random.randrange(-600, 600)
    begun, ref = created + random.randrange(60), random.choice(list(KINDS))
    parent = ref if random.random() < 0.2 else ""
    status = random.choice(["success", "success", "failed", "canceled", "skipped", "success_with_warnings"])
    plan = Plan(
        number, ref, "parent_pipeline" if parent else random.choice(["push", "web", "brand_new"]), created, [], parent=parent
    )
    for turn in range(random.randrange(1, 4) if retries else 1):
        ended = begun + random.randrange(1, 600)
        plan.runs.append(Run(begun, ended, status if turn == 0 else random.choice(["success", "failed"])))
        for _ in range(random.randrange(4)):
            plan.jobs.append(_job(random, plan, turn, begun, ended))
        begun = ended + RETRY_AFTER + random.randrange(600)
    return plan


def _job(random: Random, plan: Plan, turn: int, begun: int, ended: int) -> JobPlan:
    """One job of a run; in a later run, or now and then in the first, it takes the place of another."""
    held = [job for job in plan.jobs if not job.retried_at and job.ended_at <= begun] if turn else []
    if not turn and random.random() < 0.3:
        held = [job for job in plan.jobs if not job.retried_at and job.finished and job.finished + 1 < ended]
    old = random.choice(held) if held else None
    created = max(begun if turn else plan.created, old.ended_at if old else 0)
    name = old.name if old else f"job {len(plan.jobs)}/9"
    stage = old.stage if old else random.choice(["build", "test"])
    if old:
        old.retried_at = created
    number = plan.id * 100 + len(plan.jobs)
    status = random.choice(["success", "failed", "skipped", "canceled"])
    if status == "skipped":
        return JobPlan(number, name, stage, status, created, 0, 0)
    started = random.randrange(created, ended) if created < ended else created
    finished = random.randrange(started, ended) if started < ended else ended
    reason = random.choice(["script_failure", "made_up"]) if status == "failed" else ""
    return JobPlan(number, name, stage, status, created, started, max(finished, created), random.random() < 0.3, reason)


# -- what they count as ----------------------------------------------------------------------------------


def expected(made: Iterable[Plan]) -> Totals:
    """Everything that ended counts once, but for what had ended before START."""
    totals: Totals = Counter()
    for plan in made:
        is_registered = plan.created < START and not plan.at(START).is_final
        ends = [run for run in plan.runs if plan.created >= START or (is_registered and run.ended > START)]
        if ends:
            _pipeline(totals, plan, ends)
            _stages(totals, plan, ends[0])
        for job in plan.jobs:
            if job.created >= START or (job.finished >= START if job.finished else is_registered):
                _count_job(totals, plan, job)
    return totals


def _add(totals: Totals, name: str, labels: Sequence[str], value: int | None = None) -> None:
    totals[name, tuple(labels)] += 1
    if value is not None:
        totals[name + ":sum", tuple(labels)] += value


def _pipeline(totals: Totals, plan: Plan, ends: Sequence[Run]) -> None:
    first, source = ends[0], "other" if plan.source == "brand_new" else plan.source
    own = (PATH, LABELS[plan.ref], KINDS[plan.ref], source)
    child = (PATH, LABELS[plan.ref], PATH, LABELS[plan.parent], "deploy") if plan.parent else None
    _add(totals, "pipeline_run_count", own)
    _add(totals, "pipeline_runs_by_status_total", (*own, first.status))
    if child:
        _add(totals, "child_pipeline_run_count", child)
        _add(totals, "child_pipeline_runs_by_status_total", (*child, first.status))
    if first.status != "skipped":
        _add(totals, "pipeline_duration_seconds", (*own, first.status), plan.seconds(first))
        _add(totals, "pipeline_queued_duration_seconds", own, plan.runs[0].begun - plan.created)
        if child:
            _add(totals, "child_pipeline_duration_seconds", child, plan.seconds(first))
            _add(totals, "child_pipeline_queued_duration_seconds", child, plan.runs[0].begun - plan.created)
    for _ in ends[1:]:
        _add(totals, "pipeline_retries_total", own)


def _stages(totals: Totals, plan: Plan, run: Run) -> None:
    end = run.ended
    if run.status == "skipped":
        return
    last = {job.name: job for job in sorted(plan.jobs, key=lambda job: job.id) if job.created <= end}
    ran = [job for job in last.values() if job.started and job.finished <= end]
    for stage in {job.stage for job in ran}:
        own = [job for job in ran if job.stage == stage]
        seconds = max(job.finished for job in own) - min(job.started for job in own)
        _add(totals, "pipeline_stage_duration_seconds", (PATH, LABELS[plan.ref], stage), seconds)


def _count_job(totals: Totals, plan: Plan, job: JobPlan) -> None:
    own = (PATH, LABELS[plan.ref], job.stage, "job")
    runner = job.runner if job.started else "unknown"
    _add(totals, "job_run_count", own)
    _add(totals, "job_runs_by_status_total", (*own, runner, job.label))
    if job.started:
        _add(totals, "job_duration_seconds", (*own, runner, job.label), job.finished - job.started)
        _add(totals, "job_queued_duration_seconds", own, job.started - job.created)
    if job.status == "failed":
        _add(totals, "job_failures_total", (*own, job.reason if job.reason == "script_failure" else "other"))
    if job.retried_at:
        _add(totals, "job_retries_total", own)
