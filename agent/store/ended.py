"""Rows whose series is over and whose places cannot be used again yet."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.store.pages import View
from agent.store.table import Table, Ticks

KEEP_ENDINGS = 10_000


@dataclass(frozen=True, slots=True)
class Ending:
    """When and why a series ended."""

    source: str
    at: float
    reason: str


class Ended:
    """The queue of ended rows of each flush group, and the readers that keep them where they are."""

    def __init__(self, ticks: Ticks) -> None:
        self.endings: OrderedDict[tuple[Table, tuple[str, ...]], Ending] = OrderedDict()
        """The last series that ended, oldest first."""
        self._ticks = ticks
        self._queues: dict[str, deque[tuple[int, Table, int]]] = {}
        self._readers: list[int] = []

    @property
    def groups(self) -> list[str]:
        """Flush groups with rows that wait."""
        return list(self._queues)

    def add(self, table: Table, row: int, reason: str, now: float) -> None:
        """A row has ended."""
        self._ticks.ends += 1
        self._queues.setdefault(table.group, deque()).append((self._ticks.ends, table, row))
        key = (table, table.labels[row])
        self.endings[key] = Ending(table.feed.name, now, reason)
        self.endings.move_to_end(key)
        if len(self.endings) > KEEP_ENDINGS:
            self.endings.popitem(last=False)

    def begin_reading(self) -> int:
        """Keep every row where it is until `end_reading`; returns what to hand to that."""
        self._readers.append(self._ticks.ends)
        return self._ticks.ends

    def end_reading(self, token: int) -> None:
        """A reader is done."""
        self._readers.remove(token)

    def freed(self, group: str, views: Sequence[View]) -> Iterator[Table]:
        """Free the places that no page and no reader can still hold; the table of each."""
        queue = self._queues.get(group)
        if not queue:
            return
        floor = min([self._ticks.ends, *self._readers, *(view.group(group).clean for view in views)])
        while queue and queue[0][0] <= floor:
            _, table, row = queue.popleft()
            table.free.append(row)
            table.labels[row] = ()
            yield table
        if not queue:
            self._queues.pop(group, None)
