"""What the collectors ask of the machine: the part of psutil they use, so that tests can be another machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import psutil

from agent.model import Family

Reading = tuple[Family, tuple[str, ...], float]
"""One value a collector read."""

Readings = Iterable[Reading]

READ_ERRORS = (psutil.Error, OSError, AttributeError, RuntimeError, ValueError)
"""What psutil and /proc raise when something cannot be read: rights, a function this platform lacks
(AttributeError, NotImplementedError), a file in an unknown format."""


class Reader(Protocol):
    """Functions of the psutil module by their names; see its documentation for what they return."""

    def cpu_times(self) -> Any:
        """Seconds since boot by mode, all processors together."""

    def cpu_count(self) -> int | None:
        """Logical processors that are online."""

    def virtual_memory(self) -> Any:
        """Bytes of memory: total, available, used and more."""

    def swap_memory(self) -> Any:
        """Bytes of swap: total, used, free."""

    def disk_partitions(self, all: bool) -> Sequence[Any]:
        """Mounts: device, mountpoint, fstype."""

    def disk_io_counters(self, perdisk: bool, nowrap: bool) -> Mapping[str, Any] | None:
        """Counters by block device."""

    def net_io_counters(self, pernic: bool, nowrap: bool) -> Mapping[str, Any] | None:
        """Counters by network interface."""

    def getloadavg(self) -> tuple[float, float, float]:
        """Load over 1, 5 and 15 minutes."""

    def boot_time(self) -> float:
        """Seconds since the epoch."""

    def pids(self) -> Sequence[int]:
        """Every process."""
