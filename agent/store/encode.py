"""A newborn series' labels in a view's format: worked out once, at its birth.

What depends on the table alone (which labels, in which order, from where) is a plan made at the first
birth; a birth fills in the row's own values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from typing import Protocol as TypingProtocol

from agent.relabel.rules import LabelLimits, Rules
from agent.store.table import Table
from agent.wire import exposition, remote_write, vm_import

NAME = "__name__"
BOUND = "le"


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What a view does to every series."""

    external: Mapping[str, str] = field(default_factory=dict)
    """Fill what a series does not have: job, instance, `agent.labels`."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Win over what a series has: the sink's `extra_labels`."""
    shared: Rules = Rules()
    """The agent's rules: they see the external labels, and go in front of the extra labels."""
    own: Rules = Rules()
    """The sink's rules: they have the last word."""
    limits: LabelLimits = LabelLimits()
    """Of the labels that come out."""

    @property
    def relabels(self) -> bool:
        """Whether a series' labels take more than to put them together: see `agent.store.relabel`."""
        return bool(self.shared or self.own or self.limits)


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


def sample_names(table: Table) -> list[tuple[str, str]]:
    """(sample name, `le` value or "") of any row's records, in wire order."""
    return histogram_names(table) if table.width > 1 else [(table.name, "")]


class Encoder(TypingProtocol):
    """Turns a row's labels into its records."""

    def encode(self, table: Table, labels: tuple[str, ...]) -> Sequence[Any]:
        """The records, in wire order: `table.width` of them, or one native histogram."""
        ...

    def forget(self, table: Table) -> None:
        """Drop the plan of a table that is gone."""
        ...


class _RecordPlan(NamedTuple):
    """A table's plan with all bytes that its rows share."""

    slots: list[tuple[int, int, bytes]]
    """(position in `constants`, place in the row's labels, label head) of each label that rows decide."""
    constants: list[bytes]
    name_at: int
    bound_at: int
    names: list[tuple[bytes, bytes]]
    """(`__name__`, `le`) labels of each record of a histogram row."""


class RecordEncoder:
    """Remote-write 1.0 records."""

    def __init__(self, rules: LabelRules) -> None:
        self._rules = rules
        self._plans: dict[Table, _RecordPlan] = {}
        self.planned: list[Table] = []
        """Tables whose first row was born since somebody emptied this."""

    def encode(self, table: Table, labels: tuple[str, ...]) -> list[bytes]:
        """The records of a newborn row, in wire order."""
        slots, constants, name_at, bound_at, names = self._plans.get(table) or self._plan(table)
        encoded = constants.copy()
        for at, place, head in slots:
            value = labels[place]
            if value:
                encoded[at] = remote_write.label(head, value)
        if not names:
            return [remote_write.record(b"".join(encoded))]
        records = []
        for encoded[name_at], encoded[bound_at] in names:
            records.append(remote_write.record(b"".join(encoded)))
        return records

    def forget(self, table: Table) -> None:
        """Drop a table's plan."""
        self._plans.pop(table, None)

    def knows(self, table: Table) -> bool:
        """Whether it has rows of this table, or had until lately."""
        return table in self._plans

    def _plan(self, table: Table) -> _RecordPlan:
        parts = plan(table, self._rules)
        heads = [remote_write.label_head(part.name) for part in parts]
        constants = [
            remote_write.label(head, part.constant) if part.constant else b"" for head, part in zip(heads, parts, strict=True)
        ]
        slots = [(at, part.place, heads[at]) for at, part in enumerate(parts) if part.place >= 0]
        order = [part.name for part in parts]
        name_at, bound_at, names = order.index(NAME), -1, []
        if table.width > 1:
            bound_at = order.index(BOUND)
            name_head, bound_head = remote_write.label_head(NAME), remote_write.label_head(BOUND)
            for name, bound in histogram_names(table):
                names.append((remote_write.label(name_head, name), remote_write.label(bound_head, bound) if bound else b""))
        self.planned.append(table)
        self._plans[table] = _RecordPlan(slots, constants, name_at, bound_at, names)
        return self._plans[table]


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
