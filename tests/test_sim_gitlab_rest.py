"""The simulated GitLab's REST API: finders, pages, and what can be seen of pipelines at a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.asked import MAX_COUNTED
from agent.sim.gitlab.flat import TOKEN, URL, flat
from agent.sim.gitlab.objects import BRIDGE, Pipeline
from agent.sim.gitlab.places import Project, World
from agent.sim.gitlab.profile import CE_16_3
from agent.sim.gitlab.world import build
from agent.sim.inside import Inside

pytestmark = pytest.mark.anyio

HALF = 400_000
"""Seconds into the week at which most tests look."""


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: latency takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    """A week of a small instance."""
    return build(1, projects=60, pipelines=900)


class Asking:
    """Somebody who asks an instance."""

    def __init__(self, world: World, at: float | None = None, **given: Any) -> None:
        self.now = world.start + HALF if at is None else at
        self.world = world
        self.api = GitlabApi(world, lambda: self.now, **given)
        self.client = httpx.AsyncClient(transport=Inside(self.api), base_url=URL)

    async def __call__(self, path: str, token: str = TOKEN, **query: str) -> httpx.Response:
        """An answer."""
        headers = {"PRIVATE-TOKEN": token} if token else {}
        return await self.client.get(f"/api/v4{path}", headers=headers, params=query or None)

    async def pages(self, path: str) -> AsyncIterator[httpx.Response]:
        """All pages, by their links."""
        answer = await self(path)
        yield answer
        while following := answer.links.get("next"):
            answer = await self.client.get(following["url"], headers={"PRIVATE-TOKEN": TOKEN})
            yield answer


def busy(world: World, ordinal: int = 2) -> Project:
    """A project in which much happens; the third has parents and children."""
    return world.projects[ordinal]


def seen(project: Project, now: float) -> list[Pipeline]:
    """The pipelines that are there, the newest first."""
    return [pipeline for pipeline in reversed(project.pipelines) if pipeline.at(now)]


async def test_lists_leave_children_out_and_the_source_brings_them(world: World) -> None:
    ask, project = Asking(world), busy(world)
    there = seen(project, ask.now)

    listed = (await ask(f"/projects/{project.id}/pipelines", per_page="100")).json()
    children = (await ask(f"/projects/{project.id}/pipelines", source="parent_pipeline", per_page="100")).json()

    assert [each["id"] for each in listed] == [each.id for each in there if not each.is_child][:100]
    assert [each["id"] for each in children] == [each.id for each in there if each.is_child][:100]
    assert children


async def test_old_versions_do_not_list_children_at_all(world: World) -> None:
    ask = Asking(world, profile=CE_16_3)

    assert (await ask(f"/projects/{busy(world).id}/pipelines", source="parent_pipeline")).json() == []


@pytest.mark.parametrize(
    "query",
    [
        {"status": "success"},
        {"status": "failed", "order_by": "updated_at", "sort": "asc"},
        {"scope": "finished", "sort": "asc"},
        {"scope": "tags"},
        {"ref": "develop"},
        {"source": "schedule"},
        {"username": "noor"},
        {"yaml_errors": "true"},
        {"updated_after": "2026-03-04T09:00:00Z"},
        {"updated_before": "2026-03-04T09:00:00+01:00"},
        {"created_after": "2026-03-04T09:00:00Z", "created_before": "2026-03-05T09:00:00Z"},
    ],
)
async def test_lists_hold_what_is_asked_for_and_nothing_else(world: World, query: dict[str, str]) -> None:
    ask, project = Asking(world), busy(world, 1)
    whole = [
        each for page in [p async for p in ask.pages(f"/projects/{project.id}/pipelines?per_page=100")] for each in page.json()
    ]
    found = (await ask(f"/projects/{project.id}/pipelines", per_page="100", **query)).json()

    def fits(each: dict[str, Any]) -> bool:
        plan = next(pipeline for pipeline in project.pipelines if pipeline.id == each["id"])
        ended = each["status"] in ("success", "failed", "canceled", "skipped")
        fitting = {
            "status": each["status"] == query.get("status"),
            "scope": ended if query.get("scope") == "finished" else plan.tag,
            "ref": each["ref"] == query.get("ref"),
            "source": each["source"] == query.get("source"),
            "username": plan.user.username == query.get("username"),
            "yaml_errors": bool(plan.yaml_error),
            "updated_after": each["updated_at"] >= "2026-03-04T09:00:00",
            "updated_before": each["updated_at"] <= "2026-03-04T08:00:00",
            "created_after": each["created_at"] >= "2026-03-04T09:00:00",
            "created_before": each["created_at"] <= "2026-03-05T09:00:00",
        }
        return all(fitting[name] for name in query if name in fitting)

    wanted = {each["id"] for each in whole if fits(each)}
    if query.get("scope") == "tags":
        assert {each["id"] for each in found} <= wanted
    else:
        assert {each["id"] for each in found} == wanted
        assert len(wanted) < len(whole)
    order = "updated_at" if "order_by" in query else "id"
    assert [each[order] for each in found] == sorted((each[order] for each in found), reverse="sort" not in query)


async def test_scopes_bring_the_newest_pipeline_of_each_ref_that_exists(world: World) -> None:
    ask = Asking(world)
    for project in world.projects[:12]:
        if not project.pipelines:
            continue
        found = (await ask(f"/projects/{project.id}/pipelines", scope="branches", per_page="100")).json()
        refs = {ref.name for ref in project.branches if ref.exists(ask.now)}
        newest = {each.ref: each.id for each in reversed(seen(project, ask.now)) if each.kind == "branch" and not each.is_child}
        assert {each["ref"]: each["id"] for each in found} == {ref: number for ref, number in newest.items() if ref in refs}


async def test_a_page_holds_a_hundred_at_most_whatever_is_asked_for(world: World) -> None:
    answer = await Asking(flat(1, 150, 1), flat(1, 150, 1).end)("/projects/7000/pipelines", per_page="500")

    assert len(answer.json()) == 100
    assert answer.headers["x-per-page"] == "100"
    assert answer.headers["x-total"] == "150"


async def test_the_last_page_has_an_empty_next_page_and_no_link(world: World) -> None:
    world = flat(1, 25, 1)
    ask = Asking(world, world.end)

    answers = [answer async for answer in ask.pages("/projects/7000/pipelines")]

    assert [answer.headers["x-next-page"] for answer in answers] == ["2", ""]
    assert len({each["id"] for answer in answers for each in answer.json()}) == 25
    assert "last" in answers[0].links


async def test_long_lists_tell_no_totals() -> None:
    world = flat(1, MAX_COUNTED + 1, 0, spacing=1)
    answer = await Asking(world, world.end + 1)("/projects/7000/pipelines")

    assert "x-total" not in answer.headers
    assert "last" not in answer.links


async def test_offsets_end_where_keys_go_on() -> None:
    ask = Asking(flat(3, 1, 1))
    answer = await ask("/projects", page="502", per_page="100")

    assert answer.status_code == 405
    assert "maximum allowed offset of 50000" in answer.json()["error"]


@pytest.mark.parametrize("sort", ["asc", "desc"])
async def test_keys_lead_through_all_projects(sort: str) -> None:
    ask = Asking(flat(23, 1, 1))
    path = f"/projects?pagination=keyset&order_by=id&sort={sort}&per_page=10&simple=true"

    answers = [answer async for answer in ask.pages(path)]
    ids = [each["id"] for answer in answers for each in answer.json()]

    assert ids == sorted(range(7_000, 7_023), reverse=sort == "desc")
    assert "x-page" not in answers[0].headers


async def test_keys_lead_through_all_jobs_of_a_project() -> None:
    world = flat(1, 3, 9)
    ask = Asking(world, world.end)
    answers = [answer async for answer in ask.pages("/projects/7000/jobs?pagination=keyset&order_by=id&sort=desc&per_page=10")]

    assert len({each["id"] for answer in answers for each in answer.json()}) == 27


async def test_retried_jobs_are_shown_to_those_who_ask_for_them(world: World) -> None:
    ask = Asking(world, world.end)
    pipeline = next(each for each in world.pipelines() if any(job.retried_at for job in each.jobs) and not each.deleted_at)
    path = f"/projects/{pipeline.project.id}/pipelines/{pipeline.id}/jobs"

    without = (await ask(path, per_page="100")).json()
    with_them = (await ask(path, include_retried="true", per_page="100")).json()
    builds = [job for job in pipeline.jobs if job.spec.kind != BRIDGE]

    assert {each["id"] for each in with_them} == {job.id for job in builds}
    assert {each["id"] for each in without} == {job.id for job in builds if not job.retried_at}


async def test_bridges_tell_what_they_triggered(world: World) -> None:
    ask = Asking(world, world.end)
    pipeline = next(each for each in busy(world).pipelines if any(job.downstream for job in each.jobs) and not each.deleted_at)
    found = (await ask(f"/projects/{pipeline.project.id}/pipelines/{pipeline.id}/bridges")).json()

    triggered = {job.id: job.downstream.id for job in pipeline.jobs if job.downstream}
    assert {each["id"]: each["downstream_pipeline"]["id"] for each in found if each["downstream_pipeline"]} == triggered


async def test_a_pipeline_is_running_and_then_it_has_ended(world: World) -> None:
    pipeline = next(each for each in busy(world, 0).pipelines if [v.status for v in each.views][-2:] == ["running", "success"])
    ask, path = Asking(world), f"/projects/{pipeline.project.id}/pipelines/{pipeline.id}"

    ask.now = pipeline.last_change - 1
    running = (await ask(path)).json()
    ask.now = pipeline.last_change
    ended = (await ask(path)).json()

    assert (running["status"], running["finished_at"], running["duration"]) == ("running", None, None)
    assert ended["detailed_status"]["group"] in ("success", "success-with-warnings")
    assert ended["duration"] == pipeline.views[-1].duration


async def test_what_is_deleted_is_not_found_any_more(world: World) -> None:
    pipeline = next(each for each in world.pipelines() if each.deleted_at and each.project.ordinal < 15)
    ask, path = Asking(world), f"/projects/{pipeline.project.id}/pipelines/{pipeline.id}"

    ask.now = pipeline.deleted_at - 1
    assert (await ask(path)).status_code == 200
    ask.now = pipeline.deleted_at
    assert (await ask(path)).status_code == 404


async def test_a_renamed_project_is_somewhere_else(world: World) -> None:
    project = next(each for each in world.projects if len(each.places) > 1)
    ask = Asking(world, project.places[1].since)
    old = project.places[0].full_path.replace("/", "%2F")

    answer = await ask(f"/projects/{old}/pipelines", per_page="3")

    assert answer.status_code == 301
    assert answer.headers["location"] == f"{URL}/api/v4/projects/{project.id}/pipelines?per_page=3"
    assert (await ask(f"/projects/{project.id}")).json()["path_with_namespace"] == project.places[1].full_path


async def test_projects_that_are_not_made_yet_are_not_there(world: World) -> None:
    project = next(each for each in world.projects if each.created > world.start)
    ask = Asking(world, project.created - 1)

    assert (await ask(f"/projects/{project.id}")).status_code == 404
    ask.now = project.created
    assert (await ask(f"/projects/{project.id}")).status_code == 200
