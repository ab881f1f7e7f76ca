"""The two data sets of the benchmarks, as updates: seeded, and the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator

from agent.model import Family, Kind, Update

BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0)
"""Nine finite buckets: a row is sent as twelve series."""
STATUSES = ("success", "failed", "canceled", "skipped")
WORDS = "deploy build lint unit e2e docs release nightly mobile backend frontend infra search billing auth api worker".split()


def regular(series: int) -> list[Update]:
    """CI-like histograms, labels alike: one family, 12 series a row."""
    family = Family(
        "ci_job_duration_seconds",
        Kind.HISTOGRAM,
        "Duration of finished jobs.",
        "seconds",
        ("project", "ref", "job_name", "status"),
        buckets=BUCKETS,
    )
    return [
        Update(family, (f"group/project-{row // 40:05d}", "main", f"job-{row % 10}", STATUSES[row // 10 % 4]), histogram(row), 0.0)
        for row in range(series // 12)
    ]


def histogram(seed: int) -> tuple[float, ...]:
    """Cumulative counts, count and sum of a row."""
    count = seed % 97 + 1
    cells = [float(count * (i + 1) // 10) for i in range(9)]
    return (*cells, float(count), count * 31.5)


def varied(series: int) -> list[Update]:
    """60 families of scalar rows with labels of realistic number and length."""
    rng = random.Random(60)
    families = []
    for number in range(60):
        names = ["namespace", "project", "runner", "branch", "pod", "stage", "image", "node"][: 2 + number % 6]
        name = "_".join(["ci", *rng.sample(WORDS, 2), str(number), rng.choice(["total", "bytes", "seconds", "ratio"])])
        families.append(Family(name, Kind.COUNTER if name.endswith("total") else Kind.GAUGE, "A family.", labels=tuple(names)))
    per = -(-series // 60)
    updates = []
    for family in families:
        for row in range(per):
            labels = tuple(f"{rng.choice(WORDS)}-{rng.choice(WORDS)}-{row // 7 if i else row}" for i in range(len(family.labels)))
            updates.append(Update(family, labels, rng.random() * 1000, 0.0))
    return updates[:series]


def changes(updates: list[Update], share: float, seed: int, at: float) -> Iterator[Update]:
    """A new value for `share` of the rows."""
    rng = random.Random(seed)
    for number in rng.sample(range(len(updates)), int(len(updates) * share)):
        family, labels, _, _, scope = updates[number]
        value = histogram(rng.randrange(10_000)) if family.buckets else rng.random() * 1000
        yield Update(family, labels, value, at, scope)


DATASETS = {"regular": regular, "varied": varied}
