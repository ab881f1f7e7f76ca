"""Which refs the REST reader asks about: each takes a request, so those that no rule would show are left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from agent.sources.gitlab.asking import Api, pages
from agent.sources.gitlab.objects import FINAL, MERGE_REQUEST, Project
from agent.sources.gitlab.options import BranchesOptions, MergeRequestRefsOptions, Options, RefsOptions
from agent.sources.gitlab.parsed import readable, seconds
from agent.sources.gitlab.refs import ref_name
from agent.sources.gitlab.rest_details import Row, row_of

MAX_HEADS = 300
"""Branches, and as many tags, of one project."""
RECENT_ITEMS = 100
"""Pipelines of merge requests, and as many that ended, of one project."""
DAY_SECONDS = 86400


ANY_REQUEST = "^refs/merge-requests/"
"""Refs of merge requests' pipelines."""


class Shown(NamedTuple):
    """The refs that at least one rule of the configuration would show."""

    patterns: tuple[re.Pattern[str], ...]
    most: int
    """0 = all."""
    days: float
    """0 = of any age."""

    def pick(self, rows: Iterable[Row], now: float, only: str = "") -> list[Row]:
        """Those of a list that may be shown, the newest pipelines first; `now` in seconds since the epoch.

        `only`: the one that is shown whatever the patterns say, where there is but one.
        """
        since = now - self.days * DAY_SECONDS if self.days else 0.0
        named = (row for row in rows if (row.ref == only if only else any(one.search(row.ref) for one in self.patterns)))
        recent = (row for row in named if (seconds(row.updated) or 0) >= since)
        return sorted(recent, reverse=True)[: min(self.most or MAX_HEADS, MAX_HEADS)]


class Heads:
    """Lists them, of one instance. `malformed`: objects that could not be read, by kind, counted here."""

    def __init__(self, api: Api, options: Options, malformed: Counter[str]) -> None:
        self._api = api
        self._per_page = str(options.rest_page_size)
        self._malformed = malformed
        self._by_class = options.labels.ref == "class"
        self._branches = shown(options, lambda refs: refs.branches)
        self._tags = shown(options, lambda refs: refs.tags)
        self._requests = shown(options, lambda refs: refs.merge_requests)

    async def existing(self, project: Project) -> tuple[list[Row], float]:
        """The newest of each branch and tag that exists; with the server's clock. Raises CollectError."""
        branches, date = await self._list(project, {"scope": "branches"}, MAX_HEADS)
        tags, _ = await self._list(project, {"scope": "tags"}, MAX_HEADS)
        return [*self._branches.pick(branches, date, self._only(project)), *self._tags.pick(tags, date)], date

    async def recent(self, project: Project) -> tuple[list[Row], float]:
        """The newest of each merge request, and what ended last on each branch and tag, and with success.

        Raises CollectError. Coverage is seldom known of what failed.
        """
        requests, date = await self._list(project, {"source": "merge_request_event"}, RECENT_ITEMS)
        listed, _ = await self._list(project, {"scope": "finished"}, RECENT_ITEMS)
        rows: list[Row] = []
        for rank in _ranks(requests):
            rows += self._requests.pick({ref_name(MERGE_REQUEST, row.ref): row for row in rank}.values(), date)
        for rank in _ranks(listed):
            newest = {row.ref: row for row in rank}.values()
            rows += self._branches.pick(newest, date, self._only(project)) + self._tags.pick(newest, date)
        return list(dict.fromkeys(rows)), date

    def _only(self, project: Project) -> str:
        """The only branch that is shown; "" = those that the rules choose."""
        return project.default_branch if self._by_class else ""

    async def _list(self, project: Project, wanted: dict[str, str], enough: int) -> tuple[list[Row], float]:
        path, params = f"/projects/{project.id}/pipelines", {"per_page": self._per_page, **wanted}
        listed, date = await pages(self._api, path, params, enough=enough)
        return list(readable("pipeline", listed, row_of, self._malformed)), date


def _ranks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Orders in which the last of a ref is of interest: the newest, what ended last, for old ones run again, and success."""
    ended = [row for row in rows if row.status in FINAL]
    yield sorted(rows)
    yield sorted(ended, key=lambda row: row.updated)
    yield sorted(row for row in ended if row.status == "success")


def shown(options: Options, kind: Callable[[RefsOptions], BranchesOptions | MergeRequestRefsOptions]) -> Shown:
    """What holds for refs of one kind over all projects."""
    every: Sequence[RefsOptions] = [entry.refs for entry in (options.project_defaults, *options.projects, *options.wildcards)]
    rules = [rule for rule in map(kind, every) if rule.enabled]
    return Shown(
        tuple(re.compile(pattern) for pattern in sorted({getattr(rule, "regexp", ANY_REQUEST) for rule in rules})),
        int(_widest([rule.most_recent for rule in rules])),
        _widest([rule.max_age_days for rule in rules]),
    )


def _widest(limits: Sequence[float]) -> float:
    return max(limits, default=0) if all(limits) else 0
