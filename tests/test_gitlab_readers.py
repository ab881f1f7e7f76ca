"""Which API is asked: GraphQL until it is refused again and again, then REST for a while."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.asking import moment_of
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.readers import MAX_REFUSALS, PAUSES, Either
from tests.gitlab_sync import Clock

pytestmark = pytest.mark.anyio

SHOP = Project(1, "team/shop")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Api:
    """Answers, or fails in one way."""

    def __init__(self, kind: str = "") -> None:
        self.kind = kind
        self.closed = ""
        """How questions for jobs fail."""
        self.refusals = 10**9
        """So many questions fail."""
        self.asked = 0

    together = 10

    async def jobs(self, wanted: object) -> dict[int, object]:
        self.asked += 1
        if self.closed:
            raise CollectError(self.closed, "no")
        return {}

    async def changed(self, projects: object, after: int, before: int = 0, among: int = 0) -> Found:
        self.asked += 1
        if self.kind and self.asked <= self.refusals:
            raise CollectError(self.kind, "no")
        return Found()


def either(graphql: Api, rest: Api, clock: Clock) -> Either:
    return Either("gitlab", graphql, rest, clock)  # type: ignore[arg-type]


async def test_graphql_is_asked_while_it_answers() -> None:
    graphql, rest = Api(), Api()

    await either(graphql, rest, Clock()).changed([SHOP], 0)

    assert (graphql.asked, rest.asked) == (1, 0)


async def asked(reader: Either, times: int) -> int:
    """How many of these questions failed."""
    failed = 0
    for _ in range(times):
        try:
            await reader.changed([SHOP], 0)
        except CollectError:
            failed += 1
    return failed


KINDS = pytest.mark.parametrize("kind", ["graphql", "json"])


@KINDS
async def test_where_graphql_has_never_answered_it_is_asked_some_times_then_rest_in_the_same_poll(kind: str) -> None:
    graphql, rest = Api(kind), Api()

    assert await asked(either(graphql, rest, Clock()), 1) == 0
    assert (graphql.asked, rest.asked) == (MAX_REFUSALS, 1)


@KINDS
async def test_one_odd_answer_at_the_beginning_is_no_reason_for_rest(kind: str) -> None:
    graphql, rest = Api(kind), Api()
    graphql.refusals = MAX_REFUSALS - 1

    assert await asked(either(graphql, rest, Clock()), 3) == 0
    assert rest.asked == 0


@KINDS
async def test_where_graphql_has_answered_polls_fail_until_it_has_refused_some_times_in_a_row(kind: str) -> None:
    graphql, rest = Api(), Api()
    reader = either(graphql, rest, Clock())
    for _ in range(2):
        graphql.kind = ""
        assert await asked(reader, 1) == 0
        graphql.kind = kind
        assert await asked(reader, MAX_REFUSALS - 1) == MAX_REFUSALS - 1

    assert (rest.asked, reader.remark) == (0, "")
    assert await asked(reader, 3) == 0
    assert rest.asked == 3


async def test_a_question_that_is_refused_counts_though_others_are_answered() -> None:
    graphql, rest = Api(), Api()
    graphql.closed = "graphql"
    reader = either(graphql, rest, Clock())
    await reader.changed([SHOP], 0)

    for _ in range(MAX_REFUSALS - 1):
        with pytest.raises(CollectError, match="REST"):
            await reader.jobs({})
        await reader.changed([SHOP], 0)
    await reader.jobs({})

    assert rest.asked == 1


async def test_graphql_is_tried_again_after_minutes_then_after_hours_and_a_day() -> None:
    graphql, rest, clock = Api("graphql"), Api(), Clock()
    reader = either(graphql, rest, clock)
    await asked(reader, 1)
    tried = []
    for pause in (*PAUSES, PAUSES[-1]):
        before = graphql.asked
        clock.now += pause - 1
        await asked(reader, 2)
        clock.now += 2
        await asked(reader, 2)
        tried.append(graphql.asked - before)

    assert tried == [1, 1, 1, 1]


async def test_after_graphql_has_answered_again_it_is_given_as_much_patience_as_before() -> None:
    graphql, rest, clock = Api("graphql"), Api(), Clock()
    reader = either(graphql, rest, clock)
    await asked(reader, 1)
    clock.now += PAUSES[0] + 1
    graphql.kind = ""
    await asked(reader, 1)
    graphql.kind = "graphql"

    assert await asked(reader, MAX_REFUSALS) == MAX_REFUSALS - 1


async def test_while_rest_is_asked_a_remark_says_until_when_and_why() -> None:
    clock = Clock()
    reader = either(Api("graphql"), Api(), clock)
    await asked(reader, 1)

    assert reader.remark.endswith(f"until {moment_of(int(clock.now + PAUSES[0]))}: no")
    clock.now += PAUSES[0] + 1
    assert reader.remark == ""


@pytest.mark.parametrize("kind", ["timeout", "auth", "rate_limit"])
async def test_other_trouble_is_nobodys_reason_for_rest(kind: str) -> None:
    rest = Api()

    assert await asked(either(Api(kind), rest, Clock()), 2 * MAX_REFUSALS) == 2 * MAX_REFUSALS
    assert rest.asked == 0
