"""The queues of the sinks: on disk below the state directory, or in memory where nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from agent.deliver.courier import Quarantine
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.base import Spool
from agent.spool.latest import LatestSlot
from agent.spool.memory import MemoryQueue

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


class Queues:
    """Queues by sink name. `root`: the folder of all of them; None = in memory."""

    def __init__(self, root: Path | None, monitor: SelfMonitor, clock: Callable[[], float]) -> None:
        self._root = root
        self._monitor = monitor
        self._clock = clock
        self._memory: dict[tuple[str, str], MemoryQueue] = {}
        """By sink name and type."""

    def slot(self) -> Queue:
        """For a sink that wants the newest snapshot only."""
        return Queue(LatestSlot(), 0)

    def open(self, name: str, kind: str, url: str, policy: Policy) -> Queue:
        """The queue of a sink of that name and type, with what it holds already."""
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
