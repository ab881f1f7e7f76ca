"""The outbox: samples that the ledger owes to the history sinks beside the flushes, until each of them has them for good.

Rows are handed to a lane once, with a flush; they are deleted when everything of that flush is accepted by the sink, or
synced to its queue. After a crash in between they are handed over again: the same samples at the same times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter

from agent.ledger.base import Ledger
from agent.ledger.batch import Outgoing
from agent.selfmon import SelfMonitor, counter, gauge

WAITING = gauge("cipush_outbox_rows", "Birth rows and events that not every history sink has for good.")
FORGIVEN = counter(
    "cipush_outbox_forgiven_total", "Birth rows and events owed to sinks that left the configuration, or to a full outbox."
)
FAMILIES = (WAITING, FORGIVEN)

MOST_ROWS = 500_000
"""Rows kept for sinks that neither take them nor can put them on disk; beyond it the oldest are forgiven."""

Settled = Callable[[str], int | None]
"""How far a sink has everything for good, as the number of a flush; None = all of it."""


class Outbox:
    """Rows in the order of their commits, and how far each sink is."""

    def __init__(self, ledger: Ledger, epoch: int, monitor: SelfMonitor) -> None:
        self._ledger = ledger
        self._epoch = epoch
        self._monitor = monitor
        self._rows: deque[Outgoing] = deque()
        self._acknowledged: dict[str, int] = {}
        self._handed: dict[str, deque[tuple[int, int]]] = {}
        """Sink -> (flush, the newest row in it), oldest first, of what is not acknowledged."""
        self._upto: dict[str, int] = {}
        """Sink -> the newest row handed to it."""
        monitor.add(FORGIVEN, (), 0)

    def settle_sinks(self, names: Iterable[str]) -> None:
        """These are the history sinks from now on. Raises LedgerError."""
        standing = self._ledger.settle_sinks(names, self._epoch)
        self._monitor.add(FORGIVEN, (), standing.forgiven)
        known = self._upto
        self._acknowledged = dict(standing.acknowledged)
        self._upto = {name: max(known.get(name, 0), number) for name, number in self._acknowledged.items()}
        self._handed = {name: self._handed.get(name, deque()) for name in self._upto}
        after = self._rows[-1].number if self._rows else min(self._acknowledged.values(), default=0)
        if self._upto:
            self.add(self._ledger.outbox(after, MOST_ROWS))
        self._trim()

    def add(self, rows: Sequence[Outgoing]) -> None:
        """Rows of a new commit."""
        if not self._upto:
            return
        self._rows.extend(rows)
        excess = len(self._rows) - MOST_ROWS
        for _ in range(excess):
            self._rows.popleft()
        if excess > 0:
            self._monitor.add(FORGIVEN, (), excess)
        self._monitor.set(WAITING, (), len(self._rows))

    def owed(self, sink: str) -> list[Outgoing]:
        """What was not handed to a sink yet; nothing to one that is no history sink."""
        upto = self._upto.get(sink)
        if upto is None or not self._rows or self._rows[-1].number <= upto:
            return []
        rows = list(self._rows)
        return rows[bisect_right(rows, upto, key=itemgetter(0)) :]

    def hand_over(self, sink: str, upto: int, flush: int) -> None:
        """Rows up to a number were given to the sink's lane, with a flush."""
        self._upto[sink] = upto
        self._handed[sink].append((flush, upto))

    @property
    def rows(self) -> int:
        """Rows that not every sink has for good."""
        return len(self._rows)

    def news(self, settled: Settled) -> Mapping[str, int]:
        """What sinks have for good since it was last noted: sink -> the newest such row."""
        found = {}
        for sink, handed in self._handed.items():
            done = settled(sink) if handed else 0
            upto = [row for flush, row in handed if done is None or flush <= done]
            if upto:
                found[sink] = upto[-1]
        return found

    def acknowledge(self, news: Mapping[str, int]) -> None:
        """Write it down; from a thread. Raises LedgerError."""
        self._ledger.acknowledge(news, self._epoch)

    def note(self, news: Mapping[str, int]) -> None:
        """It is written down."""
        for sink, upto in news.items():
            if sink in self._handed:
                self._acknowledged[sink] = upto
                while self._handed[sink] and self._handed[sink][0][1] <= upto:
                    self._handed[sink].popleft()
        self._trim()

    def _trim(self) -> None:
        least = min(self._acknowledged.values(), default=None)
        while self._rows and (least is None or self._rows[0].number <= least):
            self._rows.popleft()
        self._monitor.set(WAITING, (), len(self._rows))
