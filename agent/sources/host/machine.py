"""The machine as a whole: load, start, processes, open files, what it is."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from agent.model import Family, Kind
from agent.sources.host.reader import Reader, Reading

LOAD = (
    Family("host_load1", Kind.GAUGE, "Load average over 1 minute."),
    Family("host_load5", Kind.GAUGE, "Load average over 5 minutes."),
    Family("host_load15", Kind.GAUGE, "Load average over 15 minutes."),
)
BOOT = Family("host_boot_time_seconds", Kind.GAUGE, "When the machine started, seconds since the epoch.", "seconds")
UPTIME = Family("host_uptime_seconds", Kind.GAUGE, "Time since the machine started.", "seconds")
PROCESSES = Family("host_processes", Kind.GAUGE, "Processes that the agent can see.")
OPEN_FILES = Family("host_open_fds", Kind.GAUGE, "File descriptors open on the machine (Linux).")
MAX_FILES = Family("host_max_fds", Kind.GAUGE, "File descriptors the machine allows (Linux).")
INFO = Family("host_info", Kind.GAUGE, "Always 1; what the machine is.", labels=("hostname", "os", "release", "machine"))

FAMILIES = (*LOAD, BOOT, UPTIME, PROCESSES, OPEN_FILES, MAX_FILES, INFO)


def read_load(reader: Reader) -> Iterator[Reading]:
    """The three load averages."""
    for family, value in zip(LOAD, reader.getloadavg(), strict=True):
        yield family, (), float(value)


def read_boot(reader: Reader, now: float) -> Iterator[Reading]:
    """Start and age of the machine; `now` in seconds since the epoch."""
    boot = reader.boot_time()
    yield BOOT, (), boot
    yield UPTIME, (), max(0.0, now - boot)


def read_processes(reader: Reader) -> Iterator[Reading]:
    """How many processes there are."""
    yield PROCESSES, (), float(len(reader.pids()))


def read_open_files(root: Path) -> Iterator[Reading]:
    """Open file descriptors from `root`/proc/sys/fs/file-nr: open, unused, most (proc(5)).

    Raises OSError and ValueError. A machine without the file (macOS) has no such number to fail with.
    """
    path = root / "proc/sys/fs/file-nr"
    if path.exists():
        opened, _, most = path.read_text("ascii").split()
        yield OPEN_FILES, (), float(opened)
        yield MAX_FILES, (), float(most)


def read_info() -> Iterator[Reading]:
    """What the machine calls itself."""
    about = platform.uname()
    yield INFO, (about.node, about.system, about.release, about.machine), 1.0
