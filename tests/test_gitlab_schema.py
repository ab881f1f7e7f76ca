"""The schema of an instance: asked for once, again after a day, and after a query that it does not fit."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

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
