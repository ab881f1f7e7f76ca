"""The machine the agent runs on, in Anklet's metric names and what a host dashboard needs beside them.

Each metric tells one truth. Inside a control group that allows less than the machine has,
`host_cpu_count`, `host_cpu_used_count`, `host_cpu_usage_percentage` and `host_memory_*` are about what
the group may use; everything else, `host_cpu_seconds_total`, load and swap too, is the machine's as the
kernel shows it. `limits: machine` takes the machine for the first ones as well: for an agent whose own
limits say nothing about the machine it watches (a DaemonSet, a systemd unit with MemoryMax).
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

import psutil
from pydantic import AfterValidator, Field

from agent import plugin
from agent.log import Transition
from agent.model import Collected, Family, Kind, Poller, Update
from agent.sources.host import cgroup, cpu, devices, disks, machine, memory
from agent.sources.host.reader import READ_ERRORS, Reader, Reading, Readings

SUCCESS = Family(
    "host_collector_success", Kind.GAUGE, "1 = the collector could read, 0 = its metrics are missing.", labels=("collector",)
)
DURATION = Family(
    "host_collector_duration_seconds", Kind.GAUGE, "How long the collector's last reading took.", "seconds", labels=("collector",)
)

FAMILIES = (
    *cpu.FAMILIES,
    *memory.FAMILIES,
    *disks.FAMILIES,
    *devices.FAMILIES,
    *machine.FAMILIES,
    SUCCESS,
    DURATION,
)


def _valid_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_valid_pattern)]
"""A regular expression that has to match a whole name."""


class Options(plugin.SourceOptions):
    """Keys of the `host` source."""

    interval_seconds: float = Field(default=15.0, gt=0, description="seconds between two readings")
    limits: Literal["cgroup", "machine"] = Field(
        default="cgroup",
        description="processor and memory metrics tell what the agent's container may use (cgroup) or the machine has (machine)",
    )
    disk_path: str = Field(
        default="", description='the filesystem of host_disk_*; "" = "/", on macOS "/System/Volumes/Data"', max_length=4096
    )
    filesystem_mount_exclude: Pattern = Field(
        default=disks.DEFAULT_MOUNT_EXCLUDE,
        description="mount points left out of host_filesystem_*: a regular expression of the whole path",
    )
    filesystem_type_exclude: Pattern = Field(
        default=disks.DEFAULT_FSTYPE_EXCLUDE, description="filesystem types left out: a regular expression of the whole type"
    )
    filesystem_timeout_seconds: float = Field(
        default=2.0, gt=0, description="how long one mount may take to answer before it is skipped and counted"
    )
    disk_device_exclude: Pattern = Field(
        default=devices.DEFAULT_DISK_EXCLUDE, description="block devices left out: a regular expression of the whole name"
    )
    network_device_exclude: Pattern = Field(
        default=devices.DEFAULT_NETWORK_EXCLUDE, description="network interfaces left out: a regular expression of the whole name"
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the source reads from; tests hand it another machine."""

    reader: Reader
    platform: str
    """As `sys.platform` says it: "linux", "darwin"."""
    root: Path
    """Where /proc and the control groups are."""
    space: Callable[[str], disks.Space]
    monotonic: Callable[[], float]
    booted: float = 0.0
    """When the machine was, seconds since the epoch: since then its counters count; 0 = not known."""


def this_machine() -> Surroundings:
    """The machine this runs on."""
    return Surroundings(cast(Reader, psutil), sys.platform, Path("/"), disks.statvfs_space, time.monotonic, psutil.boot_time())


class HostSource:
    """Runs every collector in turn; one that cannot read loses its own metrics only."""

    def __init__(self, name: str, options: Options, clock: Callable[[], float], around: Surroundings) -> None:
        self._name = name
        self._interval = options.interval_seconds
        self._clock = clock
        self._monotonic = around.monotonic
        self._booted = around.booted
        self._direct = _direct_collectors(options, clock, around)
        self._transition = Transition(logging.getLogger(__name__))
        self._waiting = _waiting_collectors(options, around, self._transition)

    def pollers(self) -> tuple[Poller, ...]:
        """One poller for everything."""
        return (Poller("host", self._interval, self.collect),)

    async def collect(self, _cursor: object) -> Collected:
        """All collectors; the scope of one that failed is not complete, so that its series age out."""
        updates: list[Update] = []
        complete = [self._name]
        for collector in (*self._direct, *self._waiting):
            at, began = self._clock(), self._monotonic()
            scope = f"{self._name}/{collector}"
            try:
                readings = await self._read(collector)
            except READ_ERRORS as error:
                success = 0.0
                self._transition.failed(scope, f"source {scope} cannot read: {type(error).__name__}: {error}")
            else:
                success = 1.0
                updates += [Update(family, labels, value, at, scope) for family, labels, value in readings]
                complete.append(scope)
                self._transition.recovered(scope, f"source {scope} reads again")
            taken = max(0.0, self._monotonic() - began)
            updates.append(Update(SUCCESS, (collector,), success, at, self._name))
            updates.append(Update(DURATION, (collector,), taken, at, self._name))
        return Collected(updates, tuple(complete), started=self._booted)

    async def aclose(self) -> None:
        """Nothing is held between two readings."""

    async def _read(self, collector: str) -> list[Reading]:
        """All or nothing of one collector; raises what it cannot read."""
        if collector in self._waiting:
            return list(await self._waiting[collector]())
        return list(self._direct[collector]())


def build(name: str, options: Options, context: plugin.Context) -> HostSource:
    """Make the source for this machine; nothing is read before the first collect."""
    return HostSource(name, options, context.clock, this_machine())


def _direct_collectors(
    options: Options, clock: Callable[[], float], around: Surroundings
) -> Mapping[str, Callable[[], Readings]]:
    """The collectors that read at once."""
    reader, root = around.reader, around.root
    limited = options.limits == "cgroup" and around.platform == "linux"
    processors = cpu.Cpu(reader, functools.partial(_cpu_limit, root) if limited else _no_limit, around.monotonic)
    allowed = functools.partial(_memory_limit, root) if limited else _no_limit
    disk_exclude, network_exclude = re.compile(options.disk_device_exclude), re.compile(options.network_device_exclude)
    return {
        "cpu": processors.read,
        "memory": lambda: memory.read_memory(reader, allowed),
        "swap": lambda: memory.read_swap(reader),
        "diskio": lambda: devices.read_disks(reader, disk_exclude),
        "network": lambda: devices.read_networks(reader, network_exclude),
        "load": lambda: machine.read_load(reader),
        "boot": lambda: machine.read_boot(reader, clock()),
        "processes": lambda: machine.read_processes(reader),
        "files": lambda: machine.read_open_files(root),
        "info": machine.read_info,
    }


def _waiting_collectors(
    options: Options, around: Surroundings, transition: Transition
) -> Mapping[str, Callable[[], Awaitable[Iterable[Reading]]]]:
    """The collectors that have to wait for an answer."""
    asker = disks.Asker(around.space, options.filesystem_timeout_seconds)
    main_asker = disks.Asker(around.space, options.filesystem_timeout_seconds)
    path = options.disk_path or (disks.DARWIN_DATA if around.platform == "darwin" else "/")
    chosen = disks.Filter(re.compile(options.filesystem_mount_exclude), re.compile(options.filesystem_type_exclude))
    return {
        "disk": lambda: disks.read_disk(main_asker, path),
        "filesystem": lambda: disks.read_filesystems(around.reader, asker, chosen, around.platform, transition),
    }


def _cpu_limit(root: Path, machine_cpus: int) -> cgroup.CpuLimit | None:
    return cgroup.cpu_limit(cgroup.groups(root), machine_cpus)


def _memory_limit(root: Path, machine_bytes: int) -> cgroup.MemoryLimit | None:
    return cgroup.memory_limit(cgroup.groups(root), machine_bytes)


def _no_limit(_machine: int) -> None:
    """The whole machine."""
