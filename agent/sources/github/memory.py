"""What answers were like when they were last read, so that asking again costs nothing while they are the same.

That they were read is worth something only once what they brought was committed. So what is remembered goes with one
cursor: another cursor than the one that was returned last means that a commit failed, and nothing is remembered then.
"""

from __future__ import annotations

from typing import NamedTuple

MOST = 50_000
"""Answers remembered, a few hundred bytes each; the oldest are forgotten first."""


class Known(NamedTuple):
    """An answer as it was."""

    etag: str
    next: str = ""
    """Where its list went on."""
    oldest: float = 0.0
    """Of a list of runs: when the oldest on it was created, seconds since the epoch; 0 = it was the whole list."""
    runs: frozenset[int] = frozenset()
    """Of such a list: which of those on it had not ended."""


class Memory:
    """Answers by what was asked for."""

    def __init__(self) -> None:
        self._cursor: object = None
        self._kept: dict[str, Known] = {}

    def begin(self, cursor: object) -> bool:
        """A collect begins where `cursor` says; whether anything is still remembered."""
        if cursor is None or cursor != self._cursor:
            self._kept.clear()
        self._cursor = None  # a collect that is cancelled has brought nothing
        return bool(self._kept)

    def get(self, asked: str) -> Known:
        """The answer as it was; one without an ETag where it is not remembered."""
        return self._kept.get(asked, _UNKNOWN)

    def keep(self, answers: dict[str, Known]) -> None:
        """All that these brought goes into the commit that is to come."""
        for asked, known in answers.items():
            self._kept.pop(asked, None)
            if known != _UNKNOWN:
                self._kept[asked] = known
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def end(self, cursor: object) -> None:
        """The collect ends, and asks for `cursor` to be handed to the next."""
        self._cursor = cursor


_UNKNOWN = Known("")
