"""Projects that are gone or may not be read: left alone, for a minute at first and for hours in the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
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
    """By project id. `longest`: seconds between two questions, in the end."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._absent: dict[int, _Absence] = {}

    def put(self, number: int, error: CollectError, now: float) -> None:
        """It answered that."""
        before = self._absent.get(number)
        seconds = FIRST_SECONDS if before is None else min(2 * before.seconds, self._longest)
        self._absent[number] = _Absence(now + seconds, seconds, str(error))

    def back(self, number: int) -> None:
        """It can be read, or is not read any more."""
        self._absent.pop(number, None)

    def is_due(self, number: int, now: float) -> bool:
        """Whether it is to be asked."""
        absence = self._absent.get(number)
        return absence is None or not 0 < absence.until - now <= self._longest

    def remark(self, paths: Mapping[int, str]) -> str:
        """Which they are, by their paths where these are known, and until when; "" = none."""
        if not self._absent:
            return ""
        soonest = sorted(self._absent.items(), key=lambda item: item[1].until)
        named = [f"{escaped(paths.get(number, str(number)))} ({escaped(one.why)})" for number, one in soonest[:MOST_NAMED]]
        more = f" and {len(soonest) - MOST_NAMED} more" if len(soonest) > MOST_NAMED else ""
        until = datetime.fromtimestamp(soonest[0][1].until, UTC).strftime("%H:%M:%S UTC")
        return f"projects that cannot be read, left alone until {until} or later: {', '.join(named)}{more}"
