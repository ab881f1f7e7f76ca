"""What happens to runs: who takes their jobs and when, what fails, is cancelled, skipped, approved and run again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from agent.sim.github import catalogue
from agent.sim.github.plan import Attempt, Carried, Job, Lookalike, Pool, Repository, Run, Runner, Template, Workflow

MAX_ATTEMPTS = 4
SETTLED = 5
"""Seconds after its end in which nobody runs a run again."""


class History:
    """Writes the history of one run after the other, from one source of chance."""

    def __init__(self, rng: random.Random, ids: Iterator[int], approvals: bool, haste: float) -> None:
        self._rng = rng
        self._ids = ids
        self._approvals = approvals
        self._haste = haste
        self._runners: dict[tuple[str, int], Runner] = {}

    def run(self, identity: int, number: int, repository: Repository, workflow: Workflow, created: int) -> Run:
        """A run from its trigger to the end of its last attempt."""
        rng = self._rng
        event, branch, fork = self._cause(repository, rng.choice(workflow.events))
        return Run(
            identity,
            number,
            repository,
            workflow,
            event,
            branch,
            head_sha=f"{rng.getrandbits(160):040x}",
            title=f"Fix {rng.choice(catalogue.TOPICS)}" if event != "schedule" else workflow.name,
            actor=rng.choice(catalogue.PEOPLE),
            fork=fork,
            created=created,
            attempts=tuple(self._attempts(workflow, created, fork)),
        )

    def _cause(self, repository: Repository, event: str) -> tuple[str, str, bool]:
        """(event, branch or tag, whether it came from a fork)."""
        rng, main = self._rng, repository.default_branch
        topic = f"{rng.choice(('feature', 'fix'))}/{rng.choice(catalogue.TOPICS)}-{rng.randrange(900)}"
        tag = f"v{rng.randrange(9)}.{rng.randrange(20)}.{rng.randrange(9)}"
        if event in ("release", "tag"):
            return ("push" if event == "tag" else event), tag, False
        if event == "merge_group":
            return event, f"gh-readonly-queue/{main}/pr-{rng.randrange(1, 999)}-{rng.getrandbits(160):040x}", False
        if event in ("pull_request", "pull_request_target"):
            fork = rng.random() < 0.2
            return event, main if fork and rng.random() < 0.5 else topic, fork
        if event == "push":
            return event, rng.choice((main, main, main, topic, "release/2.x", "releases/v3")), False
        return event, main if event == "schedule" or rng.random() < 0.7 else topic, False

    def _attempts(self, workflow: Workflow, created: int, fork: bool) -> Iterator[Attempt]:
        rng = self._rng
        chance = rng.random()
        if chance < 0.008:
            yield Attempt(1, created, created + 1, "startup_failure", ())
            return
        if fork and chance < 0.1:
            yield Attempt(1, created, created, "action_required", ())
            return
        attempt = self._finish(1, created, self._jobs(workflow.jobs, created), ())
        if chance > 0.96:
            attempt = self._cancelled(attempt)
        yield attempt
        latest = {job.template.name: job for job in attempt.jobs}
        while attempt.number < MAX_ATTEMPTS and rng.random() < (0.45 if attempt.conclusion == "failure" else 0.01):
            started = attempt.completed + SETTLED + self._hasty(rng.choice((15, 85, 600, 4000, 40_000)) + rng.randrange(60))
            everything = attempt.conclusion != "failure" or rng.random() < 0.2
            chosen = [job.template for job in latest.values() if everything or job.conclusion != "success"]
            names = {template.name for template in chosen}
            kept = tuple(self._carried(job) for name, job in latest.items() if name not in names)
            attempt = self._finish(attempt.number + 1, started, self._jobs(chosen, started), kept)
            yield attempt
            latest.update((job.template.name, job) for job in attempt.jobs)

    def _carried(self, job: Job) -> Carried:
        return Carried(job, job.id if self._rng.random() < 0.5 else next(self._ids))

    def _finish(self, number: int, started: int, jobs: Sequence[Job], carried: tuple[Carried, ...]) -> Attempt:
        rng = self._rng
        conclusions = {job.conclusion for job in jobs}
        if conclusions & {"failure", "timed_out"}:
            conclusion = "failure"
        elif conclusions == {"skipped"}:
            conclusion = "skipped"
        else:
            conclusion = "success"
        completed = max(job.completed for job in jobs)
        ran = [job for job in jobs if job.runner]
        lookalikes = [self._lookalike(rng.choice(ran))] if ran and rng.random() < 0.03 else []
        touched = completed + SETTLED + self._hasty(rng.randrange(60, 90_000)) if rng.random() < 0.05 else 0
        return Attempt(number, started, completed, conclusion, tuple(jobs), carried, tuple(lookalikes), touched)

    def _lookalike(self, job: Job) -> Lookalike:
        """A check run, told before the job whose id it may bear has ended."""
        identity = job.id if self._rng.random() < 0.6 else next(self._ids)
        at = (job.started + job.completed) // 2
        return Lookalike(identity, self._rng.choice(catalogue.CHECKS), at, self._rng.choice(("success", "failure")))

    def _cancelled(self, attempt: Attempt) -> Attempt:
        """The same, cancelled by somebody somewhere on its way."""
        at = attempt.started + self._rng.randrange(1, max(2, attempt.completed - attempt.started))
        jobs = []
        for job in attempt.jobs:
            if job.completed <= at:
                jobs.append(job)
            elif job.runner and job.started <= at:
                jobs.append(replace(job, completed=at + 2, conclusion="cancelled"))
            else:
                jobs.append(_never_started(job, max(at, attempt.started)))
        completed = max(job.completed for job in jobs)
        kept = tuple(check for check in attempt.lookalikes if check.at <= completed)
        return replace(attempt, jobs=tuple(jobs), completed=completed, conclusion="cancelled", lookalikes=kept, touched=0)

    def _jobs(self, templates: Sequence[Template], started: int) -> list[Job]:
        """The jobs of one attempt, those that need others after those."""
        first = [self._job(template, started + self._rng.randrange(1, 4)) for template in templates if not template.needs]
        ended = max((job.completed for job in first), default=started)
        failed = any(job.conclusion in ("failure", "timed_out") for job in first)
        later = []
        for template in templates:
            if not template.needs:
                continue
            created = ended + self._rng.randrange(1, 3)
            if failed or (template.optional and self._rng.random() < 0.4):
                later.append(self._skipped(template, created))
            else:
                later.append(self._job(template, created))
        return first + later

    def _skipped(self, template: Template, created: int) -> Job:
        """Skipped jobs say that they ended when, or even before, they were created."""
        at = created - (1 if self._rng.random() < 0.3 else 0)
        return Job(next(self._ids), template, created, at, at, "skipped", None)

    def _job(self, template: Template, created: int) -> Job:
        rng = self._rng
        waiting = approved = 0
        if template.environment and self._approvals:
            waiting = created + rng.randrange(1, 4)
            approved = waiting + self._hasty(rng.choice((40, 300, 2500, 9000)) + rng.randrange(30))
        started = (approved or created) + self._queue(template.pool)
        if not approved and rng.random() < 0.05:
            started = created - 1  # GitHub's clocks differ
        elif approved:
            started += 3
        seconds = self._hasty(template.seconds * rng.lognormvariate(0.0, 0.5))
        chance = rng.random()
        conclusion = "failure" if chance < 0.05 else "timed_out" if chance < 0.052 else "success"
        number = rng.randrange(template.pool.size)
        return Job(
            next(self._ids),
            template,
            created,
            started,
            started + seconds,
            conclusion,
            self._runner(template.pool, number),
            waiting,
            approved,
            heard_twice=rng.random() < 0.03,
        )

    def _queue(self, pool: Pool) -> int:
        """Seconds until a runner takes a job: GitHub's own soon, one's own when one is free."""
        mean = 6.0 if pool.kind == "github-hosted" else 45.0
        return int((self._rng.expovariate(1 / mean) + (600 if self._rng.random() < 0.01 else 0)) / self._haste)

    def _hasty(self, seconds: float) -> int:
        """What usually takes so long."""
        return max(1, int(seconds / self._haste))

    def _runner(self, pool: Pool, number: int) -> Runner:
        key = (pool.key, number)
        if key not in self._runners:
            place = catalogue.POOLS.index(pool) if pool.group != "GitHub Actions" else 0
            name = pool.name.format(number + 1)
            self._runners[key] = Runner(1 + 10_000 * place + number, name, pool)
        return self._runners[key]


def _never_started(job: Job, at: int) -> Job:
    """The job, cancelled before a runner took it; one that did not exist yet begins to exist for that."""
    created = min(job.created, at)
    waiting = job.waiting if job.waiting <= at else 0
    approved = job.approved if waiting and job.approved <= at else 0
    return replace(
        job,
        created=created,
        started=created,
        completed=at,
        conclusion="cancelled",
        runner=None,
        waiting=waiting,
        approved=approved,
    )
