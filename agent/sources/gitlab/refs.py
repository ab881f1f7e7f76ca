"""Which refs keep their names: the others share those of their class."""

from __future__ import annotations

import re

from agent.sources.gitlab.objects import BRANCH, MERGE_REQUEST, TAG, Pipeline
from agent.sources.gitlab.options import BranchesOptions, MergeRequestRefsOptions, ProjectOptions

DEFAULT, RELEASE, OTHER = "default", "release", "other"
CHILD_SOURCE = "parent_pipeline"
"""What starts a child pipeline (https://docs.gitlab.com/ci/pipelines/downstream_pipelines/)."""
DAY_SECONDS = 86400.0

_RELEASES = ("release/", "releases/", "release-")
_MERGE_REQUEST = re.compile(r"refs/merge-requests/(\d+)/")


class Rules:
    """The rules of one project. With `by_class`, names are for nobody, and the default branch has a class of its own."""

    def __init__(self, options: ProjectOptions, *, by_class: bool) -> None:
        self._refs = options.refs
        self._by_class = by_class
        self._patterns = {BRANCH: _pattern(options.refs.branches), TAG: _pattern(options.refs.tags)}
        self.is_sparse = options.output_sparse_status_metrics
        """Whether a status gauge has a series for the present status only."""

    def label(self, kind: str, ref: str, default_branch: str) -> str:
        """Label `ref` of what is counted."""
        if kind == MERGE_REQUEST:
            return MERGE_REQUEST
        if self._by_class:
            if kind == BRANCH and ref and ref == default_branch:
                return DEFAULT
        elif self.has_name(kind, ref):
            return ref
        if kind == TAG:
            return TAG
        return RELEASE if ref in ("release", "releases") or ref.startswith(_RELEASES) else OTHER

    def has_name(self, kind: str, ref: str) -> bool:
        """Whether the rules choose that branch or tag."""
        pattern = self._patterns.get(kind)
        return pattern is not None and bool(ref) and pattern.search(ref) is not None

    def shown(self, kind: str, name: str, default_branch: str) -> str:
        """Label `ref` of the state of that ref; "" = it is not shown. By class, names are chosen by nothing."""
        if kind == MERGE_REQUEST:
            return name if self._refs.merge_requests.enabled and not self._by_class else ""
        if not self._by_class:
            return name if self.has_name(kind, name) else ""
        is_default = kind == BRANCH and bool(name) and name == default_branch
        return DEFAULT if is_default and self._patterns[BRANCH] is not None else ""

    def ends_deleted(self, kind: str) -> bool:
        """Whether the state of a ref ends when the ref is deleted."""
        return (self._refs.tags if kind == TAG else self._refs.branches).exclude_deleted

    def takes_state(self, state: str) -> bool:
        """Whether a merge request in that state is shown; "" = GitLab did not tell."""
        states = self._refs.merge_requests.states
        return not state or "all" in states or state in states

    def most_recent(self, kind: str) -> int:
        """How many refs of a kind are shown; 0 = all."""
        return self._bounds(kind).most_recent

    def max_age_seconds(self, kind: str) -> float:
        """How old the newest pipeline of a ref that is shown may be; infinite where nothing is said."""
        return self._bounds(kind).max_age_days * DAY_SECONDS or float("inf")

    def _bounds(self, kind: str) -> BranchesOptions | MergeRequestRefsOptions:
        return {BRANCH: self._refs.branches, TAG: self._refs.tags}.get(kind) or self._refs.merge_requests


def ref_name(kind: str, ref: str, merge_request: int = 0) -> str:
    """A ref as people call it: a branch's or tag's name, or `!12` for merge request 12."""
    if kind != MERGE_REQUEST:
        return ref
    found = _MERGE_REQUEST.match(ref)
    number = merge_request or (int(found[1]) if found else 0)
    return f"!{number}" if number else ref


def is_child(pipeline: Pipeline, project: str) -> bool:
    """Whether a pipeline of the project at that path is a child of another one there."""
    if pipeline.source:
        return pipeline.source == CHILD_SOURCE
    return pipeline.upstream is not None and pipeline.upstream.project == project


def _pattern(options: BranchesOptions) -> re.Pattern[str] | None:
    return re.compile(options.regexp) if options.enabled else None
