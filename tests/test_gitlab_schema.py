"""The schema of an instance: asked for once, again after a day, and after a query that it does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.api import GraphqlError, Result
from agent.sources.gitlab.schema import FRESH_SECONDS, Schemas
from tests.gitlab_api import Instance, client, clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_the_schema_is_asked_for_once_a_day() -> None:
    instance = Instance()
    schemas = Schemas(client(instance), clock)

    first = await schemas.current()
    await anyio.sleep(FRESH_SECONDS - 10)
    assert await schemas.current() is first
    assert len(instance.requests) == 1
    await anyio.sleep(20)
    await schemas.current()

    assert len(instance.requests) == 2


async def test_a_schema_that_did_not_fit_is_asked_for_anew() -> None:
    instance = Instance()
    schemas = Schemas(client(instance), clock)
    await schemas.current()

    schemas.forget()
    await schemas.current()

    assert len(instance.requests) == 2


async def test_what_is_there_is_told() -> None:
    found = await Schemas(client(Instance()), clock).current()

    assert {"id", "status", "warnings"} <= found.pipeline
    assert "failureMessage" in found.job
    assert found.statuses[:2] == ("CREATED", "PENDING")
    assert "jobKind" in found.arguments["jobs"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [("Timeout on __Schema.types", "timeout"), ("Internal server error", "status"), ("introspection is off", "graphql")],
)
async def test_an_answer_with_holes_says_why_and_nothing_of_what_there_is(message: str, kind: str) -> None:
    instance = Instance()
    torn = {"data": {"pipeline": None, "metadata": None}, "errors": [{"message": message, "path": ["pipeline"]}]}
    instance.script["/api/graphql"] = [httpx.Response(200, json=torn)]
    schemas = Schemas(client(instance), clock)

    with pytest.raises(CollectError) as caught:
        await schemas.current()

    assert caught.value.kind == kind
    assert (await schemas.current()).statuses


async def test_an_answer_with_one_hole_holds_for_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = Instance()
    asking = client(instance)
    ask, errors = asking.query, [(GraphqlError("Timeout on Query.metadata", ("metadata",)),)]

    async def query(text: str, variables: Mapping[str, object]) -> Result:
        return (await ask(text, variables))._replace(errors=errors.pop() if errors else ())

    monkeypatch.setattr(asking, "query", query)
    schemas = Schemas(asking, clock)
    for _ in range(3):
        await schemas.current()

    assert len(instance.requests) == 2
