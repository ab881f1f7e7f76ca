"""Pipelines that have not ended, by the REST API: of a project with many there is a list for each status."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.rest import RestReader
from tests.gitlab_rest import SHOP, GitLab, Run, options

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_a_status_that_this_version_does_not_know_is_not_asked_for_again() -> None:
    gitlab = GitLab(Run(1, status="pending"), *(Run(number) for number in range(2, 40)))
    ask = gitlab.get
    refused = []

    async def get(path: str, params: dict[str, str] = {}) -> object:  # noqa: B006
        if params.get("status") == "canceling":
            refused.append(path)
            raise CollectError("request", "400 status does not have a valid value")
        return await ask(path, params)

    gitlab.get = get  # type: ignore[assignment,method-assign]
    reader = RestReader(gitlab, options(rest_page_size=10))
    found = [(await reader.unfinished([SHOP])).pipelines[7] for _ in range(2)]

    assert [[pipeline.id for pipeline in each] for each in found] == [[1], [1]]
    assert len(refused) == 1


async def test_a_status_whose_list_fails_is_asked_for_again_and_the_project_with_it() -> None:
    gitlab = GitLab(Run(1, status="running"), *(Run(number) for number in range(2, 40)))
    ask, broken = gitlab.get, [CollectError("status", "HTTP 502")]

    async def get(path: str, params: dict[str, str] = {}) -> object:  # noqa: B006
        if params.get("status") == "running" and broken:
            raise broken.pop()
        return await ask(path, params)

    gitlab.get = get  # type: ignore[assignment,method-assign]
    reader = RestReader(gitlab, options(rest_page_size=10))
    first, second = [await reader.unfinished([SHOP]) for _ in range(2)]

    assert list(first.failed) == [SHOP.id]
    assert [pipeline.id for pipeline in second.pipelines[SHOP.id]] == [1]
