"""Pipelines by GraphQL: lists of a hundred projects, what fails of them, and single pipelines."""

from __future__ import annotations

import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.objects import Upstream
from tests.gitlab_api import NEW_FIELDS, NOW, SDL, Instance, Json, child, known, pipeline, project, reader

pytestmark = pytest.mark.anyio

GRAPHQL = "/api/graphql"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_what_changed_in_a_hundred_projects_takes_one_request() -> None:
    instance = Instance(*(project(number, [pipeline(number * 10)]) for number in range(1, 101)))

    found = await reader(instance).changed([known(number) for number in range(1, 101)], NOW - 60)

    assert {number: [one.id for one in pipelines] for number, pipelines in found.pipelines.items()} == {
        number: [number * 10] for number in range(1, 101)
    }
    assert len(instance.requests) == 2  # and the schema


async def test_a_pipeline_is_read_whole() -> None:
    about: Json = {
        "ref": "refs/merge-requests/12/head",
        "refPath": "refs/heads/feature",
        "source": "merge_request_event",
        "warnings": True,
        "coverage": 81.25,
        "mergeRequest": {"state": "opened"},
        "upstream": {
            "id": "gid://gitlab/Ci::Pipeline/5",
            "ref": "v1",
            "refPath": "refs/tags/v1",
            "project": {"fullPath": "acme/base"},
        },
        "sourceJob": {"name": "go on"},
    }
    instance = Instance(project(1, [pipeline(7, NOW, **about)]))

    found = (await reader(instance).changed([known(1)], NOW - 60)).pipelines[1][0]

    assert (found.id, found.status, found.ref, found.kind, found.source) == (
        7,
        "success_with_warnings",
        "refs/merge-requests/12/head",
        "merge_request",
        "merge_request_event",
    )
    assert (found.created, found.updated, found.started, found.finished) == (NOW - 70, NOW, NOW - 60, NOW)
    assert (found.duration, found.queued, found.coverage) == (60, 9, 81.25)
    assert (found.merge_request, found.merge_request_state) == (12, "opened")
    assert found.upstream == Upstream("acme/base", "v1", "go on", "tag", 5)


async def test_child_pipelines_are_found_with_what_triggered_them() -> None:
    instance = Instance(project(1, [pipeline(7), child(8)]))

    found = (await reader(instance).changed([known(1)], NOW - 60)).pipelines[1]

    assert [(one.id, one.source, one.upstream) for one in found] == [
        (7, "push", None),
        (8, "parent_pipeline", Upstream("acme/shop-1", "main", "trigger it", "branch", 7)),
    ]


async def test_child_pipelines_are_left_out_where_nobody_wants_them() -> None:
    instance = Instance(project(1, [pipeline(7), child(8)]))
    asking = reader(instance, collectors={"pipelines": {"include_child_pipelines": False}})

    found = (await asking.changed([known(1)], NOW - 60)).pipelines[1]

    assert [one.id for one in found] == [7]


async def test_a_tag_is_told_from_a_branch_of_the_same_name() -> None:
    instance = Instance(
        project(1, [pipeline(7, ref="v1", refPath="refs/tags/v1"), pipeline(8, ref="v1", refPath="refs/heads/v1")])
    )

    found = (await reader(instance).changed([known(1)], NOW - 60)).pipelines[1]

    assert {one.id: one.kind for one in found} == {7: "tag", 8: "branch"}


async def test_what_was_updated_in_the_very_second_is_found_and_what_before_is_not() -> None:
    instance = Instance(project(1, [pipeline(7, NOW - 61), pipeline(8, NOW - 60)]))

    found = (await reader(instance).changed([known(1)], NOW - 60)).pipelines[1]

    assert [one.id for one in found] == [8]


async def test_a_renamed_project_is_found_under_its_new_name() -> None:
    instance = Instance(project(1, path="acme/store"))

    found = await reader(instance).changed([known(1)], NOW - 60)

    assert (found.paths, found.pipelines) == ({1: "acme/store"}, {1: []})


async def test_a_project_that_is_gone_fails_alone() -> None:
    instance = Instance(project(1, [pipeline(7)]))

    found = await reader(instance).changed([known(1), known(2)], NOW - 60)

    assert list(found.pipelines) == [1]
    assert {number: error.kind for number, error in found.failed.items()} == {2: "missing"}


async def test_a_project_without_rights_fails_alone() -> None:
    instance = Instance(project(1, [pipeline(7)]), {**project(2), "pipelines": []})
    instance.broken["gid://gitlab/Project/2", "pipelines"] = "no such permission"

    found = await reader(instance).changed([known(1), known(2)], NOW - 60)

    assert list(found.pipelines) == [1]
    assert "no such permission" in str(found.failed[2])


async def test_all_pages_of_a_busy_project_are_read() -> None:
    instance = Instance(project(1, [pipeline(number) for number in range(1, 251)]), project(2, [pipeline(999)]))

    found = await reader(instance).changed([known(1), known(2)], NOW - 60)

    assert sorted(one.id for one in found.pipelines[1]) == list(range(1, 251))
    assert [one.id for one in found.pipelines[2]] == [999]


async def test_a_page_that_fails_fails_its_project_and_no_other() -> None:
    instance = Instance(project(1, [pipeline(number) for number in range(1, 151)]), project(2, [pipeline(999)]))
    asking = reader(instance)
    await asking.changed([known(2)], NOW - 60)
    seconds = iter([0.1, 31.0])
    instance.most_seconds = 29.0
    instance.seconds = lambda data: next(seconds)

    found = await asking.changed([known(1), known(2)], NOW - 60)

    assert list(found.pipelines) == [2]
    assert found.failed[1].kind == "status"


async def test_a_pipeline_that_is_none_is_left_out_and_counted() -> None:
    instance = Instance(project(1, [pipeline(7), pipeline(8, createdAt="long ago")]))
    asking = reader(instance)

    found = await asking.changed([known(1)], NOW - 60)

    assert [one.id for one in found.pipelines[1]] == [7]
    assert asking.malformed == {"pipeline": 1}


async def test_the_date_is_the_servers_own() -> None:
    instance = Instance(project(1))
    instance.headers = {"date": "Mon, 21 Sep 2026 13:00:00 GMT"}

    found = await reader(instance).changed([known(1)], NOW - 60)

    assert found.date == 1_789_995_600


async def test_what_takes_too_long_is_asked_in_smaller_pieces_and_that_is_remembered() -> None:
    instance = Instance(*(project(number, [pipeline(number)]) for number in range(1, 101)))
    instance.seconds = lambda data: 0.4 * len(data["projects"]["nodes"]) if "projects" in data else 0.1
    instance.most_seconds = 29.0
    asking = reader(instance)

    first = await asking.changed([known(number) for number in range(1, 101)], NOW - 60)
    before = len(instance.requests)
    second = await asking.changed([known(number) for number in range(1, 101)], NOW - 60)

    assert len(first.pipelines) == len(second.pipelines) == 100
    assert (before, len(instance.requests) - before) == (4, 2)


async def test_a_project_that_takes_too_long_even_alone_fails_alone() -> None:
    instance = Instance(*(project(number, [pipeline(number)]) for number in range(1, 9)))
    instance.broken["gid://gitlab/Project/5", "pipelines"] = "Timeout on Project.pipelines"

    found = await reader(instance).changed([known(number) for number in range(1, 9)], NOW - 60)

    assert sorted(found.pipelines) == [1, 2, 3, 4, 6, 7, 8]
    assert found.failed[5].kind == "timeout"


async def test_an_instance_that_bears_nothing_is_left_alone_soon() -> None:
    instance = Instance(*(project(number) for number in range(1, 1001)))
    asking = reader(instance)
    await asking.changed([known(1)], NOW)
    instance.most_seconds, instance.seconds = 29.0, lambda data: 31.0

    with pytest.raises(CollectError, match="HTTP 502") as caught:
        await asking.changed([known(number) for number in range(1, 1001)], NOW - 60)

    assert caught.value.kind == "status"
    assert len(instance.requests) < 40


async def test_too_complex_a_query_is_asked_for_fewer_projects() -> None:
    instance = Instance(*(project(number, [pipeline(number)]) for number in range(1, 41)))
    instance.most_cost = 120

    found = await reader(instance).changed([known(number) for number in range(1, 41)], NOW - 60)

    assert len(found.pipelines) == 40


@pytest.mark.parametrize("status", [403, 404])
async def test_where_there_is_no_graphql_that_is_said(status: int) -> None:
    instance = Instance(project(1))
    instance.script[GRAPHQL] = [httpx.Response(status)]

    with pytest.raises(CollectError, match=f"not to be had here: HTTP {status}") as caught:
        await reader(instance).changed([known(1)], NOW - 60)

    assert caught.value.kind == "graphql"


async def test_a_token_that_is_refused_is_no_reason_to_ask_by_rest() -> None:
    instance = Instance(project(1))
    instance.script[GRAPHQL] = [httpx.Response(401, json={"errors": [{"message": "Invalid token"}]})]

    with pytest.raises(CollectError) as caught:
        await reader(instance).changed([known(1)], NOW - 60)

    assert caught.value.kind == "auth"


async def test_an_internal_error_is_no_reason_to_ask_by_rest() -> None:
    instance = Instance(project(1))
    asking = reader(instance)
    await asking.changed([known(1)], NOW)
    instance.script[GRAPHQL] = [httpx.Response(200, json={"errors": [{"message": "Internal server error"}]})]

    found = await asking.changed([known(1)], NOW - 60)

    assert found.failed[1].kind == "status"


def _older(sdl: str) -> str:
    for field in NEW_FIELDS:
        assert field in sdl
        sdl = sdl.replace(field, "\n")
    return sdl


async def test_version_16_3_is_asked_for_what_it_has() -> None:
    instance = Instance(project(1, [pipeline(7, ref="refs/merge-requests/3/head"), child(8)]), sdl=_older(SDL))

    found = (await reader(instance).changed([known(1)], NOW - 60)).pipelines[1]

    assert [(one.id, one.source, one.kind, one.merge_request) for one in found] == [
        (7, "", "merge_request", 3),
        (8, "parent_pipeline", "branch", 0),
    ]


async def test_a_field_that_vanishes_is_noticed_at_once() -> None:
    instance = Instance(project(1, [pipeline(7)]))
    asking = reader(instance)
    await asking.changed([known(1)], NOW - 60)
    instance.schema = Instance(*instance.projects.values(), sdl=_older(SDL)).schema

    found = await asking.changed([known(1)], NOW - 60)

    assert [one.id for one in found.pipelines[1]] == [7]
