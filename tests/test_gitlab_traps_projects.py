"""What leads astray who looks for the projects of a GitLab: short searches, forks, and projects that wait for their deletion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import ValidationError
from trio.testing import MockClock

from agent.model import Delivery
from agent.plugin import Context
from agent.sim.gitlab.announcements import announcements
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.faults import Shipment
from agent.sim.gitlab.flat import TOKEN, URL
from agent.sim.gitlab.objects import Pipeline
from agent.sim.gitlab.payloads import payload
from agent.sim.gitlab.places import Project, World
from agent.sim.gitlab.sender import Sender
from agent.sim.inside import Inside
from agent.sources.gitlab.api import connect
from agent.sources.gitlab.discover import Discovery
from agent.sources.gitlab.options import Options, Owner, Wildcard
from agent.sources.gitlab.payload import pipeline_of
from tests.gitlab_observed import HOUR, SECRET, Observer
from tests.gitlab_trapped import OPTIONS, end, ended, made, read, total, wrong

pytestmark = pytest.mark.anyio
GAUGES = ("pipeline_status", "pipeline_id", "pipelines_unfinished", "pipeline_last_run_timestamp_seconds")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def world() -> World:
    return made(4, 16)


@pytest.mark.parametrize("search", ["a", "ab"])
def test_a_search_of_less_than_three_characters_is_never_sent(search: str) -> None:
    with pytest.raises(ValidationError, match="search"):
        Options.model_validate({"token": TOKEN, "wildcards": [{"search": search}]})


async def test_a_search_that_gitlab_refuses_is_named_and_costs_no_other_wildcard(world: World) -> None:
    short = Wildcard.model_construct(owner=Owner(), search="ab", archived=False)  # as if more were too little some day
    given = {"url": URL, "token": TOKEN, "max_requests_per_second": 1e6, "burst_requests_per_second": 1e6}
    options = Options.model_validate(given).model_copy(update={"wildcards": [short, Wildcard()]})
    served = GitlabApi(world, lambda: world.end)
    gitlab = connect("sources.gitlab", options, Context(lambda: world.end, "ci", "one", "test"), Inside(served))
    listed = await Discovery(gitlab, options, lambda: world.end).projects()
    await gitlab.aclose()

    (problem,) = listed.problems
    assert "(search ab)" in problem
    assert "less than 3 characters" in problem
    assert listed.projects.keys() >= {project.id for project in read(world)}


@pytest.mark.parametrize(("use_graphql", "named"), [(True, False), (False, True)])
async def test_a_project_that_waits_for_its_deletion_keeps_its_totals_and_shows_nothing(
    world: World, use_graphql: bool, named: bool
) -> None:
    gone = max(read(world), key=lambda project: len(project.pipelines))
    path = gone.path_at(world.end)
    delete(gone, quiet(gone, world))
    keys = OPTIONS | {"use_graphql": use_graphql} | ({"projects": [{"name": path}]} if named else {})
    observer = Observer(world, keys, step=600.0)
    await observer.watch(gone.deleted - 1)
    shown = here(observer, path)
    await observer.watch(gone.deleted + 2 * HOUR)

    assert total(observer, "pipeline_run_count", project=path) == len(ended(world, lambda one: one.project is gone)) > 3
    assert (len(shown) > 0, here(observer, path)) == (True, [])
    others = {one.id for one in ended(world, lambda one: one.project is not gone and ended_by(one, gone.deleted + HOUR))}
    assert len(others) > 3
    assert {f"gitlab:localhost:pipeline:{number}" for number in others} <= observer.tally.keys


def ended_by(pipeline: Pipeline, moment: float) -> bool:
    view = end(pipeline)
    return view is not None and view.updated_at <= moment


def delete(project: Project, at: int) -> None:
    """All that is in it goes with it."""
    project.deleted = at
    for pipeline in project.pipelines:
        pipeline.deleted_at = min(pipeline.deleted_at or at, at)


def quiet(project: Project, world: World) -> int:
    """A moment in the last third, minutes from any end there."""
    ends = sorted(view.updated_at for pipeline in project.pipelines for view in pipeline.views if view.is_final)
    late = ends[len(ends) * 2 // 3]
    return next(at for at in range(late, world.end, 60) if not any(abs(at - end) < 700 for end in ends))


def here(observer: Observer, path: str) -> list[tuple[str, ...]]:
    """The series of that project's state."""
    return [labels for family in GAUGES for labels in observer.shown(family) if path in labels]


@pytest.mark.parametrize("way", ["graphql", "rest", "webhooks"])
async def test_what_a_merge_request_starts_in_its_fork_is_the_merge_requests_though_its_ref_is_a_branch(
    world: World, way: str
) -> None:
    fork = max(read(world), key=lambda project: sum(map(is_requested, project.pipelines)))
    requested = separate(fork, next(project for project in world.projects if project is not fork))
    keys = {"use_graphql": way != "rest", "webhook": {"secret_token": SECRET, "max_per_second": 10_000}}
    observer = Observer(world, OPTIONS | keys, step=900.0, heard=heard(world) if way == "webhooks" else ())
    await observer.watch(world.end + HOUR)

    counted = total(observer, "pipeline_run_count", project=fork.path_at(world.end), kind="merge_request", ref="merge_request")
    assert counted == len([one for one in requested if end(one)]) > 1
    assert wrong(observer) == []


def test_in_a_fork_the_number_of_a_merge_request_is_another_projects(world: World) -> None:
    fork = max(read(world), key=lambda project: sum(map(is_requested, project.pipelines)))
    separated = separate(fork, next(project for project in world.projects if project is not fork))
    told = (each for each in announcements(world) if isinstance(each.thing, Pipeline) and is_requested(each.thing))
    found = [pipeline_of(payload(world, each)).pipeline for each in told]
    numbers = {pipeline.id: pipeline.merge_request for pipeline in found}

    assert [numbers[one.id] for one in separated] == [0] * len(separated) != []
    assert all(number for pipeline, number in numbers.items() if pipeline not in {one.id for one in separated})


def is_requested(pipeline: Pipeline) -> bool:
    return pipeline.source == "merge_request_event"


def separate(fork: Project, target: Project) -> list[Pipeline]:
    """Let merge requests of a project be another one's, where their pipelines there triggered nothing; those pipelines."""
    requested = [one for one in fork.pipelines if is_requested(one) and not any(job.downstream for job in one.jobs)]
    for pipeline in requested:
        request = pipeline.merge_request
        assert request is not None
        pipeline.merge_request = replace(request, iid=request.iid + pipeline.id)
        pipeline.ref = request.source_branch
        target.merge_requests = (*target.merge_requests, pipeline.merge_request)
    return requested


def heard(world: World) -> Iterator[Delivery]:
    sender = Sender(world, SECRET)
    for told in announcements(world):
        sent = sender.request(Shipment(told.at, told))
        yield Delivery(sent.headers, sent.body, told.at)
