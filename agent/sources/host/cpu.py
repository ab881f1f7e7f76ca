"""Processors: how many the agent's machine or container may use, and how busy they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agent.model import Family, Kind
from agent.sources.host.cgroup import CpuLimit
from agent.sources.host.reader import Reader, Reading

COUNT = Family(
    "host_cpu_count",
    Kind.GAUGE,
    "Logical processors the machine has or, inside a limited container, may use; a quota may give a fraction.",
)
USED = Family("host_cpu_used_count", Kind.GAUGE, "Processors busy since the last reading.")
PERCENT = Family("host_cpu_usage_percentage", Kind.GAUGE, "Share of host_cpu_count busy since the last reading, 0-100.")
SECONDS = Family(
    "host_cpu_seconds_total", Kind.COUNTER, "CPU time of the whole machine since boot, by mode.", "seconds", labels=("mode",)
)
THROTTLED = Family(
    "host_cpu_throttled_seconds_total",
    Kind.COUNTER,
    "Time the limiting control group's processes waited for quota; only inside a limited container.",
    "seconds",
)

FAMILIES = (COUNT, USED, PERCENT, SECONDS, THROTTLED)

_INSIDE = {"guest": "user", "guest_nice": "nice"}
"""Modes that Linux counts inside another one as well (proc(5), /proc/stat)."""
_IDLE = ("idle", "iowait")


@dataclass(frozen=True, slots=True)
class _Mark:
    """A reading to compare the next with: seconds of CPU used, and seconds that could have been used."""

    group: str
    busy: float
    capacity: float


class Cpu:
    """Reads the processors; the usage is that since the reading before.

    The first reading on a machine shows the average since boot; inside a limited container, where
    nothing says when the group began, usage is there from the second reading on.
    """

    def __init__(self, reader: Reader, limit: Callable[[int], CpuLimit | None], monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._limit = limit
        self._monotonic = monotonic
        self._before: _Mark | None = None
        self._percent: float | None = None
        self._modes: dict[str, float] = {}

    def read(self) -> Iterator[Reading]:
        """Count, usage and the counters by mode; raises what the reader raises."""
        times = self._reader.cpu_times()
        machine = self._reader.cpu_count() or 1
        limit = self._limit(machine)
        count = limit.cpus if limit else float(machine)
        percent = self._usage(self._mark(times, limit))
        yield COUNT, (), count
        if percent is not None:
            yield PERCENT, (), percent
            yield USED, (), percent * count / 100
        if limit and limit.throttled_seconds is not None:
            yield THROTTLED, (), limit.throttled_seconds
        yield from self._by_mode(times)

    def _mark(self, times: Any, limit: CpuLimit | None) -> _Mark | None:
        if limit is None:
            modes = _modes(times)
            return _Mark("", sum(modes.values()) - sum(modes.get(mode, 0.0) for mode in _IDLE), sum(modes.values()))
        if limit.used_seconds is None:
            return None
        return _Mark(f"{limit.group} {limit.cpus}", limit.used_seconds, self._monotonic() * limit.cpus)

    def _usage(self, now: _Mark | None) -> float | None:
        before = self._before
        self._before = now
        if now is None or (before is not None and before.group != now.group):
            before = self._percent = None
        if before is None and now is not None and not now.group:
            before = _Mark("", 0.0, 0.0)
        if before is not None and now is not None and now.capacity > before.capacity:
            share = (now.busy - before.busy) / (now.capacity - before.capacity)
            self._percent = min(100.0, max(0.0, 100 * share))
        return self._percent

    def _by_mode(self, times: Any) -> Iterator[Reading]:
        """Counters by mode; `iowait` may step back a little on Linux, which would look like a restart."""
        for mode, seconds in _modes(times).items():
            self._modes[mode] = max(seconds, self._modes.get(mode, 0.0))
            yield SECONDS, (mode,), self._modes[mode]


def _modes(times: Any) -> dict[str, float]:
    """Seconds by mode without the modes that are counted inside another."""
    return {mode: float(seconds) for mode, seconds in times._asdict().items() if mode not in _INSIDE}
