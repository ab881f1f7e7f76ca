"""A secret that prints as `****`, and the redaction that keeps secrets out of text.

Values register themselves once, so that logs, errors and status pages can replace them wherever a
library happened to quote one.
"""

from __future__ import annotations

import html
import json
import re
from collections import deque
from urllib.parse import quote, quote_plus

_MIN_LENGTH = 6
_KEPT = 4
"""So many of the last values of a secret that changes stay known: a late answer may quote one that was just replaced."""
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
            for form in _forms(value):
                _known[form] = _known.get(form, 0) + 1

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


class Changing:
    """A secret with a new value every now and then, such as a token that expires: only the last four are redacted."""

    def __init__(self) -> None:
        self._last: deque[Secret] = deque()

    def renew(self, value: str) -> Secret:
        """The secret as it is from now on; the one before the last four is forgotten, unless somebody else has it too."""
        if self._last and self._last[-1].reveal() == value:
            return self._last[-1]
        self._last.append(Secret(value))
        if len(self._last) > _KEPT:
            _forget(self._last.popleft())
        return self._last[-1]


def _forget(secret: Secret) -> None:
    """Undo one registration."""
    for form in _forms(secret.reveal()):
        left = _known.get(form, 0) - 1
        if left > 0:
            _known[form] = left
        else:
            _known.pop(form, None)


def _forms(value: str) -> set[str]:
    """`value` and how libraries and our own pages quote it: repr, JSON, HTML, URL."""
    in_json = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    in_url = (quote(value, safe=""), quote(value), quote_plus(value))
    return {value, repr(value)[1:-1], *in_json, html.escape(value), *in_url}


_known: dict[str, int] = {}
"""Every secret value known to this process, and how often it was registered: the one registry."""


def redact(text: str) -> str:
    """`text` with registered secrets, well-known token shapes and URL user-info replaced by `****`."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, "****")
    return _PATTERNS.sub("****", text)
