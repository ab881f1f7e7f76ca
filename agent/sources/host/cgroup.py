"""How much processor and memory the control groups around this process allow, and how much of it is used.

Reads cgroup v1, v2 and hybrid hierarchies. Formats: kernel documentation admin-guide/cgroup-v2.rst and
admin-guide/cgroup-v1/memory.rst, proc(5) for `mountinfo`. Every path lies below a `root` argument, so
that recorded trees can be read. A file that is missing or unreadable means "no limit here".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 1 << 20
"""Most that is read of one file; mountinfo is the only large one."""
_MAX_DEPTH = 64
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Groups:
    """Directories from this process's group up to the top that can be seen, by controller.

    `v1` has a controller's directories where a version 1 hierarchy carries it; `v2` is the unified one.
    """

    v1: Mapping[str, tuple[Path, ...]]
    v2: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """The tightest processor limit."""

    cpus: float
    group: str
    """The directory that sets it."""
    used_seconds: float | None
    """CPU time the group used since it began; None where no file tells."""
    throttled_seconds: float | None
    """Time its processes were ready but had no quota left."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The tightest memory limit, in bytes. `used` is without the page cache that can be dropped at once."""

    total: int
    used: int
    available: int
    oom_kills: int | None


def groups(root: Path = Path("/")) -> Groups:
    """Where the groups of the process that `root`/proc/self shows are."""
    mounts = list(_mounts(root))
    v1: dict[str, tuple[Path, ...]] = {}
    v2: tuple[Path, ...] = ()
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            v2 = next((_levels(m, path) for m in mounts if m.kind == "cgroup2"), ())
            continue
        for name in names.split(","):
            v1[name] = next((_levels(m, path) for m in mounts if m.kind == "cgroup" and name in m.options), ())
    return Groups(v1, v2)


def cpu_limit(found: Groups, machine_cpus: int) -> CpuLimit | None:
    """The tightest of quotas along the path and the processor set; None when that is the whole machine."""
    levels, v1 = _carrier(found, "cpu")
    quotas = [(quota, level) for level in levels if (quota := _quota(level, v1)) is not None]
    cpus, level = min(quotas, default=(float(machine_cpus), None))
    allowed = _processor_set(found)
    if allowed and allowed < cpus:
        cpus, level = float(allowed), next(iter(levels), None)
    if level is None or cpus >= machine_cpus:
        return None
    stat = _pairs(level / "cpu.stat")
    throttled = stat.get("throttled_time", 0) / 1e9 if v1 else stat.get("throttled_usec", 0) / 1e6
    return CpuLimit(cpus, str(level), _used_seconds(found, level, v1), throttled if stat else None)


def memory_limit(found: Groups, machine_bytes: int) -> MemoryLimit | None:
    """The tightest limit along the path; None when no group allows less than the machine has.

    A group is full when any group above it is, so `available` is the least of what each level has left.
    """
    levels, v1 = _carrier(found, "memory")
    limited = [(limit, level) for level in levels if (limit := _memory_max(level, v1)) is not None and limit < machine_bytes]
    if not limited:
        return None
    total, tightest = min(limited)
    left = min(max(0, limit - _working_set(level, v1)) for limit, level in limited)
    used = min(_working_set(tightest, v1), total)
    kills = _pairs(tightest / ("memory.oom_control" if v1 else "memory.events")).get("oom_kill")
    return MemoryLimit(total, used, min(left, total), kills)


@dataclass(frozen=True, slots=True)
class _Mount:
    kind: str
    shown: str
    """The group that the mount point shows: "/" unless a container engine mounted a part."""
    point: Path
    options: frozenset[str]


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if len(fields) >= 5 and len(kinds) >= 3 and kinds[0] in ("cgroup", "cgroup2"):
            point = root / _plain(fields[4]).lstrip("/")
            yield _Mount(kinds[0], _plain(fields[3]), point, frozenset(kinds[2].split(",")))


def _plain(field: str) -> str:
    """A mountinfo field with its octal escapes (\\040 for a space) resolved."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _levels(mount: _Mount, path: str) -> tuple[Path, ...]:
    """The directories of `path` below `mount`, innermost first, the mount point last.

    A path outside of what the mount shows (`/..` in a cgroup namespace, a container's own bind mount)
    leaves the mount point alone: that is the innermost group that can be seen.
    """
    shown = mount.shown.rstrip("/")
    inside = path == shown or path.startswith(shown + "/")
    parts = [part for part in path[len(shown) :].split("/") if part][:_MAX_DEPTH] if inside else []
    if ".." in parts:
        parts = []
    return tuple(mount.point.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _carrier(found: Groups, controller: str) -> tuple[tuple[Path, ...], bool]:
    """The levels that carry `controller`, and whether in version 1 files."""
    levels = found.v1.get(controller, ())
    return (levels, True) if levels else (found.v2, False)


def _quota(level: Path, v1: bool) -> float | None:
    """Processors that `level` allows by bandwidth; None = no limit."""
    if v1:
        quota, period = _number(level / "cpu.cfs_quota_us"), _number(level / "cpu.cfs_period_us")
    else:
        words = [*_text(level / "cpu.max").split(), "", ""]
        quota, period = _integer(words[0]), _integer(words[1])
    return quota / period if quota and period and quota > 0 and period > 0 else None


def _processor_set(found: Groups) -> int:
    """How many processors the nearest group with a processor set may run on; 0 = not known."""
    levels, v1 = _carrier(found, "cpuset")
    for level in levels:
        for name in ("cpuset.effective_cpus", "cpuset.cpus") if v1 else ("cpuset.cpus.effective",):
            if count := _count_of_ranges(_text(level / name)):
                return count
    return 0


def _count_of_ranges(text: str) -> int:
    """How many numbers a list such as `0-3,8` names; 0 for anything else."""
    count = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        begin, end = _integer(first), _integer(last or first)
        if begin is None or end is None or end < begin:
            return 0
        count += end - begin + 1
    return count


def _used_seconds(found: Groups, level: Path, v1: bool) -> float | None:
    """CPU time of the group at `level`; in version 1 the accounting hierarchy may be another one."""
    if not v1:
        used = _pairs(level / "cpu.stat").get("usage_usec")
        return None if used is None else used / 1e6
    own, accounting = found.v1.get("cpu", ()), found.v1.get("cpuacct", ())
    if len(accounting) != len(own):
        return None
    for group, twin in zip(own, accounting, strict=True):
        if group == level and (used := _number(twin / "cpuacct.usage")) is not None:
            return used / 1e9
    return None


def _memory_max(level: Path, v1: bool) -> int | None:
    """The limit of `level`; version 1 says "none" with a huge number, which no machine has."""
    limit = _number(level / ("memory.limit_in_bytes" if v1 else "memory.max"))
    if not v1:
        return limit
    hierarchical = _pairs(level / "memory.stat").get("hierarchical_memory_limit")
    return min((each for each in (limit, hierarchical) if each is not None and each >= 0), default=None)


def _working_set(level: Path, v1: bool) -> int:
    """Bytes in use without inactive page cache, as container tools count them."""
    usage = _number(level / ("memory.usage_in_bytes" if v1 else "memory.current")) or 0
    return max(0, usage - _pairs(level / "memory.stat").get("total_inactive_file" if v1 else "inactive_file", 0))


def _pairs(path: Path) -> dict[str, int]:
    """A file of `name number` lines."""
    found: dict[str, int] = {}
    for line in _text(path).splitlines():
        name, _, text = line.partition(" ")
        if (value := _integer(text)) is not None:
            found[name] = value
    return found


def _number(path: Path) -> int | None:
    return _integer(_text(path))


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
