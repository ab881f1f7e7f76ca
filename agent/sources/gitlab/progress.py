"""How far the reading of pipelines has come: what the durable cursor holds.

Everything of a project that was changed before its mark is counted. A mark is a second by GitLab's own clock, some
minutes before it answered: what a database shows a little late is read again, and counts once all the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

OVERLAP_SECONDS = 180
"""How late a change may become visible, and how much servers of one GitLab may disagree about the time."""
_VERSION = 1
_MOST_SECONDS = 1 << 40


@dataclass
class Progress:
    """The marks of all projects."""

    mark: int = 0
    """Of every project that has none of its own; 0 = nothing was ever read."""
    late: dict[int, int] = field(default_factory=dict)
    """By project id: those of which less has been read."""
    turn: int = 0
    """Rises with everything that is counted, so that no two cursors with different work behind them are equal."""

    def of(self, project_id: int) -> int:
        """From when on changes of a project are still to be read."""
        return self.late.get(project_id, self.mark)

    def text(self) -> str:
        """As a cursor."""
        late = [[number, mark] for number, mark in sorted(self.late.items())]
        return json.dumps({"v": _VERSION, "mark": self.mark, "turn": self.turn, "late": late}, separators=(",", ":"))


def progress_of(cursor: object) -> tuple[Progress, str]:
    """What a cursor says, and what is wrong with it: then reading begins anew, from now on."""
    if cursor is None:
        return Progress(), ""
    try:
        found = json.loads(str(cursor))
        if found["v"] != _VERSION:
            return Progress(), f"the cursor has version {found['v']}, this agent knows {_VERSION}; pipelines are read from now on"
        late = {_second(number): _second(mark) for number, mark in found["late"]}
        return Progress(_second(found["mark"]), late, _second(found["turn"])), ""
    except (ValueError, TypeError, KeyError, RecursionError):
        return Progress(), "the cursor cannot be read; pipelines are read from now on"


def _second(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_SECONDS:
        raise ValueError(value)
    return value
