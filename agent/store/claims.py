"""Which row sends a series, where rules can make one series of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.store.table import DEAD, Table

Place = tuple[Table, int]
"""A row of a table."""
Heirs = Callable[[Table, int], tuple[Sequence[Place], Sequence[int]]]
"""(table, an ended row) -> rows in which its series live again, and the numbers of its records that do not."""
Series = int
"""Hash of a sample's name and labels as they are sent."""

PRUNE_FROM = 64


class _Queue:
    """Rows that wait for a series, the longest first; those that have ended are dropped now and then."""

    __slots__ = ("limit", "rows")

    def __init__(self) -> None:
        self.rows: dict[tuple[Table, tuple[str, ...]], None] = {}
        """By labels, not number: nobody tells when they end, and the place may be another's by then."""
        self.limit = PRUNE_FROM

    def add(self, table: Table, row: int) -> None:
        """One more row."""
        self.rows[table, table.labels[row]] = None
        if len(self.rows) >= self.limit:
            self.rows = {key: None for key in self.rows if key[1] in key[0].index}
            self.limit = max(PRUNE_FROM, 2 * len(self.rows))

    def next(self) -> Place | None:
        """Take out the longest waiting row that lives."""
        while self.rows:
            table, labels = next(iter(self.rows))
            del self.rows[table, labels]
            row = table.index.get(labels)
            if row is not None:
                return table, row
        return None


class Claims:
    """Series -> the row that sends it, and the rows that wait for it to end.

    A row that cannot have all its series has none, and waits for the first it lacks.
    """

    def __init__(self) -> None:
        self._owners: dict[Series, Place] = {}
        self._waiting: dict[Series, _Queue] = {}

    @property
    def waiting(self) -> int:
        """Rows that wait, some of which may have ended."""
        return sum(len(queue.rows) for queue in self._waiting.values())

    def take(self, place: Place, series: Sequence[Series]) -> bool:
        """Whether a newborn row has its series from now on; a row that has ended stands in nobody's way."""
        for one in series:
            owner = self._owners.get(one)
            if owner is not None and owner != place and owner[0].changed[owner[1]] != DEAD:
                self._waiting.setdefault(one, _Queue()).add(*place)
                return False
        for one in series:
            self._owners[one] = place
        return True

    def owner(self, place: Place, series: Sequence[Series]) -> Place | None:
        """Another live row that has one of the series."""
        for one in series:
            owner = self._owners.get(one)
            if owner is not None and owner != place and owner[0].changed[owner[1]] != DEAD:
                return owner
        return None

    def release(
        self, place: Place, series: Sequence[Series], born: Callable[[Place], object]
    ) -> tuple[Sequence[Place], Sequence[int]]:
        """An ended row leaves: its series go to those that wait. As `Heirs`; `born` is called for each that is let in."""
        free = [one for one in series if self._owners.get(one) == place]
        for one in free:
            del self._owners[one]
        for one in free:
            queue = self._waiting.get(one)
            while queue is not None and one not in self._owners and (waiting := queue.next()) is not None:
                born(waiting)
            if queue is not None and not queue.rows:
                del self._waiting[one]
        owners = [self._owners.get(one) for one in series]
        gone = [number for number, owner in enumerate(owners) if owner is None]
        return list(dict.fromkeys(owner for owner in owners if owner is not None)), gone
