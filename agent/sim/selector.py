"""Series selectors, the part of PromQL the embedded receiver understands: `name{a="b",c=~"x|y.*"}`.

Patterns come from the network, so they are not handed to `re`: a pattern is alternatives of plain text
with `.*` and `.+` in it, matched in linear time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

MAX_LENGTH = 4096
"""Longest selector that is read, characters."""

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*")
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")\s*(,|(?=\}))')
_PLAIN = re.compile(r"[^\\^$*+?{}\[\]()|.]*")


class SelectorError(ValueError):
    """The selector is not one the receiver understands; the text says what it takes."""


class Matcher(NamedTuple):
    """One condition; a series without the label has the value ""."""

    label: str
    accepts: Callable[[str], bool]


def parse(text: str) -> tuple[Matcher, ...]:
    """The conditions of a selector; raises SelectorError."""
    if len(text) > MAX_LENGTH:
        raise SelectorError(f"a selector has at most {MAX_LENGTH} characters")
    head = _NAME.match(text)
    assert head is not None
    found = [_matcher("__name__", "=", head[1])] if head[1] else []
    rest = text[head.end() :].rstrip()
    if rest:
        if not (rest.startswith("{") and rest.endswith("}")):
            raise SelectorError(f'expected name{{label="value",...}}, got {text[:100]!r}')
        found += _inside(rest)
    if not found:
        raise SelectorError("a selector needs a name or a label")
    return tuple(found)


def matches(matchers: tuple[Matcher, ...], labels: Mapping[str, str]) -> bool:
    """Whether a series with these labels, `__name__` among them, is selected."""
    return all(matcher.accepts(labels.get(matcher.label, "")) for matcher in matchers)


def _inside(braces: str) -> list[Matcher]:
    found, at, end = [], 1, len(braces) - 1
    while braces[at:end].strip():
        part = _MATCHER.match(braces, at)
        if part is None:
            raise SelectorError(f'expected label="value" at {braces[at : at + 50]!r}')
        try:
            value = json.loads(part[3], strict=False)
        except ValueError as error:
            raise SelectorError(f"bad text {part[3][:50]}: {error}") from error
        found.append(_matcher(part[1], part[2], value))
        at = part.end()
    return found


def _matcher(label: str, operator: str, value: str) -> Matcher:
    if operator == "=":
        return Matcher(label, lambda found: found == value)
    if operator == "!=":
        return Matcher(label, lambda found: found != value)
    choices = [_wildcards(choice) for choice in value.split("|")]
    if operator == "=~":
        return Matcher(label, lambda found: any(_fits(choice, found) for choice in choices))
    return Matcher(label, lambda found: not any(_fits(choice, found) for choice in choices))


def _wildcards(choice: str) -> list[str]:
    """Plain texts and the `.*` and `.+` between them, in turns, texts at both ends."""
    parts = re.split(r"(\.[*+])", choice)
    if not all(_PLAIN.fullmatch(text) for text in parts[::2]):
        raise SelectorError(f"of patterns only plain text, .*, .+ and | are understood, not {choice[:50]!r}")
    return parts


def _fits(parts: list[str], found: str) -> bool:
    if len(parts) == 1:
        return parts[0] == found
    if not found.startswith(parts[0]):
        return False
    # Each text goes to its leftmost place: whatever fits at all, fits so.
    at = len(parts[0])
    for wildcard, text in zip(parts[1:-2:2], parts[2:-2:2], strict=True):
        place = found.find(text, at + (wildcard == ".+"))
        if place < 0:
            return False
        at = place + len(text)
    return found.endswith(parts[-1]) and len(found) - len(parts[-1]) >= at + (parts[-2] == ".+")
