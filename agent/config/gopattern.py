"""Regular expressions as Go writes them (https://pkg.go.dev/regexp/syntax), written as Python does, where that is certain."""

from __future__ import annotations

import re

_FLAGS = re.compile(r"\(\?([imsU]*-?[imsU]*)\)")
"""Flags for the rest of a group: Python has them at the very beginning only."""
_NAMED = re.compile(r"\(\?<(?![=!])")
_QUOTED = re.compile(r"\\Q(.*?)(?:\\E|$)", re.DOTALL)
_HEX = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CLASS = re.compile(r"\[:(\^?[a-z]+):\]")


def python_pattern(pattern: str) -> str:
    """What means in Python what `pattern` means in Go; what has no certain counterpart stays, for Python to refuse.

    Raises ValueError for what Python would not refuse, but take for something else.
    """
    return _Writer(pattern).written()


class _Writer:
    """Reads a pattern from the left, and writes it anew."""

    def __init__(self, pattern: str) -> None:
        self._left = pattern
        self._out: list[str] = []
        self._groups: list[list[str]] = [[]]
        """The flags that hold in each group that is open, the outermost first."""

    def written(self) -> str:
        """All of it."""
        if (flags := _FLAGS.match(self._left)) and "-" not in flags[1]:
            self._take(flags.end(), flags[0])  # at the very beginning Python means the same
        while self._left:
            self._step()
        return "".join(self._out) + ")" * len(self._groups[-1])

    def _take(self, length: int, text: str) -> None:
        self._left = self._left[length:]
        self._out.append(text)

    def _step(self) -> None:
        left, flags = self._left, self._groups[-1]
        if quoted := _QUOTED.match(left):
            self._take(quoted.end(), re.escape(quoted[1]))
        elif left[0] == "\\":
            self._escape()
        elif left[0] == "[":
            self._set()
        elif (found := _FLAGS.match(left)) and found[1].strip("-") and "U" not in found[1]:
            flags.append(f"(?{found[1]}:")
            self._take(found.end(), flags[-1])
        elif left[0] == "(":
            self._groups.append([])
            named = _NAMED.match(left)
            self._take(named.end() if named else 1, "(?P<" if named else "(")
        elif left[0] == ")" and len(self._groups) > 1:
            self._take(1, ")" * len(self._groups.pop()) + ")")
        elif left[0] == "|":
            self._take(1, ")" * len(flags) + "|" + "".join(flags))
        else:
            self._take(1, left[0])

    def _escape(self) -> None:
        if number := _HEX.match(self._left):
            self._hex(number)
        elif self._left.startswith("\\z"):
            self._take(2, "\\Z")
        else:
            self._take(2, self._left[:2])

    def _hex(self, number: re.Match[str]) -> None:
        code = int(number[1], 16)
        self._take(number.end(), f"\\U{code:08X}")

    def _set(self) -> None:
        """A set of characters, in which a `]` at the beginning is one of them."""
        first = re.match(r"\[\^?\]?", self._left)
        length = first.end() if first else 1
        self._take(length, self._left[:length])
        while self._left and self._left[0] != "]":
            if named := _CLASS.match(self._left):
                if named[1] not in _POSIX:
                    raise ValueError(f"{named[0]} has no counterpart in Python")
                self._take(named.end(), _POSIX[named[1]])
            elif number := _HEX.match(self._left):
                self._hex(number)
            elif self._left[0] == "[":
                self._take(1, "\\[")  # Python thinks of doing more with it one day, and warns
            else:
                length = 2 if self._left[0] == "\\" else 1
                self._take(length, self._left[:length])
        self._take(1, self._left[:1])
