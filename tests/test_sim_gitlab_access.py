"""The simulated GitLab's REST API to whom it may concern: tokens, roles, tiers, limits, groups, deployments, and trouble."""

from __future__ import annotations

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.sim import faults
from agent.sim.gitlab.flat import TOKEN, flat
from agent.sim.gitlab.limits import Limits
from agent.sim.gitlab.places import World
from agent.sim.gitlab.profile import CE_16_3, EE_18, Profile
from agent.sim.gitlab.world import EXPIRED, GUESTS, USER_ONLY, build
from agent.sim.weather import Showers
from tests.test_sim_gitlab_rest import Asking, busy, seen

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: latency takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    """A week of a small instance."""
    return build(1, projects=60, pipelines=900)


@pytest.mark.parametrize(
    ("path", "token", "status", "body"),
    [
        ("/projects", "glpat-nobody", 401, {"error": "invalid_token"}),
        ("/projects", EXPIRED, 401, {"error": "invalid_token"}),
        ("/projects", USER_ONLY, 403, {"error": "insufficient_scope", "scope": "api read_api"}),
        ("/metadata", "", 401, {"message": "401 Unauthorized"}),
        ("/projects/1", TOKEN, 404, {"message": "404 Project Not Found"}),
        ("/projects/41105", TOKEN, 404, {"message": "404 Project Not Found"}),
        ("/projects/41147/pipelines", TOKEN, 403, {"message": "403 Forbidden"}),
        ("/projects/41007/pipelines", GUESTS, 403, {"message": "403 Forbidden"}),
        ("/projects/41007/pipelines/7", TOKEN, 404, {"message": "404 Not found"}),
        ("/projects/41007/pipelines/latest?ref=nowhere", TOKEN, 403, {"message": "403 Forbidden"}),
        ("/projects/41007/pipelines?status=fine", TOKEN, 400, {"error": "status does not have a valid value"}),
        ("/projects/41007/pipelines?updated_after=now", TOKEN, 400, {"error": "updated_after is invalid"}),
        ("/projects/41007/pipelines?page=0", TOKEN, 400, {"error": "page does not have a valid value"}),
        ("/projects/41007/pipelines?page=x", TOKEN, 400, {"error": "page is invalid"}),
        ("/projects/41007/environments?search=ab", TOKEN, 400, {}),
        ("/projects/41007/repository/languages", TOKEN, 404, {"error": "404 Not Found"}),
        ("/groups/nowhere/projects", TOKEN, 404, {"message": "404 Group Not Found"}),
        ("/users/nobody/projects", TOKEN, 404, {"message": "404 User Not Found"}),
    ],
)
async def test_no_is_said_in_gitlabs_words(world: World, path: str, token: str, status: int, body: dict[str, str]) -> None:
    answer = await Asking(world)(path, token)

    assert answer.status_code == status
    assert answer.json().items() >= body.items()


async def test_a_token_of_too_small_a_scope_still_tells_its_scope(world: World) -> None:
    assert (await Asking(world)("/personal_access_tokens/self", USER_ONLY)).json()["scopes"] == ["read_user"]


@pytest.mark.parametrize(
    ("project", "profile", "status"),
    [(0, EE_18, 200), (3, EE_18, 401), (5, EE_18, 401), (0, CE_16_3, 404)],
    ids=["ultimate", "premium", "free", "CE"],
)
async def test_dora_takes_ultimate(world: World, project: int, profile: Profile, status: int) -> None:
    ask = Asking(world, profile=profile)
    answer = await ask(f"/projects/{world.projects[project].id}/dora/metrics", metric="deployment_frequency")

    assert answer.status_code == status


@pytest.mark.parametrize(("group", "status"), [("harbour", 200), ("orchard", 200), ("lantern", 403)])
async def test_group_activity_takes_premium(world: World, group: str, status: int) -> None:
    assert (await Asking(world)("/analytics/group_activity/issues_count", group_path=group)).status_code == status


@pytest.mark.parametrize(("profile", "expected"), [(CE_16_3, ("16.3.2", False)), (EE_18, ("18.4.2-ee", True))])
async def test_metadata_tells_version_and_edition(world: World, profile: Profile, expected: tuple[str, bool]) -> None:
    found = (await Asking(world, profile=profile)("/metadata")).json()

    assert (found["version"], found["enterprise"]) == expected


async def test_groups_hold_the_projects_of_their_subgroups_where_that_is_asked_for(world: World) -> None:
    ask = Asking(world, world.end)
    flat_, deep = [
        [each async for page in ask.pages(f"/groups/harbour/projects?with_shared=false&include_subgroups={word}&per_page=7")
         for each in page.json()]
        for word in ("false", "true")
    ]  # fmt: skip

    assert {each["namespace"]["full_path"] for each in flat_} == {"harbour"}
    assert {each["namespace"]["full_path"] for each in deep} == {"harbour", "harbour/cranes", "harbour/cranes/hooks"}


async def test_shared_projects_come_along_unless_refused(world: World) -> None:
    answer = await Asking(world, world.end)("/groups/harbour/projects", per_page="100")

    assert {each["namespace"]["full_path"] for each in answer.json()} - {"harbour"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"updated_after": "2026-03-01T00:00:00Z", "order_by": "updated_at", "sort": "asc"}, 200),
        ({"updated_after": "2026-03-01T00:00:00Z"}, 400),
        ({"order_by": "updated_at"}, 400),
        ({"finished_after": "2026-03-01T00:00:00Z", "order_by": "finished_at", "status": "success"}, 200),
        ({"finished_after": "2026-03-01T00:00:00Z", "order_by": "finished_at"}, 400),
        ({}, 200),
    ],
)
async def test_deployments_want_their_filters_and_orders_paired(world: World, query: dict[str, str], status: int) -> None:
    assert (await Asking(world)(f"/projects/{busy(world).id}/deployments", **query)).status_code == status


async def test_a_deployment_through_the_api_has_no_job(world: World) -> None:
    ask = Asking(world, world.end)
    project = next(each for each in world.projects if any(made.job is None for made in each.deployments))
    found = [each async for page in ask.pages(f"/projects/{project.id}/deployments?per_page=100") for each in page.json()]

    by_api = {made.id for made in project.deployments if made.job is None}
    assert {each["id"] for each in found if each["deployable"] is None} >= by_api
    assert [each["id"] for each in found] == sorted(each["id"] for each in found)


async def test_commits_between_a_deployment_and_its_branch_are_those_of_later_pipelines(world: World) -> None:
    ask, project = Asking(world), busy(world, 1)
    made = [each for each in seen(project, ask.now) if each.ref == "main" and each.kind == "branch" and not each.is_child]
    path = f"/projects/{project.id}/repository/compare"
    found = (await ask(path, **{"from": made[3].sha, "to": "main"})).json()

    assert [each["id"] for each in found["commits"]] == [each.sha for each in made[2::-1]]
    assert (await ask(path, **{"from": "abc", "to": "main"})).status_code == 404


async def test_no_more_requests_are_answered_in_a_minute_than_a_user_may_send() -> None:
    ask = Asking(flat(1, 1, 1), limits=Limits(3, {}))
    answers = [await ask("/version") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].text == "Retry later"
    assert answers[0].headers["ratelimit-remaining"] == "2"
    assert int(answers[-1].headers["ratelimit-reset"]) == (int(ask.now) // 60 + 1) * 60
    assert int(answers[-1].headers["retry-after"]) <= 60
    ask.now += 60
    assert (await ask("/version")).status_code == 200


async def test_an_endpoint_has_a_limit_of_its_own_and_says_so_in_json() -> None:
    ask = Asking(flat(1, 1, 1), limits=Limits(1_000, {"project": (1, 60)}))
    await ask("/projects/7000")
    answer = await ask("/projects/7000")

    assert answer.status_code == 429
    assert "too many times" in answer.json()["message"]["error"]
    assert "retry-after" not in answer.headers
    assert (await ask("/projects")).status_code == 200


async def test_an_instance_without_limits_says_nothing_of_them() -> None:
    answer = await Asking(flat(1, 1, 1))("/version")

    assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_answers_carry_the_worlds_date() -> None:
    world = flat(1, 1, 1)

    assert (await Asking(world, world.start)("/version")).headers["date"] == "Mon, 02 Mar 2026 00:00:00 GMT"


async def test_the_next_requests_meet_what_the_script_says() -> None:
    ask = Asking(flat(1, 1, 1))
    ask.api.faults.extend([faults.Answer(502, (), "<html>"), faults.Close(200), faults.Answer(200, (), "[{")])

    broken = await ask("/version")
    with pytest.raises(httpx.RemoteProtocolError):
        await ask("/version")

    assert (broken.status_code, broken.headers["content-type"]) == (502, "text/html")
    assert (await ask("/version")).text == "[{"
    assert (await ask("/version")).status_code == 200


async def test_showers_befall_a_share_of_requests() -> None:
    ask = Asking(flat(1, 1, 1), showers=Showers(0.3, (faults.Answer(500),)))
    statuses = [(await ask("/version")).status_code for _ in range(100)]

    assert 15 < statuses.count(500) < 45


async def test_requests_objects_and_bytes_are_counted() -> None:
    world = flat(1, 3, 2)
    ask = Asking(world, world.end)
    answer = await ask("/projects/7000/pipelines")

    assert ask.api.totals == (1, 3, len(answer.content))
    assert ask.api.counts == {("pipelines", 200): 1}


async def test_the_truth_is_there_for_who_asks() -> None:
    ask = Asking(flat(2, 3, 4))

    assert (await ask.client.get("/_truth")).json()["jobs"] == 24
    assert (await ask.client.get("/_truth", params={"since": str(ask.world.end + 1)})).json()["jobs"] == 0


async def test_how_the_world_stands_is_there_for_who_asks() -> None:
    world = flat(2, 3, 1)
    found = (await Asking(world, world.end).client.get("/_standing")).json()

    assert {"family": "pipeline_id", "labels": {"kind": "branch", "project": "load/p00001", "ref": "main"}} in [
        {key: value for key, value in each.items() if key != "value"} for each in found
    ]


async def test_graphql_is_there_too() -> None:
    ask = Asking(flat(2, 3, 4))
    query = {"query": "{projects(first:5){nodes{id}}}"}
    answer = await ask.client.post("/api/graphql", json=query, headers={"authorization": f"Bearer {TOKEN}"})
    refused = await ask.client.post("/api/graphql", json=query, headers={"PRIVATE-TOKEN": "glpat-nobody"})

    assert len(answer.json()["data"]["projects"]["nodes"]) == 2
    assert (refused.status_code, refused.json()) == (401, {"errors": [{"message": "Invalid token"}]})
    ask.api.has_graphql = False
    assert (await ask.client.post("/api/graphql", json=query)).status_code == 404


async def test_latency_makes_every_answer_wait() -> None:
    ask = Asking(flat(1, 1, 1), latency=0.1)
    began = anyio.current_time()
    await ask("/version")

    assert anyio.current_time() - began == pytest.approx(0.1)
