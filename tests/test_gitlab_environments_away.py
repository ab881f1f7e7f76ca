"""Projects whose environments may not be read: left alone and named, and no problem of the others."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.environments import Watched
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.options import ProjectOptions
from tests.gitlab_deployed import ROOT, World, deployment
from tests.gitlab_observed import Observer
from tests.gitlab_rest import NOW
from tests.gitlab_trapped import OPTIONS, made

pytestmark = pytest.mark.anyio
REMARK = "projects whose environments cannot be read, left alone until 14:14:20 UTC or later: acme/till (no)"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.mark.parametrize("kind", ["forbidden", "missing"])
@pytest.mark.parametrize("what", ["deployments", "environments"])
async def test_a_project_that_may_not_be_read_is_no_problem_of_the_others_but_a_remark(kind: str, what: str) -> None:
    world = World(deployment(5))
    world.watched.append(Watched(Project(8, "acme/till"), ProjectOptions(), NOW - 100, 0.0))
    world.gitlab.more |= {"/projects/8/deployments": [], f"/projects/8/{what}": CollectError(kind, "no")}
    found = await world.environments.collect(None)

    assert (found.problem, len(found.observations)) == ("", 1)
    assert world.environments.away.remark({8: "acme/till"}) == REMARK
    assert world.environments.errors == {("environments", kind): 1}


async def test_projects_that_may_not_be_read_are_no_problem_where_there_are_no_others() -> None:
    world = World()
    world.gitlab.more[f"{ROOT}/deployments"] = CollectError("forbidden", "no")

    assert (await world.environments.collect(None)).problem == ""
    assert "acme/shop (no)" in world.environments.away.remark({7: "acme/shop"})


async def test_an_error_of_the_instance_is_one_beside_projects_that_may_not_be_read() -> None:
    world = World()
    world.watched.append(Watched(Project(8, "acme/till"), ProjectOptions(), NOW - 100, 0.0))
    world.gitlab.more["/projects/8/deployments"] = CollectError("forbidden", "no")
    world.gitlab.more[f"{ROOT}/deployments"] = CollectError("status", "HTTP 502")

    with pytest.raises(CollectError, match="502"):
        await world.environments.collect(None)


async def test_a_project_that_may_not_be_read_is_asked_ever_more_rarely() -> None:
    world = World()
    world.gitlab.more[f"{ROOT}/deployments"] = CollectError("forbidden", "no")
    cursor, asked = None, []
    for _ in range(2 * 24 * 12):
        before = len(world.gitlab.asked)
        cursor = (await world.environments.collect(cursor)).cursor
        asked += [anyio.current_time()] if len(world.gitlab.asked) > before else []
        world.stir()
        await anyio.sleep(300)

    assert len(asked) < 20
    assert asked[-1] - asked[-2] >= 6 * 3600


@pytest.mark.parametrize("becomes", ["readable", "unwatched"])
async def test_a_project_that_can_be_read_again_or_is_read_no_more_is_named_no_more(becomes: str) -> None:
    world = World(deployment(5))
    listed = world.gitlab.more[f"{ROOT}/deployments"]
    world.gitlab.more[f"{ROOT}/deployments"] = CollectError("forbidden", "no")
    first = await world.environments.collect(None)
    world.gitlab.more[f"{ROOT}/deployments"] = listed
    world.watched = world.watched if becomes == "readable" else []
    await anyio.sleep(61)
    found = await world.environments.collect(first.cursor)

    assert world.environments.away.remark({}) == ""
    assert len(found.observations) == (becomes == "readable")


async def test_a_project_without_ci_is_named_and_logged_once_and_nothing_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    world = made(pipelines=2)
    [closed] = [project for project in world.projects if not project.builds_enabled]
    path = closed.path_at(world.start)
    keys = {"wildcards": [], "projects": [{"name": path}], "collectors": {"environments": {"enabled": True}}}
    observer = Observer(world, OPTIONS | keys)
    await observer.watch(world.start)
    remarks = observer.source.remarks()

    assert observer.problems == []
    assert remarks[0] == "1 project is read"
    assert [f": {path} (" in remark for remark in remarks if remark.startswith("projects whose environments")] == [True]
    assert caplog.text.count(f"projects whose environments cannot be read: {path} (") == 1
