"""What environments lack of the default branch: compared anew only where a deployment or the branch has moved.

https://docs.gitlab.com/api/branches/ and https://docs.gitlab.com/api/repositories/ (compare).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from agent.errors import CollectError
from agent.sources.gitlab.asking import ALONE, FOR_ALL, Api
from agent.sources.gitlab.deployments import Deployment
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.parsed import seconds

MAX_COMPARED = 20
"""Commits of one project that are compared with the default branch, those deployed last."""


class Behind(NamedTuple):
    """What a commit lacks of the default branch."""

    commits: int
    seconds: int | None
    """Between the two; None = that cannot be told."""


class _Answer(NamedTuple):
    """A comparison."""

    head: str
    """The newest commit of the default branch then."""
    behind: Behind | None
    """None = it cannot be told."""
    committed: int | None
    """When the deployed commit was made, as far as that had to be known."""


class Compared:
    """Of one project, by deployed commit. `errors`: what could not be read, by (collector, kind), counted here."""

    def __init__(self, api: Api, errors: Counter[tuple[str, str]]) -> None:
        self._api = api
        self._errors = errors
        self._answers: dict[str, _Answer] = {}

    def of(self, commit: str) -> Behind | None:
        """What it lacks; None = that is not known."""
        answer = self._answers.get(commit)
        return None if answer is None else answer.behind

    async def refresh(self, project: Project, deployed: Sequence[Deployment]) -> None:
        """Compare what was deployed, once each commit; others are forgotten. Raises CollectError of the kinds `FOR_ALL`."""
        newest = {each.sha: each for each in sorted(deployed) if each.sha} if project.default_branch else {}
        chosen = dict(list(newest.items())[-MAX_COMPARED:])
        self._answers = {sha: answer for sha, answer in self._answers.items() if sha in chosen}
        if not chosen:
            return
        try:
            head = await self._head(project)
        except CollectError as error:
            self._failed(error)
            if error.kind in ALONE:
                self._answers = {}
            return
        for sha, deployment in reversed(chosen.items()):
            known = self._answers.get(sha)
            if known is None or known.head != head:
                await self._compare(project, head, deployment, known)

    async def _compare(self, project: Project, head: str, deployment: Deployment, known: _Answer | None) -> None:
        """One commit; an answer that may be another one soon is not remembered."""
        sha, committed = deployment.sha, deployment.committed or (known.committed if known else None)
        self._answers.pop(sha, None)
        try:
            self._answers[sha] = await self._answer(project, head, sha, committed)
        except CollectError as error:
            if error.kind == "missing":  # it was rewritten, or its branch is gone
                self._answers[sha] = _Answer(head, None, committed)
            else:
                self._failed(error)

    async def _head(self, project: Project) -> str:
        """The newest commit of the default branch. Raises CollectError."""
        name = quote(project.default_branch, safe="")
        data = (await self._api.get(f"/projects/{project.id}/repository/branches/{name}", {})).data
        commit = data.get("commit") if isinstance(data, dict) else None
        sha = commit.get("id") if isinstance(commit, dict) else None
        if not isinstance(sha, str) or not sha:
            raise CollectError("json", "the default branch names no commit")
        return sha

    async def _answer(self, project: Project, head: str, sha: str, committed: int | None) -> _Answer:
        """Raises CollectError."""
        if sha == head:
            return _Answer(head, Behind(0, 0), committed)
        root = f"/projects/{project.id}/repository"
        data = (await self._api.get(f"{root}/compare", {"from": sha, "to": project.default_branch})).data
        commits = data.get("commits") if isinstance(data, dict) else None
        if not isinstance(commits, list):
            raise CollectError("json", "the comparison names no commits")
        if not commits:
            return _Answer(head, Behind(0, 0), committed)
        newest = max((_committed(commit) or 0 for commit in commits), default=0)
        if committed is None:
            committed = _committed((await self._api.get(f"{root}/commits/{quote(sha, safe='')}", {})).data)
        apart = max(0, newest - committed) if committed and newest else None
        return _Answer(head, Behind(len(commits), apart), committed)

    def _failed(self, error: CollectError) -> None:
        """Count an error; raise it if it is one of everything."""
        if error.kind in FOR_ALL:
            raise error
        self._errors["environments", error.kind] += 1


def _committed(commit: object) -> int | None:
    return seconds(commit.get("committed_date")) if isinstance(commit, dict) else None
