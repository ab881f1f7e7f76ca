"""The simulated GitLab's webhooks: what is announced when, what it says, and what becomes of it on the way."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from trio.testing import MockClock

from agent.sim.gitlab.announcements import JOB, MERGE_REQUEST, PIPELINE, PUSH, TAG_PUSH, Announcement, announcements
from agent.sim.gitlab.faults import ROUGH, shipments
from agent.sim.gitlab.objects import BUILD, Pipeline
from agent.sim.gitlab.payloads import NOWHERE, payload
from agent.sim.gitlab.places import World
from agent.sim.gitlab.sender import Sender
from agent.sim.gitlab.world import build
from agent.sim.weather import CALM, Weather

SECRET = "It is a secret"
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: what waits takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    """A week of a small instance."""
    return build(1, projects=30, pipelines=400)


@pytest.fixture(scope="module")
def told(world: World) -> list[Announcement]:
    """All that is announced of it."""
    return announcements(world)


def of(told: list[Announcement], pipeline: Pipeline) -> list[Announcement]:
    """What is announced of a pipeline itself."""
    return [each for each in told if each.thing is pipeline]


def test_the_same_world_announces_the_same(world: World, told: list[Announcement]) -> None:
    assert [each[:3] + each[6:] for each in announcements(world)] == [each[:3] + each[6:] for each in told]


def test_announcements_come_in_order_of_time_and_each_has_its_own_number(told: list[Announcement]) -> None:
    assert [each.at for each in told] == sorted(each.at for each in told)
    assert len({each.guid for each in told}) == len(told)


def test_nothing_is_told_before_it_has_happened(told: list[Announcement]) -> None:
    assert all(0 < each.at - each.moment < 3 for each in told)


def test_every_end_of_a_pipeline_is_told(world: World, told: list[Announcement]) -> None:
    heard = {(each.thing.id, each.moment) for each in told if isinstance(each.thing, Pipeline)}
    before: dict[int, str] = {}
    for pipeline in world.pipelines():
        for view in pipeline.views:
            is_new = before.get(pipeline.id) != view.status
            before[pipeline.id] = view.status
            if view.is_final and is_new and not (pipeline.deleted_at and view.updated_at >= pipeline.deleted_at):
                assert (pipeline.id, view.updated_at) in heard


def test_nothing_is_told_of_what_is_deleted(told: list[Announcement]) -> None:
    gone = [each for each in told if each.pipeline and each.pipeline.deleted_at and each.event == JOB]

    assert gone
    assert all(each.moment < (each.pipeline.deleted_at if each.pipeline else 0) for each in gone)


def test_a_pipeline_tells_its_latest_jobs_and_no_bridges(world: World, told: list[Announcement]) -> None:
    pipeline = next(each for each in world.pipelines() if any(job.retried_at for job in each.jobs) and not each.deleted_at)
    body = payload(world, of(told, pipeline)[-1])
    latest = {job.id for job in pipeline.jobs if job.spec.kind == BUILD and not job.retried_at}

    assert {build["id"] for build in body["builds"]} == latest
    assert body["object_attributes"]["status"] == pipeline.views[-1].status


def test_times_are_not_iso(world: World, told: list[Announcement]) -> None:
    body = payload(world, next(each for each in reversed(told) if each.event == PIPELINE and "finished" not in str(each.thing)))

    assert STAMP.fullmatch(body["object_attributes"]["created_at"])
    assert all(STAMP.fullmatch(build["created_at"]) for build in body["builds"])


def test_the_pipeline_of_a_merge_request_has_the_source_branch_for_its_ref(world: World, told: list[Announcement]) -> None:
    pipeline = next(each for each in world.pipelines() if each.merge_request)
    body = payload(world, of(told, pipeline)[0])

    assert pipeline.merge_request
    assert body["object_attributes"]["ref"] == pipeline.merge_request.source_branch
    assert body["merge_request"]["iid"] == pipeline.merge_request.iid


def test_a_child_says_where_it_comes_from(world: World, told: list[Announcement]) -> None:
    child = next(each for each in world.pipelines() if each.upstream)
    body = payload(world, of(told, child)[0])

    assert child.upstream
    assert body["source_pipeline"]["pipeline_id"] == child.upstream.pipeline.id
    assert body["source_pipeline"]["job_id"] == child.upstream.bridge.id


@pytest.mark.parametrize("event", [PUSH, TAG_PUSH])
def test_a_ref_that_is_deleted_is_pushed_to_nowhere(world: World, told: list[Announcement], event: str) -> None:
    gone = [payload(world, each) for each in told if each.event == event and each.pipeline is None]

    assert gone
    assert {(body["after"], body["checkout_sha"]) for body in gone} == {(NOWHERE, None)}


def test_merge_requests_are_opened_merged_and_closed(world: World, told: list[Announcement]) -> None:
    actions = {payload(world, each)["object_attributes"]["action"] for each in told if each.event == MERGE_REQUEST}

    assert actions == {"open", "merge", "close"}


def test_in_calm_weather_everything_arrives_once_and_in_order(told: list[Announcement]) -> None:
    assert [each.announcement for each in shipments(told, CALM)] == told


def test_in_rough_weather_some_is_lost_doubled_late_and_out_of_order(told: list[Announcement]) -> None:
    sent = [each.announcement.guid for each in shipments(told, ROUGH)]
    late = [each for each in shipments(told, ROUGH) if each.at - each.announcement.at > 60]

    assert 0.03 < 1 - len(set(sent)) / len(told) < 0.07
    assert 0.03 < (len(sent) - len(set(sent))) / len(told) < 0.07
    assert late
    assert sorted(each.announcement.at for each in shipments(told, ROUGH)) != [
        each.announcement.at for each in shipments(told, ROUGH)
    ]


def test_the_same_seed_brings_the_same_weather(told: list[Announcement]) -> None:
    assert shipments(told, ROUGH, 3) == shipments(told, ROUGH, 3)
    assert shipments(told, ROUGH, 3) != shipments(told, ROUGH, 4)


class Hook:
    """Whoever is delivered to; every third answers with an error."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One delivery."""
        request = Request(scope, receive)
        kind = json.loads(await request.body())["object_kind"]
        self.heard.append((request.headers["x-gitlab-event"], request.headers.get("x-gitlab-token", ""), kind))
        await Response(status_code=500 if len(self.heard) % 3 == 0 else 200)(scope, receive, send)


async def test_deliveries_carry_their_event_and_the_secret_token(world: World, told: list[Announcement]) -> None:
    hook, sender = Hook(), Sender(world, SECRET)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://hook") as client:
        await sender.post(client, "/webhook", shipments(told[:30], Weather()))

    assert [event for event, _, _ in hook.heard] == [each.event for each in told[:30]]
    assert {token for _, token, _ in hook.heard} == {SECRET}
    assert sender.answered == {"200": 20, "500": 10}


async def test_deliveries_wait_for_their_time(world: World, told: list[Announcement]) -> None:
    hook, sender, times = Hook(), Sender(world), list[float]()

    async def wait(at: float) -> None:
        times.append(at)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://hook") as client:
        await sender.post(client, "/webhook", shipments(told[:5]), wait)

    assert times == [each.at for each in told[:5]]
    assert {token for _, token, _ in hook.heard} == {""}
