"""Runs out of the API: each attempt that ended is reported, and next to nothing is asked where nothing happens."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from agent.sources.github.memory import MOST, Known, Memory
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


async def test_what_ended_before_the_agent_first_began_is_not_counted(github: GitHub, shop: Repository) -> None:
    shop.runs.append(finished(5, NOW - 500))

    assert await Poll(github)() == set()


async def test_a_run_and_its_jobs_count_when_they_have_ended(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs.append(finished(5, clock() - 30, 20, jobs=2))

    assert await poll() == {"run:5:1", "job:500", "job:501"}
    assert poll.engine.seen == [(5, 1, "completed", "CI", 2)]


async def test_an_idle_repository_costs_one_request_that_is_free(github: GitHub, shop: Repository) -> None:
    shop.runs += [finished(number, NOW - number * 1000) for number in range(300)]
    poll = await begun(github)

    await poll()

    assert github.asked() == [RUNS]
    assert github.charged() == 0


async def test_nothing_is_written_while_nothing_happens(github: GitHub, shop: Repository) -> None:
    shop.runs.append(finished(5, NOW - 500))
    poll = await begun(github)
    before = poll.cursor

    await poll()

    assert poll.cursor == before


async def test_a_run_is_counted_once_over_many_polls(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    for number in range(20):
        shop.runs.append(finished(number + 10, clock() - 30, 20))
        await poll()
        await anyio.sleep(MINUTE)

    assert set(poll.keys.values()) == {1}
    assert len(poll.keys) == 40


async def test_a_run_that_has_not_ended_is_looked_at_until_it_has(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    run = Run(5, clock(), [Attempt(clock(), None, job_list(500, 2, "in_progress"))])
    shop.runs.append(run)
    assert await poll() == set()

    await anyio.sleep(MINUTE)
    run.attempts[0].jobs[0]["status"] = "completed"
    assert await poll() == {"job:500"}

    run.attempts[0] = Attempt(run.created, clock(), job_list(500, 2))
    assert await poll() == {"run:5:1", "job:500", "job:501"}


async def test_a_run_that_was_under_way_when_the_agent_began_counts(github: GitHub, shop: Repository) -> None:
    run = Run(5, NOW - 2000, [Attempt(NOW - 2000)])
    shop.runs.append(run)
    poll = await begun(github)

    run.attempts[0] = Attempt(NOW - 2000, clock(), job_list(500, 1))

    assert await poll() == {"run:5:1", "job:500"}


async def test_runs_under_way_cost_nothing_while_they_are_the_same(github: GitHub, shop: Repository) -> None:
    shop.runs += [Run(number, NOW - 100, [Attempt(NOW - 100, None, job_list(number * 100, 1, "queued"))]) for number in (5, 6)]
    poll = await begun(github)
    await poll()
    github.charged()

    await poll()

    assert github.charged() == 0


async def test_an_old_run_far_down_that_has_not_ended_is_still_looked_at(github: GitHub, shop: Repository) -> None:
    old = Run(5, NOW - 100, [Attempt(NOW - 100)])
    shop.runs.append(old)
    poll = await begun(github)
    shop.runs += [finished(number + 10, clock() - 50 + number / 10, 5) for number in range(150)]
    await poll()

    old.attempts[0] = Attempt(NOW - 100, clock(), job_list(500, 1))

    assert await poll() == {"run:5:1", "job:500"}


async def test_a_re_run_counts_its_own_attempt_alone(github: GitHub, shop: Repository) -> None:
    run = finished(5, NOW - 20 * DAY)
    shop.runs.append(run)
    poll = await begun(github)

    run.attempts.append(Attempt(clock(), clock() + 5, job_list(900, 1)))

    assert await poll() == {"run:5:2", "job:900"}


async def test_two_attempts_between_two_polls_both_count(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    run = finished(5, clock() - 50, 10)
    run.attempts += [Attempt(clock() - 30, clock() - 20, job_list(600, 1)), Attempt(clock() - 10, clock(), job_list(700, 1))]
    shop.runs.append(run)

    assert await poll() == {"run:5:1", "job:500", "run:5:2", "job:600", "run:5:3", "job:700"}


async def test_a_re_run_of_a_run_under_way_leaves_no_attempt_out(github: GitHub, shop: Repository) -> None:
    run = Run(5, NOW - 100, [Attempt(NOW - 100)])
    shop.runs.append(run)
    poll = await begun(github)

    run.attempts = [Attempt(NOW - 100, clock() - 20, job_list(500, 1)), Attempt(clock() - 10)]
    assert await poll() == {"run:5:1", "job:500"}

    run.attempts[1] = Attempt(clock() - 10, clock(), job_list(600, 1))
    assert await poll() == {"run:5:2", "job:600"}


async def test_a_repository_that_is_renamed_counts_on(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs.append(finished(5, clock(), 5))
    await poll()

    shop.name = "acme/store"
    github.renamed["acme/shop"] = "acme/store"
    shop.runs.append(finished(6, clock(), 5))

    assert await poll() == {"run:6:1", "job:600"}


async def test_a_new_repository_counts_from_its_beginning(github: GitHub) -> None:
    poll = await begun(github)
    run = finished(5, clock() + 600, 5)
    github.repositories.append(Repository(2, "acme/till", [run], created=clock() + 500))
    await anyio.sleep(3700)

    assert await poll() == {"run:5:1", "job:500"}


async def test_an_old_repository_that_is_new_to_the_agent_counts_from_now_on(github: GitHub) -> None:
    poll = await begun(github)
    run = finished(5, clock() + 600, 5)
    github.repositories.append(Repository(2, "acme/till", [run]))
    await anyio.sleep(3700)

    assert await poll() == set()


async def test_a_run_that_cannot_be_read_is_left_out_and_said(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs += [finished(5, clock(), 5), finished(6, clock(), 5)]
    poll.engine.unreadable = 5

    assert await poll() == {"run:6:1", "job:600"}
    assert "acme/shop, run 5: cannot be read" in poll.problem
    assert await poll() == set()
    assert poll.problem == ""


async def test_a_workflow_without_a_name_is_called_by_its_file(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs.append(Run(5, clock(), [Attempt(clock(), clock(), [])], workflow=99))

    await poll()

    assert poll.engine.seen == [(5, 1, "completed", ".github/workflows/ci.yml", 0)]


async def test_the_jobs_of_all_pages_are_handed_on(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    shop.runs.append(finished(5, clock(), 5, jobs=256))

    assert len(await poll()) == 257


async def test_a_run_that_ended_waits_for_jobs_that_seem_not_to_have(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    run = finished(5, clock() - 5, 5, jobs=2)
    run.attempts[0].jobs[1]["status"] = "in_progress"
    shop.runs.append(run)
    assert await poll() == set()

    run.attempts[0].jobs[1]["status"] = "completed"

    assert await poll() == {"run:5:1", "job:500", "job:501"}


async def test_a_job_that_never_ends_holds_its_run_up_for_minutes_only(github: GitHub, shop: Repository) -> None:
    poll = await begun(github)
    run = finished(5, clock() - 5, 5, jobs=2)
    run.attempts[0].jobs[1]["status"] = "in_progress"
    shop.runs.append(run)
    await poll()
    await anyio.sleep(301)

    assert await poll() == {"run:5:1", "job:500"}


def test_what_is_remembered_is_bounded() -> None:
    memory = Memory()
    memory.keep({str(number): Known("etag") for number in range(MOST + 10)})

    assert memory.get("9") == Known("")
    assert memory.get("10") == Known("etag")
