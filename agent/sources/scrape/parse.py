"""One line of an exposition: a sample, a comment, or an error that says why.

Text format 0.0.4 (Prometheus documentation, "Exposition formats") with what OpenMetrics 1.0 adds to it:
exemplars, units, its own types. A parser of our own and not prometheus-client's, which needs 30 us a line
(a first scrape of 300,000 lines would never end in time), takes seconds for one long hostile line, renames
counters and accepts what Prometheus refuses; the tests hold the two together. Every pattern here is linear.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agent.model import Kind

MAX_NUMBER_BYTES = 1_100
"""Longer than any float written out in full (a denormal has 1,074 decimals)."""
MAX_QUOTED = 120
"""Characters of a bad line that an error shows."""
MAX_HELP = 1_000
"""Characters of a help text that are kept."""

_TEXT = r'[^"\\]*(?:\\.[^"\\]*)*'
_LABEL = rf'[ \t]*[a-zA-Z_][a-zA-Z0-9_]*[ \t]*=[ \t]*"{_TEXT}"[ \t]*'
_PAIRS = re.compile(rf'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"({_TEXT})"', re.DOTALL)
_LABELS = rf"\{{((?:{_LABEL}(?:,|(?=\}})))*[ \t]*)\}}"
_HEAD = re.compile(rf"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)(?:[ \t]*{_LABELS})?".encode(), re.DOTALL)
_TAIL = re.compile(
    rb"[ \t]*([^ \t]+)"
    rb"(?:[ \t]+([+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?))?"  # a timestamp
    rb"(?:[ \t]+#[ \t]*\{.*)?"  # an exemplar
    rb"[ \t]*",
    re.DOTALL,
)
_COMMENT = re.compile(rb"[ \t]*#[ \t]+(TYPE|HELP|UNIT)[ \t]+([^ \t\r]+)(?:[ \t]+([^\r]*))?")
_ESCAPE = re.compile(r"\\([\\n\"])")
DIGITS = b"0123456789.eE+-"
"""What a number in decimal is written with."""
_WORDS = {word: float(word) for sign in ("", "+", "-") for word in (f"{sign}inf".encode(), f"{sign}infinity".encode())} | {
    b"nan": float("nan")
}
_INFINITY = float("inf")
_KINDS = {kind.value.encode(): kind for kind in Kind} | {b"untyped": Kind.UNKNOWN}


Pairs = tuple[tuple[str, str], ...]
"""Label names and values."""


class LineError(ValueError):
    """What is wrong with a line; whoever knows its number adds it."""


class Tail(NamedTuple):
    """What follows the labels."""

    start: int
    """Where in the line the value begins."""
    value: float
    stamped: bool
    """Whether a timestamp follows."""


class Comment(NamedTuple):
    """A `# TYPE`, `# HELP` or `# UNIT` line."""

    word: str
    name: str
    text: str


def head(line: bytes) -> tuple[str, Pairs, int]:
    """Name, labels in their order and where they end. Labels with an empty value are kept: the caller drops them.

    Raises LineError for what is not a sample, for a repeated label name and for text that is not UTF-8.
    """
    found = _HEAD.match(line)
    if found is None:
        raise LineError("no metric name")
    name, inside = found.groups()
    end = found.end()
    if inside is None and line[end:].lstrip(b" \t")[:1] == b"{":
        raise LineError("broken labels")
    return name.decode("ascii"), labels(inside) if inside else (), end


def labels(inside: bytes) -> Pairs:
    """What stands between the braces, known to be well formed. Raises LineError for what it says."""
    try:
        text = inside.decode()
    except UnicodeDecodeError:
        raise LineError("a label value is not UTF-8") from None
    pairs: list[tuple[str, str]] = _PAIRS.findall(text)
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise LineError("a label name is there twice")
    if "__name__" in names:
        raise LineError("__name__ as a label; the metric name stands before the braces")
    if "\\" in text:
        return tuple([(name, _ESCAPE.sub(_unescaped, value)) for name, value in pairs])
    return tuple(pairs)


def tail(line: bytes, place: int) -> Tail:
    """Value and timestamp from `place` on. Raises LineError."""
    found = _TAIL.fullmatch(line, place)
    if found is None:
        raise LineError("after the labels stands something else than a value and a timestamp")
    return Tail(found.start(1), number(found[1]), found[2] is not None)


def number(text: bytes) -> float:
    """A value as Prometheus reads it: decimal, or NaN and Inf in any case; no underscore, no hexadecimal.

    Raises LineError, also for what no float can hold.
    """
    if text.strip(DIGITS) or len(text) > MAX_NUMBER_BYTES:
        value = _WORDS.get(text[:10].lower()) if len(text) < 10 else None
        if value is None:
            raise LineError("the value is not a number")
        return value
    try:
        value = float(text)
    except ValueError:
        raise LineError("the value is not a number") from None
    if abs(value) == _INFINITY:
        raise LineError("the value is beyond what a float can hold")
    return value


def comment(line: bytes) -> Comment | None:
    """What a line beginning with `#` says about a family; None for any other comment."""
    found = _COMMENT.fullmatch(line.rstrip(b" \t\r"))
    if found is None:
        return None
    word = found[1].decode("ascii")
    text = (found[3] or b"")[: 4 * MAX_HELP].decode("utf-8", "replace")
    if word == "HELP":
        text = _ESCAPE.sub(_unescaped, text)
    return Comment(word, found[2].decode("utf-8", "replace"), text[:MAX_HELP])


def kind(word: str) -> Kind:
    """The kind a `# TYPE` names; unknown for a word that neither format has."""
    return _KINDS.get(word.strip().lower().encode(), Kind.UNKNOWN)


def quoted(line: bytes) -> str:
    """A bad line as it may be printed: cut, escaped."""
    text = ascii(line[:MAX_QUOTED].decode("utf-8", "backslashreplace"))
    return text if len(line) <= MAX_QUOTED else f"{text}..."


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]
