"""The internal source: what the self-monitor holds, and the process's own numbers."""

from __future__ import annotations

import gc
import os

import psutil
import pytest

from agent import plugin
from agent.model import Collected, Family, Kind, Update
from agent.selfmon import SelfMonitor, counter
from agent.sources import internal

pytestmark = pytest.mark.anyio

SENT = counter("cipush_test_sent_total", "Sent.", "sink")
SECONDS = Family("cipush_test_seconds", Kind.HISTOGRAM, "Seconds.", buckets=(1.0, 5.0))


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


def source_of(monitor: SelfMonitor) -> internal.InternalSource:
    context = plugin.Context(lambda: 1000.0, "cipush", "here", "cipush/test", monitor.samples)
    return internal.build("internal", internal.Options.model_validate({}), context)


def one(collected: Collected, family: Family, *labels: str) -> Update:
    (found,) = [u for u in collected.updates if u.family is family and u.labels == labels]
    return found


async def test_what_the_monitor_counted_is_published_at_the_contexts_time() -> None:
    monitor = SelfMonitor()
    monitor.add(SENT, ("vm",), 3)

    collected = await source_of(monitor).collect(None)

    assert one(collected, SENT, "vm") == Update(SENT, ("vm",), 3.0, 1000.0, "internal")


async def test_a_published_histogram_does_not_change_when_the_monitor_goes_on() -> None:
    monitor = SelfMonitor()
    monitor.observe(SECONDS, (), 2.0)
    collected = await source_of(monitor).collect(None)

    monitor.observe(SECONDS, (), 2.0)

    assert one(collected, SECONDS).value == (0.0, 1.0, 1.0, 2.0)


async def test_a_forgotten_label_set_is_left_out_of_a_complete_scope() -> None:
    monitor = SelfMonitor()
    monitor.add(SENT, ("vm",))
    monitor.add(SENT, ("gone",))
    source = source_of(monitor)
    monitor.forget("sink", "gone")

    collected = await source.collect(None)

    assert collected.complete == ("internal",)
    assert [u.labels for u in collected.updates if u.family is SENT] == [("vm",)]


async def test_every_own_family_is_published_and_belongs_to_the_complete_scope() -> None:
    collected = await source_of(SelfMonitor()).collect(None)

    assert {u.family for u in collected.updates} == set(internal.FAMILIES)
    assert {u.scope for u in collected.updates} == set(collected.complete)


async def test_the_process_numbers_are_those_of_this_process() -> None:
    collected = await source_of(SelfMonitor()).collect(None)

    started = one(collected, internal.STARTED).value
    fds = one(collected, internal.OPEN_FDS).value
    assert started == psutil.Process(os.getpid()).create_time()
    assert isinstance(fds, float)
    assert abs(fds - psutil.Process().num_fds()) <= 2


async def test_open_files_are_counted() -> None:
    source = source_of(SelfMonitor())
    before = one(await source.collect(None), internal.OPEN_FDS).value
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]

    after = one(await source.collect(None), internal.OPEN_FDS).value
    for fd in held:
        os.close(fd)

    assert isinstance(after, float)
    assert isinstance(before, float)
    assert after - before == 5


async def test_garbage_collections_are_counted_by_generation_once_the_source_is_started() -> None:
    source = source_of(SelfMonitor())
    (poller,) = source.pollers()
    before = one(await poller.collect(None), internal.GC_RUNS, "2").value
    gc.collect()

    after = await poller.collect(None)
    await source.aclose()

    assert one(after, internal.GC_RUNS, "2").value >= before + 1  # type: ignore[operator]
    assert one(after, internal.GC_PAUSE, "2").value > 0.0  # type: ignore[operator]


async def test_the_garbage_hook_is_gone_after_closing() -> None:
    before = list(gc.callbacks)
    source = source_of(SelfMonitor())
    source.pollers()
    hooked = len(gc.callbacks)

    await source.aclose()

    assert hooked == len(before) + 1
    assert gc.callbacks == before


async def test_a_number_the_system_refuses_is_left_out_alone() -> None:
    class Refusing(psutil.Process):
        def num_fds(self) -> int:
            raise psutil.AccessDenied(self.pid)

    found = {family for family, _, _ in internal.process_readings(Refusing())}

    assert found == {internal.RESIDENT, internal.CPU, internal.STARTED}


async def test_the_counters_count_since_the_process_began() -> None:
    source = source_of(SelfMonitor())

    assert (await source.collect(None)).started == psutil.Process().create_time()
