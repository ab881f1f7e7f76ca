"""The folders of the queues: one for each sink, locked by whoever uses it, and kept when the sink is gone."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.errors import ConfigError, TemporaryError
from agent.plugin import Fsync, Policy
from agent.selfmon import SelfMonitor
from agent.spool.disk import DiskQueue
from agent.spool.entry import Head
from agent.spool.files import Files, RealFiles
from agent.spool.recover import recover
from agent.spool.report import QueueReport

log = logging.getLogger(__name__)

QUEUES = "queues"
"""Of the state directory: a folder for each sink below it."""
ABOUT = "sink.json"
MAX_ABOUT_CHARACTERS = 1 << 16
RESERVE_BYTES = 64 << 20
"""Left free on the file system: a full disk hurts everything else on the host more than a lost sample."""
RESERVE_SHARE = 20
"""Or a twentieth of a small file system, where that is less."""


@dataclass(frozen=True)
class QueueInfo:
    """What a folder holds. Times in seconds since the epoch; None = nothing waits."""

    name: str
    type: str
    url: str
    departed: bool
    """No sink of the configuration uses it."""
    blocks: int
    samples: int
    bytes: int
    oldest_created: float | None
    newest_created: float | None
    problem: str = ""
    """Why its files cannot be read; the counts are then of nothing."""
    locked_by: int | None = None
    """The process that uses it, where that is not us: the counts are then as the files tell."""

    def as_json(self) -> dict[str, object]:
        """For answers."""
        return asdict(self)


class OpenQueue:
    """A disk queue with its lock; `aclose` lets both go."""

    def __init__(self, queue: DiskQueue, lock: int) -> None:
        self.queue = queue
        self._lock: int | None = lock

    async def aclose(self) -> None:
        """Put everything unsent on disk and give up the folder."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            try:
                await self.queue.aclose()
            finally:
                os.close(lock)


def open_queue(
    root: Path, name: str, kind: str, url: str, policy: Policy, monitor: SelfMonitor, files: Files | None = None
) -> OpenQueue:
    """The queue of a sink, with what an earlier life left in it.

    A folder of another type of sink is set aside first, for `listing` to find. Raises TemporaryError when another
    process uses it, ConfigError for files of a later version and a folder that cannot be used.
    """
    folder, files = root / name, files or RealFiles()
    try:
        before = _about(folder)
        if before.get("type", kind) != kind:
            with _held(folder):  # or it would be moved away under the process that uses it
                _set_aside(folder, before["type"])
        elif before.get("url", url) != url:
            log.info(
                "sink %s: its address changes from %s to %s; what waits in its queue goes to the new one",
                name,
                before["url"],
                url,
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = _lock(folder)
    except OSError as error:
        raise ConfigError([f"agent.state_dir: {folder} cannot be used: {error.strerror or error}"]) from error
    try:
        _note(folder, kind, url)
        found = recover(files, folder)
        space = files.space(folder)
        report = QueueReport(name, monitor)
        report.opened(folder, len(found.index.records), found.index.samples, found.damages, found.losses["corrupt"])
        queue = DiskQueue(
            files,
            folder,
            found,
            report,
            min(RESERVE_BYTES, space.total // RESERVE_SHARE),
            max_bytes=policy.queue_max_bytes,
            fsync=policy.fsync,
            fsync_interval_seconds=policy.fsync_interval_seconds,
        )
    except OSError as error:
        os.close(lock)
        raise ConfigError([f"agent.state_dir: {folder} cannot be used: {error.strerror or error}"]) from error
    except ConfigError:
        os.close(lock)
        raise
    return OpenQueue(queue, lock)


def listing(root: Path, current: Collection[str], leave_out: Collection[str] = ()) -> list[QueueInfo]:
    """Every queue below `root`; `current`: the sinks of the configuration. Of other sinks only what still holds something.

    Each is read whole, which takes a while for a large one: a process leaves out those it has open.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    except OSError:
        return []
    found = [_info(root / name, name not in current) for name in names if name not in leave_out]
    return [info for info in found if info.blocks or info.problem or not info.departed]


def is_departed(folder: Path) -> bool:
    """Whether it is a queue at all; it may be empty."""
    return (folder / ABOUT).is_file()


def peek(folder: Path, count: int) -> list[Head]:
    """The oldest blocks of a queue that nobody uses. Raises TemporaryError when a process does."""
    with _held(folder):
        return _opened(folder).heads(count)


def drop(folder: Path, upto: int | None) -> int:
    """Give up what waits in a queue that nobody uses, up to a sequence or all; the samples. Raises TemporaryError."""
    with _held(folder):
        queue = _opened(folder)
        samples = queue.drop(upto)
        queue.close()
        return samples


def _opened(folder: Path) -> DiskQueue:
    """A queue nobody sends from, whose lock is held. Raises ConfigError."""
    try:
        found = recover(RealFiles(), folder)
    except OSError as error:
        raise ConfigError([f"{folder} cannot be read: {error.strerror or error}"]) from error
    report = QueueReport(folder.name, SelfMonitor())
    return DiskQueue(
        RealFiles(),
        folder,
        found,
        report,
        0,
        max_bytes=sys.maxsize,
        fsync=Fsync.INTERVAL,
        fsync_interval_seconds=1.0,
        monotonic=time.monotonic,
    )


def _info(folder: Path, departed: bool) -> QueueInfo:
    about = _about(folder)
    try:
        found = recover(RealFiles(), folder)
        created = [record.created for record in found.index.records.values()]
        counts = len(created), found.index.samples, found.index.bytes
        problem = ""
    except (OSError, ConfigError) as error:
        created, counts, problem = [], (0, 0, 0), str(error)
    return QueueInfo(
        folder.name,
        about.get("type", ""),
        about.get("url", ""),
        departed,
        *counts,
        min(created, default=None),
        max(created, default=None),
        problem,
        _holder(folder),
    )


def _about(folder: Path) -> dict[str, str]:
    """What the folder says of its sink; {} where it says nothing that can be read."""
    try:
        with open(folder / ABOUT, encoding="utf-8", errors="replace") as file:
            found = json.loads(file.read(MAX_ABOUT_CHARACTERS))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _note(folder: Path, kind: str, url: str) -> None:
    if _about(folder) != {"type": kind, "url": url}:
        new = folder / (ABOUT + ".new")
        new.write_text(json.dumps({"type": kind, "url": url}), encoding="utf-8")
        new.replace(folder / ABOUT)


def _set_aside(folder: Path, kind: str) -> None:
    """Give the folder of another type of sink a name of its own."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in kind)[:40]
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{safe}.{number}")).exists():
        number += 1
    folder.rename(aside)
    log.warning(
        "sink %s is of another type now: what waited for it is kept in %s; `cipush queue ls` lists it", folder.name, aside
    )


def _lock(folder: Path) -> int:
    """The lock of the folder, held until it is closed. Raises TemporaryError naming who has it, OSError."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise TemporaryError(f"queue {folder} is in use by process {holder}; stop it, or ask it with --url") from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


def _holder(folder: Path) -> int | None:
    """The process that has the lock; None = nobody."""
    try:
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(handle)
    return None


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        lock = _lock(folder)
    except OSError as error:
        raise ConfigError([f"{folder} cannot be used: {error.strerror or error}"]) from error
    try:
        yield
    finally:
        os.close(lock)
