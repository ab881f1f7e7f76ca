"""The exposition: every live series as text, in steps, and the snapshots of state sinks that have no rules."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Sequence

from agent.model import Kind
from agent.store.encode import BOUND, NAME, LabelRules, histogram_names, plan
from agent.store.store import Store
from agent.store.table import DEAD, Table
from agent.wire import exposition

STEP = 1_000
"""Rows written between two chances for others to run."""

Bodies = tuple[tuple[tuple[str, str], bytes], ...]
"""((job, instance), text) pairs, sorted."""


def render(store: Store, *, openmetrics: bool, source: str | None = None) -> Iterator[bytes]:
    """The text of all live series, or of one feed's, in chunks; without external labels.

    A row born or ended while the text is written may or may not be in it; none is in it twice.
    """
    token = store.begin_reading()
    announced: set[str] = set()
    try:
        for name, tables in families(store, source):
            # listed before the first step: a series that moves to another table meanwhile is not met again
            rows = [(table, array("I", table.index.values())) for table in tables]
            yield _header(name, tables, openmetrics, announced).encode()
            for table, numbers in rows:
                line = _Lines(table)
                for first in range(0, len(numbers), STEP):
                    lines = [line.text(row) for row in numbers[first : first + STEP] if table.changed[row] != DEAD]
                    yield "".join(lines).encode("utf-8", "replace")
        if openmetrics:
            yield b"# EOF\n"
    finally:
        store.end_reading(token)


def snapshot(store: Store, rules: LabelRules) -> Generator[None, None, tuple[Bodies, int]]:
    """One text body per (job, instance) that series have, without these two labels; returns them and the samples.

    The other external labels and the extra labels are written into the series. A step is about 1,000 rows.
    """
    bodies: dict[tuple[str, str], list[str]] = {}
    samples = steps = 0
    token = store.begin_reading()
    try:
        for name, tables in families(store, None):
            announced: set[tuple[str, str]] = set()
            head = _header(name, tables, False, set())
            for table, numbers in [(table, array("I", table.index.values())) for table in tables]:
                parts = plan(table, rules)
                for row in numbers:
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
                    lines.append(row_text(table, row, list(pairs.items()), table.name))
                    samples += table.width
                    steps += 1
                    if not steps % STEP:
                        yield
    finally:
        store.end_reading(token)
    return tuple((key, "".join(lines).encode("utf-8", "replace")) for key, lines in sorted(bodies.items())), samples


def families(store: Store, source: str | None) -> list[tuple[str, list[Table]]]:
    """(exposition name, tables) in name order; tables without live rows are left out."""
    found: dict[str, list[Table]] = {}
    for table in store.tables:
        if table.index and (source is None or table.feed.name == source):
            found.setdefault(table.exposition_name, []).append(table)
    return sorted(found.items())


def _header(name: str, tables: Sequence[Table], openmetrics: bool, announced: set[str]) -> str:
    """HELP and TYPE of a family. One whose tables disagree, or whose OpenMetrics name is taken, has no type."""
    family = tables[0].family
    kind = family.kind if len({table.family.kind for table in tables}) == 1 else Kind.UNKNOWN
    if openmetrics:
        short, _ = exposition.announced(name, kind)
        if short in announced:
            kind, short = Kind.UNKNOWN, name
        announced.add(short)
    return exposition.header(name, kind, family.help, family.unit, openmetrics)


class _Lines:
    """Writes the rows of one table: what all its rows share is put together once."""

    def __init__(self, table: Table) -> None:
        self._table = table
        inside = [name + '="%s"' for name in table.family.labels]
        inside += [f'{name}="{exposition.escape_label(value)}"'.replace("%", "%%") for name, value in table.constants]
        self._labels = ",".join(inside)
        if table.width == 1:
            self._template = f"{table.name}{{{self._labels}}} %s\n" if inside else f"{table.name} %s\n"
        else:
            lines = []
            for name, bound in histogram_names(table):
                own = f',{BOUND}="{bound}"' if bound else ""
                lines.append(f"{name}{{%s{own}}} %s\n")
            self._template = "".join(lines)

    def text(self, row: int) -> str:
        """The line or lines of one row."""
        table = self._table
        labels = table.labels[row]
        plain = "".join(labels)
        if "" in labels or '"' in plain or "\\" in plain or "\n" in plain or (table.width > 1 and not self._labels):
            return row_text(table, row, table.label_pairs(labels), table.name)
        if table.width == 1:
            return self._template % (*labels, _value(table.values[row]))
        inside = self._labels % labels
        cells: list[str] = []
        for value in table.row_values(row):
            cells += (inside, _value(value))
        return self._template % tuple(cells)


def _value(value: float) -> str:
    """`exposition.format_value`, with the common cases first."""
    text = repr(value)
    if text[-2:] == ".0":
        return text[:-2]
    return text if text[-1].isdigit() else exposition.format_value(value)


def row_text(table: Table, row: int, pairs: list[tuple[str, str]], name: str) -> str:
    """The lines of one row under any name, with any labels: those that are absent are left out, escapes are made."""
    if table.width == 1:
        return f"{exposition.series_text(name, pairs)} {exposition.format_value(table.values[row])}\n"
    pairs = [pair for pair in pairs if pair[0] != BOUND]
    own = len(table.name)
    return "".join(
        f"{exposition.series_text(name + sample[own:], [*pairs, (BOUND, bound)])} {exposition.format_value(value)}\n"
        for (sample, bound), value in zip(histogram_names(table), table.row_values(row), strict=True)
    )
