"""GitLab's things as this source knows them, whichever API or webhook told of them.

Statuses are GitLab's words in lower case, but for `success_with_warnings` of a pipeline in which jobs failed that were
allowed to, and `failed_with_warnings` of such a job (the groups of GitLab's own detailed status). Times are seconds
since the epoch, whole ones: GraphQL tells no fractions. Durations are whole seconds for the same reason.
"""

from __future__ import annotations

from typing import NamedTuple

FINAL = frozenset({"success", "success_with_warnings", "failed", "failed_with_warnings", "canceled", "skipped"})
"""Statuses that something ends in. A `manual` pipeline waits for people and has not ended."""

BRANCH, TAG, MERGE_REQUEST = "branch", "tag", "merge_request"
"""What a pipeline ran for: label `kind`."""

Variables = tuple[tuple[str, str], ...]
"""(name, value) each."""


class Project(NamedTuple):
    """A project; its number stays when it is renamed or moved."""

    id: int
    path: str
    """With its namespaces: group/subgroup/name."""
    default_branch: str = ""
    """"" = none, or not known."""
    created: int = 0
    """0 = not known."""


class Upstream(NamedTuple):
    """What triggered a pipeline."""

    project: str
    """Full path."""
    ref: str
    bridge: str
    """Name of the trigger job; "" = not known."""
    kind: str = BRANCH
    pipeline: int = 0
    """Its number; 0 = not told."""


class Totals(NamedTuple):
    """Of a test report or a suite."""

    seconds: float
    total: int
    success: int
    failed: int
    skipped: int
    error: int


class Report(NamedTuple):
    """The test report of one pipeline, in summary."""

    totals: Totals
    suites: tuple[tuple[str, Totals], ...] = ()
    """(name, totals) each."""


class Pipeline(NamedTuple):
    """One pipeline as it is now. One that is run again keeps its number."""

    id: int
    status: str
    ref: str
    """A branch's or tag's name; of a merge request what GitLab says, such as refs/merge-requests/12/head."""
    kind: str
    source: str
    """What started it, GitLab's word in lower case; "" = this version does not tell."""
    created: int
    updated: int
    started: int | None = None
    finished: int | None = None
    duration: int | None = None
    """None = it has none: skipped, refused, or canceled before anything ran."""
    queued: int | None = None
    coverage: float | None = None
    merge_request: int = 0
    """Number of the merge request in its project; 0 = none."""
    merge_request_state: str = ""
    """opened, closed, locked or merged; "" = not known."""
    upstream: Upstream | None = None
    variables: Variables = ()
    """Those that the configuration names, and that have a value which may be read; no others are ever here."""

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


class Job(NamedTuple):
    """One job as it is now. A retry is another job; trigger jobs (bridges) are none of these."""

    id: int
    name: str
    stage: str
    status: str
    created: int
    started: int | None = None
    finished: int | None = None
    duration: int | None = None
    queued: int | None = None
    is_retried: bool = False
    """Whether another job took its place."""
    runner_type: str = "unknown"
    """instance, group, project or unknown."""
    failure_reason: str = ""
    """GitLab's word, such as script_failure; "" = none, or not known."""
    artifacts_bytes: int | None = None
    """None = not told."""

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL
