"""The committer: exactly once into the ledger, the store and the outbox."""

from __future__ import annotations

import math
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from agent.commit.committer import DURATION, FOLDED, OBSERVATIONS
from agent.errors import CollectError, LedgerError
from agent.model import Collected, Note, Update
from tests import outage
from tests.core import Offered
from tests.counting import INTERVAL, JOBS, Rig, committing, ended, exemplars, job

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return outage.virtual_backend()


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", outage.in_virtual_time)


async def test_a_counter_that_appears_begins_at_zero_before_its_first_flush() -> None:
    async with committing(Rig()) as rig:
        await anyio.sleep(100)
        await rig.count(job("k"))
        await rig.flush()

        counts = [(round(at), value) for name, _, at, value in rig.sent() if name == "jobs_total"]
        assert counts == [(85, 0.0), (115, 1.0)]


async def test_birth_rows_travel_in_a_block_of_their_own_ahead_of_the_flush() -> None:
    async with committing(Rig()) as rig:
        await rig.count(job("k", seconds=3.0))
        await rig.flush()

        births, flush = rig.lanes[0].items
        assert (births.samples, flush.samples, births.events) == (6, 6, False)
        assert births.timestamp_ms < flush.timestamp_ms
        assert births.flush == flush.flush


async def test_a_histogram_that_appears_begins_with_empty_buckets() -> None:
    async with committing(Rig()) as rig:
        await rig.count(job("k", seconds=3.0))
        await rig.flush()

        assert rig.values("job_seconds_bucket{10}", "a") == [0.0, 1.0]
        assert rig.values("job_seconds_sum", "a") == [0.0, 3.0]


async def test_a_series_that_is_live_is_not_born_again() -> None:
    async with committing(Rig()) as rig:
        await rig.count(job("k"))
        await rig.flush()
        await rig.count(job("l"))
        await rig.flush()

        assert rig.values("jobs_total", "a") == [0.0, 1.0, 2.0]


async def test_a_series_that_expired_comes_back_at_its_value_before() -> None:
    async with committing(Rig()) as rig:
        await rig.count(job("k", amount=5))
        await rig.flush()
        await anyio.sleep(4000)
        await rig.flush()
        await rig.count(job("l"))
        await rig.flush()

        assert rig.values("jobs_total", "a") == [0.0, 5.0, 5.0, 6.0]
        assert sum(math.isnan(value) for _, _, _, value in rig.sent()) == 1


async def test_a_restart_goes_on_with_the_totals_and_without_a_birth_row(tmp_path: Path) -> None:
    async with committing(Rig(tmp_path / "ledger")) as rig:
        await rig.count(job("k", seconds=3.0))
        await rig.flush()
        await rig.committer.settle()
    async with committing(rig.again()) as rig:
        await rig.count(job("k", seconds=3.0), job("l", seconds=0.5))
        await rig.flush()

        assert rig.values("jobs_total", "a") == [2.0]
        assert rig.values("job_seconds_bucket{1}", "a") == [1.0]


async def test_what_was_silent_for_its_ttl_stays_out_until_it_is_touched(tmp_path: Path) -> None:
    async with committing(Rig(tmp_path / "ledger")) as rig:
        await rig.count(job("k", "old"))
        await anyio.sleep(3000)
        await rig.count(job("l", "young"))
        await anyio.sleep(700)
    rig = rig.again()

    assert [labels[1] for labels in rig.feed.tables[JOBS, ""].index] == ["young"]


async def test_the_ttl_of_a_restored_series_counts_from_its_last_increment(tmp_path: Path) -> None:
    async with committing(Rig(tmp_path / "ledger")) as rig:
        await rig.count(job("k"))
        await anyio.sleep(3000)
    rig = rig.again()
    await anyio.sleep(700)
    for _ in rig.store.expiring(rig.wall()):
        pass

    assert rig.feed.series == 0


async def test_a_birth_row_that_no_sink_had_for_good_is_sent_again_the_same_after_a_crash(tmp_path: Path) -> None:
    async with committing(Rig(tmp_path / "ledger", settled=lambda _: 0)) as rig:
        await rig.count(job("k"))
        await rig.flush()
        await anyio.sleep(5)
        first = rig.lanes[0].items[0]
    rig = rig.again()
    await rig.flush()

    assert rig.lanes[0].items[0].payload == first.payload


async def test_rows_that_every_sink_has_leave_the_ledger(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "ledger", lanes=[Offered("a"), Offered("b")])
    done: dict[str, int | None] = {"a": None, "b": 0}
    rig.settled = done.__getitem__
    async with committing(rig):
        await rig.count(job("k"))
        await rig.flush()
        await anyio.sleep(3)
        before = len(rig.ledger.outbox(0, 10))
        done["b"] = 1
        await anyio.sleep(3)

        assert (before, rig.ledger.outbox(0, 10), rig.committer.outbox.rows) == (1, [], 0)


async def test_callers_that_come_while_a_transaction_is_written_share_the_next() -> None:
    async with committing(Rig()) as rig:
        async with anyio.create_task_group() as callers:
            for number in range(100):
                callers.start_soon(rig.count, job(f"k{number}"))

        assert rig.total("a") == 100
        assert rig.monitor.value(DURATION) <= 2


async def test_the_same_observation_from_two_callers_at_once_counts_once() -> None:
    async with committing(Rig()) as rig:
        async with anyio.create_task_group() as callers:
            callers.start_soon(rig.count, job("k"))
            callers.start_soon(rig.count, job("k"))

        assert rig.total("a") == 1
        assert [rig.monitor.value(OBSERVATIONS, ("s", outcome)) for outcome in ("new", "known")] == [1, 1]


async def test_a_caller_that_goes_away_does_not_undo_it() -> None:
    async with committing(Rig()) as rig:
        async with anyio.create_task_group() as callers:
            callers.start_soon(rig.count, job("k"))
            await anyio.lowlevel.checkpoint()
            callers.cancel_scope.cancel()
        await rig.count(job("l"))

        assert rig.total("a") == 2


async def test_a_ledger_that_refuses_is_told_to_every_caller_and_taken_up_again() -> None:
    async with committing(Rig()) as rig:
        taken = rig.ledger.lease()  # as another agent would
        with pytest.raises(LedgerError):
            await rig.count(job("k"))
        problem = rig.committer.problem
        rig.committer._epoch = taken
        await rig.count(job("k"))

        assert (problem != "", rig.committer.problem, rig.total("a")) == (True, "", 1)


async def test_an_observation_that_does_not_fit_its_family_costs_its_caller_alone() -> None:
    async with committing(Rig()) as rig:
        with pytest.raises(CollectError):
            await rig.count(job("k", amount=math.nan))
        await rig.count(job("k"))

        assert rig.total("a") == 1


async def test_notes_and_plain_updates_go_with_the_observations() -> None:
    async with committing(Rig()) as rig:
        update = Update(JOBS, ("r", "now"), 7.0, rig.wall())
        await rig.committer.commit(rig.feed, Collected([update], observations=[job("k")], notes=[Note("n", "x")]))

        assert (rig.total("now"), rig.ledger.notes("s")) == (7.0, {"n": "x"})


async def test_only_what_is_new_brings_the_flush_forward() -> None:
    async with committing(Rig()) as rig:
        await rig.count(job("k"))
        await rig.count(job("k"))

        assert rig.hastened == 1


async def test_series_over_the_sources_limit_fold_and_no_increment_is_lost() -> None:
    async with committing(Rig(limits={"max_series": 10})) as rig:
        await rig.count(*[job(f"k{number}", f"n{number}") for number in range(20)])
        await rig.count(*[job(f"l{number}", f"n{number}") for number in range(20)])

        own = sum(rig.total(f"n{number}") for number in range(9))
        assert (own, rig.total("overflow"), rig.monitor.value(FOLDED, ("s",))) == (18, 22, 22)


async def test_series_over_a_projects_limit_fold_and_those_of_others_do_not(tmp_path: Path) -> None:
    async with committing(Rig(tmp_path / "ledger", limits={"max_series_per_project": 3})) as rig:
        await rig.count(*[job(f"k{number}", f"n{number}", repo="big") for number in range(5)], job("k", repo="small"))
    async with committing(rig.again()) as rig:
        await rig.count(*[job(f"l{number}", f"n{number}", repo="big") for number in range(5)])

        assert [rig.total(f"n{number}", "big") for number in range(3)] == [2, 2, 2]
        assert (rig.total("overflow", "big"), rig.total("a", "small")) == (4, 1)


async def test_an_event_is_sent_once_at_its_own_time_with_its_exemplar() -> None:
    async with committing(Rig()) as rig:
        await rig.count(ended("k", "a", -50.0, "77"))
        await rig.count(ended("k", "a", -50.0, "77"))
        await rig.flush()
        await rig.flush()

        (block,) = rig.lanes[0].items
        assert (rig.sent(), block.events) == ([("job_ended", "a", -50.0, 1.0)], True)
        assert exemplars([block]) == [{"run_id": "77"}]


async def test_a_clock_that_steps_back_loses_no_increment() -> None:
    async with committing(Rig()) as rig:
        await rig.count(job("k"))
        rig.wall.shift -= 86400
        await rig.count(job("l"))

        assert rig.total("a") == 2


async def test_a_commit_does_not_wait_for_the_flush_interval() -> None:
    async with committing(Rig()) as rig:
        begun = anyio.current_time()
        await rig.count(job("k"))

        assert anyio.current_time() - begun < INTERVAL / 10
