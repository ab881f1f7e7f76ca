"""The disk is full, read-only or broken while the receiver is away: the agent stays up, says so, and recovers."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from agent.plugin import Fsync
from agent.selfmon import SelfMonitor
from agent.sinks.remote_write import Receiver as Profile
from agent.spool.disk import DiskQueue
from agent.spool.recover import recover
from agent.spool.report import UP, QueueReport
from tests import servers
from tests.agents import Agent
from tests.conftest import StartAgent
from tests.exported import NAME, CountingTarget, Held, counting_target
from tests.outage import Mode, Outage, Phase, Receiver, in_virtual_time, virtual_backend
from tests.power import TOTAL_BYTES, FakeDisk
from tests.relay import Relay, Through, relay
from tests.servers import eventually

pytestmark = pytest.mark.anyio

FOLDER = Path("/queues/vm")
SERIES = 3000
SMALL = "1m"
LARGE = "64m"


@pytest.fixture
def anyio_backend() -> object:
    return virtual_backend()


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=errno.errorcode.get)
async def test_what_the_disk_refuses_waits_in_memory_and_is_written_later(monkeypatch: pytest.MonkeyPatch, trouble: int) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", in_virtual_time)
    disk, monitor = FakeDisk(), SelfMonitor()
    queue = DiskQueue(
        disk,
        FOLDER,
        recover(disk, FOLDER),
        QueueReport("vm", monitor),
        0,
        max_bytes=1 << 26,
        fsync=Fsync.INTERVAL,
        fsync_interval_seconds=1.0,
    )
    found, told = Outage(Receiver([Phase(Mode.STOPPED, 300)]), Profile.GENERIC, queue), list[tuple[str, float, bool]]()

    async def befall() -> None:
        await anyio.sleep(50)
        disk.refusal, disk.free = trouble, 0
        await anyio.sleep(100)
        told.append((queue.problem, monitor.value(UP, ("vm",)), synced(found)))
        disk.refusal, disk.free = None, TOTAL_BYTES
        await anyio.sleep(100)
        told.append((queue.problem, monitor.value(UP, ("vm",)), synced(found)))

    await found.run(80, None, queue.run, befall)

    assert [(bool(problem), up, safe) for problem, up, safe in told] == [(True, 0.0, False), (False, 1.0, True)]
    assert found.problems == {}


def synced(found: Outage) -> bool:
    """Whether all but the newest ten flushes are on disk."""
    upto = found.status["synced_flush"]
    return upto is None or upto > found.bench.flusher.numbers.complete - 20


# -- the real thing, where a file system can be mounted ------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "small"
    folder.mkdir()
    if mount("-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder).returncode:
        pytest.skip("this container may not mount a file system")
    yield folder
    while os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)


def mount(*argv: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return subprocess.run(["mount", *map(str, argv)], check=False, capture_output=True, timeout=20)


def configured(target: CountingTarget, way: Relay, state: Path) -> dict[str, Any]:
    """Scrapes often, so that a queue grows quickly."""
    queue = {"fsync_interval_seconds": 0.1}
    sink = {"type": "remote_write", "url": f"{way.url}/api/v1/write", "timeout_seconds": 5, "queue": queue}
    source = {"type": "scrape", "interval_seconds": 0.5, "targets": [{"url": target.url, "job": "disk"}]}
    agent = {"flush_interval_seconds": 5, "state_dir": str(state), "shutdown_grace_seconds": 5}
    return {"agent": agent, "sinks": {"vm": sink}, "sources": {"t": source, "internal": {"interval_seconds": 1}}}


def says(agent: Agent, trouble: bool) -> bool:
    """Whether `/ready` and the metrics tell of a queue in trouble, or of none."""
    answer = agent.get("/ready")
    assert answer.status_code == 200
    up = 'cipush_queue_up{sink="vm"} ' + ("0" if trouble else "1")
    return ("queue of sink vm" in answer.text) is trouble and up in agent.metrics()


@contextmanager
def away(folder: Path) -> Iterator[tuple[servers.VictoriaMetrics, CountingTarget, Relay]]:
    """A receiver that is, to begin with, out of reach behind its relay, and a target."""
    with ExitStack() as stack:
        receiver = stack.enter_context(servers.victoria_metrics(folder))
        way = stack.enter_context(relay(int(receiver.url.rsplit(":", 1)[1])))
        way.through = Through.SHUT
        yield receiver, stack.enter_context(counting_target(SERIES)), way


def assert_all_arrived(agent: Agent, receiver: servers.VictoriaMetrics, target: CountingTarget, way: Relay) -> None:
    """Open the way; every scrape is in the receiver, but for the last, which the end may have cut short."""
    way.through = Through.OPEN
    eventually(lambda: agent.get("/api/status").json()["sinks"][0]["queue_blocks"] == 0, "everything is sent", 120)
    assert agent.get("/api/status").json()["sinks"][0]["samples_dropped"] == 0
    assert agent.process.terminate(20) == 0
    assert Held(receiver.export(f'{NAME}{{job="disk"}}'), SERIES).gaps(1, target.scrapes - 1) == set()


def test_a_full_disk_is_told_and_used_again_when_there_is_room(small_disk: Path, tmp_path: Path, start_agent: StartAgent) -> None:
    with away(tmp_path) as (receiver, target, way):
        agent = start_agent(configured(target, way, small_disk / "state"))
        eventually(lambda: says(agent, True), "the agent tells that the disk is full", 60)

        assert mount("-o", f"remount,size={LARGE}", small_disk).returncode == 0

        eventually(lambda: says(agent, False), "the agent tells that there is room", 60)
        assert_all_arrived(agent, receiver, target, way)


def test_a_disk_that_becomes_read_only_is_told_and_used_again_when_it_can_be_written(
    small_disk: Path, tmp_path: Path, start_agent: StartAgent
) -> None:
    with away(tmp_path) as (receiver, target, way):
        assert mount("-o", f"remount,size={LARGE}", small_disk).returncode == 0
        agent = start_agent(configured(target, way, small_disk / "state"))
        queue = small_disk / "state" / "queues" / "vm"
        assert mount("--bind", queue, queue).returncode == 0
        assert mount("-o", "remount,ro,bind", queue).returncode == 0
        eventually(lambda: says(agent, True), "the agent tells that the disk is read-only", 60)

        subprocess.run(["umount", str(queue)], check=True, timeout=20)

        eventually(lambda: says(agent, False), "the agent tells that the disk can be written", 60)
        assert_all_arrived(agent, receiver, target, way)
