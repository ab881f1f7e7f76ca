"""Projects that are gone or may not be read: left alone, for a minute at first and for hours in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from agent.errors import CollectError
from agent.net.words import escaped

FIRST_SECONDS = 60.0
"""For how long the first time; then twice as long each time: it may have been the token, or a proxy."""
MOST_NAMED = 3
"""In the remark."""


class _Absence(NamedTuple):
    until: float
    seconds: float
    why: str


class Away:
    """By project id. `longest`: seconds between two questions, in the end; `what` they are, in the remark."""

    def __init__(self, longest: float, what: str = "projects that cannot be read") -> None:
        self._longest = longest
        self._what = what
        self._absent: dict[int, _Absence] = {}
        self._gone: dict[int, str] = {}
        self._returned: dict[int, str] = {}

    def put(self, number: int, error: CollectError, now: float) -> None:
        """It answered that."""
        before = self._absent.get(number)
        seconds = FIRST_SECONDS if before is None else min(2 * before.seconds, self._longest)
        self._absent[number] = _Absence(now + seconds, seconds, str(error))
        if before is None:
            self._gone[number] = str(error)

    def back(self, number: int) -> None:
        """It can be read."""
        if self._absent.pop(number, None) is not None and self._gone.pop(number, None) is None:
            self._returned[number] = ""

    def forget(self, number: int) -> None:
        """It is not read any more."""
        for held in (self._absent, self._gone, self._returned):
            held.pop(number, None)

    def is_due(self, number: int, now: float) -> bool:
        """Whether it is to be asked."""
        absence = self._absent.get(number)
        return absence is None or not 0 < absence.until - now <= self._longest

    def remark(self, paths: Mapping[int, str]) -> str:
        """Which they are, by their paths where these are known, and until when; "" = none."""
        if not self._absent:
            return ""
        soonest = sorted(self._absent.items(), key=lambda item: item[1].until)
        until = datetime.fromtimestamp(soonest[0][1].until, UTC).strftime("%H:%M:%S UTC")
        named = _named({number: one.why for number, one in soonest}, paths)
        return f"{self._what}, left alone until {until} or later: {named}"

    def news(self, paths: Mapping[int, str]) -> Iterator[str]:
        """What has changed since it was last asked, a line each."""
        for words, projects in ((self._what, self._gone), (f"no more of the {self._what}", self._returned)):
            if projects:
                yield f"{words}: {_named(projects, paths)}"
            projects.clear()


def _named(projects: Mapping[int, str], paths: Mapping[int, str]) -> str:
    """Some of them; `projects`: why, by id."""
    named = [
        escaped(paths.get(number, str(number))) + (f" ({escaped(why)})" if why else "")
        for number, why in islice(projects.items(), MOST_NAMED)
    ]
    return ", ".join(named) + (f" and {len(projects) - MOST_NAMED} more" if len(projects) > MOST_NAMED else "")
