"""What the agent knows about itself: plain numbers that the `internal` source turns into series.

A module that measures something declares its families at the top, lists them in `FAMILIES`, and calls
`add`, `set` or `observe` where it happens. Nothing here logs, waits or knows what a family means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from agent.model import Family, Kind

Labels = tuple[str, ...]


class SelfMonitor:
    """Counters, gauges and histograms by family and label values; one per running agent."""

    def __init__(self) -> None:
        self._values: dict[Family, dict[Labels, float | list[float]]] = {}

    def add(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """Count `amount` more; a counter first touched with 0 is shown as 0."""
        row = self._values.setdefault(family, {})
        old = row.get(labels, 0.0)
        assert not isinstance(old, list)
        row[labels] = old + amount

    def set(self, family: Family, labels: Labels = (), value: float = 0.0) -> None:
        """Replace a gauge."""
        self._values.setdefault(family, {})[labels] = value

    def observe(self, family: Family, labels: Labels = (), value: float = 0.0) -> None:
        """Count one observation of a histogram."""
        row = self._values.setdefault(family, {})
        cells = row.get(labels)
        if not isinstance(cells, list):
            cells = row[labels] = [0.0] * (len(family.buckets) + 2)
        for i in range(bisect_left(family.buckets, value), len(family.buckets) + 1):
            cells[i] += 1
        cells[-1] += value

    def forget(self, label: str, value: str) -> None:
        """Drop every series whose label `label` has `value`: a removed sink or source."""
        for family, rows in self._values.items():
            if label in family.labels:
                at = family.labels.index(label)
                for labels in [labels for labels in rows if labels[at] == value]:
                    del rows[labels]

    def value(self, family: Family, labels: Labels = ()) -> float:
        """One number, for status pages and tests; 0 when never touched, a histogram's count otherwise."""
        found = self._values.get(family, {}).get(labels, 0.0)
        return found[-2] if isinstance(found, list) else found

    def samples(self) -> Iterator[tuple[Family, Labels, float | list[float]]]:
        """Everything, family by family; histogram cells are the live list, copy what you keep."""
        for family, rows in self._values.items():
            for labels, value in rows.items():
                yield family, labels, value


def counter(name: str, help: str, *labels: str) -> Family:
    """Declare a counter of ours."""
    return Family(name, Kind.COUNTER, help, labels=labels)


def gauge(name: str, help: str, *labels: str, unit: str = "") -> Family:
    """Declare a gauge of ours."""
    return Family(name, Kind.GAUGE, help, unit, labels=labels)
