"""The readers by REST over a simulated GitLab: what they bring is what its plan says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.plugin import Context
from agent.sim.gitlab import objects as plan
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.flat import TOKEN, URL, flat
from agent.sim.gitlab.places import World
from agent.sim.gitlab.truth import truth
from agent.sim.gitlab.world import build
from agent.sources.gitlab.api import Gitlab, connect
from agent.sources.gitlab.discover import Discovery
from agent.sources.gitlab.environments import Environments, Watched
from agent.sources.gitlab.families import families
from agent.sources.gitlab.graphql import GraphqlReader
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.rest import RestReader
from agent.sources.gitlab.tiers import Tiers
from tests.gitlab_seen import pipeline_seen

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    return build(3, projects=20, pipelines=150)


def options(**keys: Any) -> Options:
    fast = {"max_requests_per_second": 1e6, "burst_requests_per_second": 1e6}
    return Options.model_validate({"url": URL, "token": TOKEN, "wildcards": [{}], **fast, **keys})


@dataclass
class Stage:
    """A world at a moment, and the client that looks at it."""

    world: World
    now: float
    api: Gitlab
    served: GitlabApi

    async def projects(self) -> list[Project]:
        """All that can be seen."""
        listed = await Discovery(self.api, options(), lambda: self.now).projects()
        assert listed.problems == []
        return [project for project, _ in listed.projects.values()]

    def plans(self, project: Project) -> Iterator[plan.Pipeline]:
        """The plans of what can be seen of a project."""
        found = self.world.project(project.id, self.now)
        assert found is not None
        return (pipeline for pipeline in found.pipelines if pipeline.at(self.now))

    def seen(self, project: Project) -> list[Pipeline]:
        """The pipelines of a project as they should be read."""
        found = (pipeline_seen(pipeline, self.now, self.world.tokens[TOKEN]) for pipeline in self.plans(project))
        return [pipeline for pipeline in found if pipeline is not None]


@asynccontextmanager
async def staged(world: World, share: float) -> AsyncIterator[Stage]:
    """A world when that share of its time is over."""
    stage = Stage(world, world.start + world.seconds * share, None, None)  # type: ignore[arg-type]
    stage.served = GitlabApi(world, lambda: stage.now)
    context = Context(lambda: stage.now, "cipush", "here", "cipush/test")
    stage.api = connect("sources.gitlab", options(), context, httpx.ASGITransport(stage.served))
    try:
        yield stage
    finally:
        await stage.api.aclose()


@pytest.mark.parametrize("share", [0.3, 0.7, 1.2])
async def test_every_pipeline_is_read_as_it_is_with_its_children_and_what_triggered_them(world: World, share: float) -> None:
    async with staged(world, share) as stage:
        projects = await stage.projects()
        found = await RestReader(stage.api, options()).changed(projects, world.start)

    assert found.failed == {}
    wanted = {project.id: stage.seen(project) for project in projects}
    assert {number: list(map(tuple, each)) for number, each in found.pipelines.items()} == {
        number: list(map(tuple, each)) for number, each in wanted.items()
    }
    assert sum(map(len, wanted.values())) > 50


async def test_what_changes_between_two_polls_is_read_and_nothing_else(world: World) -> None:
    async with staged(world, 0.4) as stage:
        projects, reader = await stage.projects(), RestReader(stage.api, options())
        for _ in range(30):
            before, stage.now = int(stage.now), stage.now + 1800
            found = await reader.changed(projects, before)
            for project in projects:
                wanted = stage.seen(project)
                assert found.pipelines[project.id] == [pipeline for pipeline in wanted if pipeline.updated >= before]


async def test_every_job_is_read_as_it_is_and_no_bridge(world: World) -> None:
    async with staged(world, 0.7) as stage:
        projects, reader = await stage.projects(), RestReader(stage.api, options())
        found = await reader.changed(projects, world.start)
        jobs = await reader.jobs({project: found.pipelines[project.id] for project in projects})

        wanted = {}
        for pipeline in (pipeline for project in projects for pipeline in stage.plans(project)):
            views = [(job, job.at(stage.now)) for job in pipeline.jobs if job.spec.kind == plan.BUILD]
            wanted[pipeline.id] = [
                (job.id, job.spec.name, job.spec.stage, _status(job, view), view.finished_at, view.retried, _cut(view.duration))
                for job, view in views
                if view is not None
            ]
    read = {}
    for number, each in jobs.items():
        assert not isinstance(each, CollectError)
        read[number] = [(j.id, j.name, j.stage, j.status, j.finished, j.is_retried, j.duration) for j in each]
    assert read == wanted
    assert any(job[5] for each in wanted.values() for job in each), "there are retries among them"


def _status(job: plan.Job, view: plan.JobView) -> str:
    return "failed_with_warnings" if view.status == "failed" and job.spec.allow_failure else view.status


def _cut(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


async def test_what_changed_between_two_seconds_is_read_and_no_more(world: World) -> None:
    async with staged(world, 0.9) as stage:
        after, before = int(world.start + 0.3 * world.seconds), int(world.start + 0.6 * world.seconds)
        projects = await stage.projects()
        found = await RestReader(stage.api, options()).changed(projects, after, before)

        wanted = {(p.id, one.id) for p in projects for one in stage.seen(p) if after <= one.updated < before}
    assert {(number, one.id) for number, each in found.pipelines.items() for one in each} == wanted != set()


async def test_everything_that_has_not_ended_is_found_however_old_it_is(world: World) -> None:
    async with staged(world, 0.7) as stage:
        projects = await stage.projects()
        found = await RestReader(stage.api, options(rest_page_size=5)).unfinished(projects)

        for project in projects:
            wanted = stage.seen(project)
            assert found.pipelines[project.id] == [pipeline for pipeline in wanted if not pipeline.is_final]
    assert sum(map(len, found.pipelines.values())) > 0


async def test_heads_are_the_newest_of_the_branches_and_tags_that_exist(world: World) -> None:
    every: dict[str, Any] = {"regexp": "", "most_recent": 0, "max_age_days": 0}
    shown = options(project_defaults={"refs": {"branches": every, "tags": every}}, wildcards=[{}])
    async with staged(world, 0.9) as stage:
        projects = await stage.projects()
        found = await RestReader(stage.api, shown).heads(projects)

        for project in projects:
            there = stage.world.by_id[project.id]
            newest: dict[tuple[bool, str], int] = {}
            for one in stage.plans(project):
                if not one.is_child and one.merge_request is None and there.ref_exists(one, stage.now):
                    newest[one.tag, one.ref] = max(newest.get((one.tag, one.ref), 0), one.id)
            assert {pipeline.id for pipeline in found.pipelines[project.id]} == set(newest.values())


@pytest.mark.parametrize("step", [1800, 7200])
async def test_deployments_count_as_the_worlds_own_truth_says(world: World, step: int) -> None:
    async with staged(world, 0.2) as stage:
        watched = [Watched(project, ProjectOptions(), int(stage.now), 0.0) for project in await stage.projects()]
        since, own = int(stage.now), families(options())
        reader = Environments(stage.api, "h", options(), own, lambda: watched, lambda: stage.now)
        cursor: object = None
        counted: dict[str, dict[tuple[str, tuple[str, ...]], float]] = {}
        for _ in range(100_000 // step):
            stage.now += step
            watched = [each._replace(active=stage.now) for each in watched]
            found = await reader.collect(cursor)
            assert found.problem == ""
            cursor = found.cursor
            for one in found.observations:
                counted[one.key] = {(each.family.name, each.labels): each.value for each in one.increments}
        until = stage.now

    totals: dict[tuple[str, tuple[str, ...]], float] = {}
    for increments in counted.values():
        for key, value in increments.items():
            if key[0] != own.environment_deployment_duration_seconds.name:
                totals[key] = totals.get(key, 0) + value
    whole = truth(world, {each.project.id: since for each in watched}, until, path=lambda project, _: project.path_at(since))
    wanted = {
        (name, tuple(dict(labels)[label] for label in ("project", "environment", "status") if label in dict(labels))): value
        for (name, labels), value in whole.counters.items()
        if name.startswith("environment_")
    }
    assert totals == wanted
    assert totals


async def test_both_apis_bring_the_same(world: World) -> None:
    async with staged(world, 0.8) as stage:
        projects, since = await stage.projects(), int(stage.now) - 150_000
        readers = (RestReader(stage.api, options()), GraphqlReader(stage.api, options(), lambda: stage.now))
        brought: list[Any] = []
        for reader in readers:
            changed = await reader.changed(projects, since)
            wanted = {project: changed.pipelines[project.id] for project in projects}
            jobs = await reader.jobs(wanted)
            reports = await reader.reports({project: [each.id for each in found] for project, found in wanted.items()})
            unfinished = (await reader.unfinished(projects)).pipelines
            brought.append([changed.pipelines, jobs, reports, unfinished])

    for by_rest, by_graphql in zip(*map(_sorted, brought), strict=True):
        assert by_rest == by_graphql != {}


def _sorted(brought: list[dict[int, Any]]) -> list[dict[int, Any]]:
    return [
        {key: sorted(map(_told_by_both, value)) if isinstance(value, list) else value for key, value in each.items()}
        for each in brought
    ]


def _told_by_both(found: Any) -> Any:
    """GraphQL is not asked for an upstream's number, nor for the merge request of a child."""
    if not isinstance(found, Pipeline) or found.upstream is None:
        return found
    state = "" if found.source == "parent_pipeline" else found.merge_request_state
    return found._replace(upstream=found.upstream._replace(pipeline=0), merge_request_state=state)


async def test_a_project_that_was_renamed_is_found_by_the_name_it_had(world: World) -> None:
    moved = next(project for project in world.projects if len(project.places) > 1 and not project.archived)
    old = moved.places[0].full_path
    async with staged(world, 2.0) as stage:
        named = options(projects=[{"name": old}], wildcards=[])
        listed = await Discovery(stage.api, named, lambda: stage.now).projects()

    assert {number: project.path for number, (project, _) in listed.projects.items()} == {moved.id: moved.path_at(stage.now)}
    assert moved.path_at(stage.now) != old


async def test_tiers_are_told_for_each_namespace(world: World) -> None:
    async with staged(world, 0.5) as stage:
        tiers = Tiers(stage.api, options(), lambda: stage.now)
        await tiers.refresh(await stage.projects())

    wanted = {group.path: group.tier for group in world.groups if group.parent is None}
    assert tiers.tiers.items() <= wanted.items()
    assert set(tiers.tiers.values()) == {0, 1, 2}
    assert tiers.problem == ""


async def test_a_poll_in_which_little_has_changed_takes_two_requests_a_project_and_three_a_change() -> None:
    async with staged(flat(50, 3, 5, steady=0.1, rounds=1), 1.0) as stage:
        projects, reader = await stage.projects(), RestReader(stage.api, options())
        before, stage.now = stage.world.start + 3 * 600 - 1, stage.world.end + 1.0
        asked = stage.served.totals.requests
        found = await reader.changed(projects, before)
        first, asked = stage.served.totals.requests - asked, stage.served.totals.requests
        await reader.changed(projects, before)

    assert sum(map(len, found.pipelines.values())) == 5
    assert (first, stage.served.totals.requests - asked) == (100 + 2 * 5, 100)
