"""Pipelines and jobs of a simulated GitLab: plans made once, and what can be seen of them at a moment.

Times are whole seconds since the epoch, 0 = never. Every view is a pure function of the plan and `now`. Statuses are
GitLab's own words (https://docs.gitlab.com/api/pipelines/): a plain `success` with `warnings` where GitLab shows warnings.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agent.sim.gitlab.places import MergeRequest, Project, User

BUILD, BRIDGE = "BUILD", "BRIDGE"
FINAL = frozenset({"success", "failed", "canceled", "skipped"})
INSTANCE, GROUP, PROJECT = "instance", "group", "project"
"""Types of runners."""


class Artifact(NamedTuple):
    """A file that a job leaves behind."""

    file_type: str
    """GitLab's word: archive, junit, trace..."""
    size: int
    filename: str


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job's entry in .gitlab-ci.yml says; shared by all jobs of that entry."""

    name: str
    stage: str
    kind: str = BUILD
    when: str = "on_success"
    """on_success, always, manual or delayed."""
    allow_failure: bool = False
    runner_type: str = INSTANCE
    environment: str = ""
    """The environment it deploys to."""
    artifacts: tuple[Artifact, ...] = ()
    tags: tuple[str, ...] = ()
    is_tested: bool = False
    """Whether it leaves a test report."""


class JobView(NamedTuple):
    """A job at one moment."""

    status: str
    queued_at: int | None
    """When it began to wait for a runner."""
    started_at: int | None
    finished_at: int | None
    """None for skipped ones, as GitLab has it."""
    duration: float | None
    """Seconds of running, with a fraction, so far where it still runs."""
    queued_duration: float | None
    retried: bool
    """Whether another job has taken its place."""
    failure_reason: str
    """"" unless it failed."""
    coverage: float | None


@dataclass(slots=True, eq=False)
class Job:
    """One job or bridge. A retry is another job; one that was skipped may run later under the same number: `again`."""

    id: int
    spec: JobSpec
    created: int
    queued: int
    """When it begins to wait for a runner; 0 = never."""
    started: int
    ended: int
    """When it comes to `status`; 0 = never."""
    status: str
    """Its last status."""
    held: str = "created"
    """What it says before `queued`: created, manual, scheduled, preparing or waiting_for_resource."""
    held_from: int = 0
    """Since when it says so, if it says created before; 0 = from the beginning."""
    canceling: int = 0
    """When it was told to stop, if it takes a while; 0 = not."""
    retried_at: int = 0
    failure_reason: str = ""
    coverage: float | None = None
    runner: int = 0
    """Number of the runner among those of its type."""
    downstream: Pipeline | None = None
    """What a bridge triggered, in this project or another."""
    again: Job | None = None
    """Its second life, whose `created` is the moment at which it began."""

    def at(self, now: float) -> JobView | None:
        """What can be seen of it; None = it does not exist yet."""
        if now < self.created:
            return None
        if self.again is not None and now >= self.again.created:
            return self.again.at(now)
        queued = self.queued if 0 < self.queued <= now else None
        started = self.started if 0 < self.started <= now else None
        is_over = 0 < self.ended <= now
        finished = self.ended if is_over and self.status != "skipped" else None
        return JobView(
            self.status if is_over else self._unfinished(now),
            queued,
            started,
            finished,
            None if started is None else self._with_fraction((self.ended if is_over else int(now)) - started),
            None if queued is None or (is_over and not self.started) else self._with_fraction((started or int(now)) - queued),
            0 < self.retried_at <= now,
            self.failure_reason if is_over else "",
            self.coverage if is_over else None,
        )

    def _unfinished(self, now: float) -> str:
        if 0 < self.canceling <= now:
            return "canceling"
        if 0 < self.started <= now:
            return "running"
        if 0 < self.queued <= now:
            return "pending"
        return self.held if now >= self.held_from else "created"

    def _with_fraction(self, seconds: int) -> float:
        return seconds + self.id % 997 / 1000


class PipelineView(NamedTuple):
    """A pipeline at one moment."""

    updated_at: int
    """When it came to look like this."""
    status: str
    warnings: bool = False
    """Whether jobs failed in it that were allowed to."""
    started_at: int | None = None
    finished_at: int | None = None
    """Of a pipeline that was run again: of its end before, until it has ended again."""
    duration: int | None = None
    queued_duration: int | None = None
    coverage: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether it has ended, for now."""
        return self.status in FINAL


class Upstream(NamedTuple):
    """What triggered a pipeline."""

    pipeline: Pipeline
    bridge: Job


class TestCase(NamedTuple):
    """One test of a suite."""

    name: str
    classname: str
    status: str
    """success, failed, skipped or error."""
    seconds: float


class TestSuite(NamedTuple):
    """The report of one job."""

    name: str
    cases: tuple[TestCase, ...]


@dataclass(slots=True, eq=False)
class Pipeline:
    """One pipeline, all its runs included."""

    id: int
    project: Project = field(repr=False)
    ref: str
    """Name of a branch or tag, or refs/merge-requests/N/head, /merge or /train; in the fork that it comes from a merge
    request's pipelines have the name of its branch."""
    source: str
    sha: str
    created: int
    user: User = field(repr=False)
    tag: bool = False
    merge_request: MergeRequest | None = field(default=None, repr=False)
    upstream: Upstream | None = field(default=None, repr=False)
    jobs: tuple[Job, ...] = field(default=(), repr=False)
    """Builds and bridges, retried ones too, by id, ascending."""
    views: tuple[PipelineView, ...] = field(default=(), repr=False)
    """All that ever can be seen of it, in order of time; the first since `created`."""
    deleted_at: int = 0
    yaml_error: str = ""
    report: tuple[TestSuite, ...] = field(default=(), repr=False)
    """Its test report, there when it has ended."""
    iid: int = 0
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What it was given when it was made, (key, value) each."""

    def at(self, now: float) -> PipelineView | None:
        """What can be seen of it; None = it does not exist yet, or not any more."""
        views = self.views
        if now < self.created or (self.deleted_at and now >= self.deleted_at):
            return None
        if now >= views[-1].updated_at:
            return views[-1]
        place = bisect_right(views, now, key=_updated) - 1
        return views[max(place, 0)]

    @property
    def last_change(self) -> int:
        """When it came to look as it does for good."""
        return self.views[-1].updated_at

    @property
    def is_child(self) -> bool:
        """Whether lists leave it out: a child pipeline of its own project."""
        return self.source == "parent_pipeline"

    @property
    def kind(self) -> str:
        """branch, tag or merge_request."""
        if self.merge_request is not None:
            return "merge_request"
        return "tag" if self.tag else "branch"

    def report_at(self, now: float) -> tuple[TestSuite, ...]:
        """Its test report; () = none, or none yet."""
        view = self.at(now)
        return self.report if view and view.finished_at else ()


def _updated(view: PipelineView) -> int:
    return view.updated_at
