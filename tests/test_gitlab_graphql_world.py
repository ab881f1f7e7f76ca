"""The reader by GraphQL over a simulated GitLab, of several versions and in trouble: what it brings is what the plan says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.plugin import Context
from agent.sim import faults
from agent.sim.gitlab import objects as plan
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.flat import TOKEN, URL
from agent.sim.gitlab.limits import Limits
from agent.sim.gitlab.places import World
from agent.sim.gitlab.profile import PROFILES, Profile
from agent.sim.gitlab.world import build
from agent.sim.weather import Showers
from agent.sources.gitlab.api import connect
from agent.sources.gitlab.graphql import GraphqlReader
from agent.sources.gitlab.objects import FINAL, Pipeline, Project
from agent.sources.gitlab.options import Options

TROUBLE = (faults.Answer(500), faults.Answer(502, (), "<html>502</html>"), faults.Answer(503), faults.Delay(0.5))

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    return build(5, projects=20, pipelines=150)


class Stage:
    """A world when seven tenths of its time are over, and a reader of it."""

    def __init__(self, world: World, profile: Profile = PROFILES["18-ee"], *, moves: bool = False, **keys: Any) -> None:
        self.world, self.profile = world, profile
        self._begun = world.start + world.seconds * 0.7
        self._moves = moves
        self.served = GitlabApi(world, self.now, profile=profile)
        fast = {"max_requests_per_second": 1e6, "burst_requests_per_second": 1e6}
        options = Options.model_validate({"url": URL, "token": TOKEN, **fast, **keys})
        context = Context(self.now, "cipush", "here", "cipush/test")
        self.api = connect("sources.gitlab", options, context, httpx.ASGITransport(self.served))
        self.reader = GraphqlReader(self.api, options, self.now)
        seen = (project for project in world.projects if world.tokens[TOKEN].sees(project) and project.builds_enabled)
        self.projects = [Project(project.id, project.path_at(self.now())) for project in seen]

    def now(self) -> float:
        """Stands still, unless it `moves`."""
        return self._begun + (anyio.current_time() if self._moves else 0.0)

    def plans(self, project: Project) -> Iterator[tuple[plan.Pipeline, plan.PipelineView]]:
        """What can be seen of a project, and how."""
        for pipeline in self.world.by_id[project.id].pipelines:
            view = pipeline.at(self.now())
            if view is not None:
                yield pipeline, view

    def status(self, view: plan.PipelineView) -> str:
        return "success_with_warnings" if view.warnings and view.status == "success" else self.profile.says(view.status)

    def expected(self, project: Project) -> dict[int, tuple[object, ...]]:
        """Of its pipelines what everything else hangs on."""
        return {
            pipeline.id: (self.status(view), pipeline.ref, pipeline.kind, self.source(pipeline), view.updated_at, view.duration)
            for pipeline, view in self.plans(project)
        }

    def source(self, pipeline: plan.Pipeline) -> str:
        is_told = self.profile.at_least(17) or pipeline.source == "parent_pipeline"
        return pipeline.source if is_told else ""

    def jobs(self, project: Project) -> dict[int, set[tuple[object, ...]]]:
        """Its jobs by pipeline: number, name, status, whether another took its place."""
        found: dict[int, set[tuple[object, ...]]] = {}
        for pipeline, _ in self.plans(project):
            views = [(job, job.at(self.now())) for job in pipeline.jobs if job.spec.kind == plan.BUILD]
            found[pipeline.id] = {
                (job.id, job.spec.name, _status(job, self.profile.says(view.status)), view.retried) for job, view in views if view
            }
        return found


def _status(job: plan.Job, status: str) -> str:
    return "failed_with_warnings" if status == "failed" and job.spec.allow_failure else status


def told(pipeline: Pipeline) -> tuple[object, ...]:
    return pipeline.status, pipeline.ref, pipeline.kind, pipeline.source, pipeline.updated, pipeline.duration


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_every_version_brings_all_pipelines_and_jobs(world: World, profile: Profile) -> None:
    stage = Stage(world, profile)

    found = await stage.reader.changed(stage.projects, world.start)
    jobs = await stage.reader.jobs({project: found.pipelines[project.id] for project in stage.projects})

    assert (found.failed, stage.reader.malformed) == ({}, {})
    for project in stage.projects:
        assert {one.id: told(one) for one in found.pipelines[project.id]} == stage.expected(project)
        for number, wanted in stage.jobs(project).items():
            read = jobs[number]
            assert not isinstance(read, CollectError)
            assert {(one.id, one.name, one.status, one.is_retried) for one in read} == wanted
    assert sum(map(len, found.pipelines.values())) > 50


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_every_version_tells_what_has_not_ended(world: World, profile: Profile) -> None:
    stage = Stage(world, profile)

    found = await stage.reader.unfinished(stage.projects)

    for project in stage.projects:
        wanted = {number: about for number, about in stage.expected(project).items() if about[0] not in FINAL}
        assert {one.id: told(one) for one in found.pipelines[project.id]} == wanted


async def test_small_pages_bring_the_same(world: World) -> None:
    stage = Stage(world, graphql_page_size=3)

    found = await stage.reader.changed(stage.projects, world.start)
    jobs = await stage.reader.jobs({project: found.pipelines[project.id] for project in stage.projects})

    for project in stage.projects:
        assert {one.id: told(one) for one in found.pipelines[project.id]} == stage.expected(project)
        for number, wanted in stage.jobs(project).items():
            read = jobs[number]
            assert not isinstance(read, CollectError)
            assert {one.id for one in read} == {job[0] for job in wanted}


async def test_pipelines_by_id_are_the_same_as_in_lists(world: World) -> None:
    stage = Stage(world)
    listed = await stage.reader.changed(stage.projects, world.start)

    wanted = {project: [one.id for one in listed.pipelines[project.id]] for project in stage.projects}
    found = await stage.reader.pipelines(wanted)

    children = "parent_pipeline"  # whose lists do not tell the state of their merge request
    assert {one.id: one for some in listed.pipelines.values() for one in some if one.source != children}.items() <= found.items()
    assert found.keys() == {number for numbers in wanted.values() for number in numbers}


async def test_answers_that_are_cut_short_bring_the_same_in_the_end(world: World) -> None:
    """The instance gives up after some objects, and tells which lists it left out."""
    stage = Stage(world)
    await stage.reader.changed(stage.projects[:1], int(stage.now()))
    stage.served.most_nodes = 400

    found = await stage.reader.changed(stage.projects, world.start)
    jobs = await stage.reader.jobs(
        {project: found.pipelines[project.id] for project in stage.projects if project.id in found.pipelines}
    )

    for project in stage.projects:
        if project.id in found.failed:
            assert len(stage.expected(project)) > 40
            continue
        assert {one.id: told(one) for one in found.pipelines[project.id]} == stage.expected(project)
        for number, wanted in stage.jobs(project).items():
            read = jobs[number]
            assert not isinstance(read, CollectError)
            assert {one.id for one in read} == {job[0] for job in wanted}
    assert found.pipelines


@pytest.mark.parametrize("seed", range(3))
async def test_trouble_loses_nothing_but_time(world: World, seed: int) -> None:
    stage = Stage(world, graphql_page_size=5)
    stage.served._showers = Showers(0.1, TROUBLE, seed)
    found: dict[int, list[Pipeline]] = {}

    left = stage.projects
    while left:
        try:
            some = await stage.reader.changed(left, world.start)
        except CollectError as error:
            assert error.kind in ("connect", "status", "rate_limit", "timeout")  # noqa: PT017
            continue
        found |= some.pipelines
        left = [project for project in left if project.id not in some.pipelines]

    for project in stage.projects:
        assert {one.id: told(one) for one in found[project.id]} == stage.expected(project)


async def test_a_limit_of_the_instance_is_kept_to(world: World) -> None:
    stage = Stage(world, graphql_page_size=2)
    stage.served.limits = Limits(per_minute=30)
    stage._moves = True

    with anyio.fail_after(3600):
        found = await stage.reader.changed(stage.projects, world.start)

    assert not found.failed
    refused = sum(count for (_, status), count in stage.served.counts.items() if status == 429)
    assert (refused, stage.served.totals.requests > 30) == (0, True)
