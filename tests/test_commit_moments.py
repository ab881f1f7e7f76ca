"""The committer beside everything else: flushes, limits, rules, clocks and reloads, at any moment."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from agent.model import Collected, Encoding, Family, Kind, Protocol, Update
from agent.relabel.options import rules_of
from agent.sinks.remote_write import Options
from agent.store.encode import LabelRules
from tests import outage
from tests.core import Offered
from tests.counting import INTERVAL, Rig, committing, job, samples

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@pytest.fixture
def anyio_backend() -> object:
    return outage.virtual_backend()


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", outage.in_virtual_time)


async def at_once(function: Callable[..., T], *args: object) -> T:
    """A thread that is as fast as can be."""
    await anyio.lowlevel.checkpoint()
    return function(*args)


@pytest.mark.parametrize("seed", range(20))
async def test_commits_at_any_moment_of_a_flush_send_no_series_backwards(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", at_once)
    random, rig = Random(seed), Rig(lanes=[Offered("a")])
    other = Offered("b")
    rig.flusher.attach(other, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules({"job": "k"}))
    rig.committer.outbox.settle_sinks(["a", "b"])

    async def count() -> None:
        for number in range(30):
            for _ in range(random.randrange(20)):
                await anyio.lowlevel.checkpoint()
            await rig.count(job(f"k{number}", f"n{random.randrange(8)}", seconds=2.0))
            if random.random() < 0.3:
                await anyio.sleep(INTERVAL)  # so that the next commits come with a flush

    many = [Family(f"g{number}", Kind.GAUGE, "", ttl_seconds=1.0) for number in range(40)]
    async with committing(rig), anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        for _ in range(20):
            # Their end is looked for between the time of a flush and its beginning.
            rig.store.apply(rig.feed, Collected([Update(family, (), 1.0, rig.wall()) for family in many]), rig.wall())
            await rig.flush()

    for lane in (rig.lanes[0], other):
        newest: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for block in lane.items:
            for name, n, at, value in samples(block):
                if n:
                    newest.setdefault((name, n), []).append((at, value))
        for found in newest.values():
            values = [value for _, value in sorted(found)]
            assert values == sorted(values)
            assert values[0] == 0


async def test_rules_that_make_one_series_of_several_let_it_begin_once() -> None:
    async with committing(Rig()) as rig:
        lane = Offered("b")
        rules = rules_of(Options.model_validate({"url": "http://127.0.0.1/api/v1/write", "relabel": [{"drop_labels": "n"}]}))
        rig.flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules({"job": "j"}, own=rules))
        rig.committer.outbox.settle_sinks(["lane", "b"])
        for number in range(4):
            await rig.count(job(f"k{number}", f"n{number}", amount=5))
            await rig.flush()

        values = [value for block in lane.items for name, _, _, value in samples(block) if name == "jobs_total"]
        assert values == sorted(values)


async def test_a_birth_row_of_a_clock_that_was_wrong_is_not_later_than_its_series() -> None:
    async with committing(Rig()) as rig:
        await rig.flush()
        rig.wall.shift += 3600
        await rig.count(job("k"))
        rig.wall.shift -= 3600
        await rig.flush()

        times = [at for name, _, at, _ in rig.sent() if name == "jobs_total"]
        assert times == sorted(times)


async def test_a_series_that_the_store_cannot_take_is_not_begun_again_and_again() -> None:
    async with committing(Rig(limits={"max_series": 1})) as rig:
        for number in range(5):
            await rig.count(job(f"k{number}", seconds=3.0))
        await rig.flush()

        assert (rig.committer.refused, rig.values("job_seconds_count", "overflow")) == (1, [0.0])


async def test_what_is_counted_while_its_source_is_taken_away_harms_nobody() -> None:
    async with committing(Rig()) as rig, anyio.create_task_group() as callers:
        callers.start_soon(rig.count, job("k"))
        await anyio.sleep(0.001)
        rig.store.remove_feed(rig.feed)
        rig.committer.forget(rig.feed)
        await anyio.sleep(1)

        rig.feed = rig.added()
        await rig.count(job("k"), job("l"))
        assert rig.total("a") == 2
