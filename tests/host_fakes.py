"""A machine made up for the host source's tests: psutil's answers as plain values."""

from __future__ import annotations

import errno
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.model import Collected, Family
from agent.sources import host
from agent.sources.host import disks

LinuxTimes = namedtuple("LinuxTimes", "user nice system idle iowait irq softirq steal guest guest_nice")
DarwinTimes = namedtuple("DarwinTimes", "user nice system idle")
Memory = namedtuple("Memory", "total available percent used free")
Swap = namedtuple("Swap", "total used free percent")
Mount = namedtuple("Mount", "device mountpoint fstype opts")
LinuxDisk = namedtuple("LinuxDisk", "read_count write_count read_bytes write_bytes read_time write_time busy_time")
DarwinDisk = namedtuple("DarwinDisk", "read_count write_count read_bytes write_bytes read_time write_time")
Network = namedtuple("Network", "bytes_sent bytes_recv packets_sent packets_recv errin errout dropin dropout")

GI = 1 << 30
NOW = 1_800_000_000.0


@dataclass
class FakeMachine:
    """A reader whose answers are its fields; a name in `refused` raises its error instead."""

    times: Any = LinuxTimes(60.0, 5.0, 20.0, 310.0, 4.0, 0.0, 1.0, 0.0, 7.0, 0.0)
    cpus: int = 8
    memory: Memory = Memory(16 * GI, 10 * GI, 37.5, 6 * GI, 2 * GI)
    mounts: Sequence[Mount] = (Mount("/dev/vda1", "/", "ext4", "rw"),)
    disks: Mapping[str, Any] = field(default_factory=lambda: {"vda": LinuxDisk(10, 20, 1000, 2000, 1500, 2500, 500)})
    networks: Mapping[str, Network] = field(default_factory=lambda: {"eth0": Network(1, 2, 3, 4, 5, 6, 7, 8)})
    refused: Mapping[str, Exception] = field(default_factory=dict)

    def cpu_times(self) -> Any:
        return self._answer("cpu_times", self.times)

    def cpu_count(self) -> int | None:
        return self.cpus

    def virtual_memory(self) -> Memory:
        return self._answer("virtual_memory", self.memory)  # type: ignore[no-any-return]

    def swap_memory(self) -> Swap:
        return Swap(4 * GI, GI, 3 * GI, 25.0)

    def disk_partitions(self, all: bool) -> Sequence[Mount]:
        return self._answer("disk_partitions", self.mounts)  # type: ignore[no-any-return]

    def disk_io_counters(self, perdisk: bool, nowrap: bool) -> Mapping[str, Any] | None:
        return self._answer("disk_io_counters", self.disks)  # type: ignore[no-any-return]

    def net_io_counters(self, pernic: bool, nowrap: bool) -> Mapping[str, Network] | None:
        return self.networks

    def getloadavg(self) -> tuple[float, float, float]:
        return self._answer("getloadavg", (1.5, 1.0, 0.5))  # type: ignore[no-any-return]

    def boot_time(self) -> float:
        return NOW - 3600

    def pids(self) -> Sequence[int]:
        return [1, 2, 3]

    def _answer(self, name: str, value: Any) -> Any:
        if name in self.refused:
            raise self.refused[name]
        return value


class Ticks:
    """A monotonic clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def space_of(path: str) -> disks.Space:
    """Every mount is 100 GiB, 40 free, of which 30 for everyone."""
    if path == "/refused":
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return disks.Space(100 * GI, 40 * GI, 30 * GI, 1000, 600)


def source(
    reader: FakeMachine,
    root: Path,
    *,
    platform: str = "linux",
    space: Callable[[str], disks.Space] = space_of,
    ticks: Ticks | None = None,
    **options: object,
) -> host.HostSource:
    """A host source of `reader`, its control groups and /proc below `root`."""
    around = host.Surroundings(reader, platform, root, space, ticks or Ticks())
    return host.HostSource("host", host.Options.model_validate(options), lambda: NOW, around)


def value(collected: Collected, family: Family, *labels: str) -> float:
    """The one value of `family` with `labels`."""
    (found,) = [update.value for update in collected.updates if update.family is family and update.labels == labels]
    assert isinstance(found, float)
    return found


def names(collected: Collected) -> set[str]:
    """Every metric name in `collected`."""
    return {update.family.name for update in collected.updates}
