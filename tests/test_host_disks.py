"""Filesystems and devices: which are shown, macOS's shared containers, and mounts that never answer."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.sources import host
from agent.sources.host import devices, disks
from tests.host_fakes import GI, DarwinDisk, FakeMachine, LinuxDisk, Mount, Network, names, source, space_of, value

pytestmark = pytest.mark.anyio

MAC = (
    Mount("/dev/disk3s1s1", "/", "apfs", "ro"),
    Mount("devfs", "/dev", "devfs", "rw"),
    Mount("/dev/disk3s6", "/System/Volumes/VM", "apfs", "rw"),
    Mount("/dev/disk3s2", "/System/Volumes/Preboot", "apfs", "rw"),
    Mount("/dev/disk3s5", "/System/Volumes/Data", "apfs", "rw"),
    Mount("/dev/disk1s2", "/System/Volumes/xarts", "apfs", "rw"),
    Mount("map auto_home", "/System/Volumes/Data/home", "autofs", "rw"),
    Mount("/dev/disk5s1", "/Volumes/Builds", "apfs", "rw"),
    Mount("//ci@nas/share", "/Volumes/share", "smbfs", "rw"),
)

LINUX = (
    Mount("proc", "/proc", "proc", "rw"),
    Mount("udev", "/dev", "devtmpfs", "rw"),
    Mount("tmpfs", "/run/user/1000", "tmpfs", "rw"),
    Mount("overlay", "/", "overlay", "rw"),
    Mount("tmpfs", "/tmp", "tmpfs", "rw"),
    Mount("/dev/vdb1", "/builds", "ext4", "rw"),
    Mount("/dev/vdb1", "/etc/hosts", "ext4", "rw"),
    Mount("/dev/loop3", "/snap/core/1", "squashfs", "ro"),
    Mount("nas:/export", "/cache", "nfs4", "rw"),
    Mount("overlay", "/var/lib/docker/overlay2/ab/merged", "overlay", "rw"),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def shown(mounts: tuple[Mount, ...], platform: str) -> list[str]:
    default = disks.Filter(re.compile(disks.DEFAULT_MOUNT_EXCLUDE), re.compile(disks.DEFAULT_FSTYPE_EXCLUDE))
    return [mount.mountpoint for mount in disks.chosen_mounts(mounts, default, platform)]


def test_linux_shows_each_real_filesystem_once_at_its_shortest_path() -> None:
    assert shown(LINUX, "linux") == ["/", "/builds", "/cache", "/tmp"]


def test_macos_shows_each_apfs_container_once_at_the_data_volume() -> None:
    assert shown(MAC, "darwin") == ["/System/Volumes/Data", "/Volumes/Builds", "/Volumes/share"]


async def test_on_macos_the_main_filesystem_is_the_data_volume_and_used_is_the_containers(tmp_path: Path) -> None:
    asked: list[str] = []

    def space(path: str) -> disks.Space:
        asked.append(path)
        return disks.Space(494 * GI, 100 * GI, 100 * GI, 4_000_000_000, 3_990_000_000)

    collected = await source(FakeMachine(mounts=()), tmp_path, platform="darwin", space=space).collect(None)

    assert asked == ["/System/Volumes/Data"]
    assert value(collected, disks.USED) == 394 * GI
    assert value(collected, disks.USED) + value(collected, disks.AVAILABLE) == value(collected, disks.TOTAL)


async def test_the_main_filesystems_share_is_of_what_programs_can_have(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert value(collected, disks.TOTAL) == 100 * GI
    assert value(collected, disks.USED) == 60 * GI
    assert value(collected, disks.AVAILABLE) == 30 * GI
    assert value(collected, disks.PERCENT) == pytest.approx(100 * 60 / 90)


async def test_a_filesystem_has_its_size_space_and_inodes(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    mount = ("/dev/vda1", "/", "ext4")
    found = [value(collected, f, *mount) for f in (disks.SIZE, disks.FREE, disks.TAKEN, disks.FILES, disks.FILES_FREE)]
    assert found == [100 * GI, 30 * GI, 60 * GI, 1000, 600]


async def test_another_path_can_be_the_main_filesystem(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path, disk_path="/refused").collect(None)

    assert value(collected, host.SUCCESS, "disk") == 0.0
    assert "host_disk_total_bytes" not in names(collected)


async def test_a_mount_that_refuses_is_counted_and_named_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = FakeMachine(mounts=(Mount("/dev/vda1", "/", "ext4", ""), Mount("nas:/x", "/refused", "nfs4", "")))

    collected = await source(reader, tmp_path).collect(None)

    assert value(collected, disks.SKIPPED, "error") == 1.0
    assert "1 filesystems left out: [Errno 13] Permission denied: '/refused'" in caplog.text
    assert [u.labels[1] for u in collected.updates if u.family is disks.SIZE] == ["/"]


async def test_a_mount_that_hangs_is_counted_skipped_and_asked_once_only(tmp_path: Path) -> None:
    alive, asked = threading.Event(), []

    def space(path: str) -> disks.Space:
        asked.append(path)
        if path == "/dead":
            alive.wait(60)
        return space_of(path)

    reader = FakeMachine(mounts=(Mount("nas:/x", "/dead", "nfs4", ""), Mount("/dev/vda1", "/", "ext4", "")))
    watched = source(reader, tmp_path, space=space, filesystem_timeout_seconds=1.0)
    first = await watched.collect(None)
    second = await watched.collect(None)
    alive.set()

    assert [value(c, disks.SKIPPED, "hung") for c in (first, second)] == [1.0, 1.0]
    assert [u.labels[1] for u in second.updates if u.family is disks.SIZE] == ["/"]
    assert asked.count("/dead") == 1


async def test_a_mount_that_comes_back_is_shown_again() -> None:
    alive, threads = threading.Event(), []

    def space(path: str) -> disks.Space:
        threads.append(threading.current_thread())
        alive.wait(60)
        return space_of(path)

    asker = disks.Asker(space, 0.05)
    with pytest.raises(TimeoutError):
        await asker.ask("/nas")
    alive.set()
    threads[0].join()

    assert (await asker.ask("/nas")).total == 100 * GI


ASK_A_DEAD_MOUNT = """
import anyio, threading
from agent.sources.host import disks
async def main():
    try:
        await disks.Asker(lambda path: threading.Event().wait(), 0.05).ask("/dead")
    except TimeoutError:
        print("given up")
anyio.run(main)
"""


def test_a_mount_that_never_answers_does_not_keep_the_process_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", ASK_A_DEAD_MOUNT], capture_output=True, text=True, timeout=30, check=True)

    assert ended.stdout == "given up\n"


async def test_the_number_of_mounts_is_bounded_and_the_rest_counted(tmp_path: Path) -> None:
    reader = FakeMachine(mounts=tuple(Mount(f"/dev/v{i}", f"/m{i}", "ext4", "") for i in range(300)))

    collected = await source(reader, tmp_path).collect(None)

    assert value(collected, disks.SKIPPED, "limit") == 44.0
    assert len([u for u in collected.updates if u.family is disks.SIZE]) == 256


async def test_filters_are_the_configurations(tmp_path: Path) -> None:
    reader = FakeMachine(mounts=LINUX)

    collected = await source(
        reader, tmp_path, filesystem_mount_exclude="/builds", filesystem_type_exclude="tmpfs|overlay|nfs4?"
    ).collect(None)

    assert "/builds" not in [u.labels[1] for u in collected.updates if u.family is disks.SIZE]
    assert "/proc" in [u.labels[1] for u in collected.updates if u.family is disks.SIZE]


async def test_a_partitions_traffic_is_counted_by_its_disk_only(tmp_path: Path) -> None:
    one = LinuxDisk(10, 20, 1000, 2000, 1500, 2500, 500)
    reader = FakeMachine(disks=dict.fromkeys(("sda", "sda1", "nvme0n1", "nvme0n1p1", "loop0", "xvdb2", "mmcblk0", "dm-0"), one))

    collected = await source(reader, tmp_path).collect(None)

    assert {u.labels[0] for u in collected.updates if u.family is devices.DISK[0][0]} == {"sda", "nvme0n1", "mmcblk0", "dm-0"}


async def test_device_counters_are_in_base_units(tmp_path: Path) -> None:
    collected = await source(FakeMachine(), tmp_path).collect(None)

    assert [value(collected, family, "vda") for family, _, _ in devices.DISK] == [1000, 2000, 10, 20, 1.5, 2.5, 0.5]
    assert [value(collected, family, "eth0") for family, _, _ in devices.NETWORK] == [2, 1, 4, 3, 5, 6, 7, 8]


async def test_a_counter_that_a_platform_lacks_is_left_out_alone(tmp_path: Path) -> None:
    reader = FakeMachine(disks={"disk0": DarwinDisk(1, 2, 3, 4, 5, 6)})

    collected = await source(reader, tmp_path, platform="darwin").collect(None)

    assert "host_disk_io_time_seconds_total" not in names(collected)
    assert value(collected, devices.DISK[0][0], "disk0") == 3.0


async def test_a_machine_without_disks_has_no_disk_counters_and_no_failure(tmp_path: Path) -> None:
    collected = await source(FakeMachine(disks={}), tmp_path).collect(None)

    assert "host_disk_read_bytes_total" not in names(collected)
    assert value(collected, host.SUCCESS, "diskio") == 1.0


async def test_container_interfaces_are_left_out(tmp_path: Path) -> None:
    quiet = Network(0, 0, 0, 0, 0, 0, 0, 0)
    reader = FakeMachine(networks=dict.fromkeys(("lo", "eth0", "wlan0", "en0", "veth12ab", "docker0", "br-9f", "utun3"), quiet))

    collected = await source(reader, tmp_path).collect(None)

    assert {u.labels[0] for u in collected.updates if u.family is devices.NETWORK[0][0]} == {"eth0", "wlan0", "en0"}
