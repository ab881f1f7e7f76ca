"""Pages of a simulated GraphQL's lists: everything once, whatever begins in between, and cursors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.sim.gitlab.flat import flat
from agent.sim.gitlab.places import World
from tests.sim_gitlab_graphql import ONE, ask


def pages(world: World, arguments: str, inside: str, path: Callable[[Any], Any]) -> list[str]:
    """Ids of a list of a project, read page by page."""
    found, cursor = [], None
    project = world.projects[0].path_at(world.end)
    text = f"query($p:ID!,$c:String){{project(fullPath:$p){{{inside % arguments}}}}}"
    for _ in range(300):
        page = path(ask(text, {"p": project, "c": cursor}, world=world).data["project"])
        found += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        cursor = page["pageInfo"]["endCursor"]
    raise AssertionError("there is always another page")


LIST = "pipelines(%s){nodes{id} pageInfo{hasNextPage endCursor}}"
JOBS = "pipelines(first:1){nodes{jobs(%s){nodes{id} pageInfo{hasNextPage endCursor}}}}"


@pytest.mark.parametrize("size", [1, 7, 99, 100, 500])
def test_pages_hold_everything_once_newest_first(size: int) -> None:
    world = flat(1, 230 if size > 50 else 23, 1)

    found = pages(world, f"first:{size},after:$c", LIST, lambda project: project["pipelines"])

    assert found == [f"{ONE}{one.id}" for one in reversed(world.projects[0].pipelines)]


def test_jobs_come_in_pages_too() -> None:
    world = flat(1, 1, 230)

    found = pages(world, "first:100,after:$c", JOBS, lambda project: project["pipelines"]["nodes"][0]["jobs"])

    assert found == [f"gid://gitlab/Ci::Build/{job.id}" for job in reversed(world.projects[0].pipelines[0].jobs)]


@pytest.mark.parametrize(("limit", "count"), [("", 23), ("(limit:5)", 6), ("(limit:100)", 23)])
def test_jobs_are_counted_up_to_one_more_than_a_limit(limit: str, count: int) -> None:
    told = ask(f"{{projects{{nodes{{pipelines{{nodes{{jobs(first:1){{count{limit}}}}}}}}}}}}}", world=flat(1, 1, 23))

    assert told.data["projects"]["nodes"][0]["pipelines"]["nodes"][0]["jobs"]["count"] == count


def test_a_page_holds_a_hundred_at_most() -> None:
    for arguments in ("", "(first:1000)", "(last:1000)"):
        told = ask(f"{{projects{{nodes{{pipelines{arguments}{{count nodes{{id}}}}}}}}}}", world=flat(1, 130, 1))

        page = told.data["projects"]["nodes"][0]["pipelines"]
        assert (page["count"], len(page["nodes"])) == (130, 100)


def test_what_begins_between_two_pages_shifts_nothing() -> None:
    world = flat(1, 6, 1)
    created = [one.created for one in world.projects[0].pipelines]
    text = "query($c:String){projects{nodes{pipelines(first:2,after:$c){nodes{id} pageInfo{endCursor}}}}}"
    first = ask(text, world=world, at=created[3]).data["projects"]["nodes"][0]["pipelines"]

    second = ask(text, {"c": first["pageInfo"]["endCursor"]}, world=world, at=created[5]).data["projects"]["nodes"][0][
        "pipelines"
    ]

    ids = [f"{ONE}{one.id}" for one in world.projects[0].pipelines]
    assert [node["id"] for page in (first, second) for node in page["nodes"]] == ids[3::-1]


def test_the_last_page_can_be_asked_for() -> None:
    world = flat(1, 5, 1)
    text = "{projects{nodes{pipelines(last:2){nodes{id} pageInfo{hasNextPage hasPreviousPage startCursor}}}}}"

    page = ask(text, world=world).data["projects"]["nodes"][0]["pipelines"]

    ids = [f"{ONE}{one.id}" for one in world.projects[0].pipelines]
    assert [node["id"] for node in page["nodes"]] == ids[1::-1]
    assert (page["pageInfo"]["hasNextPage"], page["pageInfo"]["hasPreviousPage"]) == (False, True)


def test_elements_have_cursors_of_their_own() -> None:
    world = flat(1, 3, 1)
    text = "query($c:String){projects{nodes{pipelines(before:$c){edges{cursor node{id}} pageInfo{startCursor endCursor}}}}}"
    whole = ask(text, world=world).data["projects"]["nodes"][0]["pipelines"]

    before = ask(text, {"c": whole["edges"][2]["cursor"]}, world=world).data["projects"]["nodes"][0]["pipelines"]

    assert before["edges"] == whole["edges"][:2]
    assert whole["pageInfo"] == {"startCursor": whole["edges"][0]["cursor"], "endCursor": whole["edges"][2]["cursor"]}


@pytest.mark.parametrize("cursor", ["x", "bm9wZQ", "eyJuYW1lIjogMX0", "W10", "é"])
def test_a_cursor_that_is_none_spoils_its_list_alone(cursor: str) -> None:
    told = ask("query($c:String){projects(first:1){nodes{id pipelines(after:$c){nodes{id}}}}}", {"c": cursor})

    assert told.messages == ["Please provide a valid cursor"]
    assert told.data["projects"]["nodes"][0]["id"]
    assert told.data["projects"]["nodes"][0]["pipelines"] is None


def test_first_and_last_exclude_one_another() -> None:
    assert ask("{projects(first:1,last:1){count}}").messages == ["Can only provide either `first` or `last`, not both"]


def test_projects_can_be_sorted() -> None:
    up, down, named = (
        [node["path"] for node in ask(f'{{projects(sort:"{sort}"){{nodes{{path}}}}}}').data["projects"]["nodes"]]
        for sort in ("id_asc", "id_desc", "name_asc")
    )

    assert up == down[::-1]
    assert named == sorted(up)
