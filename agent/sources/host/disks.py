"""Space on filesystems: the one that fills up (`host_disk_*`), and every real one by mount point.

A dead network mount blocks whoever asks it, so each mount is asked in a thread of its own and given up
on after a while; it is not asked again until that thread has come back, so it costs one thread at most.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from agent.log import Transition
from agent.model import Family, Kind
from agent.sources.host.reader import Reader, Reading

DEFAULT_MOUNT_EXCLUDE = (
    r"/(dev|proc|sys|run|snap|var/lib/(docker|containers|containerd|kubelet)|System/Volumes|private/var/vm)(/.*)?"
)
"""Trees that hold no files of anyone's, or show a filesystem again; macOS's data volume is kept all the same."""
DEFAULT_FSTYPE_EXCLUDE = (
    r"autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devfs|devpts|devtmpfs|efivarfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs"
    r"|nullfs|proc|procfs|pstore|ramfs|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs"
)
"""Filesystems without space of their own, and images that are always full."""
DARWIN_DATA = "/System/Volumes/Data"
"""Where macOS keeps everything that can grow; "/" is a sealed snapshot of about 15 GB."""

_APFS_CONTAINER = re.compile(r"/dev/disk\d+")
_MAX_MOUNTS = 256
_THREADS = 8
_SHORTEST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05
_PROBLEMS_NAMED = 5


def _bytes(name: str, help: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, help, "bytes", labels=labels)


_MOUNT = ("device", "mountpoint", "fstype")
TOTAL = _bytes("host_disk_total_bytes", "Size of the main filesystem.")
USED = _bytes("host_disk_used_bytes", "Space of the main filesystem that is taken.")
AVAILABLE = _bytes("host_disk_available_bytes", "Space of the main filesystem that programs without special rights can take.")
PERCENT = Family(
    "host_disk_usage_percentage", Kind.GAUGE, "Taken space of the main filesystem as a share of what programs can have, 0-100."
)
SIZE = _bytes("host_filesystem_size_bytes", "Size of a filesystem.", *_MOUNT)
FREE = _bytes("host_filesystem_available_bytes", "Space that programs without special rights can take.", *_MOUNT)
TAKEN = _bytes("host_filesystem_used_bytes", "Space that is taken.", *_MOUNT)
FILES = Family("host_filesystem_files", Kind.GAUGE, "Inodes a filesystem has.", labels=_MOUNT)
FILES_FREE = Family("host_filesystem_files_free", Kind.GAUGE, "Inodes not taken.", labels=_MOUNT)
SKIPPED = Family(
    "host_filesystem_skipped_mounts",
    Kind.GAUGE,
    "Mounts left out: hung = no answer in time, error = refused, limit = more than 256 mounts.",
    labels=("reason",),
)

FAMILIES = (TOTAL, USED, AVAILABLE, PERCENT, SIZE, FREE, TAKEN, FILES, FILES_FREE, SKIPPED)


@dataclass(frozen=True, slots=True)
class Space:
    """One filesystem, in bytes and inodes."""

    total: int
    free: int
    available: int
    files: int
    files_free: int

    @property
    def used(self) -> int:
        """On APFS that of the whole container, whose volumes share their space."""
        return self.total - self.free


@dataclass(frozen=True, slots=True)
class Filter:
    """Which mounts are left out: whole mount points and filesystem types that match."""

    mounts: re.Pattern[str]
    fstypes: re.Pattern[str]


def statvfs_space(path: str) -> Space:
    """Ask the kernel; blocks for as long as a dead mount likes. Raises OSError."""
    found = os.statvfs(path)
    unit = found.f_frsize or found.f_bsize
    return Space(found.f_blocks * unit, found.f_bfree * unit, found.f_bavail * unit, found.f_files, found.f_ffree)


class Asker:
    """Asks mounts without ever waiting longer than `patience_seconds` for one.

    The threads are daemons and not a pool's, because one that a dead mount holds must not keep the
    process from ending; what waits for them looks again after 1 to 50 ms.
    """

    def __init__(self, space: Callable[[str], Space], patience_seconds: float) -> None:
        self._space = space
        self._patience = patience_seconds
        self._threads: dict[str, threading.Thread] = {}

    async def ask(self, path: str) -> Space:
        """The space at `path`. Raises TimeoutError when it hangs (or still does), OSError when it refuses."""
        self._threads = {held: thread for held, thread in self._threads.items() if thread.is_alive()}
        if path in self._threads:
            raise TimeoutError(f"{path} has not answered since an earlier reading")
        if len(self._threads) >= _MAX_MOUNTS:
            raise TimeoutError(f"{path} was not asked: {_MAX_MOUNTS} mounts have not answered yet")
        answers: list[Space | OSError] = []
        thread = threading.Thread(target=self._ask, args=(path, answers), name=f"statvfs {path}", daemon=True)
        self._threads[path] = thread
        thread.start()
        pause = _SHORTEST_PAUSE
        with anyio.move_on_after(self._patience):
            while thread.is_alive():
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        if not answers:
            raise TimeoutError(f"{path} did not answer within {self._patience:g} s")
        if isinstance(answers[0], OSError):
            raise answers[0]
        return answers[0]

    async def ask_all(self, paths: Sequence[str]) -> Mapping[str, Space | OSError]:
        """Every path's space or what went wrong, a few at a time."""
        answers: dict[str, Space | OSError] = {}
        places = anyio.CapacityLimiter(_THREADS)

        async def one(path: str) -> None:
            async with places:
                try:
                    answers[path] = await self.ask(path)
                except OSError as error:
                    answers[path] = error

        async with anyio.create_task_group() as tasks:
            for path in paths:
                tasks.start_soon(one, path)
        return answers

    def _ask(self, path: str, answers: list[Space | OSError]) -> None:
        """Runs in the thread; the only thing it shares is its own list."""
        try:
            answers.append(self._space(path))
        except (OSError, ValueError) as error:
            answers.append(error if isinstance(error, OSError) else OSError(str(error)))


async def read_disk(asker: Asker, path: str) -> list[Reading]:
    """The main filesystem. Raises OSError, TimeoutError when it hangs."""
    space = await asker.ask(path)
    readings: list[Reading] = [
        (TOTAL, (), float(space.total)),
        (USED, (), float(space.used)),
        (AVAILABLE, (), float(space.available)),
    ]
    if space.used + space.available > 0:
        readings.append((PERCENT, (), 100 * space.used / (space.used + space.available)))
    return readings


async def read_filesystems(reader: Reader, asker: Asker, filter: Filter, platform: str, transition: Transition) -> list[Reading]:
    """Every real filesystem once, and how many were left out; raises what the reader raises.

    `transition` is told which mounts begin to fail.
    """
    mounts = chosen_mounts(reader.disk_partitions(all=True), filter, platform)
    answers = await asker.ask_all([mount.mountpoint for mount in mounts[:_MAX_MOUNTS]])
    readings: list[Reading] = []
    skipped = {"hung": 0, "error": 0, "limit": max(0, len(mounts) - _MAX_MOUNTS)}
    problems: list[str] = []
    for mount in mounts[:_MAX_MOUNTS]:
        answer = answers[mount.mountpoint]
        if isinstance(answer, Space):
            readings.extend(_of_mount((mount.device, mount.mountpoint, mount.fstype), answer))
        else:
            skipped["hung" if isinstance(answer, TimeoutError) else "error"] += 1
            problems.append(str(answer))
    if problems:
        transition.failed("mounts", f"{len(problems)} filesystems left out: {'; '.join(problems[:_PROBLEMS_NAMED])}")
    else:
        transition.recovered("mounts", "every filesystem answers again")
    readings.extend((SKIPPED, (reason,), float(count)) for reason, count in skipped.items())
    return readings


def _of_mount(labels: tuple[str, str, str], space: Space) -> Iterator[Reading]:
    if not space.total:
        return
    yield SIZE, labels, float(space.total)
    yield FREE, labels, float(space.available)
    yield TAKEN, labels, float(space.used)
    if space.files:
        yield FILES, labels, float(space.files)
        yield FILES_FREE, labels, float(space.files_free)


def chosen_mounts(mounts: Sequence[Any], filter: Filter, platform: str) -> list[Any]:
    """The mounts worth showing: not left out by `filter`, and each filesystem once.

    A device mounted in several places is shown where its path is shortest; on macOS all volumes of one
    APFS container count as one device (they share its space), shown at the data volume.
    """
    chosen: dict[str, Any] = {}
    points = {mount.mountpoint: mount for mount in mounts}
    for mount in sorted(
        points.values(), key=lambda each: (each.mountpoint != DARWIN_DATA, len(each.mountpoint), each.mountpoint)
    ):
        own_rule = platform == "darwin" and mount.mountpoint == DARWIN_DATA
        if not own_rule and (filter.mounts.fullmatch(mount.mountpoint) or filter.fstypes.fullmatch(mount.fstype)):
            continue
        chosen.setdefault(_identity(mount, platform), mount)
    return sorted(chosen.values(), key=lambda each: str(each.mountpoint))


def _identity(mount: Any, platform: str) -> str:
    """What tells two filesystems apart: the device where it is one, else the mount point (tmpfs, overlay)."""
    container = _APFS_CONTAINER.match(mount.device) if platform == "darwin" and mount.fstype == "apfs" else None
    if container:
        return container[0]
    is_device = mount.device.startswith("/") or ":" in mount.device
    return str(mount.device if is_device else mount.mountpoint)
