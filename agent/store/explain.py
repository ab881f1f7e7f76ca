"""What a sink's rules made of the series of one name, before or after them: for whoever misses a series at its receiver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from agent.relabel.rules import Labels, Refusal
from agent.store.encode import NAME, LabelRules, sample_names
from agent.store.inspect import ANSWERS
from agent.store.pages import View
from agent.store.relabel import relabelled, renamed, series_of
from agent.store.store import Store
from agent.store.table import Table
from agent.wire.exposition import series_text

ROWS = 5_000
"""Rows looked at for one answer, about 50 ms: where rules rename metrics, any row could be the one."""


def explain_view(store: Store, rules: LabelRules, name: str, view: View | None = None) -> dict[str, object]:
    """What the rules of a sink do to series that are called `name`, by their source or after the rules; JSON-ready.

    `view`: the pages that the sink is fed from, which know who sends a series that rules made of several.
    """
    answer = _Answer(rules, name, view)
    own, others = _split(store, name)
    for table, row in islice(_rows(own), ROWS):
        answer.add(table, row, True)
    more = rules.shared.renames_metrics or rules.own.renames_metrics
    if more:
        each = max(1, (ROWS - answer.looked_at) // max(1, len(others)))
        for table in others:
            for row in islice(table.index.values(), each):
                answer.add(table, row, False)
    rows = sum(len(table.index) for table in (own + others if more else own))
    return {
        "verdict": answer.verdict(),
        "sent": answer.sent,
        "refused": dict(answer.refused),
        "looked_at": f"{answer.looked_at} of {rows} rows",
        "series": answer.series,
    }


class _Answer:
    """Collects what was found."""

    def __init__(self, rules: LabelRules, name: str, view: View | None) -> None:
        self._rules = rules
        self._name = name
        self._claims = view.relabelling.claims if view is not None and view.relabelling is not None else None
        self.looked_at = self.sent = 0
        self.refused: Counter[str] = Counter()
        self.series: list[dict[str, object]] = []

    def add(self, table: Table, row: int, own: bool) -> None:
        """One row; `own`: its source calls it by the name asked for, else only what it is sent as counts."""
        self.looked_at += 1
        steps: list[str] = []
        found = relabelled(table, table.labels[row], self._rules, steps.append)
        if not own and (isinstance(found, Refusal) or self._name not in called(table, found[NAME])):
            return
        sent_as = None if isinstance(found, Refusal) else _text(found)
        if not isinstance(found, Refusal):
            found = self._collision(table, row, found) or found
        if isinstance(found, Refusal):
            self.refused[found.reason] += 1
        else:
            self.sent += 1
        if len(self.series) < ANSWERS:
            entry: dict[str, object] = {
                "series": series_text(table.name, table.label_pairs(table.labels[row])),
                "source": table.feed.name,
            }
            if isinstance(found, Refusal):
                entry |= {"refused": found.reason, "rule": found.rule}
            if sent_as is not None:
                entry |= {"sent_as" if not isinstance(found, Refusal) else "would_be_sent_as": sent_as}
            self.series.append(entry | ({"changed_by": steps} if steps else {}))

    def _collision(self, table: Table, row: int, labels: Labels) -> Refusal | None:
        if self._claims is None:
            return None
        other = self._claims.owner((table, row), series_of(table, labels))
        if other is None:
            return None
        first = series_text(other[0].name, other[0].label_pairs(other[0].labels[other[1]]))
        return Refusal("collision", f"{first} is sent under the same name and labels, until it ends")

    def verdict(self) -> str:
        """The answer in one line."""
        words = [f"{self.sent} sent"] if self.sent else []
        words += [f"{count} refused by {reason}" for reason, count in sorted(self.refused.items())]
        return ", ".join(words) or "no series is called so, neither before its rules nor after them"


def called(table: Table, name: str) -> set[str]:
    """Everything that people may call a table's series whose name came out as `name`."""
    own = len(table.name)
    return {name, renamed(table, name)[0], *(name + sample[own:] for sample, _ in sample_names(table))}


def _split(store: Store, name: str) -> tuple[list[Table], list[Table]]:
    own = [table for table in store.tables if name in called(table, table.name)]
    return own, [table for table in store.tables if table not in own and table.index]


def _rows(tables: list[Table]) -> Iterator[tuple[Table, int]]:
    for table in tables:
        for row in table.index.values():
            yield table, row


def _text(labels: Labels) -> str:
    return series_text(labels[NAME], [(name, value) for name, value in labels.items() if name != NAME])
