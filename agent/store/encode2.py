"""A newborn series' labels for remote-write 2.0: names and values as text, for a page to make references of."""

from __future__ import annotations

from typing import NamedTuple

from agent.store.encode import BOUND, NAME, LabelRules, Part, histogram_names, plan
from agent.store.table import Table
from agent.wire.remote_write2 import About


class Record2(NamedTuple):
    """One record before it is in a page."""

    about: About
    texts: list[str]
    """Label names and values in turn, sorted by name."""


class _Plan(NamedTuple):
    about: About
    parts: list[Part]
    names: list[tuple[str, str]]
    """(`__name__`, `le` or "") of each record."""


class RecordEncoder2:
    """Remote-write 2.0 records. `native_histograms`: a histogram row is one record instead of one per bucket."""

    def __init__(self, rules: LabelRules, native_histograms: bool) -> None:
        self._rules = rules
        self._native = native_histograms
        self._plans: dict[Table, _Plan] = {}

    def encode(self, table: Table, labels: tuple[str, ...]) -> list[Record2]:
        """The records of a newborn row, in wire order."""
        about, parts, names = self._plans.get(table) or self._plan(table)
        texts: list[str] = []
        name_at = bound_at = -1
        for name, place, constant in parts:
            value = (labels[place] if place >= 0 else "") or constant
            if name == BOUND and names[0][1]:
                bound_at = len(texts)
            elif not value:
                continue
            elif name == NAME:
                name_at = len(texts) + 1
            texts += (name, value)
        if len(names) == 1:
            return [Record2(about, texts)]
        records = []
        for name, bound in names:
            own = texts.copy()
            own[name_at] = name
            own[bound_at : bound_at + 2] = (BOUND, bound) if bound else ()
            records.append(Record2(about, own))
        return records

    def forget(self, table: Table) -> None:
        """Drop a table's plan."""
        self._plans.pop(table, None)

    def _plan(self, table: Table) -> _Plan:
        family = table.family
        native = self._native and table.width > 1
        about = About(family.kind, family.help, family.unit, family.buckets if native else ())
        parts = plan(table, self._rules)
        if native:
            parts = [part for part in parts if part.name != BOUND]
        names = histogram_names(table) if table.width > 1 and not native else [(table.name, "")]
        self._plans[table] = _Plan(about, parts, names)
        return self._plans[table]
