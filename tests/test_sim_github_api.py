"""The simulated API: what it shows at a time, pages and caps, ETags, credentials, limits, trouble by script."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from agent.sim import faults
from agent.sim.github.access import INSTALLATION_ID, TOKEN_SECONDS, WINDOW_SECONDS
from agent.sim.github.api import CLIENT_ID, TOKEN, GithubApi
from agent.sim.github.deliveries import announcements
from agent.sim.github.faults import secondary_limit, shipments
from agent.sim.github.log import RETENTION_SECONDS, Log
from agent.sim.github.objects import moment
from agent.sim.github.plan import Run
from agent.sim.github.sender import HOOK_ID
from agent.sim.github.truth import WAYS, Way, truth
from agent.sim.github.world import World, build
from agent.sim.inside import Inside
from agent.sim.weather import Showers, Weather

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: what waits takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    """A busy day of a few repositories."""
    return build(2, repositories=6, jobs=1500, seconds=86_400)


@asynccontextmanager
async def simulated(
    world: World, log: Log, now: float, *, authorization: str = f"Bearer {TOKEN}", api: GithubApi | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API of a world at one moment, signed in unless told otherwise."""
    api = api or GithubApi(world, log, lambda: now)
    headers = {"authorization": authorization} if authorization else {}
    async with httpx.AsyncClient(transport=Inside(api), base_url="http://api.test", headers=headers) as client:
        yield client


async def listed(client: httpx.AsyncClient, url: str, key: str = "") -> list[Any]:
    """Everything on all pages."""
    found: list[Any] = []
    while url:
        answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        found += answer.json()[key] if key else answer.json()
        url = answer.links.get("next", {}).get("url", "")
    return found


def jwt(issuer: str = CLIENT_ID, seconds: int = 600) -> str:
    """What an App signs itself in with; nobody here looks at the signature."""
    parts = ({"alg": "RS256", "typ": "JWT"}, {"iss": issuer, "iat": 1000, "exp": 1000 + seconds})
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "signed"])


def busiest(world: World) -> tuple[str, list[Run]]:
    """(path, runs) of the repository with the most."""
    name, runs = max(world.of_repository.items(), key=lambda each: len(each[1]))
    return f"/repos/{name}", runs


async def test_all_pages_together_hold_every_run_once_newest_first(world: World) -> None:
    path, runs = busiest(world)
    async with simulated(world, Log(), world.end) as client:
        found = await listed(client, f"{path}/actions/runs?per_page=7", "workflow_runs")

    assert [run["id"] for run in found] == [run.id for run in reversed(runs)]


async def test_runs_that_have_not_begun_are_not_there(world: World) -> None:
    path, runs = busiest(world)
    now = runs[10].created
    async with simulated(world, Log(), now) as client:
        found = await listed(client, f"{path}/actions/runs?per_page=100", "workflow_runs")

    assert {run["id"] for run in found} == {run.id for run in runs if run.created <= now}


@pytest.mark.parametrize("form", ["{0}..{1}", ">={0}", "<={1}", ">{0}", "<{1}"])
async def test_the_created_filter_holds_for_every_run_and_no_other(world: World, form: str) -> None:
    path, runs = busiest(world)
    first, last = runs[20].created, runs[40].created
    begins = {">{0}": first + 1}.get(form, first if "{0}" in form else 0)
    ends = {"<{1}": last - 1}.get(form, last if "{1}" in form else world.end)
    created = form.format(moment(first), moment(last))
    async with simulated(world, Log(), world.end) as client:
        answer = await client.get(f"{path}/actions/runs", params={"created": created, "per_page": 100})
        found = answer.json()

    expected = [run.id for run in runs if begins <= run.created <= ends]
    assert found["total_count"] == len(expected)
    assert [run["id"] for run in found["workflow_runs"]] == expected[::-1][:100]


async def test_a_filtered_list_ends_after_a_thousand_runs() -> None:
    crowded = build(4, repositories=1, jobs=4500, seconds=86_400)
    path, runs = busiest(crowded)
    async with simulated(crowded, Log(), crowded.end) as client:
        capped = await listed(client, f"{path}/actions/runs?per_page=100&created=*..*", "workflow_runs")
        every = await listed(client, f"{path}/actions/runs?per_page=100", "workflow_runs")

    assert (len(capped), len(every)) == (1000, len(runs))
    assert len(runs) > 1000


async def test_a_created_filter_that_is_none_is_refused(world: World) -> None:
    path, _ = busiest(world)
    async with simulated(world, Log(), world.end) as client:
        answer = await client.get(f"{path}/actions/runs", params={"created": ">=yesterday"})

    assert answer.status_code == 422


async def test_a_job_is_queued_then_runs_then_has_ended(world: World) -> None:
    run, job = next((run, run.attempts[0].jobs[0]) for run in world.runs if run.attempts[0].first_start)
    path = f"/repos/{run.repository.full_name}/actions/runs/{run.id}/attempts/1/jobs"
    seen = []
    for now in (job.created, job.started, job.completed - 1, job.completed):
        async with simulated(world, Log(), now) as client:
            shown = next(each for each in (await client.get(path)).json()["jobs"] if each["id"] == job.id)
            seen.append((shown["status"], shown["conclusion"], bool(shown["runner_name"]), shown["completed_at"]))

    begins = "in_progress" if job.started <= job.created else "queued"
    assert seen == [
        (begins, None, begins != "queued", None),
        ("in_progress", None, True, None),
        ("in_progress", None, True, None),
        ("completed", job.conclusion, True, moment(job.completed)),
    ]


async def test_an_attempt_lists_the_jobs_it_kept_with_their_old_times(world: World) -> None:
    run, attempt = next((run, each) for run, each in world.attempts() if each.carried)
    path = f"/repos/{run.repository.full_name}/actions/runs/{run.id}/attempts/{attempt.number}/jobs?per_page=100"
    async with simulated(world, Log(), world.end) as client:
        shown = {job["id"]: job for job in await listed(client, path, "jobs")}

    assert shown.keys() == {each.id for each in attempt.carried} | {job.id for job in attempt.jobs}
    assert all(shown[each.id]["completed_at"] == moment(each.job.completed) for each in attempt.carried)
    assert all(each.job.completed < attempt.started for each in attempt.carried)


async def test_what_is_known_already_is_answered_304_and_is_free(world: World) -> None:
    path, _ = busiest(world)
    async with simulated(world, Log(), world.end) as client:
        first = await client.get(f"{path}/actions/runs")
        again = await client.get(f"{path}/actions/runs", headers={"if-none-match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-ratelimit-used"] == first.headers["x-ratelimit-used"] == "1"


async def test_an_etag_is_of_no_use_once_something_has_changed(world: World) -> None:
    path, runs = busiest(world)
    async with simulated(world, Log(), runs[-2].created) as client:
        etag = (await client.get(f"{path}/actions/runs")).headers["etag"]
    async with simulated(world, Log(), runs[-1].created) as client:
        again = await client.get(f"{path}/actions/runs", headers={"if-none-match": etag})

    assert again.status_code == 200


async def test_the_primary_limit_refuses_what_is_over_it_until_it_is_reset(world: World) -> None:
    clock = [float(world.end)]
    api = GithubApi(world, Log(), lambda: clock[0], per_hour=2)
    async with simulated(world, Log(), 0, api=api) as client:
        answers = [await client.get("/user/repos") for _ in range(3)]
        clock[0] = float(answers[-1].headers["x-ratelimit-reset"])
        answers.append(await client.get("/user/repos"))

    assert [answer.status_code for answer in answers] == [200, 200, 403, 200]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0", "1"]
    assert int(answers[0].headers["x-ratelimit-reset"]) == world.end + WINDOW_SECONDS


async def test_asking_for_the_limit_costs_nothing(world: World) -> None:
    async with simulated(world, Log(), world.end) as client:
        await client.get("/rate_limit")
        answer = await client.get("/rate_limit")

    assert answer.json()["resources"]["core"]["used"] == 0


async def test_a_script_of_trouble_is_followed_step_by_step(world: World) -> None:
    api = GithubApi(world, Log(), lambda: world.end)
    api.faults.extend([secondary_limit(30), secondary_limit(5, status=429), faults.Answer(502), faults.Delay(9.0)])
    async with simulated(world, Log(), 0, api=api) as client:
        answers = [await client.get("/user/repos") for _ in range(4)]

    assert [(answer.status_code, answer.headers.get("retry-after")) for answer in answers] == [
        (403, "30"),
        (429, "5"),
        (502, None),
        (200, None),
    ]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer wrong", "Basic eDp5", f"Bearer {jwt('another')}", f"Bearer {jwt(seconds=3600)}"]
)
async def test_credentials_that_are_none_are_refused(world: World, authorization: str) -> None:
    async with simulated(world, Log(), world.end, authorization=authorization) as client:
        answer = await client.get(f"/orgs/{world.owner}/repos")

    assert answer.status_code == 401


async def test_showers_befall_the_share_of_requests_they_are_to(world: World) -> None:
    api = GithubApi(world, Log(), lambda: world.end, showers=Showers(0.3, [faults.Answer(500), secondary_limit(1)]))
    async with simulated(world, Log(), 0, api=api) as client:
        answers = [await client.get("/user") for _ in range(400)]

    codes = Counter(answer.status_code for answer in answers)
    assert codes.keys() == {200, 403, 500}
    assert 0.6 < codes[200] / 400 < 0.8


async def test_an_answer_that_is_cut_short_is_an_error(world: World) -> None:
    api = GithubApi(world, Log(), lambda: world.end)
    api.faults.extend([faults.Close(200)])
    async with simulated(world, Log(), 0, api=api) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/user")


async def test_addresses_are_told_to_everybody(world: World) -> None:
    async with simulated(world, Log(), world.end, authorization="") as client:
        assert "127.0.0.0/8" in (await client.get("/meta")).json()["hooks"]


async def test_an_app_gets_a_token_that_is_good_for_an_hour(world: World) -> None:
    clock = [float(world.start)]
    api = GithubApi(world, Log(), lambda: clock[0])
    async with simulated(world, Log(), 0, authorization=f"Bearer {jwt()}", api=api) as client:
        issued = await client.post(f"/app/installations/{INSTALLATION_ID}/access_tokens")
    codes = []
    async with simulated(world, Log(), 0, authorization=f"Bearer {issued.json()['token']}", api=api) as client:
        for clock[0] in (world.start + TOKEN_SECONDS - 1, world.start + TOKEN_SECONDS):
            codes.append((await client.get("/installation/repositories")).status_code)

    assert issued.status_code == 201
    assert issued.json()["expires_at"] == moment(world.start + TOKEN_SECONDS)
    assert codes == [200, 401]


async def test_a_repository_is_found_under_its_former_name() -> None:
    renamed = build(1, repositories=8, jobs=200)
    repository = next(each for each in renamed.repositories if each.formerly)
    async with simulated(renamed, Log(), renamed.end) as client:
        moved = await client.get(f"/repos/{renamed.owner}/{repository.formerly}/actions/runs?per_page=5")
        followed = await client.get(moved.headers["location"])

    assert moved.status_code == 301
    assert [run["repository"]["full_name"] for run in followed.json()["workflow_runs"]] == [repository.full_name] * 5


async def test_the_delivery_log_goes_back_three_days_page_by_page() -> None:
    week = build(6, repositories=4, jobs=400)
    log = Log(shipments(announcements(week), Weather(lost=0.1, duplicated=0.1)))
    now = week.end - 86_400
    async with simulated(week, log, now) as client:
        found = await listed(client, f"/orgs/{week.owner}/hooks/{HOOK_ID}/deliveries?per_page=50")

    expected = [entry.id for entry in log.seen(now)]
    assert [each["id"] for each in found] == expected
    assert len(expected) < len(log)
    assert min(entry.at for entry in log.seen(now)) >= now - RETENTION_SECONDS


async def test_the_log_of_a_repository_holds_its_own_deliveries_only(world: World) -> None:
    log = Log(shipments(announcements(world)))
    repository = world.repositories[1]
    path = f"/repos/{repository.full_name}/hooks"
    async with simulated(world, log, world.end) as client:
        hook = next(hook for hook in await listed(client, path) if hook["active"] and "workflow_job" in hook["events"])
        found = await listed(client, f"{path}/{hook['id']}/deliveries?per_page=100")

    own = [entry for entry in log.seen(world.end) if entry.shipment.announcement.run.repository == repository]
    assert [each["id"] for each in found] == [entry.id for entry in own]


async def test_the_failure_filter_misses_failures_without_a_code() -> None:
    small = build(6, repositories=2, jobs=200, seconds=86_400)
    log = Log(shipments(announcements(small), Weather(lost=0.5)))
    async with simulated(small, log, small.end) as client:
        found = await listed(client, f"/orgs/{small.owner}/hooks/{HOOK_ID}/deliveries?per_page=100&status=failure")

    failed = [entry for entry in log.seen(small.end) if entry.status != "OK"]
    assert {each["id"] for each in found} == {entry.id for entry in failed if entry.status_code >= 400}
    assert len(found) < len(failed)


async def test_runners_are_busy_while_they_have_a_job(world: World) -> None:
    job = next(job for _, attempt in world.attempts() for job in attempt.jobs if job.runner and job.runner.pool.key == "farm")
    assert job.runner is not None
    async with simulated(world, Log(), job.started) as client:
        found = await listed(client, f"/orgs/{world.owner}/actions/runners?per_page=100", "runners")

    shown = next(runner for runner in found if runner["name"] == job.runner.name)
    assert (shown["busy"], shown["status"]) == (True, "online")


async def test_a_server_of_ones_own_has_its_api_under_a_path(world: World) -> None:
    path, runs = busiest(world)
    api = GithubApi(world, Log(), lambda: world.end, prefix="/api/v3")
    async with simulated(world, Log(), 0, api=api) as client:
        found = await listed(client, f"/api/v3{path}/actions/runs?per_page=50", "workflow_runs")

    assert len(found) == len(runs)


@pytest.mark.parametrize("way", WAYS)
async def test_the_truth_can_be_asked_for(world: World, way: Way) -> None:
    async with simulated(world, Log(), world.end) as client:
        found = (await client.get("/_truth", params={"way": way})).json()

    assert found == json.loads(json.dumps(truth(world, way).as_json()))


async def test_a_truth_of_another_way_is_not_there(world: World) -> None:
    async with simulated(world, Log(), world.end) as client:
        assert (await client.get("/_truth?way=hearsay")).status_code == 404


async def test_requests_are_counted_by_what_they_asked_for(world: World) -> None:
    path, _ = busiest(world)
    api = GithubApi(world, Log(), lambda: world.end)
    async with simulated(world, Log(), 0, api=api) as client:
        await client.get(f"{path}/actions/runs")
        await client.get(f"{path}/actions/nothing")

    assert api.counts == {("runs", 200): 1, ("unknown", 404): 1}
