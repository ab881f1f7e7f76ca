"""What the labels of a run and a job say: names without what changes from run to run, refs by class."""

from __future__ import annotations

import re

from agent.sources.github.options import LabelsOptions

_MATRIX = re.compile(r" \([^()]*(?:\([^()]*\)[^()]*)*\)\Z")
"""The values of a matrix, which GitHub puts behind a job's name; they may hold brackets themselves."""
_VERSION = re.compile(r"v?\d+(\.\d+)+([-+._].*)?\Z")
_PULL_REQUEST = ("pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment")
_QUEUE = "gh-readonly-queue/"
"""Branches that the merge queue makes (https://docs.github.com/en/repositories, "Managing a merge queue")."""


class Labeller:
    """Names and classes as configured."""

    def __init__(self, options: LabelsOptions) -> None:
        self._by_path = options.workflow == "path"
        self._strips = options.strip_matrix
        self._names = [(re.compile(rule.regex), rule.replacement) for rule in options.job_names]
        self._refs = [(re.compile(rule.regex), rule.name) for rule in options.refs]

    def workflow(self, name: str, path: str) -> str:
        """The value of label `workflow`."""
        return (path or name) if self._by_path else (name or path)

    def job_name(self, name: str) -> str:
        """A job's name without its matrix values: `caller / callee` stays."""
        if self._strips:
            name = _MATRIX.sub("", name) or name
        for pattern, replacement in self._names:
            found = pattern.fullmatch(name)
            if found is not None:
                return found.expand(replacement)
        return name

    def ref(self, event: str, branch: str, default_branch: str) -> str:
        """The class of what a run ran on; `event` "" = not known."""
        for pattern, name in self._refs:
            if pattern.fullmatch(branch):
                return name
        if event == "merge_group" or branch.startswith(_QUEUE):
            return "merge_queue"
        if event in _PULL_REQUEST or (branch.startswith("refs/pull/")):
            return "pull_request"
        if event == "release" or branch.startswith(("release/", "releases/")):
            return "release"
        if branch and branch == default_branch:
            return "default"
        return "tag" if branch.startswith("refs/tags/") or _VERSION.match(branch) else "other"
