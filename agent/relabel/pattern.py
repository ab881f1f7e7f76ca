"""Regular expressions from the configuration, matched whole as Prometheus does, against text from outside.

Python's engine backtracks: a pattern that can read one text in many ways may take longer than anybody waits.
Label values come from outside, so such a pattern is refused when the configuration is read, by the test for
deterministic expressions (Brueggemann-Klein, "Regular expressions into finite automata", 1993): at every
repeat and every alternative the next character should say which way to go. A few undecided places are
allowed, none inside a repeat. What is left costs at most a power of the text's length, which is bounded too.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_PATTERN_CHARS = 500
MAX_TEXT_CHARS = 1024
"""Longer names and values are not matched at all."""

MAX_DEPTH = 20
"""Groups in groups."""
MAX_UNDECIDED = 10
"""Points: three for a repeat without an end, one for a choice. Three `.*` on 1024 characters are 0.2 G steps, 1.4 s measured."""
_REPEAT_POINTS = 3
_SMALL = 4
"""A repeat of at most so many is a choice."""

FLAGS = re.ASCII | re.DOTALL
"""`\\d` and `\\w` are ASCII as in RE2; `.` is any character, as in Prometheus 3."""

_TOKEN = re.compile(
    r"""(?P<escape>\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.))
    |(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
    |(?P<flags>\(\?[a-zA-Z]+\))
    |(?P<open>\((?:\?(?:P<\w+>|[a-zA-Z-]*:))?)
    |(?P<close>\))
    |(?P<bar>\|)
    |(?P<repeat>(?:[*+?]|\{(?:\d+(?:,\d*)?|,\d*)\})(?P<lazy>[?+]?))
    |(?P<char>.)""",
    re.VERBOSE | re.DOTALL,
)
_SAMPLE = [*map(chr, range(128)), "\u00e9", "\u4e2d"]
"""Two atoms that have none of these in common are taken for disjoint."""
_ALL = frozenset(_SAMPLE)


@dataclass(slots=True)
class _Item:
    """An atom or group, and how often it may come."""

    at: int
    chars: frozenset[str] = _ALL
    group: list[list[_Item]] | None = None
    low: int = 1
    high: float = 1


@dataclass(slots=True)
class _Alternatives:
    """A group while it is read."""

    sequences: list[list[_Item]] = field(default_factory=lambda: [[]])


def pattern(text: str) -> re.Pattern[str]:
    """The compiled expression; use `matched`. Raises ValueError with the position of what is wrong."""
    if len(text) > MAX_PATTERN_CHARS:
        raise ValueError(f"the expression has {len(text)} characters; at most {MAX_PATTERN_CHARS} are taken: use several entries")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(text, FLAGS)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error.msg} at position {error.pos}") from None
    except (Warning, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    points = max(_undecided(sequence, frozenset(), False) for sequence in _parsed(text))
    if points > MAX_UNDECIDED:
        raise ValueError(
            "the expression can read one text in too many ways, and some texts would take forever: "
            "say what may stand there ([^-]* instead of .*), or use several entries"
        )
    return compiled


def matched(compiled: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The match of the whole text. Raises OverflowError for a text that is too long to be tried."""
    if len(text) > MAX_TEXT_CHARS:
        raise OverflowError(f"rules match at most {MAX_TEXT_CHARS} characters, not {len(text)}")
    return compiled.fullmatch(text)


def _parsed(text: str) -> list[list[_Item]]:
    """The alternatives of an expression that compiles. Raises ValueError for what Prometheus' language does not have."""
    flags = FLAGS | (re.IGNORECASE if re.search(r"\(\?[a-z]*i", text) else 0)
    known: dict[str, frozenset[str]] = {}
    stack = [_Alternatives()]
    for found in _TOKEN.finditer(text):
        kind, token, at = str(found.lastgroup), found.group(), found.start()
        here = stack[-1].sequences
        if kind == "repeat" or kind == "lazy":
            _repeat(here[-1][-1], token, at)
        elif kind == "open":
            if token == "(" and text[at + 1 : at + 2] == "?":
                raise _foreign(text[at : at + 4], at)
            if len(stack) > MAX_DEPTH:
                raise ValueError(f"position {at}: groups stand more than {MAX_DEPTH} deep in each other")
            inner = _Alternatives()
            here[-1].append(_Item(at, group=inner.sequences))
            stack.append(inner)
        elif kind == "close":
            stack.pop()
        elif kind == "bar":
            here.append([])
        elif kind != "flags":
            if re.match(r"\\[0-9]", token):
                raise _foreign(token, at)
            if token not in known:
                known[token] = frozenset(c for c in _SAMPLE if re.fullmatch(token, c, flags)) or _ALL
            here[-1].append(_Item(at, known[token]))
    return stack[0].sequences


def _foreign(token: str, at: int) -> ValueError:
    return ValueError(f"{token!r} at position {at}: Prometheus' regular expressions have nothing of that kind, nor do these")


def _repeat(item: _Item, token: str, at: int) -> None:
    if token.endswith("+") and len(token) > 1:
        raise _foreign(token, at)
    numbers = token.rstrip("?").strip("{}") if token[0] == "{" else {"*": "0,", "+": "1,", "?": "0,1"}[token[0]]
    low, comma, high = numbers.partition(",")
    item.low = int(low or 0)
    item.high = int(high) if high else float("inf") if comma else item.low


def _first(sequence: list[_Item], after: frozenset[str]) -> frozenset[str]:
    """The characters that a sequence can begin with; those of `after` where it may be empty."""
    found: frozenset[str] = frozenset()
    for item in sequence:
        found |= _first_of(item)
        if item.low and not (item.group is not None and any(_empty(inner) for inner in item.group)):
            return found
    return found | after


def _first_of(item: _Item) -> frozenset[str]:
    if item.group is None:
        return item.chars
    return frozenset().union(*(_first(sequence, frozenset()) for sequence in item.group))


def _empty(sequence: list[_Item]) -> bool:
    return all(not item.low or (item.group is not None and any(_empty(inner) for inner in item.group)) for item in sequence)


def _undecided(sequence: list[_Item], after: frozenset[str], repeated: bool) -> int:
    """Points for the places of a sequence, followed by `after`, where the next character does not say how to go on.

    Raises ValueError for such a place inside a repeat: each more doubles the time.
    """
    points = 0
    for number, item in enumerate(sequence):
        follow = _first(sequence[number + 1 :], after)
        own = nested = 0
        if item.low != item.high and _first_of(item) & follow:
            own = _REPEAT_POINTS if item.high > _SMALL else 1
        inner = 0
        if item.group is not None:
            again = int(item.high > 1)
            behind = follow | _first_of(item) if again else follow
            inner = max(_undecided(branch, behind, repeated or bool(again)) for branch in item.group)
            meet = _meet(item.group, behind)
            own += meet
            nested = again and (meet or any(map(_empty, item.group)))
        if nested or (repeated and own):
            raise ValueError(
                f"the repeat around position {item.at} can read one text in many ways, and some texts would take forever: "
                "write it so that each round begins or ends with a character that nothing else in it matches"
            )
        points += own + inner
    return points


def _meet(group: list[list[_Item]], after: frozenset[str]) -> int:
    """1 when two alternatives of a group can begin alike."""
    seen: frozenset[str] = frozenset()
    for begins in _begins(group, after):
        if seen & begins:
            return 1
        seen |= begins
    return 0


def _begins(group: list[list[_Item]], after: frozenset[str]) -> Iterator[frozenset[str]]:
    for sequence in group:
        yield _first(sequence, after)
