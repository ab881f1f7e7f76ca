"""Runs out of the API in trouble: long absences, lists that are cut off, errors, limits, crashes."""

from __future__ import annotations

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from tests.github_api import DAY, NOW, Attempt, GitHub, Poll, Repository, Run, clock, finished, job_list

pytestmark = pytest.mark.anyio

RUNS = "/repos/acme/shop/actions/runs"
MINUTE = 60.0


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def shop() -> Repository:
    return Repository(1, "acme/shop")


@pytest.fixture
def github(shop: Repository) -> GitHub:
    return GitHub(shop)


async def begun(github: GitHub) -> Poll:
    """A poller that has seen what there was, a minute ago."""
    poll = Poll(github)
    await poll()
    await anyio.sleep(MINUTE)
    github.asked()
    github.charged()
    return poll


async def test_a_re_run_far_down_the_list_is_found_soon_after_an_hour(github: GitHub, shop: Repository) -> None:
    runs = [finished(number, NOW - number * 5000) for number in range(1, 400)]
    shop.runs += runs
    poll = await begun(github)
    runs[350].attempts.append(Attempt(clock(), clock() + 5, job_list(900_000, 1)))

    found: set[str] = set()
    for _ in range(90):
        found |= await poll()
        await anyio.sleep(MINUTE)

    assert found == {"run:351:2", "job:900000"}
    assert max(poll.keys.values()) == 1


async def test_looking_for_re_runs_is_free_and_never_two_requests_a_poll(github: GitHub, shop: Repository) -> None:
    shop.runs += [finished(number, NOW - number * 5000) for number in range(1, 400)]
    poll = await begun(github)
    for _ in range(100):
        await anyio.sleep(MINUTE)
        await poll()
    github.charged()
    windows = set()

    for _ in range(60):
        await anyio.sleep(MINUTE)
        github.asked()
        await poll()
        windows |= {request.url.params.get("created") for request in github.requests}
        assert github.asked().count(RUNS) == 1

    assert len(windows) > 5
    assert github.charged() == 1, "the list of repositories, once"


async def test_a_re_run_far_down_is_found_at_once_where_something_happens(github: GitHub, shop: Repository) -> None:
    runs = [finished(number, NOW - number * 5000) for number in range(1, 400)]
    shop.runs += runs
    poll = await begun(github)
    runs[350].attempts.append(Attempt(clock(), clock() + 5, job_list(900_000, 1)))
    await anyio.sleep(3600)
    shop.runs.append(finished(5000, clock(), 5))

    assert await poll() == {"run:351:2", "job:900000", "run:5000:1", "job:500000"}


async def test_a_collect_that_is_cancelled_has_read_nothing(github: GitHub, shop: Repository) -> None:
    till = Repository(2, "acme/till")
    github.repositories.append(till)
    poll = await begun(github)
    shop.runs.append(finished(5, clock(), 5))
    till.runs += [finished(number, clock(), 5) for number in range(10, 90)]

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        await anyio.sleep(0.085)  # the one is read, the other is not
        group.cancel_scope.cancel()

    assert {"run:5:1", "job:500"} < await poll()


@pytest.mark.parametrize("count", [150, 1300])
async def test_a_time_without_the_agent_is_made_up_for(github: GitHub, shop: Repository, count: int) -> None:
    poll = await begun(github)
    shop.runs += [finished(number, clock() + number) for number in range(10, 10 + count)]
    await anyio.sleep(DAY)
    poll.restart()

    for _ in range(4):
        await poll()

    assert sorted(poll.keys) == sorted(key for number in range(10, 10 + count) for key in (f"run:{number}:1", f"job:{number}00"))
    assert set(poll.keys.values()) == {1}


async def test_a_thousand_runs_at_nearly_the_same_time_are_all_found(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs += [finished(number, clock() + number % 7) for number in range(10, 1210)]
    await anyio.sleep(MINUTE)

    for _ in range(4):
        await poll()

    assert len(poll.keys) == 2400


async def test_more_than_a_thousand_runs_in_one_second_are_said(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs += [finished(number, clock()) for number in range(10, 1210)]

    await poll()

    assert "more than a thousand runs were created within one second" in poll.problem


async def test_a_gap_longer_than_allowed_is_said_and_cut(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs += [finished(5, clock() + DAY), finished(6, clock() + 9 * DAY)]
    await anyio.sleep(10 * DAY)
    poll.restart()

    assert await poll() == {"run:6:1", "job:600"}
    assert "nothing was read for 10.0 days" in poll.problem


async def test_what_was_not_committed_is_reported_again(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs.append(finished(5, clock(), 5))

    first = await poll(commits=False)
    second = await poll()

    assert first == second == {"run:5:1", "job:500"}


async def test_a_crash_at_any_poll_loses_nothing(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    for number in range(10, 40):
        shop.runs.append(finished(number, clock() - 30, 20))
        await poll(commits=number % 3 == 0)
        if number % 4 == 0:
            poll.restart()
        await anyio.sleep(MINUTE)
    await poll()

    assert {key for key in poll.keys if key.startswith("run")} == {f"run:{number}:1" for number in range(10, 40)}


async def test_a_run_whose_jobs_cannot_be_had_is_tried_again(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs += [finished(5, clock(), 5), finished(6, clock(), 5)]
    github.script[f"{RUNS}/5/attempts/1/jobs"] = [httpx.Response(500) for _ in range(3)]

    assert await poll() == {"run:6:1", "job:600"}
    assert "acme/shop, run 5: HTTP 500" in poll.problem
    assert await poll() == {"run:5:1", "job:500"}
    assert poll.problem == ""


async def test_a_run_that_is_deleted_is_forgotten(github: GitHub, shop: Repository) -> None:
    shop.runs.append(Run(5, NOW - 100, [Attempt(NOW - 100)]))
    poll = await begun(github)
    shop.runs.clear()

    assert await poll() == set()
    github.asked()
    assert await poll() == set()
    assert github.asked() == [RUNS]


async def test_a_repository_that_is_gone_stops_no_other(github: GitHub, shop: Repository) -> None:
    github.repositories.append(Repository(2, "acme/till"))
    poll = await begun(github)
    shop.runs.append(finished(5, clock(), 5))
    github.script["/repos/acme/till/actions/runs"] = [httpx.Response(404, json={})]

    assert await poll() == {"run:5:1", "job:500"}
    assert "acme/till" in poll.problem


async def test_where_nothing_can_be_read_the_collect_fails(github: GitHub) -> None:
    poll = await begun(github)
    github.script[RUNS] = [httpx.Response(200, text="<html>")]

    with pytest.raises(CollectError) as caught:
        await poll()

    assert caught.value.kind == "json"


async def test_a_collect_that_meets_the_limit_goes_on_where_it_stopped(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs += [finished(number, clock() - 50 + number, 5) for number in range(10, 40)]
    limit = httpx.Response(403, headers={"x-ratelimit-remaining": "0", "retry-after": "600"})
    github.script[f"{RUNS}/25/attempts/1/jobs"] = [limit]

    first = await poll()
    assert 0 < len(first) < 60
    assert "rate limit" in poll.problem
    with pytest.raises(CollectError, match="rate limit"):
        await poll()
    await anyio.sleep(600)
    second = await poll()

    assert len(first | second) == 60
    assert set(poll.keys.values()) == {1}


async def test_a_collect_leaves_time_for_what_is_under_way(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs += [finished(number, clock() - 50 + number % 40, 5) for number in range(1000, 2500)]

    found: set[str] = set()
    polls = 0
    while len(found) < 3000 and polls < 20:
        polls += 1
        with anyio.fail_after(1):
            found |= await poll()

    assert polls > 2
    assert found == set(poll.keys)
    assert len(found) == 3000


BROKEN = ["", "null", "[]", "{", '{"v":1}', '{"v":1,"start":"x","at":0,"places":{}}', "[" * 9999, '{"v":2}']


@pytest.mark.parametrize("text", BROKEN)
async def test_a_damaged_cursor_begins_anew_and_says_so(github: GitHub, shop: Repository, text: str) -> None:
    shop.runs.append(finished(5, NOW - 500))
    poll = Poll(github)
    poll.cursor = text

    assert await poll() == set()
    assert "count from now on" in poll.problem
    shop.runs.append(finished(6, clock() + 1, 5))
    await anyio.sleep(MINUTE)
    assert await poll() == {"run:6:1", "job:600"}


async def test_an_agent_whose_clock_is_ahead_misses_nothing(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    await anyio.sleep(3600)
    for number in range(10, 60):
        shop.runs.append(finished(number, clock() - 1230, 20))
        await poll()
        await anyio.sleep(MINUTE)

    assert {key for key in poll.keys if key.startswith("run")} == {f"run:{number}:1" for number in range(10, 60)}
    assert set(poll.keys.values()) == {1}
