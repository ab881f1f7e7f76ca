"""Questions people ask of a store: what is there, why is it there, where did it go."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from agent.model import Priority
from agent.store.encode import sample_names
from agent.store.store import Store
from agent.store.table import Table
from agent.wire.exposition import format_value

ANSWERS = 100
"""The most entries of each list in an explanation."""

_SELECTOR = re.compile(r"\s*([a-zA-Z_:*?][a-zA-Z0-9_:*?]*)?\s*(?:\{(.*)\})?\s*\Z", re.DOTALL)
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|\Z)')


def _selector(match: str) -> tuple[str, dict[str, str]]:
    """(name glob, label -> value) of `name`, `name*` or `name{label="value"}`. Raises ValueError."""
    found = _SELECTOR.match(match)
    if found is None:
        raise ValueError(f'{match[:100]!r} is not NAME, NAME* or NAME{{label="value"}}')
    labels: dict[str, str] = {}
    inside = found.group(2) or ""
    at = 0
    while at < len(inside.rstrip()):
        matcher = _MATCHER.match(inside, at)
        if matcher is None:
            raise ValueError(f'{inside[at : at + 50]!r}: write label="value", separated by commas')
        labels[matcher.group(1)] = re.sub(r"\\(.)", r"\1", matcher.group(2))
        at = matcher.end()
    return found.group(1) or "*", labels


def _row(store: Store, table: Table, row: int, now: float) -> dict[str, object]:
    values = table.row_values(row)
    return {
        "name": table.name,
        "labels": dict(table.label_pairs(table.labels[row])),
        "source": table.feed.name,
        "value": format_value(values[0]) if table.width == 1 else [format_value(value) for value in values],
        "age_seconds": round(now - table.updated[row], 3),
        "expires_in_seconds": round(store.expiry(table, row) - now, 3),
        "priority": table.family.priority.name.lower(),
        "group": table.group,
    }


def series(store: Store, match: str, limit: int, now: float) -> list[dict[str, object]]:
    """At most `limit` live series that match. Raises ValueError for a selector that cannot be read."""
    glob, wanted = _selector(match)
    rows: list[dict[str, object]] = []
    for table in store.tables:
        if fnmatchcase(table.name, glob):
            for row in table.index.values():
                pairs = dict(table.label_pairs(table.labels[row]))
                if all(pairs.get(name, "") == value for name, value in wanted.items()):
                    rows.append(_row(store, table, row, now))
                    if len(rows) >= limit:
                        return rows
    return rows


def explain(store: Store, name: str, now: float) -> dict[str, object]:
    """Live series called `name`, those that ended lately and why, and what was refused."""
    tables = [table for table in store.tables if _is_called(table, name)]
    endings = [
        {
            "name": table.name,
            "labels": dict(table.label_pairs(labels)),
            "source": ending.source,
            "ended_seconds_ago": round(now - ending.at, 3),
            "reason": ending.reason,
        }
        for (table, labels), ending in store.endings.items()
        if _is_called(table, name)
    ]
    live = sum(len(table.index) for table in tables)
    kept_out = _kept_out(store, tables, now)
    return {
        "verdict": _verdict(name, tables, endings, len(kept_out)),
        "name": name,
        "live": live,
        "families": [
            {
                "name": table.name,
                "source": table.feed.name,
                "kind": table.family.kind.value,
                "help": table.family.help,
                "ttl_seconds": table.ttl,
                "rows": len(table.index),
            }
            for table in tables
        ],
        "series": [_row(store, table, row, now) for table in tables for row in list(table.index.values())[:ANSWERS]][:ANSWERS],
        "ended": endings[-ANSWERS:],
        "kept_out": kept_out,
        "refused": {labels[1]: count for labels, count in store.counts.items() if labels[0] == "refused"},
    }


def _is_called(table: Table, name: str) -> bool:
    if name in (table.name, table.exposition_name):
        return True
    return table.width > 1 and any(name == sample for sample, _ in sample_names(table))


def _verdict(name: str, tables: list[Table], endings: list[dict[str, object]], kept_out: int) -> str:
    """The explanation in one line."""
    live = sum(len(table.index) for table in tables)
    if live:
        return f"{live} live, from {', '.join(sorted({table.feed.name for table in tables if table.index}))}"
    if endings:
        last = endings[-1]
        return f"none is live; the last ended {last['ended_seconds_ago']} s ago: {last['reason']}"
    if kept_out:
        return f"none is live; {kept_out} were refused or evicted and may not return yet"
    if tables:
        return "none is live, though a source knows the name"
    return f"no source has reported a series called {name[:200]}, or it ended long ago; names are case-sensitive"


def _kept_out(store: Store, tables: list[Table], now: float) -> list[dict[str, object]]:
    """Series that were refused or evicted and may not come back yet."""
    found = []
    for (table, labels), until in store.kept_out.items():
        if table in tables and until > now:
            found.append({"labels": dict(table.label_pairs(labels)), "may_return_in_seconds": round(until - now, 3)})
    return found[:ANSWERS]


def stats(store: Store) -> dict[str, object]:
    """Sizes and limits."""
    return {
        "series": store.total_series,
        "series_by_priority": {priority.name.lower(): store.series[priority] for priority in Priority},
        "max_series": store.limits.max_series,
        "bytes": store.bytes,
        "page_bytes": store.page_bytes,
        "max_bytes": store.max_bytes,
        "views": len(store.views),
        "expired": store.counts["expired",],
        "evicted": sum(count for labels, count in store.counts.items() if labels[0] == "evicted"),
        "refused": sum(count for labels, count in store.counts.items() if labels[0] == "refused"),
    }
