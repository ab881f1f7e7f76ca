"""Limits of control groups: recorded trees in the kernel's formats, and groups of the running kernel."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.host import cgroup

TREES = Path(__file__).parent / "fixtures" / "cgroup"
MI = 1 << 20
MACHINE_CPUS = 8
MACHINE_BYTES = 16 * 1024 * MI


def cpu(tree: str, machine: int = MACHINE_CPUS) -> cgroup.CpuLimit | None:
    return cgroup.cpu_limit(cgroup.groups(TREES / tree), machine)


def memory(tree: str, machine: int = MACHINE_BYTES) -> cgroup.MemoryLimit | None:
    return cgroup.memory_limit(cgroup.groups(TREES / tree), machine)


@pytest.mark.parametrize(
    ("tree", "cpus", "used_seconds", "throttled_seconds"),
    [
        ("v2-docker", 1.5, 90.0, 4.5),
        ("v2-kubernetes", 2.0, 100.0, 0.0),
        ("v2-outside", 0.5, 5.0, 0.0),
        ("v2-cpuset", 3.0, 12.0, 0.0),
        ("v1-docker", 0.5, 7.0, 1.5),
        ("v1-nested", 2.0, 60.0, 0.0),
    ],
)
def test_the_tightest_processor_limit_and_its_groups_usage_are_found(
    tree: str, cpus: float, used_seconds: float, throttled_seconds: float
) -> None:
    limit = cpu(tree)

    assert limit is not None
    assert (limit.cpus, limit.used_seconds, limit.throttled_seconds) == (cpus, used_seconds, throttled_seconds)


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ("v2-docker", cgroup.MemoryLimit(512 * MI, 256 * MI, 256 * MI, 2)),
        ("v2-kubernetes", cgroup.MemoryLimit(1024 * MI, 896 * MI, 128 * MI, 0)),
        ("v2-outside", cgroup.MemoryLimit(256 * MI, 128 * MI, 128 * MI, None)),
        ("v1-docker", cgroup.MemoryLimit(512 * MI, 256 * MI, 256 * MI, 5)),
        ("hybrid", cgroup.MemoryLimit(300 * MI, 100_000_000, 300 * MI - 100_000_000, None)),
    ],
)
def test_the_tightest_memory_limit_and_its_groups_use_without_droppable_cache_are_found(
    tree: str, expected: cgroup.MemoryLimit
) -> None:
    assert memory(tree) == expected


@pytest.mark.parametrize(
    ("tree", "controller", "levels"),
    [
        ("v2-service", "", ["/system.slice/cipush.service", "/system.slice", ""]),
        ("v2-outside", "", [""]),
        ("v1-docker", "memory", ["/memory"]),
        ("v1-docker", "cpuacct", ["/cpu,cpuacct"]),
        ("v1-nested", "memory", ["/memory/ci.slice/build.scope", "/memory/ci.slice", "/memory"]),
        ("hybrid", "memory", ["/memory controller/jobs/a b", "/memory controller/jobs", "/memory controller"]),
    ],
)
def test_groups_are_looked_for_from_the_innermost_that_is_mounted(tree: str, controller: str, levels: list[str]) -> None:
    found = cgroup.groups(TREES / tree)

    seen = found.v1[controller] if controller else found.v2
    assert [str(level) for level in seen] == [f"{TREES / tree}/sys/fs/cgroup{level}" for level in levels]


def test_an_unlimited_v1_group_below_a_limited_one_has_that_ones_limit_and_fill() -> None:
    limit = memory("v1-nested")

    assert limit is not None
    assert limit.total == 1024 * MI
    assert limit.used == 805306368 - 33554432
    assert limit.available == limit.total - limit.used
    assert limit.oom_kills == 1


@pytest.mark.parametrize("tree", ["v2-service", "no-such-tree"])
def test_a_process_without_limits_has_the_whole_machine(tree: str) -> None:
    assert cpu(tree) is None
    assert memory(tree) is None


def test_a_processor_set_alone_limits_no_memory() -> None:
    assert memory("v2-cpuset") is None


@pytest.mark.parametrize("tree", ["v2-docker", "v1-docker", "v1-nested", "hybrid"])
def test_a_limit_above_the_machine_is_no_limit(tree: str) -> None:
    assert memory(tree, 256 * MI) is None
    assert cpu("v2-cpuset", 2) is None


def test_usage_is_unknown_where_the_accounting_hierarchy_has_another_group() -> None:
    limit = cpu("hybrid")

    assert limit is not None
    assert (limit.cpus, limit.used_seconds) == (1.0, None)


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=60))
def test_no_content_of_the_files_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, own: bytes, mounts: bytes, limit: bytes
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "proc/self").mkdir(parents=True)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "proc/self/cgroup").write_bytes(b"0::/\n" + own)
    (root / "proc/self/mountinfo").write_bytes(b"30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n" + mounts)
    for name in ("memory.max", "memory.current", "memory.stat", "cpu.max", "cpu.stat", "cpuset.cpus.effective"):
        (root / "sys/fs/cgroup" / name).write_bytes(limit)
    found = cgroup.groups(root)

    cpu, memory = cgroup.cpu_limit(found, MACHINE_CPUS), cgroup.memory_limit(found, MACHINE_BYTES)

    assert cpu is None or 0 < cpu.cpus < MACHINE_CPUS
    assert memory is None or (0 <= memory.total < MACHINE_BYTES and 0 <= memory.available <= memory.total)


READ_LIMITS = """
import sys
from agent.sources.host import cgroup
sys.stdin.readline()
sum(range(2_000_000))
found = cgroup.groups()
print(cgroup.cpu_limit(found, 1024), cgroup.memory_limit(found, 1 << 50), sep="\\n")
"""


def made_below(parent: Path, name: str) -> Path:
    """A new group below `parent`, or a skip that says why there is none."""
    group = parent / name
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made below {parent}: {error}")
    return group


@contextlib.contextmanager
def v1_group(controller: str) -> Iterator[Path]:
    """A new group at the top of the running kernel's version 1 hierarchy of `controller`."""
    levels = cgroup.groups().v1.get(controller, ())
    if not levels:
        pytest.skip(f"this kernel has no version 1 hierarchy for {controller}")
    group = made_below(levels[-1], f"cipush-test-{os.getpid()}")
    try:
        yield group
    finally:
        group.rmdir()


def limits_seen_inside(group: Path) -> list[str]:
    """What a child that was put into `group` reads about itself."""
    child = subprocess.Popen([sys.executable, "-c", READ_LIMITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    (group / "cgroup.procs").write_text(str(child.pid))
    output, _ = child.communicate("go\n", timeout=60)
    return output.splitlines()


def test_a_child_in_a_real_group_reads_its_quota() -> None:
    own = cgroup.groups().v1.get("cpu", ())
    if len(own) != 1:
        pytest.skip("this process's cpu group is not the top one: it is somebody else's to divide")
    with v1_group("cpu") as group:
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("70000")

        processors, _ = limits_seen_inside(group)

    assert processors.startswith(f"CpuLimit(cpus=0.7, group='{group}'")


def test_a_child_in_a_real_group_reads_its_memory_limit() -> None:
    own = cgroup.groups().v1.get("memory", ())
    if len(own) != 1:
        pytest.skip("this process's memory group is not the top one: a child of it may not leave it")
    with v1_group("memory") as group:
        (group / "memory.limit_in_bytes").write_text(str(200 * MI))

        _, memory = limits_seen_inside(group)

    assert memory.startswith(f"MemoryLimit(total={200 * MI}, ")


def test_a_real_groups_memory_files_are_read_as_the_kernel_writes_them() -> None:
    with v1_group("memory") as group:
        (group / "memory.limit_in_bytes").write_text(str(200 * MI))
        levels = (group, group.parent)

        limit = cgroup.memory_limit(cgroup.Groups({"memory": levels}, ()), 1 << 50)
        unlimited = cgroup.memory_limit(cgroup.Groups({"memory": levels[1:]}, ()), MACHINE_BYTES)

    assert limit == cgroup.MemoryLimit(200 * MI, 0, 200 * MI, 0)
    assert unlimited is None
