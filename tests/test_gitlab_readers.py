"""Which API is asked: GraphQL until it is refused for good, then REST for a day."""

from __future__ import annotations

import pytest

from agent.errors import CollectError
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.readers import AGAIN_SECONDS, MAX_REFUSALS, Either
from tests.gitlab_sync import Clock

pytestmark = pytest.mark.anyio

SHOP = Project(1, "team/shop")


class Api:
    """Answers, or fails in one way."""

    def __init__(self, kind: str = "") -> None:
        self.kind = kind
        self.asked = 0

    together = 10

    async def changed(self, projects: object, after: int, before: int = 0) -> Found:
        self.asked += 1
        if self.kind:
            raise CollectError(self.kind, "no")
        return Found()


def either(graphql: Api, rest: Api, clock: Clock) -> Either:
    return Either("gitlab", graphql, rest, clock)  # type: ignore[arg-type]


async def test_graphql_is_asked_while_it_answers() -> None:
    graphql, rest = Api(), Api()

    await either(graphql, rest, Clock()).changed([SHOP], 0)

    assert (graphql.asked, rest.asked) == (1, 0)


async def test_where_there_is_no_graphql_rest_is_asked_for_a_day() -> None:
    graphql, rest, clock = Api("graphql"), Api(), Clock()
    reader = either(graphql, rest, clock)

    for _ in range(3):
        await reader.changed([SHOP], 0)
    clock.now += AGAIN_SECONDS + 1
    await reader.changed([SHOP], 0)

    assert (graphql.asked, rest.asked) == (2, 4)


async def test_graphql_that_has_worked_is_given_up_after_some_refusals_in_a_row() -> None:
    graphql, rest = Api(), Api()
    reader = either(graphql, rest, Clock())
    await reader.changed([SHOP], 0)
    graphql.kind = "graphql"

    for _ in range(MAX_REFUSALS - 1):
        with pytest.raises(CollectError):
            await reader.changed([SHOP], 0)
    await reader.changed([SHOP], 0)

    assert rest.asked == 1


@pytest.mark.parametrize("kind", ["timeout", "auth", "rate_limit"])
async def test_other_trouble_is_nobodys_reason_for_rest(kind: str) -> None:
    rest = Api()

    with pytest.raises(CollectError):
        await either(Api(kind), rest, Clock()).changed([SHOP], 0)

    assert rest.asked == 0


async def test_where_something_else_answers_from_the_beginning_rest_is_asked_in_the_end() -> None:
    graphql, rest = Api("json"), Api()
    reader = either(graphql, rest, Clock())

    for _ in range(MAX_REFUSALS - 1):
        with pytest.raises(CollectError):
            await reader.changed([SHOP], 0)
    await reader.changed([SHOP], 0)

    assert rest.asked == 1
