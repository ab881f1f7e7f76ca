"""A series' labels where a view has rules: worked out once, at its birth, as everything that labels decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.model import Kind
from agent.relabel.rules import Labels, Note, Refusal
from agent.store.claims import Claims, Heirs, Place, Series
from agent.store.encode import BOUND, NAME, Encoder, LabelRules, histogram_names
from agent.store.table import METRIC_NAME, Feed, Table

SHAPES = 256
"""Different (name, label names) that are remembered per table."""


def relabelled(table: Table, values: Sequence[str], rules: LabelRules, note: Note | None = None) -> Labels | Refusal:
    """What a row's series is called in a view, `__name__` included, sorted by name; or why it is not sent.

    A histogram row goes by its family's name, without `le`.
    """
    labels = {**rules.external, **dict(table.constants), NAME: table.name}
    for name, value in zip(table.family.labels, values, strict=True):
        if value:
            labels[name] = value
    hidden = table.width > 1
    if hidden:
        labels.pop(BOUND, None)
    refusal = rules.shared.apply(labels, "agent.", note)
    if refusal is not None:
        return refusal
    labels.update((name, value) for name, value in rules.extra.items() if value)
    refusal = rules.own.apply(labels, "", note)
    if refusal is not None:
        return refusal
    if hidden:
        labels.pop(BOUND, None)
    if labels[NAME] != table.name and not METRIC_NAME.match(labels[NAME]):
        return Refusal("invalid", f"{labels[NAME]!r} is not a metric name")
    found = {name: labels[name] for name in sorted(labels) if labels[name]}
    return (rules.limits and rules.limits.check(_longest(table, found))) or found


def _longest(table: Table, labels: Labels) -> Mapping[str, str]:
    """The labels of the record of a row that has the most and longest."""
    if table.width == 1:
        return labels
    bounds = [bound for _, bound in histogram_names(table)]
    return {**labels, NAME: f"{labels[NAME]}_bucket", BOUND: max(bounds, key=len)}


def shape(table: Table, labels: Labels) -> Table:
    """A table without rows whose series are called so: what encoders need."""
    name = labels[NAME]
    announced, kind = renamed(table, name)
    family = replace(
        table.family,
        name=name,
        kind=kind,
        labels=tuple(label for label in labels if label != NAME),
        constants=(),
        exposition_name=announced,
    )
    return Table(Feed(table.feed.name), family, table.group, table.ttl)


def renamed(table: Table, name: str) -> tuple[str, Kind]:
    """(family name, kind) of a table's series under another name: `y` for the `x_bucket` of `x` that became `y_bucket`."""
    family, kind = table.exposition_name, table.family.kind
    if name == table.name:
        return family, kind
    if table.name == family:
        return name, kind
    suffix = table.name.removeprefix(family)
    if suffix != table.name and name.endswith(suffix) and name != suffix:
        return name.removesuffix(suffix), kind
    return name, Kind.UNKNOWN


def series_of(table: Table, labels: Labels) -> list[Series]:
    """What the records of a row with these labels are, in wire order."""
    rest = tuple(pair for pair in labels.items() if pair[0] not in (NAME, BOUND))
    if table.width == 1:
        return [hash((labels[NAME], labels.get(BOUND, ""), rest))]
    # the names of a row's records all begin with its own
    own = len(table.name)
    return [hash((labels[NAME] + name[own:], bound, rest)) for name, bound in histogram_names(table)]


class Relabelling:
    """What a view with rules keeps: which series it refused, and where rules change labels, who sends which."""

    def __init__(self, rules: LabelRules, encoder: Encoder) -> None:
        self._rules = rules
        self._encoder = encoder
        self._shapes: dict[Table, dict[tuple[str, ...], Table]] = {}
        # without a change of labels no two rows can meet, and nothing needs to be kept
        self.claims = Claims() if rules.shared.steps or rules.own.steps else None
        self.refused: Counter[str] = Counter()
        """Series refused at birth, by reason; whoever counts them takes them away."""

    @property
    def shapes(self) -> int:
        """How many are remembered."""
        return sum(map(len, self._shapes.values()))

    def records(self, table: Table, row: int) -> Sequence[Any]:
        """The records of a newborn row, in wire order; none for one that is not sent."""
        found = relabelled(table, table.labels[row], self._rules)
        if isinstance(found, Refusal):
            self.refused[found.reason] += table.width
            return []
        if self.claims is not None and not self.claims.take((table, row), series_of(table, found)):
            self.refused["collision"] += table.width
            return []
        form = self._shape(table, found)
        return self._encoder.encode(form, tuple([found[name] for name in form.family.labels]))

    def once(self, table: Table, labels: tuple[str, ...], is_event: bool) -> Sequence[Any]:
        """The records of a series that is sent beside the pages; none for one that is not sent.

        Where rules make one series of several rows, only the row that sends it says where it begins.
        """
        found = relabelled(table, labels, self._rules)
        if isinstance(found, Refusal):
            return []
        place = (table, table.index.get(labels, -1))
        if self.claims is not None and not is_event and self.claims.owner(place, series_of(table, found)) is not None:
            return []
        form = self._shape(table, found)
        return self._encoder.encode(form, tuple([found[name] for name in form.family.labels]))

    def heirs(
        self,
        table: Table,
        row: int,
        born: Callable[[Table, int], object],
        others: Heirs,
    ) -> tuple[Sequence[Place], Sequence[int]]:
        """As `Heirs`, for a row that had records. `born`: lets a waiting row in; `others`: without rules."""
        if self.claims is None:
            places, records = others(table, row)
            # of an equal name and labels, but as a histogram it may be over a limit
            sent = [place for place in places if not isinstance(self._labels(place), Refusal)]
            return (sent, records) if len(sent) == len(places) else (sent, range(table.width))
        found = self._labels((table, row))
        assert not isinstance(found, Refusal), "the same rules let it in"
        return self.claims.release((table, row), series_of(table, found), lambda place: self._again(born, place))

    def _again(self, born: Callable[[Table, int], object], place: Place) -> None:
        before = self.refused["collision"]
        born(*place)
        self.refused["collision"] = before  # one that must wait on was counted when it began to

    def _labels(self, place: Place) -> Labels | Refusal:
        table, row = place
        return relabelled(table, table.labels[row], self._rules)

    def _shape(self, table: Table, labels: Labels) -> Table:
        key = (labels[NAME], *labels)
        shapes = self._shapes.setdefault(table, {})
        found = shapes.get(key)
        if found is None:
            if len(shapes) >= SHAPES:
                self.forget(table)
                shapes = self._shapes.setdefault(table, {})
            found = shapes[key] = shape(table, labels)
        return found

    def forget(self, table: Table) -> None:
        """Drop what is kept for a table."""
        for form in self._shapes.pop(table, {}).values():
            self._encoder.forget(form)
