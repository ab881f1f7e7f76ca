"""How far the reading of each repository's runs has come: what the cursor holds.

Everything that began before a repository's `mark` is counted or among `open`. What was counted of later is `done`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_OPEN = 2000
"""Runs of one repository that are looked at again; more are not begun before these have ended."""
FUTURE_SECONDS = 3600.0
"""A time further ahead was written by a clock that was wrong."""
_VERSION = 1


class Open(NamedTuple):
    """A run of which something is still to be counted."""

    first: int
    """The first attempt to count; 0 = all that began after `since`."""
    since: float = 0.0
    """Seconds since the epoch."""


class Done(NamedTuple):
    """A run that is counted."""

    attempt: int
    began: float
    """When that attempt did, seconds since the epoch."""


@dataclass
class Place:
    """One repository."""

    mark: float
    """Seconds since the epoch."""
    swept: float
    """Re-runs of older runs that began before this are known."""
    open: dict[int, Open] = field(default_factory=dict)
    done: dict[int, Done] = field(default_factory=dict)
    """What was counted of what began after the mark."""


@dataclass
class Progress:
    """All repositories."""

    start: float
    """When the agent first began; nothing that ended before is counted."""
    at: float
    """When the agent last asked, to the hour."""
    places: dict[int, Place] = field(default_factory=dict)
    """By the repository's number."""

    def text(self) -> str:
        """For the ledger; the same as long as nothing new was found."""
        places = {
            number: [
                int(place.mark),
                int(place.swept),
                {run: [entry.first, int(entry.since)] for run, entry in sorted(place.open.items())},
                {run: [done.attempt, int(done.began)] for run, done in sorted(place.done.items())},
            ]
            for number, place in sorted(self.places.items())
        }
        found = {"v": _VERSION, "start": int(self.start), "at": int(self.at), "places": places}
        return json.dumps(found, separators=(",", ":"))


def progress_of(cursor: object, now: float) -> tuple[Progress, str]:
    """What a cursor says, and what is wrong with it. None = the agent begins now; so it does with one that cannot be read."""
    if cursor is None:
        return Progress(now, now), ""
    try:
        found = json.loads(str(cursor))
        if found["v"] != _VERSION:
            raise ValueError("another version")
        places = dict(_places(found["places"].items(), now))
        return Progress(_time(found["start"], now), _time(found["at"], now), places), ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Progress(now, now), "where the last reading ended cannot be made out; runs count from now on"


def _places(found: Iterable[tuple[str, Any]], now: float) -> Iterable[tuple[int, Place]]:
    for number, (mark, swept, entries, done) in found:
        opened = {int(run): Open(int(first), float(since)) for run, (first, since) in entries.items()}
        counted = {int(run): Done(int(attempt), float(began)) for run, (attempt, began) in done.items()}
        yield int(number), Place(_time(mark, now), _time(swept, now), opened, counted)


def _time(found: Any, now: float) -> float:
    at = float(found)
    if not 0 <= at <= now + FUTURE_SECONDS:
        return now
    return at
