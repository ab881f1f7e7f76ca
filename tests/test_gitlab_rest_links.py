"""What triggered a pipeline, by the REST API: no page of a pipeline tells, only the bridges of the other one do."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.objects import Project, Upstream
from agent.sources.gitlab.rest import RestReader
from agent.sources.gitlab.rest_upstreams import MAX_WAITS
from tests.gitlab_rest import NOW, SHOP, GitLab, Run, options

pytestmark = pytest.mark.anyio
TILL = Project(8, "acme/till")
RELEASE = Upstream("acme/shop", "main", "release", "branch", 1)


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def downstream(**keys: int) -> Run:
    return Run(2, source="pipeline", project=8, created=NOW - 40, updated=keys.get("updated", NOW - 5))


async def test_what_a_pipeline_triggers_while_it_goes_on_unchanged_is_found() -> None:
    upstream = Run(1, status="running", updated=NOW - 300)
    gitlab = GitLab(upstream)
    reader = RestReader(gitlab, options())
    await reader.changed([SHOP, TILL], NOW - 400)
    upstream.triggers.append(("release", downstream()))
    gitlab.runs.append(upstream.triggers[0][1])

    found = await reader.changed([SHOP, TILL], NOW - 50)

    assert [(one.id, one.upstream) for one in found.pipelines[8]] == [(2, RELEASE)]
    assert found.pipelines[7] == []


async def test_what_triggered_a_pipeline_is_looked_for_until_it_ends() -> None:
    upstream, down = Run(1, status="running", updated=NOW - 300), downstream()
    down.status = "running"
    gitlab = GitLab(upstream, down)
    reader = RestReader(gitlab, options())
    await reader.changed([SHOP, TILL], NOW - 400)
    upstream.triggers.append(("release", down))
    down.status, down.updated = "success", NOW

    found = await reader.changed([SHOP, TILL], NOW - 50)

    assert [(one.status, one.upstream) for one in found.pipelines[8]] == [("success", RELEASE)]


async def test_a_pipeline_waits_for_what_triggered_it_where_that_cannot_be_read_at_the_moment() -> None:
    down = downstream()
    gitlab = GitLab(Run(1, triggers=[("release", down)]), down)
    gitlab.more["/projects/7/pipelines"] = CollectError("status", "HTTP 502")
    reader = RestReader(gitlab, options())
    first = await reader.changed([SHOP, TILL], 0)
    del gitlab.more["/projects/7/pipelines"]
    second = await reader.changed([SHOP, TILL], 0)

    assert (first.pipelines, first.failed[8].kind) == ({}, "upstream")
    assert [one.upstream for one in second.pipelines[8]] == [RELEASE]


async def test_a_pipeline_does_not_wait_for_what_is_out_of_sight() -> None:
    reader = RestReader(GitLab(Run(1), downstream()), options())

    found = await reader.changed([SHOP, TILL], 0)

    assert [(one.id, one.upstream) for one in found.pipelines[8]] == [(2, None)]


async def test_a_pipeline_does_not_wait_forever() -> None:
    gitlab = GitLab(downstream())
    gitlab.more["/projects/7/pipelines"] = CollectError("status", "HTTP 502")
    reader = RestReader(gitlab, options())

    brought = [8 in (await reader.changed([SHOP, TILL], 0)).pipelines for _ in range(MAX_WAITS + 2)]

    assert brought == [False] * MAX_WAITS + [True, True]


async def test_where_a_few_projects_are_asked_their_pipelines_wait_for_the_others() -> None:
    down = downstream()
    gitlab = GitLab(Run(1, triggers=[]), down)
    reader = RestReader(gitlab, options())
    others = [Project(number, f"acme/p{number}") for number in (20, 21, 22)]
    await reader.changed([SHOP, TILL, *others], NOW)
    gitlab.runs[0].triggers.append(("release", down))
    few = await reader.changed([TILL], NOW - 100, among=5)
    all_of_them = await reader.changed([SHOP, TILL, *others], NOW - 200)

    assert few.pipelines == {}
    assert [one.upstream for one in all_of_them.pipelines[8]] == [RELEASE]


async def test_an_unfinished_pipeline_is_brought_whatever_triggered_it() -> None:
    down = downstream()
    down.status = "running"
    gitlab = GitLab(down)
    gitlab.more["/projects/7/pipelines"] = CollectError("status", "HTTP 502")

    found = await RestReader(gitlab, options()).changed([SHOP, TILL], 0)

    assert [one.status for one in found.pipelines[8]] == ["running"]


async def test_a_search_that_fails_leaves_its_project_for_the_next_poll() -> None:
    child = Run(2, source="parent_pipeline", updated=NOW)
    gitlab = GitLab(Run(1, updated=NOW - 400, triggers=[("deploy", child)]), child)
    gitlab.more["/projects/7/pipelines/1/bridges"] = CollectError("status", "HTTP 502")
    reader = RestReader(gitlab, options())
    first = await reader.changed([SHOP], NOW - 10)
    del gitlab.more["/projects/7/pipelines/1/bridges"]
    second = await reader.changed([SHOP], NOW - 10)

    assert (first.pipelines, list(first.failed)) == ({}, [7])
    assert [one.upstream for one in second.pipelines[7]] == [Upstream("acme/shop", "main", "deploy", "branch", 1)]


async def test_a_pipeline_waits_while_a_project_that_fell_behind_is_asked_apart_and_cannot_be_read() -> None:
    down = downstream()
    gitlab, third = GitLab(), Project(9, "acme/third")
    reader = RestReader(gitlab, options())
    await reader.changed([SHOP, TILL, third], 0)
    gitlab.runs += [Run(1, triggers=[("release", down)]), down]
    gitlab.more["/projects/7/pipelines"] = CollectError("json", "the answer is no list")
    await reader.changed([SHOP], 0)

    without = await reader.changed([TILL, third], 0, among=3)
    del gitlab.more["/projects/7/pipelines"]
    found = await reader.changed([SHOP, TILL], 0, among=3)

    assert (without.failed[8].kind, found.pipelines[8][0].upstream) == ("upstream", RELEASE)


@pytest.mark.parametrize("answer", [None, {}, {"id": 2}, {"data": None, "errors": []}, []])
async def test_an_answer_that_is_not_the_pipeline_leaves_its_project_for_the_next_poll(answer: object) -> None:
    gitlab = GitLab(Run(1), downstream())
    gitlab.more["/projects/7/pipelines/1"] = answer
    reader = RestReader(gitlab, options())

    found = await reader.changed([SHOP], 0)

    assert (found.failed[7].kind, list(found.pipelines)) == ("json", [])


async def test_a_child_that_runs_again_after_its_parent_has_ended_is_read_as_it_is_then() -> None:
    child = Run(2, source="parent_pipeline", updated=NOW, status="failed")
    gitlab = GitLab(Run(1, updated=NOW, triggers=[("deploy", child)]), child)
    reader = RestReader(gitlab, options())
    seen: list[str] = []
    for status in ("failed", "success", "success"):
        child.status = status
        child.updated += 300 * (status != seen[-1]) if seen else 0
        found = await reader.changed([SHOP], NOW - 10)
        seen.append(next(one.status for one in found.pipelines[7] if one.id == 2))

    assert seen == ["failed", "success", "success"]
