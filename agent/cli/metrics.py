"""`cipush metrics`: every family that code of ours declares, from the declarations themselves."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import agent
from agent import plugin
from agent.model import Family
from agent.sources import SOURCES

_NOT_THE_AGENT = ("agent.cli", "agent.__main__", "agent.sim")


def families() -> Iterator[tuple[str, Family]]:
    """(source, family) of everything declared: each source's own, then what the core reports through `internal`."""
    seen: set[int] = set()
    for kind, module in SOURCES.items():
        for family in getattr(importlib.import_module(module), "FAMILIES", ()):
            seen.add(id(family))
            yield kind, family
    for module in _modules():
        for family in getattr(importlib.import_module(module), "FAMILIES", ()):
            if id(family) not in seen:
                seen.add(id(family))
                yield "internal", family


def _modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(agent.__path__, "agent.", onerror=_raise)]
    return sorted(name for name in found if not name.startswith(_NOT_THE_AGENT))


def _raise(name: str) -> None:
    raise ImportError(f"{name} cannot be imported")


def _described(source: str, family: Family) -> dict[str, Any]:
    prefix = plugin.options_of(SOURCES, source).model_fields["metric_prefix"].default if source in SOURCES else ""
    return {
        "name": prefix + family.name,
        "type": family.kind.value,
        "source": source,
        "unit": family.unit,
        "labels": [*(name for name, _ in family.constants), *family.labels],
        "help": family.help,
        "buckets": list(family.buckets),
    }


def as_json() -> str:
    """A list of objects, sorted by source and name."""
    found = [_described(source, family) for source, family in families()]
    return json.dumps(sorted(found, key=lambda item: (item["source"], item["name"])), indent=2, ensure_ascii=False) + "\n"


def markdown() -> str:
    """The reference page: a table for each source."""
    by_source: dict[str, list[dict[str, Any]]] = {}
    for source, family in families():
        by_source.setdefault(source, []).append(_described(source, family))
    lines = ["# Metrics", "", "Made by `cipush metrics`; do not edit."]
    for source in sorted(by_source):
        lines += ["", f"## Source `{source}`", "", "| name | type | labels | |", "|---|---|---|---|"]
        for item in sorted(by_source[source], key=lambda item: str(item["name"])):
            labels = ", ".join(f"`{label}`" for label in item["labels"])
            lines.append(f"| `{item['name']}` | {item['type']} | {labels} | {item['help'].replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"
