"""What a simulated organisation is made of: the facts behind everything that its API and its webhooks say.

Times are whole seconds since the epoch, as in GitHub's own JSON.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pool:
    """Runners of one kind."""

    key: str
    kind: str
    """What the label `runner_type` has to say: github-hosted, larger, self-hosted or unknown."""
    labels: tuple[str, ...]
    """What jobs say in `runs-on`, and so what their `labels` hold; () where they name a group only."""
    group_id: int
    group: str
    name: str
    """Pattern of the runners' names, with the place of a number."""
    os: str
    size: int
    """How many runners there are."""
    sku: str = ""
    """Its row in the price table; "" = nobody can tell from the outside."""


@dataclass(frozen=True, slots=True)
class Runner:
    """The runner that took a job."""

    id: int
    name: str
    pool: Pool


@dataclass(frozen=True, slots=True)
class Template:
    """One job of a workflow file."""

    name: str
    """As GitHub shows it: `caller / callee` for a reusable workflow, values in brackets for a matrix."""
    pool: Pool
    seconds: int
    """How long it usually takes."""
    needs: bool = False
    """Whether it begins after the jobs before it."""
    environment: str = ""
    """The environment whose approval it waits for."""
    optional: bool = False
    """Whether a condition may skip it."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow file of a repository."""

    id: int
    name: str
    path: str
    events: tuple[str, ...]
    jobs: tuple[Template, ...]
    run_name: bool = False
    """Whether it sets `run-name`, which the API then shows as the run's `name`."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository and its workflows."""

    id: int
    owner: str
    owner_id: int
    name: str
    private: bool
    default_branch: str
    workflows: tuple[Workflow, ...]
    formerly: str = ""
    """The name it had once, under which the API redirects."""

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class Job:
    """One job of one attempt, that attempt's own."""

    id: int
    template: Template
    created: int
    started: int
    completed: int
    conclusion: str
    runner: Runner | None
    """None = none ever took it: skipped, or cancelled before."""
    waiting: int = 0
    """When it began to wait for an approval; 0 = never."""
    approved: int = 0
    """When it was queued again."""
    heard_twice: bool = False
    """Whether its start is told twice, as when its steps change."""


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A check run of an action's, which GitHub announces as if it were a job. It is none."""

    id: int
    """Often that of a real job."""
    name: str
    at: int
    conclusion: str


@dataclass(frozen=True, slots=True)
class Carried:
    """A finished job of an earlier attempt, which the next attempt lists again."""

    job: Job
    id: int
    """Its id in that list: the old one or a new one. Deliveries always repeat the old one."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run."""

    number: int
    started: int
    """Its `run_started_at`."""
    completed: int
    """The end of its last own job, the `updated_at` of its last delivery."""
    conclusion: str
    jobs: tuple[Job, ...]
    carried: tuple[Carried, ...] = ()
    lookalikes: tuple[Lookalike, ...] = ()
    touched: int = 0
    """When the run's `updated_at` moved once more, long after it ended; 0 = never."""

    @property
    def first_start(self) -> int:
        """When the first of its own jobs began to run; 0 = none did."""
        return min((job.started for job in self.jobs if job.runner), default=0)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workflow, with all its attempts."""

    id: int
    number: int
    repository: Repository
    workflow: Workflow
    event: str
    head_branch: str
    head_sha: str
    title: str
    actor: str
    fork: bool
    """Whether it was caused from a fork, whose pull requests are not listed."""
    created: int
    attempts: tuple[Attempt, ...]
