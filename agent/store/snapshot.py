"""What state sinks are sent: the whole present state as text, under the names that their rules give it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Generator, Iterator

from agent.model import Kind
from agent.relabel.rules import Labels, Refusal
from agent.store.claims import Series
from agent.store.encode import NAME, LabelRules
from agent.store.relabel import relabelled, renamed, series_of
from agent.store.store import Store
from agent.store.table import DEAD, Table
from agent.store.text import STEP, Bodies, families, row_text, snapshot
from agent.wire import exposition

_Row = tuple[Table, tuple[str, ...]]


class Snapshots:
    """One after the other; what rules made of a row is kept from each to the next.

    Where rules make one series of several, the first in the order of families, tables and births has it.
    """

    def __init__(self, store: Store, rules: LabelRules) -> None:
        self._store = store
        self._rules = rules
        self._known: dict[_Row, Labels | Refusal] = {}
        self._collided: set[_Row] = set()
        self.refused: Counter[str] = Counter()
        """Series refused when first met, by reason; whoever counts them takes them away."""

    def take(self) -> Generator[None, None, tuple[Bodies, int]]:
        """One text body per (job, instance) that series have, without these two labels; returns them and the samples.

        The other labels that the view adds are written into the series. A step is about 1,000 rows.
        """
        if not self._rules.relabels:
            return (yield from snapshot(self._store, self._rules))
        round_ = _Round(self._known, self._collided, self.refused, self._rules)
        token = self._store.begin_reading()
        try:
            for steps, (table, row) in enumerate(_rows(self._store), 1):
                if table.changed[row] != DEAD:
                    round_.add(table, row)
                if not steps % STEP:
                    yield
        finally:
            self._store.end_reading(token)
        self._known, self._collided = round_.known, round_.collided
        return round_.bodies(), round_.samples


class _Round:
    """One snapshot while it is made."""

    def __init__(
        self, before: dict[_Row, Labels | Refusal], collided: set[_Row], refused: Counter[str], rules: LabelRules
    ) -> None:
        self._before = before
        self._collided_before = collided
        self._refused = refused
        self._rules = rules
        self._heads: dict[str, tuple[Kind, Table]] = {}
        self._lines: dict[tuple[str, str], dict[str, list[str]]] = {}
        self._taken: set[Series] = set()
        self.known: dict[_Row, Labels | Refusal] = {}
        self.collided: set[_Row] = set()
        self.samples = 0

    def add(self, table: Table, row: int) -> None:
        """Write a live row, if it is sent."""
        place = (table, table.labels[row])
        found = self._before.get(place)
        if found is None:
            found = relabelled(*place, self._rules)
            if isinstance(found, Refusal):
                self._refused[found.reason] += table.width
        self.known[place] = found
        if isinstance(found, Refusal) or not self._is_first(place, found):
            return
        labels = found.copy()
        name, key = labels.pop(NAME), (labels.pop("job", ""), labels.pop("instance", ""))
        family, kind = renamed(table, name)
        head = self._heads.setdefault(family, (kind, table))
        if head[0] is not kind:
            self._heads[family] = (Kind.UNKNOWN, head[1])
        self._lines.setdefault(key, {}).setdefault(family, []).append(row_text(table, row, list(labels.items()), name))
        self.samples += table.width

    def _is_first(self, place: _Row, labels: Labels) -> bool:
        series = series_of(place[0], labels)
        if self._taken.isdisjoint(series):
            self._taken.update(series)
            return True
        self.collided.add(place)
        if place not in self._collided_before:
            self._refused["collision"] += place[0].width
        return False

    def bodies(self) -> Bodies:
        """What was written, by group, every family under its head."""
        heads = {
            family: exposition.header(family, kind, table.family.help, table.family.unit, False)
            for family, (kind, table) in self._heads.items()
        }
        return tuple(
            (key, "".join(heads[family] + "".join(lines[family]) for family in sorted(lines)).encode("utf-8", "replace"))
            for key, lines in sorted(self._lines.items())
        )


def _rows(store: Store) -> Iterator[tuple[Table, int]]:
    """Every row by family name; what is in a family is listed when its first row is asked for."""
    for _, tables in families(store, None):
        for table, rows in [(table, array("I", table.index.values())) for table in tables]:
            for row in rows:
                yield table, row
