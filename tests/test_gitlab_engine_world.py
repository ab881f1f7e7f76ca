"""The engine, told of everything in a simulated GitLab as it happens, counts what a perfect observer does."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from agent.model import Kind
from agent.sim.gitlab import objects as sim
from agent.sim.gitlab.announcements import Announcement, announcements
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.payloads import payload
from agent.sim.gitlab.places import Project as SimProject
from agent.sim.gitlab.places import World
from agent.sim.gitlab.truth import Truth, truth
from agent.sim.gitlab.world import build
from agent.sources.gitlab.objects import Job, Pipeline, Project
from tests.gitlab_engine import Life
from tests.gitlab_seen import pipeline_seen

DAY = 86400
Told = tuple[SimProject, sim.Pipeline] | Announcement
"""A change of a pipeline that is read, or an event that is heard."""


class Observer:
    """A life, and a world that it is told of from `since` on. What is told at once cannot fail; now and then it dies."""

    def __init__(self, world: World, since: int) -> None:
        self.world, self.since, self.life = world, since, Life()
        seen = world.tokens[TOKEN]
        self.projects = [one for one in world.projects if one.builds_enabled and not one.archived and seen.sees(one)]
        for project in self.projects:
            self.watch(project, since)
            running = [view for one in project.pipelines if (view := self.view(one, since)) and not view.is_final]
            self.life.commit(self.life.engine.register(project.id, running, since))

    def watch(self, project: SimProject, now: float) -> None:
        """Know a project by the name that it has then."""
        known = Project(project.id, project.path_at(now), project.default_branch)
        self.life.engine.watch(known, self.life.rules, self.since)

    def again(self, now: float) -> None:
        """Another life."""
        self.life.again(now)
        for project in self.projects:
            self.watch(project, now)

    def read(self, project: SimProject, pipeline: sim.Pipeline, now: int) -> None:
        """A poll that finds one pipeline."""
        view = self.view(pipeline, now)
        if view is not None:
            self.watch(project, now)
            self.life.commit(self.life.engine.take(project.id, [view], {pipeline.id: list(jobs(pipeline, now))}, now))

    def view(self, pipeline: sim.Pipeline, now: float) -> Pipeline | None:
        """What the API says."""
        return pipeline_seen(pipeline, now, self.world.tokens[TOKEN])


def jobs(pipeline: sim.Pipeline, now: float) -> Iterator[Job]:
    """What the API says of the jobs of a pipeline."""
    for job in pipeline.jobs:
        view = job.at(now)
        if job.spec.kind != sim.BUILD or view is None:
            continue
        yield Job(
            job.id,
            job.spec.name,
            job.spec.stage,
            "failed_with_warnings" if view.status == "failed" and job.spec.allow_failure else view.status,
            job.created,
            view.started_at,
            view.finished_at,
            None if view.duration is None else int(view.duration),
            None if view.queued_duration is None else int(view.queued_duration),
            view.retried,
            job.spec.runner_type if view.started_at else "unknown",
            view.failure_reason,
        )


def told(observer: Observer, random: Random, *, with_webhooks: bool) -> list[tuple[float, float, Told]]:
    """Every change of a pipeline, to be read, and every event, to be heard; in order."""
    since, found = observer.since, list[tuple[float, float, Told]]()
    for project in observer.projects:
        for pipeline in project.pipelines:
            moments = {view.updated_at for view in pipeline.views} | {job.retried_at for job in pipeline.jobs}
            last = pipeline.deleted_at or float("inf")
            found += [(at, random.random(), (project, pipeline)) for at in moments if since <= at < last]
    if with_webhooks:
        known = {project.id for project in observer.projects}
        every = (one for one in announcements(observer.world, jobs=False) if one.moment >= since)
        found += [(one.at, random.random(), one) for one in every if one.project.id in known]
    return sorted(found, key=lambda one: one[:2])


def is_heard(pipeline: sim.Pipeline, now: float) -> bool:
    """Whether an event tells all that a read would find."""
    view = pipeline.at(now)
    return view is not None and view.is_final and view.updated_at == now and pipeline.upstream is None


def counted(life: Life) -> Truth:
    """What the ledger holds, as the truth has it."""
    found = Truth()
    for observation in life.kept.values():
        for family, values, value in observation.increments:
            named = zip(family.labels, values, strict=True)
            key = (family.name, tuple(sorted((name, text) for name, text in named if text)))
            if family.kind is not Kind.HISTOGRAM:
                found.counters[key] = found.counters.get(key, 0.0) + value
                continue
            row = found.histograms.setdefault(key, [0.0] * (len(family.buckets) + 2))
            row[:] = [has + (value <= bound) for has, bound in zip(row, family.buckets, strict=False)] + [
                row[-2] + 1,
                row[-1] + value,
            ]
    return found


@pytest.mark.parametrize("with_webhooks", [False, True], ids=["read", "heard"])
@pytest.mark.parametrize("days", [0, 2], ids=["whole", "from_amid"])
def test_everything_that_ends_in_a_world_counts_as_the_world_says(days: int, with_webhooks: bool) -> None:
    world, random = build(11, projects=16, pipelines=160), Random(days)
    observer = Observer(world, world.start - 100 + days * DAY)
    for at, chance, what in told(observer, random, with_webhooks=with_webhooks):
        if isinstance(what, Announcement):
            observer.watch(what.project, what.moment)
            observer.life.hear(what.event, payload(world, what), at)
        elif not (with_webhooks and chance > 0.5 and is_heard(what[1], at)):
            observer.read(*what, int(at))
        if chance < 0.01:
            observer.again(at)
    truly, found = truth(world, observer.since), counted(observer.life)

    assert truly.jobs > 400
    assert found.counters == {key: value for key, value in truly.counters.items() if not key[0].startswith("environment_")}
    assert found.histograms == {key: row for key, row in truly.histograms.items() if not key[0].startswith("environment_")}
