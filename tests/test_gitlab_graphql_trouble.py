"""Answers of GraphQL that are torn, wrong or late: what they do tell is kept, what they do not is asked again or said."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from agent.sources.gitlab.graphql import GraphqlReader
from tests.gitlab_api import NOW, Instance, Json, known, moment, pipeline, project, reader

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def asking(instance: Instance) -> GraphqlReader:
    """A reader that knows the schema already."""
    found = reader(instance)
    await found.changed([known(1)], NOW)
    instance.requests.clear()
    return found


def answered(instance: Instance, nodes: list[Any], *errors: Json) -> None:
    """Let the next answer hold these projects and errors."""
    body: Json = {"data": {"projects": {"nodes": nodes}}, "errors": list(errors)}
    instance.script["/api/graphql"] = [httpx.Response(200, json=body)]


def shown(number: int, *pipelines: Json | None) -> Json:
    """A project in an answer."""
    empty: Json = {"nodes": [], "pageInfo": {"hasNextPage": False}}
    page = {**empty, "nodes": [one and {key: value for key, value in one.items() if key != "jobs"} for one in pipelines]}
    return {"id": f"gid://gitlab/Project/{number}", "fullPath": f"acme/shop-{number}", "changed": page, "changed_children": empty}


async def test_projects_that_nobody_asked_for_or_that_are_none_harm_no_other() -> None:
    instance = Instance(project(1))
    asks = await asking(instance)
    answered(instance, [None, {"id": "seven"}, 5, shown(99, pipeline(9)), shown(1, pipeline(7)), shown(1, pipeline(8))])

    found = await asks.changed([known(1), known(2)], NOW - 60)

    assert {number: [one.id for one in some] for number, some in found.pipelines.items()} == {1: [7]}
    assert (list(found.failed), asks.malformed["project"]) == ([2], 3)


async def test_a_name_that_is_none_is_not_taken() -> None:
    instance = Instance(project(1))
    asks = await asking(instance)
    answered(instance, [{**shown(1, pipeline(7)), "fullPath": 5}])

    found = await asks.changed([known(1)], NOW - 60)

    assert (found.paths, list(found.pipelines)) == ({1: "acme/shop-1"}, [1])


async def test_a_pipeline_that_is_missing_without_a_word_is_counted() -> None:
    instance = Instance(project(1))
    asks = await asking(instance)
    answered(instance, [shown(1, pipeline(7), None)])

    found = await asks.changed([known(1)], NOW - 60)

    assert ([one.id for one in found.pipelines[1]], asks.malformed["pipeline"]) == ([7], 1)


async def test_a_pipeline_that_an_error_took_the_place_of_fails_its_project() -> None:
    instance = Instance(project(1), project(2))
    asks = await asking(instance)
    path = ["projects", "nodes", 0, "changed", "nodes", 1, "status"]
    answered(instance, [shown(1, pipeline(7), None), shown(2, pipeline(8))], {"message": "oh no", "path": path})

    found = await asks.changed([known(1), known(2)], NOW - 60)

    assert list(found.pipelines) == [2]
    assert "oh no" in str(found.failed[1])


async def test_an_error_about_one_thing_does_not_cost_what_stands_beside_it() -> None:
    instance = Instance(project(1))
    asks = await asking(instance)
    path = ["projects", "nodes", 0, "changed", "nodes", 0, "mergeRequest"]
    answered(instance, [shown(1, pipeline(7, mergeRequest=None))], {"message": "no right", "path": path})

    found = await asks.changed([known(1)], NOW - 60)

    assert ([one.id for one in found.pipelines[1]], found.failed) == ([7], {})


async def test_a_project_that_takes_too_long_among_others_is_asked_again() -> None:
    instance = Instance(*(project(number, [pipeline(number)]) for number in range(1, 5)))
    asks = await asking(instance)
    instance.broken["gid://gitlab/Project/3", "pipelines"] = "Timeout on Project.pipelines"

    def answer(data: Json) -> float:
        instance.broken.clear()
        return 0.1

    instance.seconds = answer

    found = await asks.changed([known(number) for number in range(1, 5)], NOW - 60)

    assert (sorted(found.pipelines), found.failed) == ([1, 2, 3, 4], {})
    variables = [json.loads(request.content)["variables"] for request in instance.requests]
    assert [one["ids"][0].rpartition("/")[2] for one in variables] == ["1", "3"]
    assert [one["n"] for one in variables] == [4, 1]


async def test_a_project_that_may_not_be_read_is_not_asked_again() -> None:
    instance = Instance(*(project(number, [pipeline(number)]) for number in range(1, 5)))
    asks = await asking(instance)
    instance.broken["gid://gitlab/Project/3", "pipelines"] = "no such permission"

    found = await asks.changed([known(number) for number in range(1, 5)], NOW - 60)

    assert (sorted(found.pipelines), list(found.failed), len(instance.requests)) == ([1, 2, 4], [3], 1)


async def test_only_what_changed_is_asked_for() -> None:
    instance = Instance(project(1))
    asks = await asking(instance)

    await asks.changed([known(1)], NOW - 60)

    sent = json.loads(instance.requests[0].content)["variables"]
    assert sent == {"ids": ["gid://gitlab/Project/1"], "n": 1, "t": moment(NOW - 61)}


@pytest.mark.parametrize(
    "data", [{}, {"projects": None}, {"projects": []}, {"projects": {"nodes": None}}, {"projects": {"nodes": {}}}]
)
async def test_an_answer_without_projects_fails_those_asked_for(data: Json) -> None:
    instance = Instance(project(1))
    asks = await asking(instance)
    instance.script["/api/graphql"] = [httpx.Response(200, json={"data": data, "errors": [{"message": "x"}]})]

    found = await asks.changed([known(1)], NOW - 60)

    assert (list(found.pipelines), found.failed[1].kind) == ([], "status")


async def test_a_list_of_which_pages_do_not_end_is_given_up() -> None:
    instance = Instance(project(1))
    asks = await asking(instance)
    endless = {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "again"}}
    body = {"data": {"projects": {"nodes": [{**shown(1), "changed": endless}]}}}
    instance.script["/api/graphql"] = [httpx.Response(200, json=body) for _ in range(500)]

    found = await asks.changed([known(1)], NOW - 60)

    assert (found.failed[1].kind, len(instance.requests)) == ("size", 100)
