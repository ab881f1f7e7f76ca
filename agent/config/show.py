"""The configuration as it is in force: YAML with the origin of every key, safe to show to anybody."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from agent.config.keys import Path
from agent.config.model import Loaded
from agent.config.problems import dotted
from agent.secret import Secret, redact


def effective(loaded: Loaded) -> str:
    """Every key with its value and, as a comment, where that came from. Secrets are `****`."""
    lines: list[tuple[str, str]] = []
    for section in fields(loaded.config):
        lines += _lines(section.name, getattr(loaded.config, section.name), (section.name,), "", loaded.origins)
    width = min(max(len(text) for text, _ in lines), 60)
    return redact("".join(f"{text:<{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines))


_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
"""How an address begins; a regex such as `https?://x` does not, and is shown as it is."""


def scalar(value: object) -> str:
    """One value as YAML writes it on one line."""
    if isinstance(value, Secret):
        return json.dumps(str(value))
    if isinstance(value, Enum):
        return scalar(value.value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(scalar(item) for item in value) + "]"
    if isinstance(value, str) and _ADDRESS.match(value):
        return json.dumps(_without_query(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, default=str)


def _without_query(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return parts._replace(query="****").geturl() if parts.query else url


def _lines(
    key: str, value: Any, path: Path, indent: str, origins: Mapping[str, str], unsaid: str = "default"
) -> Iterator[tuple[str, str]]:
    """(line, origin) of one key and everything below it; `unsaid` is the origin of what nobody wrote."""
    items = _items(value)
    if items is None and isinstance(value, (list, tuple)) and any(_items(item) is not None for item in value):
        yield f"{indent}{key}:", origins.get(dotted(path), unsaid)
        for at, item in enumerate(value):
            mark = "- "
            for name, inner in (_items(item) or {}).items():
                for text, origin in _lines(name, inner, (*path, at, name), indent + "    ", origins, _unsaid(item, name)):
                    yield (indent + "  " + mark + text[len(indent) + 4 :] if mark == "- " else text), origin
                    mark = "  "
    elif items:
        yield f"{indent}{key}:", ""
        for name, inner in items.items():
            yield from _lines(name, inner, (*path, name), indent + "  ", origins, _unsaid(value, name))
    else:
        yield f"{indent}{key}: {'{}' if items is not None else scalar(value)}", origins.get(dotted(path), unsaid)


def _unsaid(section: Any, name: str) -> str:
    """Where a value came from that nobody wrote: a user name taken out of an address is no default."""
    field = type(section).model_fields.get(name) if isinstance(section, BaseModel) else None
    if field is None or getattr(section, name) == field.get_default(call_default_factory=True):
        return "default"
    return "derived"


def _items(value: Any) -> dict[str, Any] | None:
    """The keys of a section or mapping; None for anything else."""
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in sorted(type(value).model_fields, key=lambda name: name != "type")}
    return {str(key): inner for key, inner in value.items()} if isinstance(value, Mapping) else None
