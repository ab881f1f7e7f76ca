"""The caps of a source and of each project it reads.

Series whose labels have values without end, those that their family calls `wide`, are bounded: beyond a cap, counters and
histograms fold into a series in which these labels say `overflow`, and gauges are left out.
"""

from __future__ import annotations

from collections import Counter

from agent.model import Family

OVERFLOW = "overflow"
"""The value that wide labels of folded series have."""
ROOM = 0.9
"""The share of a source's `max_series` that it may have come to with a series that has wide labels with values of their own;
the rest is for what these fold into, and for families without wide labels."""
SAID_SECONDS = 3600.0
"""How long after something was last folded or left out people are told so."""
MOST_SAID = 1000
"""Projects of which that is kept."""

SOURCE_LIMIT, PROJECT_LIMIT = "source_limit", "project_limit"
CAPPED = (SOURCE_LIMIT, PROJECT_LIMIT)
"""Why a series is left out because of a cap."""


def folded(family: Family, labels: tuple[str, ...]) -> tuple[str, ...]:
    """What a series of the family folds into."""
    return tuple([OVERFLOW if name in family.wide else text for name, text in zip(family.labels, labels, strict=True)])


class Caps:
    """Of one source. 0 = no cap."""

    def __init__(self, max_series: int, max_series_per_project: int) -> None:
        self.max_series = max_series
        self.max_series_per_project = max_series_per_project
        self.series = 0
        """Live series of the source; a histogram row counts as the series it is sent as."""
        self.by_project: Counter[str] = Counter()
        """Of these, those with values of their own in wide labels, by project; where projects have a cap."""
        self.coming: Counter[str] = Counter()
        """What the ledger is being told of and the store does not have yet, by project; "" = in all."""
        self._said: dict[str, float] = {}
        """Project -> when a series of it was last folded or left out because of its cap; "" = because of the source's."""

    def project(self, family: Family, labels: tuple[str, ...]) -> str:
        """Against whose cap a series counts; "" = nobody's."""
        if not self.max_series_per_project or not family.wide or not family.project:
            return ""
        own = dict(zip(family.labels, labels, strict=True))
        return own[family.project] if any(own[name] != OVERFLOW for name in family.wide) else ""

    def take(self, family: Family, labels: tuple[str, ...], width: int) -> None:
        """A row was born, or has ended where `width`, the series it is sent as, is below 0."""
        self.series += width
        if self.max_series_per_project and (project := self.project(family, labels)):
            self.by_project[project] += width
            if not self.by_project[project]:
                del self.by_project[project]

    def come(self, family: Family, labels: tuple[str, ...], width: int) -> None:
        """A series is about to be born; whoever says so empties `coming` when it is."""
        self.coming[""] += width
        if project := self.project(family, labels):
            self.coming[project] += width

    def excess(self, family: Family, labels: tuple[str, ...], width: int) -> str:
        """Which cap a series would exceed, or ""."""
        if self.max_series:
            most = self.max_series * ROOM if family.wide else self.max_series
            if self.series + self.coming.get("", 0) + width > most:
                return SOURCE_LIMIT
        if not self.max_series_per_project:
            return ""
        project = self.project(family, labels)
        if project and self.by_project[project] + self.coming[project] + width > self.max_series_per_project:
            return PROJECT_LIMIT
        return ""

    def say(self, excess: str, family: Family, labels: tuple[str, ...], now: float) -> None:
        """A series was folded or left out at `now`, seconds since the epoch, by the agent's clock."""
        project = self.project(family, labels) if excess == PROJECT_LIMIT else ""
        if project in self._said or len(self._said) < MOST_SAID:
            self._said[project] = now

    def remarks(self, now: float) -> list[str]:
        """What people should know at `now`, a line each."""
        self._said = {project: at for project, at in self._said.items() if at > now - SAID_SECONDS}
        found = []
        if "" in self._said:
            found.append(f"max_series: there are more series than {self.max_series}; {_BEYOND}")
        if projects := sorted(filter(None, self._said)):
            which = projects[0] if len(projects) == 1 else f"{projects[0]} and {len(projects) - 1} more"
            found.append(f"max_series_per_project: more series than {self.max_series_per_project} in {which}; {_BEYOND}")
        return found


_BEYOND = "beyond that, what is counted for good goes on under `overflow`, and other series are left out"
