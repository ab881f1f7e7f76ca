"""Totals of observations, added up as the ledger would, to be held against a simulated world's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from agent.model import Observation
from agent.sim.github.truth import Key, Truth


@dataclass
class Tally:
    """A ledger without a disk."""

    keys: set[str] = field(default_factory=set)
    counters: dict[Key, float] = field(default_factory=dict)
    histograms: dict[Key, list[float]] = field(default_factory=dict)

    def take(self, observations: tuple[Observation, ...] | list[Observation]) -> None:
        """Count those that are new."""
        for observation in observations:
            if observation.key in self.keys:
                continue
            self.keys.add(observation.key)
            for family, labels, value in observation.increments:
                pairs = tuple(sorted((name, text) for name, text in zip(family.labels, labels, strict=True) if text))
                if not family.buckets:
                    self.counters[family.name, pairs] = self.counters.get((family.name, pairs), 0.0) + value
                    continue
                row = self.histograms.setdefault((family.name, pairs), [0.0] * (len(family.buckets) + 2))
                for place, bound in enumerate(family.buckets):
                    row[place] += value <= bound
                row[-2] += 1
                row[-1] += value


def differences(tally: Tally, truth: Truth) -> list[str]:
    """Every series that is not what the world knows it to be; sums of money and times may differ in their last digits."""
    found = []
    for key in tally.counters.keys() | truth.counters.keys():
        mine, true = tally.counters.get(key), truth.counters.get(key)
        if mine is None or true is None or not math.isclose(mine, true, rel_tol=1e-9):
            found.append(f"{key}: {mine} instead of {true}")
    for key in tally.histograms.keys() | truth.histograms.keys():
        row, right = tally.histograms.get(key), truth.histograms.get(key)
        if row is None or right is None or row[:-1] != right[:-1] or not math.isclose(row[-1], right[-1], rel_tol=1e-9):
            found.append(f"{key}: {row} instead of {right}")
    return sorted(found)
