"""The queues of the sinks: on disk below the state directory, or in memory where nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.base import Spool
from agent.spool.disk import DiskQueue
from agent.spool.entry import Head
from agent.spool.folder import QUEUES, QueueInfo, drop, listing, open_queue, peek
from agent.spool.latest import LatestSlot
from agent.spool.memory import MemoryQueue
from agent.spool.quarantine import Quarantine

MEMORY_MAX_BYTES = 64 << 20
"""Of a queue that has no disk."""


def _nothing() -> None:
    """What there is to do about a queue in memory."""


@dataclass(frozen=True)
class Queue:
    """Where one sink's blocks wait, and what the core has to do for it."""

    spool: Spool[Any]
    max_bytes: int
    run: Callable[[], Coroutine[Any, Any, None]] = anyio.sleep_forever
    """Keeps what waits on disk; runs beside the lane."""
    close: Callable[[], None] = _nothing
    """Puts everything unsent on disk."""
    problem: Callable[[], str] = str
    """Why it cannot do what it is for, or ""."""
    quarantine: Quarantine | None = None
    disk: DiskQueue | None = None

    def keeps(self) -> bool:
        """Whether everything that waits is on disk, as it is after `close` unless the disk refused."""
        return self.disk is not None and self.disk.is_kept


class Queues:
    """Queues by sink name. `state_dir` None: in memory."""

    def __init__(self, state_dir: Path | None, monitor: SelfMonitor) -> None:
        self.root = None if state_dir is None else state_dir / QUEUES
        """The folder of all queues; None = they are in memory."""
        self._monitor = monitor
        self._memory: dict[tuple[str, str], MemoryQueue] = {}
        """By sink name and type."""

    def slot(self) -> Queue:
        """For a sink that wants the newest snapshot only."""
        return Queue(LatestSlot(), 0)

    def open(self, name: str, kind: str, url: str, policy: Policy) -> Queue:
        """The queue of a sink of that name and type, with what it holds already.

        Raises ConfigError and TemporaryError for a folder that cannot be used, and for files of a later version.
        """
        if self.root is not None:
            found = open_queue(self.root, name, kind, url, policy, self._monitor)
            queue = found.queue
            quarantine = Quarantine(queue.folder / "quarantine")
            return Queue(queue, policy.queue_max_bytes, queue.run, found.close, lambda: queue.problem, quarantine, queue)
        max_bytes = min(policy.queue_max_bytes, MEMORY_MAX_BYTES)
        before, spool = self._memory.get((name, kind)), MemoryQueue(max_bytes)
        while before is not None and (entry := before.take()) is not None:
            spool.put(entry.item)
        self._memory[name, kind] = spool
        return Queue(spool, max_bytes)

    def leave(self, name: str) -> None:
        """The sink left the configuration: what waits in memory for it goes."""
        for key in [key for key in self._memory if key[0] == name]:
            del self._memory[key]

    def info(self, name: str, kind: str, url: str, spool: Spool[Any]) -> QueueInfo:
        """What waits for a running sink."""
        stats = spool.stats()
        return QueueInfo(name, kind, url, False, stats.blocks, stats.samples, stats.bytes, stats.oldest_created, None)

    def departed(self, running: Collection[str]) -> list[QueueInfo]:
        """The queues on disk of sinks that are not running."""
        return [info for info in listing(self.root, running) if info.name not in running] if self.root else []

    def heads(self, name: str, count: int) -> list[Head]:
        """The oldest blocks of a queue that no running sink has on disk. Raises KeyError for one that is not there."""
        return peek(self._folder(name), count)

    def drop(self, name: str, upto: int | None) -> int:
        """Give up what waits in it; the samples. Raises KeyError for one that is not there."""
        return drop(self._folder(name), upto)

    def _folder(self, name: str) -> Path:
        if self.root is None or name not in {info.name for info in listing(self.root, (name,))}:
            raise KeyError(name)
        return self.root / name
