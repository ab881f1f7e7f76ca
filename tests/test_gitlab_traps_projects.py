"""What leads astray who looks for the projects of a GitLab: searches that are too short, and projects that are to be deleted."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from trio.testing import MockClock

from agent.plugin import Context
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.flat import TOKEN, URL
from agent.sim.gitlab.objects import Pipeline
from agent.sim.gitlab.places import Project, World
from agent.sim.inside import Inside
from agent.sources.gitlab.api import connect
from agent.sources.gitlab.discover import Discovery
from agent.sources.gitlab.options import Options, Owner, Wildcard
from tests.gitlab_observed import HOUR, Observer
from tests.gitlab_trapped import OPTIONS, end, ended, made, read, total

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
