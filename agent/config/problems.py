"""How a wrong configuration is told: where, which key, what is wrong, what to do. Never a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from agent.config import keys
from agent.config.keys import Path
from agent.secret import redact

_FILE_LINE = re.compile(r"(.+?):(\d+): ")
_MAX_SHOWN = 60
_MAX_LISTED = 12
_WHAT = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text; quote it",
    "dict_type": "must be a mapping (key: value lines below it)",
    "model_type": "must be a mapping (key: value lines below it)",
    "model_attributes_type": "must be a mapping (key: value lines below it)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "missing": "is missing; add it",
    "string_too_short": "must not be empty",
}
_SECRET_WORDS = ("token", "password", "secret", "auth", "credential", "header", "key")


class Problems:
    """Collects problems, so that one run shows all of them."""

    def __init__(self, origins: Mapping[Path, str]) -> None:
        self.lines: list[str] = []
        self.found: list[tuple[Path, str]] = []
        """(key, what is wrong with it) of those that are about a key."""
        self._origins = origins

    def add(self, where: str, text: str) -> None:
        """One problem at `where`, a `file:line`, variable or flag; "" = nowhere in particular."""
        line = redact(f"{where}: {text}" if where else text)
        if line not in self.lines:
            self.lines.append(line)

    def at(self, path: Path, text: str) -> None:
        """One problem with the key at `path`."""
        self.found.append((path, redact(text)))
        self.add(self.origin(path), f"{dotted(path)}: {text}")

    def in_order(self) -> list[str]:
        """The problems: by file and line, then as they were found."""
        return sorted(
            self.lines, key=lambda line: (found[1], int(found[2])) if (found := _FILE_LINE.match(line)) else ("\uffff", 0)
        )

    def origin(self, path: Path) -> str:
        """Where the value at `path`, or the nearest section around it, was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._origins:
                return self._origins[path[:length]]
        return ""

    def invalid(self, error: ValidationError, prefix: Path, annotation: Any) -> None:
        """Everything pydantic found wrong in the section at `prefix`, which should be an `annotation`."""
        for detail in error.errors(include_url=False, include_context=True):
            path = prefix + tuple(detail["loc"])
            if detail["type"] == "extra_forbidden":
                self.unknown(path, _names_beside(detail["loc"], annotation))
            else:
                self.at(path, _what(detail) + _got(detail, path, annotation, prefix))

    def unknown(self, path: Path, known: Iterable[str]) -> None:
        """A key that does not exist; `known` are the keys that do."""
        self.at(path, f"unknown key; {suggest(str(path[-1]), known)}")


def dotted(path: Path) -> str:
    """`sinks.vm.url`, `sources.node.targets[0].url`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean X?`, or what there is."""
    names = sorted(known)
    close = get_close_matches(word, names, 1, 0.6)
    if close:
        return f"did you mean {close[0]}?"
    if not names:
        return "remove it"
    return f"known here: {', '.join(names[:_MAX_LISTED])}{', ...' if len(names) > _MAX_LISTED else ''}"


def shown(value: object) -> str:
    """A scalar as it may be printed, cut; "" for what is too much to print, or may hold a user name and password."""
    if not isinstance(value, (str, int, float)) or "@" in str(value):
        return ""
    text = redact(repr(value))
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _what(detail: Any) -> str:
    known = _WHAT.get(detail["type"])
    if known:
        return known
    text = str(detail["msg"]).removeprefix("Value error, ")
    if text.startswith("Input should "):
        return "must " + text.removeprefix("Input should ")
    return text[:1].lower() + text[1:]


def _got(detail: Any, path: Path, annotation: Any, prefix: Path) -> str:
    if detail["type"] == "missing" or looks_secret(path) or keys.is_secret(keys.follow(annotation, path[len(prefix) :])):
        return ""
    text = shown(detail["input"])
    return f" (got {text})" if text else ""


def looks_secret(path: Path) -> bool:
    """Whether a key's name says that its value is nobody's business."""
    return any(word in str(part).lower() for part in path for word in _SECRET_WORDS)


def _names_beside(loc: Path, annotation: Any) -> list[str]:
    return list(keys.fields(keys.follow(annotation, loc[:-1])))
