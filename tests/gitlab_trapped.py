"""A simulated GitLab that has been observed for some hours, and what is asked of it then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
from trio.testing import MockClock

from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.objects import Job, Pipeline, PipelineView
from agent.sim.gitlab.places import Project, World
from agent.sim.gitlab.rules import Rules
from agent.sim.gitlab.truth import truth
from agent.sim.gitlab.world import build
from tests.github_truth import differences
from tests.gitlab_observed import Observer

HOURS = 6
OPTIONS: dict[str, Any] = {"metric_prefix": "", "wildcards": [{}]}
Choice = Callable[[Pipeline], object]


def made(projects: int = 22, pipelines: int = 110, seed: int = 10) -> World:
    """A day's work in six hours."""
    return build(seed, projects=projects, pipelines=pipelines, seconds=HOURS * 3600, haste=3.0)


def observed(world: World, **keys: Any) -> Observer:
    """All of it, on a virtual clock."""

    async def watch() -> Observer:
        observer = Observer(world, OPTIONS | keys, step=300)
        await observer.watch(world.end + 3600)
        return observer

    return anyio.run(watch, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def total(observer: Observer, family: str, **labels: str) -> float:
    """What a counter comes to over all series with these labels; "" = without that label. Of a histogram, its count."""
    counted = dict(observer.tally.counters) | {key: row[-2] for key, row in observer.tally.histograms.items()}
    asked = [(dict(pairs), value) for (name, pairs), value in counted.items() if name == family]
    return sum(value for pairs, value in asked if all(pairs.get(name, "") == text for name, text in labels.items()))


def read(world: World) -> Iterator[Project]:
    """The projects that an agent reads which has been told nothing else."""
    for project in world.projects:
        if world.tokens[TOKEN].sees(project) and project.builds_enabled and not project.archived:
            yield project


def pipelines(world: World, choice: Choice = lambda _: True) -> list[Pipeline]:
    """Those of them that are chosen."""
    return [pipeline for project in read(world) for pipeline in project.pipelines if choice(pipeline)]


def end(pipeline: Pipeline) -> PipelineView | None:
    """How it was when it first ended; None = it has not, or not before it was deleted."""
    gone = pipeline.deleted_at or float("inf")
    return next((view for view in pipeline.views if view.is_final and view.updated_at < gone), None)


def ended(world: World, choice: Choice = lambda _: True) -> list[Pipeline]:
    """Those of the chosen ones that came to an end."""
    return [pipeline for pipeline in pipelines(world, choice) if end(pipeline)]


def jobs(world: World, kind: str, choice: Choice = lambda _: True) -> list[Job]:
    """Jobs or bridges of the pipelines that are chosen."""
    return [job for pipeline in pipelines(world, choice) for job in pipeline.jobs if job.spec.kind == kind]


def wrong(observer: Observer, rules: Rules | None = None) -> list[str]:
    """Every series of pipelines and jobs that is not what the plan says; environments are not read here."""
    since = {int(key[6:]): float(value) for key, value in observer.notes.items() if key.startswith("since:")}
    true = truth(observer.world, since, observer.now, rules=rules or Rules())
    for totals in (true.counters, true.histograms):
        for key in [key for key in totals if key[0].startswith("environment")]:
            del totals[key]
    return differences(observer.tally, true)  # type: ignore[arg-type]
