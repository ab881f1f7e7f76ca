"""Which branches and tags the REST reader asks about: each takes a request, so those that no rule would show are left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from agent.sources.gitlab.options import BranchesOptions, Options, RefsOptions
from agent.sources.gitlab.parsed import seconds
from agent.sources.gitlab.rest_details import Row

MAX_HEADS = 300
"""Branches, and as many tags, of one project."""
DAY_SECONDS = 86400


class Shown(NamedTuple):
    """The refs that at least one rule of the configuration would show."""

    patterns: tuple[re.Pattern[str], ...]
    most: int
    """0 = all."""
    days: float
    """0 = of any age."""

    def pick(self, rows: Iterable[Row], now: float) -> list[Row]:
        """Those of a list that may be shown, the newest pipelines first; `now` in seconds since the epoch."""
        since = now - self.days * DAY_SECONDS if self.days else 0.0
        named = (row for row in rows if any(pattern.search(row.ref) for pattern in self.patterns))
        recent = (row for row in named if (seconds(row.updated) or 0) >= since)
        return sorted(recent, reverse=True)[: min(self.most or MAX_HEADS, MAX_HEADS)]


def shown(options: Options, kind: Callable[[RefsOptions], BranchesOptions]) -> Shown:
    """What holds for branches, or for tags, over all projects."""
    every: Sequence[RefsOptions] = [entry.refs for entry in (options.project_defaults, *options.projects, *options.wildcards)]
    rules = [rule for rule in map(kind, every) if rule.enabled]
    return Shown(
        tuple(re.compile(pattern) for pattern in sorted({rule.regexp for rule in rules})),
        int(_widest([rule.most_recent for rule in rules])),
        _widest([rule.max_age_days for rule in rules]),
    )


def _widest(limits: Sequence[float]) -> float:
    return max(limits, default=0) if all(limits) else 0
