"""Test reports in summary: whatever comes of them, nothing is raised, and what is missing is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import anyio
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.objects import Pipeline, Project, Report, Totals
from agent.sources.gitlab.options import ProjectOptions
from agent.sources.gitlab.summaries import AT_ONCE, Summaries
from agent.sources.gitlab.waiting import ASKING_SECONDS

pytestmark = pytest.mark.anyio
NOW = 1_790_000_000
SHOP, TILL = Project(7, "acme/shop"), Project(8, "acme/till")
REPORT = Report(Totals(1.0, 3, 3, 0, 0, 0))


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def pipeline(number: int, status: str = "success") -> Pipeline:
    return Pipeline(number, status, "main", "branch", "push", NOW, NOW)


class Engine:
    """Wants what is in `wanted`, and with `is_one_ref` nothing that is older than what it was told."""

    def __init__(self) -> None:
        self.wanted = set(range(1, 1000))
        self.is_one_ref = False
        self.reported: dict[int, Report] = {}

    def wants_report(self, project_id: int, pipeline: Pipeline) -> bool:
        newest = max(self.reported, default=0) if self.is_one_ref else 0
        return pipeline.is_final and pipeline.id in self.wanted and pipeline.id >= newest

    def report(self, project_id: int, pipeline: Pipeline, report: Report) -> None:
        self.reported[pipeline.id] = report


class World:
    """A reader that answers with what `answers` has."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.answers: dict[int, Report | CollectError] = dict.fromkeys(range(1, 10), REPORT)
        self.failure: CollectError | None = None
        self.seconds = 0.0
        self.asked: list[list[int]] = []
        self.errors: Counter[tuple[str, str]] = Counter()
        self.known = {one.id: (one, ProjectOptions()) for one in (SHOP, TILL)}
        self.now = float(NOW)
        self.summaries = Summaries(self, self.engine, self.errors)  # type: ignore[arg-type]  # as far as they are asked

    async def reports(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Report | CollectError]:
        """As a reader."""
        numbers = [number for numbers in wanted.values() for number in numbers]
        self.asked.append(numbers)
        await anyio.sleep(self.seconds)
        if self.failure:
            raise self.failure
        return {number: self.answers[number] for number in numbers if number in self.answers}

    async def take(self, read: Mapping[Project, Sequence[Pipeline]]) -> list[list[int]]:
        """What was asked for by a poll, a minute after the one before."""
        self.now += 60
        self.asked = []
        await self.summaries.take(read, self.known, self.now)
        return self.asked


@pytest.fixture
def world() -> World:
    return World()


async def test_what_has_ended_and_is_wanted_is_asked_for_at_once_the_newest_first(world: World) -> None:
    world.engine.wanted.remove(3)
    asked = await world.take({SHOP: [pipeline(1), pipeline(2, "running"), pipeline(3)], TILL: [pipeline(4)]})

    assert asked == [[4, 1]]
    assert world.engine.reported == {1: REPORT, 4: REPORT}


async def test_of_many_of_one_ref_those_before_one_with_a_report_are_not_asked_for(world: World) -> None:
    world.engine.is_one_ref = True
    world.answers = {120: REPORT}
    asked = await world.take({SHOP: [pipeline(number) for number in range(1, 201)]})

    assert [number for numbers in asked for number in numbers] == list(range(200, 200 - 2 * AT_ONCE, -1))
    assert await world.take({}) == []


async def test_a_pipeline_without_a_report_is_not_asked_for_again(world: World) -> None:
    world.answers.clear()

    assert [await world.take({SHOP: [pipeline(1)]}), await world.take({})] == [[[1]], []]
    assert not world.errors


async def test_one_that_cannot_be_read_is_said_counted_and_asked_for_again(world: World) -> None:
    world.answers[1] = CollectError("status", "HTTP 500")
    await world.take({SHOP: [pipeline(1)], TILL: [pipeline(2)]})
    said = world.summaries.problems(world.known)
    world.answers[1] = REPORT

    assert await world.take({}) == [[1]]
    assert (said, world.summaries.problems(world.known)) == (["project acme/shop, test reports: HTTP 500"], [])
    assert world.errors == {("test_reports", "status"): 1}
    assert world.engine.reported.keys() == {1, 2}


async def test_one_that_is_wanted_no_more_is_not_asked_for_again(world: World) -> None:
    world.answers[1] = CollectError("status", "HTTP 500")
    await world.take({SHOP: [pipeline(1)]})
    world.engine.wanted.remove(1)

    assert await world.take({}) == []
    assert world.errors == {("test_reports", "status"): 1}


async def test_where_everything_is_refused_the_rest_is_not_asked_for(world: World) -> None:
    world.failure = CollectError("auth", "HTTP 401")

    asked = await world.take({SHOP: [pipeline(number) for number in range(1, 200)]})

    assert len(asked) == 1
    assert world.summaries.problems(world.known) == ["test reports: HTTP 401"]


async def test_a_poll_spends_so_long_on_them_and_the_next_goes_on(world: World) -> None:
    world.seconds = ASKING_SECONDS - 5
    first = await world.take({SHOP: [pipeline(number) for number in range(1, 200)]})
    second = await world.take({})

    assert sum(map(len, first)) == 100
    assert sum(map(len, second)) == 99
    assert not world.errors


async def test_an_answer_that_does_not_come_is_waited_for_so_long(world: World) -> None:
    world.seconds = 3600.0
    begun = anyio.current_time()

    await world.take({SHOP: [pipeline(1)]})

    assert anyio.current_time() - begun == ASKING_SECONDS
    assert world.errors == {("test_reports", "timeout"): 1}
