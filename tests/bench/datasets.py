"""The two data sets of the benchmarks: seeded, made row by row, the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator

from agent.model import Family, Kind, Update

BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0)
"""Nine finite buckets: a row is sent as twelve series."""
STATUSES = ("success", "failed", "canceled", "skipped")
_WORDS = "deploy build lint unit e2e docs release nightly mobile backend frontend infra search billing auth api worker"
WORDS = _WORDS.split()
LABELS = ("project", "namespace", "runner", "branch", "pod", "stage", "image", "node")


class Regular:
    """CI-like histograms, labels alike: one family, 12 series a row."""

    width = 12

    def __init__(self, series: int) -> None:
        self.rows = series // self.width
        self.family = Family(
            "ci_job_duration_seconds",
            Kind.HISTOGRAM,
            "Duration of finished jobs.",
            "seconds",
            ("project", "ref", "job_name", "status"),
            buckets=BUCKETS,
        )

    def update(self, row: int, seed: int, at: float) -> Update:
        """Row number `row` with the values of `seed`."""
        labels = (f"group/project-{row // 40:05d}", "main", f"job-{row % 10}", STATUSES[row // 10 % 4])
        count = (row + seed) % 97 + 1
        cells = [float(count * (i + 1) // 10) for i in range(9)]
        return Update(self.family, labels, (*cells, float(count), count * 31.5), at, "bench")


class Varied:
    """60 families of scalar rows with labels of realistic number and length, rows of a family together."""

    width = 1

    def __init__(self, series: int) -> None:
        self.rows = series
        self._per = -(-series // 60)
        rng = random.Random(60)
        self.families = []
        for number in range(60):
            name = "_".join(["ci", *rng.sample(WORDS, 2), str(number), rng.choice(["total", "bytes", "seconds", "ratio"])])
            kind = Kind.COUNTER if name.endswith("total") else Kind.GAUGE
            self.families.append(Family(name, kind, "A family.", labels=LABELS[: 2 + number % 6]))

    def update(self, row: int, seed: int, at: float) -> Update:
        """Row number `row` with the values of `seed`."""
        family = self.families[row // self._per]
        n = row % self._per
        labels = [f"{WORDS[n % 17]}-{WORDS[n // 17 % 17]}-{n}"]
        labels += [f"{WORDS[(n // 50 + i) % 17]}-{WORDS[i]}-{n // (50 * i) % 1000}" for i in range(1, len(family.labels))]
        value = float((row * 7919 + seed * 104_729) % 100_003)
        return Update(family, tuple(labels), value if n % 3 else value / 7, at, "bench")


DATASETS: dict[str, type[Regular] | type[Varied]] = {"regular": Regular, "varied": Varied}


def births(data: Regular | Varied, step: int = 2_000) -> Iterator[list[Update]]:
    """All rows, in steps, so that the data itself takes no memory."""
    for first in range(0, data.rows, step):
        yield [data.update(row, 0, 0.0) for row in range(first, min(first + step, data.rows))]


def changes(data: Regular | Varied, seed: int, at: float, share: float = 0.2, step: int = 2_000) -> Iterator[list[Update]]:
    """New values for `share` of the rows, spread over all of them, in steps."""
    every = round(1 / share)
    rows = range(seed % every, data.rows, every)
    for first in range(0, len(rows), step):
        yield [data.update(row, seed, at) for row in rows[first : first + step]]
