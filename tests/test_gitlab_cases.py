"""Test cases: which pipelines' are read, counted and shown."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.model import Collected, Observation
from agent.sources.gitlab.cases import MAX_TRIES, Cases
from agent.sources.gitlab.families import families
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import ProjectOptions
from agent.sources.gitlab.reports import CaseReader
from tests.gitlab_rest import NOW, SHOP, GitLab, Json, options

pytestmark = pytest.mark.anyio
KEY = "gitlab:h:pipeline:1"
CASES: Json = {"test_suites": [{"name": "unit", "test_cases": [{"name": "adds", "status": "failed", "execution_time": 0.5}]}]}


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def pipeline(number: int = 1, status: str = "success", ref: str = "main", kind: str = "branch") -> Pipeline:
    return Pipeline(number, status, ref, kind, "push", NOW - 100, NOW)


class World:
    """Reports behind the API, and an engine that shows what it is told to."""

    def __init__(self, **keys: Any) -> None:
        self.gitlab = GitLab()
        self.gitlab.more["/projects/7/pipelines/1/test_report"] = CASES
        self.newest = {1}
        self.known = {7: (SHOP, ProjectOptions())}
        self.cases = Cases(CaseReader(self.gitlab, 4), "h", options(**keys), families(options(**keys)), self)

    def is_shown(self, project_id: int, pipeline: Pipeline) -> bool:
        return pipeline.id in self.newest

    async def take(self, *pipelines: Pipeline, counted: tuple[str, ...] = (KEY,)) -> list[Observation]:
        return await self.cases.take({SHOP: pipelines} if pipelines else {}, counted, self.known)

    def present(self) -> Collected:
        return self.cases.present(self.known, NOW)


def shown(found: Collected) -> list[tuple[tuple[str, ...], object]]:
    return [(update.labels, update.value) for update in found.updates]


async def test_the_cases_of_a_pipeline_that_counts_count_once_under_its_ref() -> None:
    [found] = await World().take(pipeline())

    assert (found.key, found.project) == (f"{KEY}:cases", "acme/shop")
    [increment] = found.increments
    assert (increment.labels, increment.value) == (("acme/shop", "main", "unit", "adds"), 0.5)


async def test_a_ref_without_a_name_of_its_own_has_its_class() -> None:
    [found] = await World().take(pipeline(ref="feature"))

    assert found.increments[0].labels[1] == "other"


@pytest.mark.parametrize(("status", "counted"), [("running", (KEY,)), ("success", ())])
async def test_what_does_not_count_is_not_asked_for(status: str, counted: tuple[str, ...]) -> None:
    world = World()

    assert await world.take(pipeline(status=status), counted=counted) == []
    assert world.gitlab.asked == []


async def test_a_pipeline_without_cases_counts_for_nothing() -> None:
    world = World()
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = {"test_suites": []}

    assert await world.take(pipeline()) == []


async def test_a_report_that_cannot_be_read_is_read_at_the_next_poll() -> None:
    world = World()
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = CollectError("status", "HTTP 502")
    first = await world.take(pipeline())
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = CASES
    second = await world.take()

    assert (first, [one.key for one in second]) == ([], [f"{KEY}:cases"])
    assert await world.take() == []


@pytest.mark.parametrize(("kind", "tries"), [("status", MAX_TRIES + 1), ("missing", 1), ("forbidden", 1)])
async def test_a_report_is_not_asked_for_forever(kind: str, tries: int) -> None:
    world = World()
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = CollectError(kind, "no")
    await world.take(pipeline())
    for _ in range(20):
        await world.take()

    assert len(world.gitlab.asked) == tries


async def test_the_newest_pipeline_of_a_ref_shows_its_cases() -> None:
    world = World()
    await world.take(pipeline())

    assert shown(world.present()) == [(("acme/shop", "main", "unit", "adds", "failed"), 1.0)]
    assert world.present().complete == ["cases:7"]


async def test_a_merge_requests_cases_are_shown_under_its_number_and_counted_under_its_class() -> None:
    world = World()
    request = pipeline(ref="refs/merge-requests/12/head", kind="merge_request")._replace(merge_request=12)
    [found] = await world.take(request)

    assert found.increments[0].labels[1] == "merge_request"
    assert shown(world.present())[0][0][1] == "!12"


async def test_a_pipeline_that_is_not_the_newest_any_more_is_not_shown() -> None:
    world = World()
    await world.take(pipeline())
    world.newest = {2}

    assert shown(world.present()) == []


async def test_a_pipeline_of_no_ref_that_is_shown_counts_all_the_same() -> None:
    world = World()
    world.newest = set()

    assert len(await world.take(pipeline())) == 1
    assert shown(world.present()) == []


async def test_a_renamed_project_shows_its_cases_under_its_new_name() -> None:
    world = World()
    await world.take(pipeline())
    world.known = {7: (Project(7, "acme/store", "main"), ProjectOptions())}

    assert shown(world.present())[0][0][0] == "acme/store"


async def test_a_project_that_is_read_no_more_shows_nothing() -> None:
    world = World()
    await world.take(pipeline())
    world.known = {}

    assert world.present() == Collected([], [])


async def test_by_class_only_the_default_branch_has_a_ref_of_its_own() -> None:
    world = World(labels={"ref": "class"})
    [found] = await world.take(pipeline())

    assert found.increments[0].labels[1] == "default"
