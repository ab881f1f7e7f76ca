"""Answers that no GitLab gives: times and numbers beyond all bounds, lists without an end. They cost nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.asking import AHEAD_SECONDS, changes, pages
from agent.sources.gitlab.discover import Discovery
from agent.sources.gitlab.environments import Environments, Watched
from agent.sources.gitlab.families import families
from agent.sources.gitlab.options import ProjectOptions
from agent.sources.gitlab.parsed import percent, seconds
from tests.gitlab_rest import NOW, SHOP, Answer, GitLab, Json, clock, moment, options

pytestmark = pytest.mark.anyio
NEVER = "9999-12-31T23:59:59Z"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Endless:
    """The same page over and over, each naming another."""

    def __init__(self, *page: Json) -> None:
        self.page = list(page)
        self.asked = 0

    async def get(self, path: str, params: object = None, /) -> Answer:
        self.asked += 1
        return Answer(self.page, f"/things?page={self.asked + 1}", clock())


@pytest.mark.parametrize("found", ["2100-01-01T00:00:00Z", NEVER, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_never_is_no_time(found: str) -> None:
    assert seconds(found) is None


@pytest.mark.parametrize("found", [10**400, -(10**400), float("nan"), float("inf"), "9" * 400, "nan", "\ud800"])
def test_a_coverage_beyond_all_bounds_is_none(found: object) -> None:
    assert percent(found) is None


async def test_a_list_of_projects_without_an_end_is_told_and_what_it_names_is_read() -> None:
    api = Endless({"id": 1, "path_with_namespace": "acme/shop"})

    listed = await Discovery(api, options(wildcards=[{}]), clock).projects()

    assert ([*listed.projects], len(listed.problems), api.asked) == ([1], 1, 2)


@pytest.mark.parametrize("page", [[], [{"id": 1, "updated_at": moment(NOW)}]], ids=["empty", "the same"])
async def test_lists_without_an_end_are_given_up_after_a_few_pages(page: list[Json]) -> None:
    api = Endless(*page)

    with pytest.raises(CollectError, match="nothing new"):
        await pages(api, "/things", {})
    with pytest.raises(CollectError, match="nothing new"):
        await changes(api, "/things", {}, NOW)

    assert api.asked <= 7


async def test_a_time_that_is_far_ahead_ends_no_list_of_changes() -> None:
    gitlab = GitLab()
    rows = [{"id": number, "updated_at": moment(NOW + number)} for number in range(9)]
    rows[1]["updated_at"] = moment(NOW + 10 * 365 * 86400)
    gitlab.more["/things"] = lambda given: [row for row in rows if row["updated_at"] > given["updated_after"]]

    found, _ = await changes(gitlab, "/things", {"per_page": "3"}, NOW)

    assert Counter(row["id"] for row in found) == Counter(range(9))


def deployment(number: int, updated: float) -> Json:
    """One that succeeded."""
    return {"id": number, "status": "success", "sha": "c0ffee", "updated_at": moment(updated), "environment": {"name": "live"}}


class Deployments:
    """A project with deployments, and their collector."""

    def __init__(self) -> None:
        self.listed: list[Json] = []
        gitlab = GitLab()
        gitlab.more["/projects/7/deployments"] = self._since
        gitlab.more["/projects/7/environments"] = []
        configured = options(collectors={"environments": {"enabled": True}})
        watched = Watched(SHOP, ProjectOptions(), NOW - 100, NOW + 1e9)
        self.environments = Environments(gitlab, "gitlab.test", configured, families(configured), lambda: [watched], clock)

    def _since(self, given: Any) -> list[Json]:
        return [one for one in self.listed if one["updated_at"] > given.get("updated_after", "")]

    async def counted(self, cursor: object) -> tuple[set[int], object]:
        """Ids of deployments that one collect counts, and the cursor after that."""
        collected = await self.environments.collect(cursor)
        return {int(one.key.rpartition(":")[2]) for one in collected.observations}, collected.cursor


async def test_a_deployment_of_the_future_does_not_keep_later_ones_from_counting() -> None:
    world = Deployments()
    world.listed = [deployment(1, NOW - 50), deployment(2, NOW + 2 * AHEAD_SECONDS)]
    _, cursor = await world.counted(None)
    world.listed.insert(1, deployment(3, NOW))

    assert 3 in (await world.counted(cursor))[0]


async def test_a_mark_of_the_future_is_not_believed() -> None:
    world = Deployments()
    world.listed = [deployment(1, NOW - 50)]

    counted, _ = await world.counted(f'{{"v":1,"marks":{{"7":{NOW + 86400}}}}}')

    assert counted == {1}
