"""A newborn series' labels in a view's format: worked out once, at its birth.

What depends on the table alone (which labels, in which order, from where) is a plan made at the first
birth; a birth fills in the row's own values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from typing import Protocol as TypingProtocol

from agent.store.table import Table
from agent.wire import exposition, remote_write, vm_import

NAME = "__name__"
BOUND = "le"
_CACHE = 4096
"""Encoded labels kept for reuse; most label values repeat, unique ones must not pile up."""


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What a view adds to every series."""

    external: Mapping[str, str] = field(default_factory=dict)
    """Fill what a series does not have: job, instance, `agent.labels`."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Win over what a series has: the sink's `extra_labels`."""


class Part(NamedTuple):
    """One label of a plan: the row's value at `place`, or where that is empty or `place` is -1, `constant`."""

    name: str
    place: int
    constant: str


def plan(table: Table, rules: LabelRules) -> list[Part]:
    """The labels a table's rows can have in a view, sorted by name as bytes, `__name__` and `le` included."""
    constants = dict(rules.external) | dict(table.constants)
    parts = {name: Part(name, -1, value) for name, value in constants.items() if value}
    for place, name in enumerate(table.family.labels):
        parts[name] = Part(name, place, constants.get(name, ""))
    parts.update({name: Part(name, -1, value) for name, value in rules.extra.items() if value})
    parts[NAME] = Part(NAME, -1, table.name)
    if table.width > 1:
        parts[BOUND] = Part(BOUND, -1, "")
    return sorted(parts.values(), key=lambda part: part.name.encode())


def histogram_names(table: Table) -> list[tuple[str, str]]:
    """(sample name, `le` value or "") of a histogram row's records, in wire order."""
    bounds = [*map(exposition.format_bound, table.family.buckets), "+Inf"]
    return [(f"{table.name}_bucket", bound) for bound in bounds] + [(f"{table.name}_sum", ""), (f"{table.name}_count", "")]


class Encoder(TypingProtocol):
    """Turns a row's labels into its records."""

    def encode(self, table: Table, labels: tuple[str, ...]) -> list[bytes]:
        """`table.width` records, in wire order."""
        ...

    def forget(self, table: Table) -> None:
        """Drop the plan of a table that is gone."""
        ...


class RecordEncoder:
    """Remote-write 1.0 records."""

    def __init__(self, rules: LabelRules) -> None:
        self._rules = rules
        self._plans: dict[Table, tuple[list[Part], list[bytes], list[tuple[bytes, bytes]]]] = {}
        self._cache: dict[tuple[str, str], bytes] = {}

    def encode(self, table: Table, labels: tuple[str, ...]) -> list[bytes]:
        """The records of a newborn row, in wire order."""
        parts, constants, names = self._plans.get(table) or self._plan(table)
        encoded = constants.copy()
        cache = self._cache
        for at, (name, place, _) in enumerate(parts):
            if place >= 0:
                value = labels[place]
                if value:
                    encoded[at] = cache.get((name, value)) or self._label(name, value)
        if table.width == 1:
            return [remote_write.record(b"".join(encoded))]
        records = []
        name_at = [part.name for part in parts].index(NAME)
        bound_at = [part.name for part in parts].index(BOUND)
        for name_label, bound_label in names:
            encoded[name_at], encoded[bound_at] = name_label, bound_label
            records.append(remote_write.record(b"".join(encoded)))
        return records

    def forget(self, table: Table) -> None:
        """Drop a table's plan."""
        self._plans.pop(table, None)

    def _plan(self, table: Table) -> tuple[list[Part], list[bytes], list[tuple[bytes, bytes]]]:
        parts = plan(table, self._rules)
        constants = [remote_write.label(part.name, part.constant) if part.constant else b"" for part in parts]
        names = []
        if table.width > 1:
            for name, bound in histogram_names(table):
                names.append((remote_write.label(NAME, name), remote_write.label(BOUND, bound) if bound else b""))
        self._plans[table] = (parts, constants, names)
        return self._plans[table]

    def _label(self, name: str, value: str) -> bytes:
        if len(self._cache) >= _CACHE:
            self._cache.clear()
        encoded = self._cache[name, value] = remote_write.label(name, value)
        return encoded


class LineEncoder:
    """`/api/v1/import` line prefixes."""

    def __init__(self, rules: LabelRules) -> None:
        self._rules = rules
        self._plans: dict[Table, list[Part]] = {}

    def encode(self, table: Table, labels: tuple[str, ...]) -> list[bytes]:
        """The records of a newborn row, in wire order."""
        parts = self._plans.get(table)
        if parts is None:
            parts = self._plans[table] = plan(table, self._rules)
        pairs = [(name, (labels[place] if place >= 0 else "") or constant) for name, place, constant in parts]
        if table.width == 1:
            return [vm_import.prefix([pair for pair in pairs if pair[1]])]
        return [
            vm_import.prefix(
                [(k, sample if k == NAME else bound if k == BOUND else v) for k, v in pairs if v or (k == BOUND and bound)]
            )
            for sample, bound in histogram_names(table)
        ]

    def forget(self, table: Table) -> None:
        """Drop a table's plan."""
        self._plans.pop(table, None)
