"""The exposition: every live series as text, in steps, and the snapshots of state sinks."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from agent.store.encode import NAME, LabelRules, histogram_names, plan
from agent.store.store import Store
from agent.store.table import DEAD, Table
from agent.wire import exposition

STEP = 1_000
"""Rows written between two chances for others to run."""


def render(store: Store, *, openmetrics: bool, source: str | None = None) -> Iterator[bytes]:
    """The text of all live series, or of one feed's, in chunks; without external labels.

    A row born or ended while the text is written may or may not be in it; none is in it twice.
    """
    token = store.begin_reading()
    try:
        for name, tables in _families(store, source):
            first = tables[0]
            kinds = {table.family.kind for table in tables}
            if len(kinds) == 1:
                yield exposition.header(name, first.family.kind, first.family.help, first.family.unit, openmetrics).encode()
            for table in tables:
                yield from _rows(table)
        if openmetrics:
            yield b"# EOF\n"
    finally:
        store.end_reading(token)


def snapshot(store: Store, rules: LabelRules) -> Generator[None, None, tuple[tuple[tuple[tuple[str, str], bytes], ...], int]]:
    """One body per (job, instance) that series have, without these two labels; returns ((key, text), ...) and the samples.

    The other external labels and the extra labels are written into the series.
    """
    bodies: dict[tuple[str, str], list[str]] = {}
    samples = 0
    token = store.begin_reading()
    try:
        for name, tables in _families(store, None):
            announced: set[tuple[str, str]] = set()
            head = exposition.header(name, tables[0].family.kind, tables[0].family.help, "", False)
            for table in tables:
                parts = plan(table, rules)
                for row in list(table.index.values()):
                    if table.changed[row] == DEAD:
                        continue
                    labels = table.labels[row]
                    pairs = {k: (labels[place] if place >= 0 else "") or constant for k, place, constant in parts}
                    key = (pairs.pop("job", ""), pairs.pop("instance", ""))
                    lines = bodies.setdefault(key, [])
                    if key not in announced:
                        announced.add(key)
                        lines.append(head)
                    del pairs[NAME]
                    lines.append(_row_text(table, row, list(pairs.items())))
                    samples += table.width
                    if samples % STEP < table.width:
                        yield
    finally:
        store.end_reading(token)
    return tuple((key, "".join(lines).encode()) for key, lines in sorted(bodies.items())), samples


def _families(store: Store, source: str | None) -> list[tuple[str, list[Table]]]:
    """(exposition name, tables) in name order; tables without live rows are left out."""
    found: dict[str, list[Table]] = {}
    for table in store.tables:
        if table.index and (source is None or table.feed.name == source):
            found.setdefault(table.exposition_name, []).append(table)
    return sorted(found.items())


def _rows(table: Table) -> Iterator[bytes]:
    rows = sorted(table.index.values())
    for first in range(0, len(rows), STEP):
        lines = [
            _row_text(table, row, table.label_pairs(table.labels[row]))
            for row in rows[first : first + STEP]
            if table.changed[row] != DEAD
        ]
        yield "".join(lines).encode("utf-8", "replace")


def _row_text(table: Table, row: int, pairs: list[tuple[str, str]]) -> str:
    if table.width == 1:
        return f"{exposition.series_text(table.name, pairs)} {exposition.format_value(table.values[row])}\n"
    pairs = [pair for pair in pairs if pair[0] != "le"]
    return "".join(
        f"{exposition.series_text(name, [*pairs, ('le', bound)])} {exposition.format_value(value)}\n"
        for (name, bound), value in zip(histogram_names(table), table.row_values(row), strict=True)
    )
