"""How fast an instance is asked: what is configured, what it says itself, and what it bears."""

from __future__ import annotations

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.api import Gitlab
from agent.sources.gitlab.limits import LEAST_FACTOR, LONGEST_PAUSE_SECONDS, Limits
from tests.gitlab_api import NOW, Instance, client

pytestmark = pytest.mark.anyio

THINGS = "/projects/1/jobs"
DATE = "Mon, 21 Sep 2026 13:00:20 GMT"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def instance() -> Instance:
    found = Instance()
    found.lists = {THINGS: [], "/groups": []}
    return found


async def asked_at(instance: Instance, asking: Gitlab, times: int) -> list[float]:
    """When each of so many requests arrived that were all wanted at once."""
    begun = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(asking.get, THINGS)
    return [round(at - begun, 2) for at in instance.begun[-times:]]


# -- as configured ---------------------------------------------------------------------------------------


async def test_after_a_burst_requests_come_at_their_rate(instance: Instance) -> None:
    asking = client(instance, max_requests_per_second=2.0, burst_requests_per_second=3.0, max_concurrent_requests=100)

    assert await asked_at(instance, asking, 7) == [0, 0, 0, 0.5, 1.0, 1.5, 2.0]


async def test_a_rate_may_be_below_one(instance: Instance) -> None:
    asking = client(instance, max_requests_per_second=0.1, burst_requests_per_second=1.0, max_concurrent_requests=100)

    assert await asked_at(instance, asking, 3) == [0, 10.0, 20.0]


async def test_a_pause_fills_the_burst_again_and_no_more(instance: Instance) -> None:
    asking = client(instance, max_requests_per_second=1.0, burst_requests_per_second=2.0, max_concurrent_requests=100)
    await asked_at(instance, asking, 2)
    await anyio.sleep(3600)

    assert await asked_at(instance, asking, 4) == [0, 0, 1.0, 2.0]


async def test_no_more_than_allowed_are_under_way_at_once(instance: Instance) -> None:
    asking = client(instance, max_concurrent_requests=3)

    assert await asked_at(instance, asking, 7) == [0, 0, 0, 0.1, 0.1, 0.1, 0.2]


# -- as the instance says --------------------------------------------------------------------------------


async def waited(instance: Instance, refusal: httpx.Response) -> float:
    """Seconds from a refusal until it is asked again."""
    instance.script[THINGS] = [refusal]
    await client(instance).get(THINGS)
    return round(instance.begun[1] - instance.begun[0] - 0.1, 1)


async def test_retry_after_is_kept_to(instance: Instance) -> None:
    assert await waited(instance, httpx.Response(429, text="Retry later\n", headers={"retry-after": "37"})) == 37


async def test_retry_after_may_be_a_date(instance: Instance) -> None:
    headers = {"retry-after": "Mon, 21 Sep 2026 13:00:50 GMT", "date": DATE}

    assert await waited(instance, httpx.Response(429, text="Retry later\n", headers=headers)) == 30


async def test_without_a_word_of_how_long_the_end_of_the_minute_is_waited_for(instance: Instance) -> None:
    body = {"message": {"error": "This endpoint has been requested too many times. Try again later."}}

    assert await waited(instance, httpx.Response(429, json=body, headers={"date": DATE})) == 40


async def test_a_limit_of_one_endpoint_stops_no_other(instance: Instance) -> None:
    body = {"message": {"error": "This endpoint has been requested too many times. Try again later."}}
    instance.script[THINGS] = [httpx.Response(429, json=body, headers={"retry-after": "60"})]
    asking = client(instance)

    async with anyio.create_task_group() as group:
        group.start_soon(asking.get, THINGS)
        await anyio.sleep(1)
        await asking.get("/groups")

    assert [round(at) for at in instance.begun] == [0, 1, 60]


async def test_a_limit_of_the_user_stops_everything(instance: Instance) -> None:
    instance.script[THINGS] = [httpx.Response(429, text="Retry later\n", headers={"retry-after": "60"})]
    asking = client(instance)

    async with anyio.create_task_group() as group:
        group.start_soon(asking.get, THINGS)
        await anyio.sleep(1)
        await asking.get("/groups")

    assert [round(at) for at in instance.begun] == [0, 60, 60]


async def test_a_limit_that_does_not_end_is_an_error(instance: Instance) -> None:
    instance.script[THINGS] = [httpx.Response(429, headers={"retry-after": "1"}) for _ in range(9)]

    with pytest.raises(CollectError, match="HTTP 429") as caught:
        await client(instance).get(THINGS)

    assert (caught.value.kind, len(instance.requests)) == ("rate_limit", 3)


async def test_a_limit_that_lasts_is_an_error_at_once_and_nothing_is_asked_meanwhile(instance: Instance) -> None:
    instance.script[THINGS] = [httpx.Response(429, headers={"retry-after": "1000"})]
    asking = client(instance)

    for _ in range(3):
        with pytest.raises(CollectError, match="lasts") as caught:
            await asking.get(THINGS)
        assert caught.value.kind == "rate_limit"
    assert len(instance.requests) == 1
    assert anyio.current_time() < 1
    await anyio.sleep(1000)

    await asking.get(THINGS)

    assert len(instance.requests) == 2


async def test_with_nothing_left_the_reset_is_waited_for_by_the_instances_clock(instance: Instance) -> None:
    asking = client(instance)
    instance.headers = {"date": DATE, "ratelimit-remaining": "0", "ratelimit-reset": "1789995660"}
    await asking.get(THINGS)
    instance.headers = {}

    await asking.get(THINGS)

    assert round(instance.begun[1] - instance.begun[0], 1) == 40.1


async def test_no_more_is_asked_until_the_reset_than_is_left(instance: Instance) -> None:
    asking = client(instance, max_concurrent_requests=100)
    instance.headers = {"date": DATE, "ratelimit-remaining": "4", "ratelimit-reset": "1789995660"}
    await asking.get(THINGS)
    instance.headers = {}

    arrived = await asked_at(instance, asking, 6)

    assert sum(at < 39 for at in arrived) <= 4
    assert max(arrived) < 41


def test_requests_under_way_count_before_they_are_answered() -> None:
    limits = Limits(10.0, 10.0)
    limits.answered("/x", 200, {"ratelimit-remaining": "5", "ratelimit-reset": "60"}, 0.0, "", 100.0, 100.1)

    for _ in range(3):
        limits.reserve(100.2)
    assert limits.standing == (2.0, 60.0)
    limits.answered("/x", 200, {"ratelimit-remaining": "4", "ratelimit-reset": "60"}, 0.0, "", 100.0, 100.3)
    assert limits.standing == (2.0, 60.0)
    limits.answered("/x", 200, {"ratelimit-remaining": "9", "ratelimit-reset": "120"}, 60.0, "", 160.0, 160.1)

    assert limits.standing == (9.0, 120.0)


async def test_a_limit_of_an_hour_leaves_room_for_a_burst(instance: Instance) -> None:
    await anyio.sleep(10_000)
    asking = client(instance, max_requests_per_second=10.0, burst_requests_per_second=20.0, max_concurrent_requests=100)
    instance.headers = {"date": DATE, "ratelimit-remaining": "7200", "ratelimit-reset": "1789999220"}
    await asking.get(THINGS)
    instance.headers = {}

    arrived = await asked_at(instance, asking, 30)

    assert sum(at < 0.1 for at in arrived) == 19
    assert 5 < max(arrived) < 6  # eleven at two a second


async def test_where_next_to_nothing_is_left_for_long_that_is_an_error(instance: Instance) -> None:
    asking = client(instance, max_concurrent_requests=1)
    instance.headers = {"date": DATE, "ratelimit-remaining": "2", "ratelimit-reset": "1789999220"}
    await asking.get(THINGS)
    instance.headers = {}
    await asking.get(THINGS)

    for _ in range(3):
        with pytest.raises(CollectError, match="rate limit") as caught:
            await asking.get(THINGS)
        assert caught.value.kind == "rate_limit"
    await anyio.sleep(3600)
    await asking.get(THINGS)

    assert len(instance.requests) == 3


async def test_what_is_left_is_told(instance: Instance) -> None:
    asking = client(instance)
    assert asking.calls.limits.standing is None

    instance.headers = {"ratelimit-remaining": "1999", "ratelimit-reset": str(NOW + 30)}
    await asking.get(THINGS)

    assert asking.calls.limits.standing == (1999.0, NOW + 30)


@pytest.mark.parametrize("remaining", ["-1", "", "many", "1e9", "9" * 40])
async def test_what_makes_no_sense_is_not_believed(instance: Instance, remaining: str) -> None:
    asking = client(instance)
    instance.headers = {"ratelimit-remaining": remaining, "ratelimit-reset": "5"}

    await asking.get(THINGS)

    assert asking.calls.limits.standing is None


# -- as it bears -----------------------------------------------------------------------------------------


def test_errors_slow_down_once_for_all_requests_under_way_and_good_answers_speed_up_again() -> None:
    limits = Limits(10.0, 1.0)
    for _ in range(8):
        limits.answered("/x", 502, {}, NOW, "", 0.0, 1.0)
    assert limits.factor == 0.5

    for second in range(2, 20):
        limits.answered("/x", 502, {}, NOW, "", second, second)
    assert limits.factor == LEAST_FACTOR

    for _ in range(100):
        limits.answered("/x", 200, {}, NOW, "", 20.0, 20.1)
    assert limits.factor == 1.0


def test_slow_answers_slow_down() -> None:
    limits = Limits(10.0, 1.0)

    limits.answered("/x", 200, {}, NOW, "", 0.0, 25.0)

    assert limits.factor == 0.8


async def test_an_instance_in_trouble_is_asked_less_often(instance: Instance) -> None:
    instance.script[THINGS] = [httpx.ReadError("gone"), httpx.ReadError("gone")]
    asking = client(instance, max_requests_per_second=2.0, burst_requests_per_second=1.0, max_concurrent_requests=100)
    await asking.get(THINGS)

    gaps = await asked_at(instance, asking, 3)

    assert gaps[2] - gaps[1] > 1.5


# -- a token that is refused -----------------------------------------------------------------------------


async def refused(asking: Gitlab, path: str = THINGS) -> str:
    with pytest.raises(CollectError) as caught:
        await asking.get(path)
    assert caught.value.kind == "auth"
    return str(caught.value)


async def test_a_token_that_is_refused_everywhere_is_tried_now_and_then(instance: Instance) -> None:
    instance.token = "another"
    asking = client(instance)

    for _ in range(3600):
        await refused(asking)
        await anyio.sleep(1)

    assert [round(at) for at in instance.begun[:5]] == [0, 1, 2, 62, 182]
    assert len(instance.begun) < 12
    assert (
        max(after - before for before, after in zip(instance.begun, instance.begun[1:], strict=False)) < LONGEST_PAUSE_SECONDS + 5
    )


async def test_clear_words_take_one_refusal(instance: Instance) -> None:
    body = {"error": "invalid_token", "error_description": "Token was revoked."}
    instance.script[THINGS] = [httpx.Response(401, json=body)]
    asking = client(instance)

    await refused(asking)

    assert "tried again at 14:14:20 UTC" in await refused(asking, "/groups")
    assert len(instance.requests) == 1


async def test_a_right_that_is_missing_for_one_thing_shuts_nothing(instance: Instance) -> None:
    """Lists of tokens answer 401 to those who may not see them."""
    asking = client(instance)

    for _ in range(10):
        instance.script["/projects/1/access_tokens"] = [httpx.Response(401, json={"message": "401 Unauthorized"})]
        await refused(asking, "/projects/1/access_tokens")
        await asking.get(THINGS)

    assert len(instance.requests) == 20


async def test_only_one_request_finds_out_whether_the_token_is_good_again(instance: Instance) -> None:
    instance.token = "another"
    asking = client(instance)
    for _ in range(3):
        await refused(asking)
    await anyio.sleep(61)
    before = len(instance.requests)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(refused, asking)

    assert len(instance.requests) - before == 1


async def test_a_token_that_is_good_again_opens_everything(instance: Instance) -> None:
    instance.token, good = "another", instance.token
    asking = client(instance)
    for _ in range(3):
        await refused(asking)
    instance.token = good
    await anyio.sleep(61)
    before = len(instance.requests)

    for _ in range(5):
        await asking.get(THINGS)

    assert len(instance.requests) - before == 5
