"""The queues of the sinks: on disk below the state directory, or in memory where nothing is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio

from agent.errors import CipushError
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.base import Spool
from agent.spool.disk import DiskQueue
from agent.spool.entry import Head
from agent.spool.folder import QUEUES, QueueInfo, drop, is_departed, listing, open_queue, peek
from agent.spool.latest import LatestSlot
from agent.spool.memory import MemoryQueue
from agent.spool.quarantine import Quarantine

log = logging.getLogger(__name__)

MEMORY_MAX_BYTES = 64 << 20
"""Of a queue that has no disk."""


async def _nothing() -> None:
    """What there is to do about a queue in memory."""


@dataclass(frozen=True)
class Queue:
    """Where one sink's blocks wait, and what the core has to do for it."""

    spool: Spool[Any]
    max_bytes: int
    run: Callable[[], Coroutine[Any, Any, None]] = anyio.sleep_forever
    """Keeps what waits on disk; runs beside the lane."""
    aclose: Callable[[], Coroutine[Any, Any, None]] = _nothing
    """Puts everything unsent on disk."""
    problem: Callable[[], str] = str
    """Why it cannot do what it is for, or ""."""
    quarantine: Quarantine | None = None
    disk: DiskQueue | None = None

    def keeps(self) -> bool:
        """Whether everything that waits is on disk, as it is after `aclose` unless the disk refused."""
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
            return Queue(queue, policy.queue_max_bytes, queue.run, found.aclose, lambda: queue.problem, quarantine, queue)
        return self._in_memory(name, kind, policy)

    def open_or_in_memory(self, name: str, kind: str, url: str, policy: Policy) -> Queue:
        """The same, in memory where the folder cannot be used: a running agent goes on without it, and says so."""
        try:
            return self.open(name, kind, url, policy)
        except CipushError as error:
            problem = str(error)
            log.error("the queue of sink %s cannot be opened, so what waits is kept in memory only: %s", name, problem)
            return replace(self._in_memory(name, kind, policy), problem=lambda: problem)

    def _in_memory(self, name: str, kind: str, policy: Policy) -> Queue:
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
        return listing(self.root, running, leave_out=running) if self.root else []

    def heads(self, name: str, count: int) -> list[Head]:
        """The oldest blocks of a queue that no running sink has on disk. Raises KeyError for one that is not there."""
        return peek(self._folder(name), count)

    def drop(self, name: str, upto: int | None) -> int:
        """Give up what waits in it; the samples. Raises KeyError for one that is not there."""
        return drop(self._folder(name), upto)

    def _folder(self, name: str) -> Path:
        if self.root is None or name != Path(name).name or not is_departed(self.root / name):
            raise KeyError(name)
        return self.root / name
