"""The host source as a whole: names, scopes, and what one failing collector costs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from agent import plugin
from agent.model import Kind
from agent.sources import anklet_view, host
from agent.sources.host import cpu, machine, memory
from tests.host_fakes import GI, NOW, DarwinTimes, FakeMachine, LinuxTimes, Ticks, names, source, value

pytestmark = pytest.mark.anyio

TREES = Path(__file__).parent / "fixtures" / "cgroup"
PLAIN = TREES / "v2-service"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def real_source() -> host.HostSource:
    context = plugin.Context(time.time, "cipush", "here", "cipush/test")
    return host.build("host", host.Options.model_validate({}), context)


async def test_one_collect_brings_every_name_that_anklets_page_has(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert set(anklet_view.NAMES) <= names(collected)


async def test_the_machine_this_runs_on_can_be_read_whole() -> None:
    collected = await real_source().collect(None)

    failed = [u.labels for u in collected.updates if u.family is host.SUCCESS and u.value != 1.0]
    assert failed == []
    assert value(collected, machine.BOOT) == psutil.boot_time()


async def test_only_declared_families_are_set_with_the_labels_they_declare() -> None:
    collected = await real_source().collect(None)

    assert {u.family for u in collected.updates} <= set(host.FAMILIES)
    assert all(len(u.labels) == len(u.family.labels) for u in collected.updates)


async def test_no_series_is_reported_twice() -> None:
    collected = await real_source().collect(None)

    keys = [(u.family, u.labels) for u in collected.updates]
    assert len(keys) == len(set(keys))


def test_no_family_takes_the_labels_that_say_whose_series_it_is() -> None:
    assert [f.name for f in host.FAMILIES if {"job", "instance"} & set(f.labels)] == []


def test_names_are_unique_and_counters_and_only_they_end_in_total() -> None:
    every = [f.name for f in host.FAMILIES]

    assert len(every) == len(set(every))
    assert all(re.fullmatch(r"host_[a-z0-9_]+", name) for name in every)
    assert [f.name for f in host.FAMILIES if f.name.endswith("_total") != (f.kind is Kind.COUNTER)] == []


async def test_every_series_belongs_to_a_scope_that_is_complete(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert {u.scope for u in collected.updates} <= set(collected.complete)


@pytest.mark.parametrize(
    "error",
    [
        psutil.AccessDenied(1),
        AttributeError("module 'psutil' has no attribute"),
        NotImplementedError(),
        OSError(5, "I/O error"),
        ValueError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_collector_that_cannot_read_loses_its_own_metrics_only(error: Exception, tmp_path: Path) -> None:
    whole = await source(FakeMachine(), tmp_path).collect(None)

    partial = await source(FakeMachine(refused={"virtual_memory": error}), tmp_path).collect(None)

    assert names(whole) - names(partial) == {f.name for f in (memory.TOTAL, memory.USED, memory.AVAILABLE, memory.PERCENT)}
    assert set(whole.complete) - set(partial.complete) == {"host/memory"}


async def test_a_failing_collector_shows_as_zero(tmp_path: Path) -> None:
    collected = await source(FakeMachine(refused={"getloadavg": OSError()}), tmp_path).collect(None)

    assert value(collected, host.SUCCESS, "load") == 0.0
    assert value(collected, host.SUCCESS, "memory") == 1.0


async def test_why_a_collector_fails_is_logged_once_until_it_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reader = FakeMachine(refused={"getloadavg": OSError(5, "I/O error")})
    watched = source(reader, tmp_path)
    await watched.collect(None)
    await watched.collect(None)
    reader.refused = {}
    await watched.collect(None)

    first, last = [record.getMessage() for record in caplog.records]
    assert first == "source host/load cannot read: OSError: [Errno 5] I/O error"
    assert last.startswith("source host/load reads again (after 2 failures")


async def test_a_collector_that_fails_in_the_middle_shows_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/fs").mkdir(parents=True)
    (tmp_path / "proc/sys/fs/file-nr").write_text("628\t0\tmany\n")

    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert "host_open_fds" not in names(collected)
    assert value(collected, host.SUCCESS, "files") == 0.0


async def test_a_machine_without_a_file_table_has_nothing_to_fail_with(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert "host_open_fds" not in names(collected)
    assert value(collected, host.SUCCESS, "files") == 1.0


async def test_the_first_processor_usage_is_the_average_since_boot(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert value(collected, cpu.PERCENT) == pytest.approx(100 * 86 / 400)
    assert value(collected, cpu.USED) == pytest.approx(8 * 86 / 400)


async def test_later_processor_usage_is_that_since_the_reading_before(tmp_path: Path) -> None:
    reader = FakeMachine(times=LinuxTimes(100.0, 0, 0, 900.0, 0, 0, 0, 0, 0, 0))
    watched = source(reader, tmp_path)
    await watched.collect(None)
    reader.times = LinuxTimes(130.0, 0, 0, 990.0, 0, 0, 0, 0, 20.0, 0)

    collected = await watched.collect(None)

    assert value(collected, cpu.PERCENT) == pytest.approx(25.0)
    assert value(collected, cpu.USED) == pytest.approx(2.0)


async def test_a_reading_without_time_in_between_repeats_the_usage(tmp_path: Path) -> None:
    watched = source(FakeMachine(), tmp_path)
    first = await watched.collect(None)

    again = await watched.collect(None)

    assert value(again, cpu.PERCENT) == value(first, cpu.PERCENT)


async def test_seconds_by_mode_do_not_count_guests_twice(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    modes = {u.labels[0]: u.value for u in collected.updates if u.family is cpu.SECONDS}
    assert modes == {"user": 60, "nice": 5, "system": 20, "idle": 310, "iowait": 4, "irq": 0, "softirq": 1, "steal": 0}


async def test_waiting_time_that_steps_back_does_not_look_like_a_restart(tmp_path: Path) -> None:
    reader = FakeMachine(times=LinuxTimes(1, 0, 0, 10, 5.0, 0, 0, 0, 0, 0))
    watched = source(reader, tmp_path)
    await watched.collect(None)
    reader.times = LinuxTimes(2, 0, 0, 11, 4.5, 0, 0, 0, 0, 0)

    assert value(await watched.collect(None), cpu.SECONDS, "iowait") == 5.0


async def test_macos_modes_are_enough(tmp_path: Path) -> None:
    collected = await source(FakeMachine(times=DarwinTimes(30.0, 0.0, 20.0, 150.0)), tmp_path, platform="darwin").collect(None)

    assert value(collected, cpu.PERCENT) == pytest.approx(25.0)


async def test_inside_a_limited_container_processors_and_memory_are_the_containers() -> None:
    collected = await source(FakeMachine(), TREES / "v2-docker").collect(None)

    assert value(collected, cpu.COUNT) == 1.5
    assert value(collected, cpu.THROTTLED) == 4.5
    assert value(collected, memory.TOTAL) == GI / 2
    assert value(collected, memory.USED) == GI / 4
    assert value(collected, memory.AVAILABLE) == GI / 4
    assert value(collected, memory.PERCENT) == 50.0
    assert value(collected, memory.OOM_KILLS) == 2.0


async def test_a_container_cannot_have_more_memory_than_the_machine_has_left() -> None:
    reader = FakeMachine(memory=FakeMachine().memory._replace(available=GI // 8))

    collected = await source(reader, TREES / "v2-docker").collect(None)

    assert value(collected, memory.AVAILABLE) == GI / 8


async def test_a_containers_usage_is_there_from_the_second_reading(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    for name in ("proc/self/cgroup", "proc/self/mountinfo", "sys/fs/cgroup/cpu.max"):
        (tmp_path / name).write_text((TREES / "v2-docker" / name).read_text())
    stat, ticks = tmp_path / "sys/fs/cgroup/cpu.stat", Ticks()
    stat.write_text("usage_usec 90000000\n")
    watched = source(FakeMachine(), tmp_path, ticks=ticks)
    first = await watched.collect(None)
    stat.write_text("usage_usec 93000000\n")
    ticks.now += 10

    second = await watched.collect(None)

    assert "host_cpu_usage_percentage" not in names(first)
    assert value(second, cpu.PERCENT) == pytest.approx(20.0)
    assert value(second, cpu.USED) == pytest.approx(0.3)


@pytest.mark.parametrize(("platform", "limits"), [("linux", "machine"), ("darwin", "cgroup")])
async def test_the_machine_is_shown_where_asked_for_and_where_there_are_no_groups(platform: str, limits: str) -> None:
    collected = await source(FakeMachine(), TREES / "v2-docker", platform=platform, limits=limits).collect(None)

    assert value(collected, cpu.COUNT) == 8.0
    assert value(collected, memory.TOTAL) == 16 * GI


async def test_without_a_limit_memory_is_the_machines() -> None:
    collected = await source(FakeMachine(), PLAIN).collect(None)

    assert value(collected, memory.TOTAL) == 16 * GI
    assert value(collected, memory.PERCENT) == 37.5
    assert "host_memory_oom_kills_total" not in names(collected)


async def test_uptime_is_counted_to_the_contexts_time(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert value(collected, machine.UPTIME) == 3600.0
    assert {u.at for u in collected.updates} == {NOW}


async def test_the_duration_of_a_reading_is_shown_by_collector(tmp_path: Path) -> None:
    ticks = Ticks()

    class Slow(FakeMachine):
        def pids(self) -> list[int]:
            ticks.now += 3
            return [1]

    collected = await source(Slow(), tmp_path, ticks=ticks).collect(None)

    assert value(collected, host.DURATION, "processes") == 3.0
    assert value(collected, host.DURATION, "load") == 0.0


def test_an_unusable_expression_is_refused_when_the_configuration_is_read() -> None:
    with pytest.raises(ValidationError, match="is not a regular expression"):
        host.Options.model_validate({"network_device_exclude": "("})


def test_the_one_poller_runs_on_the_configured_interval(tmp_path: Path) -> None:
    pollers = source(FakeMachine(), tmp_path, interval_seconds=7).pollers()

    assert [(p.name, p.interval_seconds) for p in pollers] == [("host", 7.0)]


def test_the_machines_counters_count_since_it_was_booted() -> None:
    assert host.this_machine().booted == pytest.approx(psutil.boot_time(), abs=2)
