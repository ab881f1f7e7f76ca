"""Content negotiation for the exposition endpoint (RFC 9110, section 12.5)."""

from __future__ import annotations

from typing import NamedTuple

MAX_HEADER = 2048
"""Characters of a header that are looked at."""


class _Entry(NamedTuple):
    name: str
    quality: float
    parameters: dict[str, str]


def _entries(header: str) -> list[_Entry]:
    """What a client takes, in its order; an entry whose quality cannot be read counts as refused."""
    found = []
    for item in header[:MAX_HEADER].lower().split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in (part.partition("=") for part in rest)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        found.append(_Entry(name, quality if 0.0 <= quality <= 1.0 else 0.0, parameters))
    return found


def prefers_openmetrics(accept: str) -> bool:
    """Whether a client would rather have OpenMetrics 1.0 than text 0.0.4; a tie goes to OpenMetrics, as asked for by name."""
    entries = _entries(accept)
    openmetrics = max(
        (
            entry.quality
            for entry in entries
            if entry.name == "application/openmetrics-text" and entry.parameters.get("version", "1.0.0") in ("1.0.0", "0.0.1")
        ),
        default=0.0,
    )
    text = max((entry.quality for entry in entries if entry.name in ("text/plain", "text/*")), default=0.0)
    return openmetrics > 0 and openmetrics >= text


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip: by name, else by `*`."""
    qualities = {entry.name: entry.quality for entry in _entries(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0
