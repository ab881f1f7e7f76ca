"""A seeded organisation over a span of time: the same arguments make the same world, to the second."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from agent.sim.github import catalogue
from agent.sim.github.attempts import History
from agent.sim.github.plan import Attempt, Repository, Run, Workflow

MONDAY = 1_772_409_600
"""2026-03-02T00:00:00Z, where worlds begin unless told otherwise."""
WEEK = 604_800
FIRST_RUN_ID = 9_100_000_000
FIRST_JOB_ID = 26_400_000_000
BUSY_SHARE = 0.75
"""The share of the repositories in which anything happens."""


@dataclass(frozen=True)
class World:
    """An organisation and all that ever happens in it."""

    seed: int
    start: int
    """Seconds since the epoch; nothing happens before."""
    seconds: int
    """Runs begin within so many seconds."""
    owner: str
    owner_id: int
    repositories: tuple[Repository, ...]
    runs: tuple[Run, ...]
    """By the time they began, oldest first."""
    of_repository: dict[str, list[Run]] = field(repr=False)
    """The same by `owner/name`, in the same order."""

    @cached_property
    def end(self) -> int:
        """When the last run of all has ended."""
        return max((attempt.completed for run in self.runs for attempt in run.attempts), default=self.start)

    def repository(self, full_name: str) -> Repository | None:
        """A repository by its name, upper or lower case."""
        return self._named.get(full_name.lower())

    @cached_property
    def _named(self) -> dict[str, Repository]:
        return {repository.full_name.lower(): repository for repository in self.repositories}

    def attempts(self) -> Iterator[tuple[Run, Attempt]]:
        """All attempts of all runs."""
        return ((run, attempt) for run in self.runs for attempt in run.attempts)


def build(
    seed: int = 1,
    *,
    start: int = MONDAY,
    seconds: int = WEEK,
    repositories: int = 200,
    jobs: int = 50_000,
    owner: str = "tinker-works",
    approvals: bool = True,
    haste: float = 1.0,
) -> World:
    """A world of about so many jobs. `approvals`: whether deployments wait for somebody to approve them.

    `haste`: how many times faster than usual everything goes, so that with 60 a day of work fits into the minutes of a test;
    times stay whole seconds, and nothing but a queue takes less than one.
    """
    rng = random.Random(f"{seed} {seconds} {repositories} {jobs}")
    owned = tuple(_repository(rng, owner, number) for number in range(repositories))
    history = History(rng, itertools.count(FIRST_JOB_ID, 7), approvals, haste)
    numbers: dict[int, Iterator[int]] = {}
    runs = []
    for index, (created, repository, workflow) in enumerate(_triggers(rng, owned, start, seconds, jobs)):
        number = next(numbers.setdefault(workflow.id, itertools.count(1)))
        runs.append(history.run(FIRST_RUN_ID + 11 * index, number, repository, workflow, created))
    of_repository: dict[str, list[Run]] = {repository.full_name: [] for repository in owned}
    for run in runs:
        of_repository[run.repository.full_name].append(run)
    return World(seed, start, seconds, owner, 7_700_001, owned, tuple(runs), of_repository)


def _repository(rng: random.Random, owner: str, number: int) -> Repository:
    name = catalogue.repository_name(number)
    chosen = [catalogue.WORKFLOWS[number % len(catalogue.WORKFLOWS)]]
    chosen += rng.sample([workflow for workflow in catalogue.WORKFLOWS if workflow not in chosen], rng.choice((0, 1, 1, 2)))
    identity = 510_000_000 + 13 * number
    workflows = tuple(
        Workflow(
            88_000_000 + 10 * (identity % 10_000_000) + place, title, f".github/workflows/{file}", events, jobs, place % 3 == 1
        )
        for place, (title, file, events, jobs) in enumerate(chosen)
    )
    return Repository(
        identity,
        owner,
        7_700_001,
        name,
        private=rng.random() < 0.7,
        default_branch=rng.choice(("main", "main", "master")),
        workflows=workflows,
        formerly=f"{name}-old" if number % 17 == 3 else "",
    )


def _triggers(
    rng: random.Random, repositories: tuple[Repository, ...], start: int, seconds: int, jobs: int
) -> list[tuple[int, Repository, Workflow]]:
    """When which workflow was triggered, in order of time, until they have so many jobs together."""
    busy = repositories[: max(1, round(len(repositories) * BUSY_SHARE))]
    weights = list(itertools.accumulate(1 / (place + 1) ** 0.7 for place in range(len(busy))))
    found: list[tuple[int, Repository, Workflow]] = []
    planned = 0
    while planned < jobs:
        repository = rng.choices(busy, cum_weights=weights)[0]
        workflow = rng.choice(repository.workflows)
        at = start + 2 + rng.randrange(max(1, seconds - 2))
        if seconds >= 86_400 and workflow.events[0] != "schedule" and rng.random() > _busyness(at):
            continue
        found.append((at, repository, workflow))
        planned += len(workflow.jobs)
    return sorted(found, key=lambda trigger: (trigger[0], trigger[1].id, trigger[2].id))


def _busyness(at: int) -> float:
    """How likely people push at that time, 0 to 1: by day, on weekdays."""
    day, hour = at // 86_400 % 7, at % 86_400 // 3600
    weekend = day in (2, 3)  # the epoch was a Thursday
    return (0.2 if weekend else 1.0) * (1.0 if 7 <= hour < 18 else 0.15)
