"""Deployments that are counted, and environments that are shown."""

from __future__ import annotations

from datetime import datetime

import anyio
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.model import Collected
from agent.sources.gitlab.environments import BELIEVED_SECONDS, Watched
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.options import ProjectOptions
from tests.gitlab_deployed import ROOT, World, deployment
from tests.gitlab_rest import NOW, moment

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def counted(found: Collected) -> dict[str, list[tuple[str, tuple[str, ...], float]]]:
    """What each observation adds, by its key."""
    return {one.key: [(each.family.name, each.labels, each.value) for each in one.increments] for one in found.observations}


def shown(found: Collected) -> dict[tuple[str, tuple[str, ...]], object]:
    """Gauges by name and labels."""
    return {(update.family.name, update.labels): update.value for update in found.updates}


async def test_a_deployment_that_ended_is_counted_with_the_time_of_its_job() -> None:
    labels = ("acme/shop", "production")
    found = counted(await World(deployment(5)).environments.collect(None))

    assert found == {
        "gitlab:gitlab.test:deployment:5": [
            ("environment_deployment_count", labels, 1),
            ("environment_deployments_by_status_total", (*labels, "success"), 1),
            ("environment_deployment_duration_seconds", labels, 40),
        ]
    }


async def test_a_deployment_through_the_api_counts_without_a_duration() -> None:
    [found] = counted(await World(deployment(5, deployable=None)).environments.collect(None)).values()

    assert [name for name, _, _ in found] == ["environment_deployment_count", "environment_deployments_by_status_total"]


@pytest.mark.parametrize("status", ["created", "running", "blocked"])
async def test_what_has_not_ended_is_not_counted(status: str) -> None:
    assert counted(await World(deployment(5, status)).environments.collect(None)) == {}


async def test_what_had_ended_before_the_project_was_read_is_not_counted() -> None:
    world = World(deployment(5, updated=NOW - 51), deployment(6, updated=NOW - 50), since=NOW - 50)

    assert list(counted(await world.environments.collect(None))) == ["gitlab:gitlab.test:deployment:6"]


async def test_a_change_of_what_had_ended_before_is_not_an_end() -> None:
    world = World(since=NOW - 50)
    early = deployment(5, updated=NOW - 90)
    world.deployments.append(early | {"updated_at": moment(NOW - 10)})

    assert counted(await world.environments.collect(None)) == {}


async def test_a_later_collect_asks_for_what_is_new_and_a_little_more() -> None:
    world = World(deployment(5, updated=NOW - 10))
    first = await world.environments.collect(None)
    world.stir()
    world.gitlab.asked.clear()
    await world.environments.collect(first.cursor)

    asked = world.gitlab.asked[0][1]
    assert datetime.fromisoformat(asked["updated_after"]).timestamp() == NOW - 10 - 180 - 1
    assert (asked["order_by"], asked["sort"]) == ("updated_at", "asc")


async def test_a_restart_goes_on_where_the_cursor_says() -> None:
    world = World(deployment(5, updated=NOW - 10), since=NOW - 9000)
    cursor = (await world.environments.collect(None)).cursor
    world.gitlab.asked.clear()
    await world.anew().collect(cursor)

    assert datetime.fromisoformat(world.gitlab.asked[0][1]["updated_after"]).timestamp() == NOW - 191


async def test_what_was_not_committed_is_brought_again() -> None:
    world = World(deployment(5))
    first = await world.environments.collect(None)

    assert counted(await world.environments.collect(None)) == counted(first) != {}


async def test_an_idle_project_is_left_alone_for_an_hour() -> None:
    world = World(deployment(5))
    cursor = (await world.environments.collect(None)).cursor
    world.gitlab.asked.clear()
    await anyio.sleep(300)
    cursor = (await world.environments.collect(cursor)).cursor
    assert world.gitlab.asked == []
    await anyio.sleep(3400)
    await world.environments.collect(cursor)

    assert world.gitlab.count("/deployments") == 1


async def test_a_project_in_which_something_happens_is_asked_once_more_afterwards() -> None:
    world = World(deployment(5))
    cursor = (await world.environments.collect(None)).cursor
    world.stir()
    await anyio.sleep(10)
    asked = []
    for _ in range(4):
        world.gitlab.asked.clear()
        cursor = (await world.environments.collect(cursor)).cursor
        asked.append(world.gitlab.count("/deployments"))
        await anyio.sleep(300)

    assert asked == [1, 1, 0, 0]


async def test_a_project_without_environments_takes_one_request() -> None:
    world = World()
    world.gitlab.more[f"{ROOT}/environments"] = []
    cursor = (await world.environments.collect(None)).cursor
    world.stir()
    world.gitlab.asked.clear()
    await world.environments.collect(cursor)

    assert [path for path, _ in world.gitlab.asked] == [f"{ROOT}/deployments"]


async def test_an_environment_shows_its_newest_deployment_and_when_the_last_good_one_ended() -> None:
    world = World(deployment(5, updated=NOW - 9000), deployment(6, "failed", updated=NOW - 8000))
    found = shown(await world.environments.collect(None))

    assert found["environment_deployment_status", ("acme/shop", "production", "failed")] == 1
    assert found["environment_last_deployment_timestamp_seconds", ("acme/shop", "production")] == NOW - 9000


async def test_every_status_is_shown_where_that_is_wanted() -> None:
    world = World(deployment(5))
    world.watched = [world.watched[0]._replace(rules=ProjectOptions(output_sparse_status_metrics=False))]
    found = shown(await world.environments.collect(None))

    statuses = {labels[2]: value for (name, labels), value in found.items() if name == "environment_deployment_status"}
    assert {word for word, value in statuses.items() if value} == {"success"}
    assert set(statuses) > {"created", "running", "failed", "canceled", "skipped", "blocked"}


async def test_an_environment_says_how_far_it_is_behind_the_default_branch() -> None:
    world = World(deployment(5))
    world.commits = [{"committed_date": moment(NOW - 4000)}, {"committed_date": moment(NOW - 3000)}]
    found = shown(await world.environments.collect(None))

    assert found["environment_behind_commits", ("acme/shop", "production")] == 2
    assert found["environment_behind_duration_seconds", ("acme/shop", "production")] == 2000
    assert world.gitlab.asked[-1] == (f"{ROOT}/repository/compare", {"from": "c0ffee", "to": "main"})


async def test_an_environment_with_the_newest_commit_is_not_behind() -> None:
    found = shown(await World(deployment(5)).environments.collect(None))

    assert found["environment_behind_commits", ("acme/shop", "production")] == 0
    assert found["environment_behind_duration_seconds", ("acme/shop", "production")] == 0


async def test_the_age_of_what_was_deployed_through_the_api_is_asked_for() -> None:
    world = World(deployment(5, deployable=None))
    world.commits = [{"committed_date": moment(NOW - 3000)}]
    world.gitlab.more[f"{ROOT}/repository/commits/c0ffee"] = {"committed_date": moment(NOW - 3500)}
    found = shown(await world.environments.collect(None))

    assert found["environment_behind_duration_seconds", ("acme/shop", "production")] == 500


async def test_an_environment_that_cannot_be_compared_is_shown_without() -> None:
    world = World(deployment(5))
    world.gitlab.more[f"{ROOT}/repository/compare"] = CollectError("missing", "404 Not found")
    found = await world.environments.collect(None)

    assert ("environment_behind_commits", ("acme/shop", "production")) not in shown(found)
    assert len(found.observations) == 1


@pytest.mark.parametrize(("excludes", "asked"), [(True, "available"), (False, None)])
async def test_stopped_environments_are_asked_for_as_configured(excludes: bool, asked: str | None) -> None:
    world = World(deployment(5), exclude_stopped=excludes)
    await world.environments.collect(None)

    assert [given.get("states") for path, given in world.gitlab.asked if path.endswith("/environments")] == [asked]


async def test_an_environment_that_is_gone_is_shown_no_more() -> None:
    world = World(deployment(5))
    first = await world.environments.collect(None)
    world.gitlab.more[f"{ROOT}/environments"] = []
    world.stir()
    second = await world.environments.collect(first.cursor)

    assert (len(first.updates), len(second.updates)) == (4, 0)
    assert second.complete == ["environments:7"]


async def test_a_malformed_deployment_is_lost_alone_and_counted() -> None:
    world = World(deployment(5), deployment(6, environment=None))
    found = await world.environments.collect(None)

    assert list(counted(found)) == ["gitlab:gitlab.test:deployment:5"]
    assert world.environments.malformed["deployment"] >= 1


async def test_a_token_that_is_refused_is_an_error() -> None:
    world = World()
    world.gitlab.more[f"{ROOT}/deployments"] = CollectError("auth", "401 Unauthorized")

    with pytest.raises(CollectError, match="401"):
        await world.environments.collect(None)


async def test_a_collect_that_runs_out_of_time_goes_on_at_once_where_it_ended() -> None:
    world = World(deployment(5))
    others = [Project(number, f"acme/p{number}") for number in range(100, 400)]
    world.watched += [Watched(other, ProjectOptions(), NOW - 100, 0.0) for other in others]
    for other in others:
        world.gitlab.more |= {f"/projects/{other.id}/deployments": [], f"/projects/{other.id}/environments": []}
    cursor, rounds = None, 0
    while True:
        with anyio.fail_after(5):
            found = await world.environments.collect(cursor)
        cursor, rounds = found.cursor, rounds + 1
        if not found.again:
            break

    assert rounds > 1
    assert world.gitlab.count("/environments") == 301


@pytest.mark.parametrize("cursor", ["", "{", "[]", '{"v":2}', '{"v":1,"marks":{"7":-5}}', '{"v":1,"marks":[]}'])
async def test_a_cursor_that_cannot_be_read_begins_anew_and_says_so(cursor: str) -> None:
    found = await World(deployment(5)).environments.collect(cursor)

    assert len(found.observations) == 1
    assert "cannot be made out" in found.problem


async def test_a_project_that_is_read_no_more_is_forgotten() -> None:
    world = World(deployment(5))
    first = await world.environments.collect(None)
    world.watched = []

    assert (await world.environments.collect(first.cursor)).cursor == '{"v":1,"marks":{}}'


@pytest.mark.parametrize("kind", ["forbidden", "status"])
async def test_environments_that_cannot_be_read_any_more_end_and_come_back(kind: str) -> None:
    world = World(deployment(5))
    place = f"{ROOT}/deployments"
    listed, cursor = world.gitlab.more[place], (await world.environments.collect(None)).cursor
    world.gitlab.more[place] = CollectError(kind, "no")
    shown_at = []
    for minutes in range(5, 300, 5):
        await anyio.sleep(300)
        found = await world.environments.collect(cursor)
        assert found.complete == ["environments:7"]
        shown_at += [60 * minutes] if found.updates else []
    assert max(shown_at) <= BELIEVED_SECONDS < max(shown_at) + 600
    assert found.problem == ("project acme/shop: no" if kind == "status" else "")
    world.gitlab.more[place] = listed
    await anyio.sleep(6 * 3600)

    assert len((await world.environments.collect(cursor)).updates) == 4


async def test_the_environments_of_a_project_that_is_read_no_more_end() -> None:
    world = World(deployment(5))
    first = await world.environments.collect(None)
    world.watched = []

    second = await world.environments.collect(first.cursor)
    third = await world.environments.collect(second.cursor)

    assert (second.complete, second.updates, third.complete) == (["environments:7"], [], [])
