"""How pipelines of a world come about: their jobs, what those trigger, and what people do to them meanwhile."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from agent.sim.gitlab import catalogue, course
from agent.sim.gitlab.catalogue import OTHER, Entry, Recipe
from agent.sim.gitlab.ids import DEPLOYMENTS, JOBS, PIPELINES, Ids
from agent.sim.gitlab.objects import BRIDGE, Job, Pipeline, PipelineView, Upstream
from agent.sim.gitlab.places import MergeRequest, Project, User

REOPENED_AFTER = 900
"""Seconds for which an ended pipeline stays as it is before it is run again, so that whoever polls sees its end."""


@dataclass(frozen=True)
class Trigger:
    """What starts a pipeline."""

    at: int
    project: Project
    recipe: str
    ref: str
    source: str
    user: User
    tag: bool = False
    merge_request: MergeRequest | None = None
    slowness: float = 1.0
    """How many times longer than usual everything takes."""


@dataclass
class Growth:
    """Makes pipelines. One that has children makes them too; all of them are in `made`."""

    rng: random.Random
    origin: int
    others: list[Project]
    """Where downstream pipelines of other projects may run."""
    haste: float = 1.0
    made: list[Pipeline] = field(default_factory=list)
    entries: dict[Job, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline_ids = Ids(PIPELINES, self.origin, 1024)
        self.job_ids = Ids(JOBS, self.origin)
        self.deployment_ids = Ids(DEPLOYMENTS, self.origin, 64)

    def pipeline(self, trigger: Trigger, upstream: Upstream | None = None) -> Pipeline:
        """One pipeline and everything below it."""
        rng = self.rng
        is_child = upstream is not None and upstream.pipeline.project is trigger.project
        sha = upstream.pipeline.sha if upstream and is_child else f"{rng.getrandbits(160):040x}"
        made = Pipeline(
            self.pipeline_ids.take(trigger.at),
            trigger.project,
            trigger.ref,
            trigger.source,
            sha,
            trigger.at,
            trigger.user,
            trigger.tag,
            trigger.merge_request,
            upstream,
        )
        made.variables = catalogue.variables(made.source, made.id)
        self.made.append(made)
        if upstream is None and rng.random() < 0.02:
            made.views = (PipelineView(trigger.at, "failed", finished_at=trigger.at),)
            made.yaml_error = "jobs:unit config should contain at least one visible job"
            return made
        jobs = self._jobs(made, trigger, catalogue.RECIPES[trigger.recipe])
        self._people(made, jobs, is_free=upstream is None or not self.entries[upstream.bridge].depends)
        jobs.sort(key=_id)
        made.jobs = tuple(jobs)
        made.views = course.views(made.created, jobs)
        made.report = tuple(
            catalogue.suite(job.spec.name, job.id % 8)
            for job in jobs
            if job.spec.is_tested and job.started and not job.retried_at
        )
        if made.views[-1].is_final and rng.random() < 0.03:
            made.views += (made.views[-1]._replace(updated_at=made.last_change + self._span(3_600)),)
        return made

    def _span(self, seconds: float) -> int:
        return max(1, round(seconds / self.haste))

    def _jobs(self, made: Pipeline, trigger: Trigger, recipe: Recipe) -> list[Job]:
        """Its jobs, as they go where nobody interferes."""
        plans = [[(self._created(entry, made.created), entry) for entry in stage] for stage in recipe]
        jobs = [job for stage in plans for job, _ in stage]
        at, is_failing = made.created + 1, False
        for stage in plans:
            ends, is_stopped = [at], is_failing
            for job, entry in stage:
                if at == 0:
                    continue  # an earlier stage never ends
                if is_stopped and entry.spec.when != "always":
                    job.ended, job.status = at, "skipped"
                    continue
                last = self._run(made, trigger, job, entry, at)
                if last is not job:
                    jobs.append(last)
                is_failing = is_failing or (last.status in ("failed", "canceled") and not entry.spec.allow_failure)
                if not (entry.spec.when == "manual" and entry.spec.allow_failure):
                    ends.append(last.ended)
            at = 0 if 0 in ends else max(ends)
        return jobs

    def _created(self, entry: Entry, at: int) -> Job:
        job = Job(self.job_ids.take(at), entry.spec, at, 0, 0, 0, "", runner=self.rng.randrange(8))
        self.entries[job] = entry
        return job

    def _run(self, made: Pipeline, trigger: Trigger, job: Job, entry: Entry, at: int) -> Job:
        """Let a job begin at `at`; the job that is left of it in the end: another one if it was tried again at once."""
        rng = self.rng
        if entry.spec.kind == BRIDGE:
            self._trigger(made, trigger, job, entry, at)
            return job
        if entry.spec.when == "manual":
            job.held, job.held_from = "manual", at
            if entry.spec.allow_failure or rng.random() < 0.35:
                return job  # somebody may still start an optional one; the pipeline does not wait for that
            at += self._span(rng.randrange(30, 20_000))
        elif entry.spec.when == "delayed":
            job.held, job.held_from = "scheduled", at
            at += self._span(1_800)
        elif rng.random() < 0.05:
            job.held, job.held_from = rng.choice(("preparing", "waiting_for_resource")), at
            at += self._span(rng.randrange(1, 40))
        self.work(job, at, entry.seconds * trigger.slowness)
        if job.status == "failed" and rng.random() < 0.3:
            job.retried_at = job.ended  # at once, so that the pipeline does not end in between
            again = self._created(entry, job.retried_at)
            self.work(again, again.created, entry.seconds * trigger.slowness)
            return again
        return job

    def work(self, job: Job, at: int, seconds: float, *, trouble: float = 0.09) -> None:
        """Queue a job at `at` and run it, which goes wrong in so many of all cases."""
        rng = self.rng
        job.queued = at
        wait = self._span(rng.expovariate(1 / 12) + 1)
        if rng.random() < trouble:
            job.status = "failed"
            if rng.random() < 0.12:
                job.failure_reason, job.ended = rng.choice(catalogue.UNSTARTED_REASONS), at + wait
                return
            job.failure_reason = rng.choice(catalogue.FAILURE_REASONS)
        else:
            job.status = "success"
            job.coverage = round(rng.uniform(55, 99), 2) if job.spec.is_tested and rng.random() < 0.8 else None
        job.started = at + wait
        job.ended = job.started + self._span(seconds * rng.lognormvariate(0, 0.4))

    def _trigger(self, made: Pipeline, trigger: Trigger, job: Job, entry: Entry, at: int) -> None:
        """Let a bridge trigger what it triggers."""
        rng = self.rng
        project, source = made.project, "parent_pipeline"
        ref, tag, merge_request = made.ref, made.tag, made.merge_request
        job.queued, begins = at, at + 1
        if entry.where == OTHER:
            able = [other for other in self.others if other is not project and other.created < begins]
            if not able or rng.random() < 0.04:
                job.ended, job.status, job.failure_reason = begins, "failed", "downstream_bridge_project_not_found"
                return
            project, source = rng.choice(able), "pipeline"
            ref, tag, merge_request = project.default_branch, False, None
        below = Trigger(begins, project, entry.downstream, ref, source, made.user, tag, merge_request, trigger.slowness)
        job.downstream = self.pipeline(below, Upstream(made, job))
        if not entry.depends:
            job.ended, job.status = begins, "success"
            return
        job.started = begins
        end = next((view for view in job.downstream.views if view.is_final), None)
        if end is not None:
            job.ended, job.status = max(end.updated_at, begins + 1), end.status
            job.failure_reason = "unknown_failure" if end.status == "failed" else ""

    def _people(self, made: Pipeline, jobs: list[Job], *, is_free: bool) -> None:
        """What people do to a pipeline: cancel it, run it again when it has ended, start an optional job."""
        rng = self.rng
        has_bridges = any(job.spec.kind == BRIDGE for job in jobs)
        last = course.views(made.created, jobs)[-1]
        if not has_bridges and rng.random() < 0.06:
            until = last.updated_at if last.is_final else made.created + 3_600
            self._cancel(jobs, made.created + rng.choice((0, rng.randrange(1, max(2, until - made.created)))))
            return
        if not is_free or not last.is_final:
            return
        again = last.updated_at + self._span(REOPENED_AFTER) + rng.randrange(self._span(7_200))
        if last.status == "failed" and not any(job.spec.kind == BRIDGE and job.status != "success" for job in jobs):
            for _ in range(2):
                if rng.random() > 0.5 or not self._again(jobs, again):
                    break
                again = max(job.ended for job in jobs) + self._span(REOPENED_AFTER) + rng.randrange(self._span(3_600))
        elif last.status == "success" and rng.random() < 0.3:
            for job in jobs:
                if job.held == "manual" and job.spec.allow_failure and not job.queued:
                    self.work(job, again, self.entries[job].seconds)

    def _cancel(self, jobs: list[Job], at: int) -> None:
        for job in [job for job in jobs if job.created > at]:
            jobs.remove(job)
        for job in jobs:
            if job.retried_at > at:
                job.retried_at = 0
            if 0 < job.ended <= at:
                continue
            is_running = 0 < job.started <= at
            job.status, job.failure_reason, job.coverage = "canceled", "", None
            job.queued = job.queued if job.queued <= at else 0
            job.started = job.started if is_running else 0
            job.canceling = at if is_running and at > job.started else 0
            job.ended = at + self._span(self.rng.randrange(2, 9)) if is_running else max(at, job.created)

    def _again(self, jobs: list[Job], at: int) -> bool:
        """Run again, from `at` on, what failed, and what was skipped for that; whether there was anything."""
        failed = [job for job in jobs if job.status == "failed" and not job.retried_at and not job.again]
        skipped = [job for job in jobs if job.status == "skipped" and not job.retried_at and not job.again]
        if not failed or any(job.again for job in jobs):
            return False
        for job in failed:
            job.retried_at = at
            entry = self.entries[job]
            new = self._created(entry, at)
            self.work(new, at, entry.seconds, trouble=0.2)
            jobs.append(new)
        is_failing = any(job.status == "failed" and not job.spec.allow_failure for job in jobs if job.created == at)
        until = max(job.ended for job in jobs if job.created == at)
        stage, begins, is_gated = "", until, False
        for job in skipped:
            if job.spec.stage != stage:
                stage, begins = job.spec.stage, until
            life = job.again = Job(job.id, job.spec, at, 0, 0, 0, "", runner=job.runner)
            if is_failing:
                life.ended, life.status = until, "skipped"
            elif job.spec.when == "manual":
                life.held, life.held_from = "manual", begins
                is_gated = is_gated or not job.spec.allow_failure
            elif not is_gated:
                self.work(life, begins, self.entries[job].seconds, trouble=0.0)
                until = max(until, life.ended)
        return True


def _id(job: Job) -> int:
    return job.id
