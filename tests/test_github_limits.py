"""Rate limits: what GitHub's headers say is kept to, and nothing is asked meanwhile."""

from __future__ import annotations

from contextlib import suppress

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.github.limits import LONGEST_SECONDS, Limits
from tests.github_api import NOW, GitHub, Repository, api, clock

pytestmark = pytest.mark.anyio

SHOP = "/repos/acme/shop"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def github() -> GitHub:
    return GitHub(Repository(1, "acme/shop"))


async def waited(github: GitHub, refusal: httpx.Response) -> int:
    """Seconds from a refusal until GitHub is asked again, by somebody who wants to ask every second."""
    client = api(github)
    github.script[SHOP] = [refusal]
    with pytest.raises(CollectError) as refused:
        await client.get(SHOP)
    assert refused.value.kind == "rate_limit"
    begun = anyio.current_time()
    while len(github.requests) < 2:
        await anyio.sleep(1)
        with suppress(CollectError):
            await client.get(SHOP)
    return int(anyio.current_time() - begun)


async def test_retry_after_is_kept_to(github: GitHub) -> None:
    assert await waited(github, httpx.Response(429, headers={"retry-after": "90"})) == 90


async def test_with_nothing_left_the_reset_is_waited_for(github: GitHub) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(clock()) + 1800), "x-ratelimit-resource": "core"}

    seconds = await waited(github, httpx.Response(403, headers=headers))

    assert 1798 <= seconds <= 1802


async def test_a_reset_is_taken_relative_to_githubs_own_clock(github: GitHub) -> None:
    headers = {
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1800000300",
        "date": "Fri, 15 Jan 2027 08:00:00 GMT",  # 1800000000
    }

    seconds = await waited(github, httpx.Response(403, headers=headers))

    assert 298 <= seconds <= 302


async def test_a_secondary_limit_without_a_word_of_how_long_is_a_minute(github: GitHub) -> None:
    refusal = httpx.Response(403, json={"message": "You have exceeded a secondary rate limit."})

    assert await waited(github, refusal) == 60


def test_where_nothing_is_told_the_wait_doubles_and_an_answer_ends_that() -> None:
    now = [NOW]
    limits = Limits(lambda: now[0])

    def wait() -> float:
        assert limits.note("token", 429, {})
        begun = now[0]
        while True:
            try:
                limits.check("token")
            except CollectError:
                now[0] += 1
            else:
                return now[0] - begun

    assert [wait(), wait(), wait()] == [60, 120, 240]
    limits.note("token", 200, {})
    assert wait() == 60


def test_no_wait_is_longer_than_an_hour() -> None:
    now = [NOW]
    limits = Limits(lambda: now[0])
    limits.note("token", 403, {"retry-after": "999999999"})

    now[0] += LONGEST_SECONDS - 1
    with pytest.raises(CollectError, match="until"):
        limits.check("token")
    now[0] += 1
    limits.check("token")


def test_a_clock_that_was_set_back_does_not_prolong_a_wait() -> None:
    now = [NOW]
    limits = Limits(lambda: now[0])
    limits.note("token", 429, {"retry-after": "60"})

    now[0] -= 86400

    limits.check("token")


def test_a_refusal_of_rights_is_no_limit() -> None:
    limits = Limits(lambda: NOW)

    assert not limits.note("token", 403, {"x-ratelimit-remaining": "4000"}, "Resource not accessible by integration")
    limits.check("token")


def test_one_credentials_limit_is_not_anothers() -> None:
    limits = Limits(lambda: NOW)
    limits.note("installation 1", 429, {})

    limits.check("installation 2")


async def test_the_last_request_allowed_is_the_last_one_asked(github: GitHub) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(clock()) + 900), "x-ratelimit-resource": "core"}
    github.script[SHOP] = [httpx.Response(200, json={"id": 1}, headers=headers)]
    client = api(github)

    assert (await client.get(SHOP)).data == {"id": 1}
    with pytest.raises(CollectError, match="rate limit"):
        await client.get(SHOP)

    assert len(github.requests) == 1


async def test_what_is_left_is_known_for_each_limit(github: GitHub) -> None:
    for resource, left in (("core", 4990), ("code_search", 9)):
        headers = {"x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(int(NOW) + 600), "x-ratelimit-resource": resource}
        github.script.setdefault(SHOP, []).append(httpx.Response(200, json={}, headers=headers))
    client = api(github)
    await client.get(SHOP)
    await client.get(SHOP)

    standings = client.calls.limits.standings()

    assert {resource: standing.remaining for resource, standing in standings.items()} == {"core": 4990, "code_search": 9}


def test_of_several_credentials_the_one_with_least_left_is_told() -> None:
    limits = Limits(lambda: NOW)
    for who, left in (("installation 1", "70"), ("installation 2", "30"), ("installation 3", "50")):
        limits.note(who, 200, {"x-ratelimit-remaining": left, "x-ratelimit-reset": str(int(NOW) + 60)})

    assert limits.standings()["core"].remaining == 30


@pytest.mark.parametrize("text", ["-1", "1e9", "nan", "9" * 400, "", "٣"])
def test_numbers_that_are_none_are_left_out(text: str) -> None:
    limits = Limits(lambda: NOW)

    limits.note("token", 200, {"x-ratelimit-remaining": text, "x-ratelimit-reset": text})

    assert limits.standings() == {}
    limits.check("token")


def test_what_is_kept_of_limits_is_bounded() -> None:
    limits = Limits(lambda: NOW)
    for number in range(3000):
        headers = {
            "x-ratelimit-remaining": "1",
            "x-ratelimit-reset": str(int(NOW) + 60),
            "x-ratelimit-resource": "a" * (number % 40),
        }
        limits.note(f"installation {number}", 200, headers)

    assert len(limits._standings) <= 1000
