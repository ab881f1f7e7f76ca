"""A secret that prints as `****`, and the redaction that keeps secrets out of text.

Values register themselves once, so that logs, errors and status pages can replace them wherever a
library happened to quote one.
"""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote

_MIN_LENGTH = 6
_PATTERNS = re.compile(
    r"glpat-[\w.-]{8,}|gh[pousr]_\w{8,}|github_pat_\w{8,}"
    r"|(?<=[Bb]earer )[^\s'\",]+|(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}|(?<=://)[^/?#\s'\"]+(?=@)"
)


class Secret:
    """Text that must not be printed. `reveal()` is the only way to it; grep for that word in review."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        if len(value) >= _MIN_LENGTH:
            _known.update(dict.fromkeys(_forms(value)))

    def reveal(self) -> str:
        """The text itself, for the one place that sends or compares it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('****')" if self._value else "Secret('')"

    def __str__(self) -> str:
        return "****" if self._value else ""


def _forms(value: str) -> tuple[str, ...]:
    """`value` and how libraries and our own pages quote it: repr, JSON, HTML, URL."""
    in_json = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return value, repr(value)[1:-1], *in_json, html.escape(value), quote(value, safe=""), quote(value)


_known: dict[str, None] = {}
"""Every secret value seen by this process: the one registry, only ever added to."""


def redact(text: str) -> str:
    """`text` with registered secrets, well-known token shapes and URL user-info replaced by `****`."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, "****")
    return _PATTERNS.sub("****", text)
