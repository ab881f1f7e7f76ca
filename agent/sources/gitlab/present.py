"""The gauges of all projects, listed again only where they have changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from agent.model import Collected, Update

ANSWERED_SECONDS = 3600.0
"""For how long at the least a project's gauges hold that did not answer again."""
ANSWERED_POLLS = 3
"""And for how many polls."""


class Engine(Protocol):
    """What is asked of the engine here."""

    def changed_since(self, version: int, now: float = ...) -> tuple[Collection[int], int]:
        """The projects whose gauges have changed since that version, and the version of now."""
        ...

    def gauges(self, project_id: int, now: float) -> Sequence[Update]:
        """All of one project; its scope is its number."""
        ...


class Present:
    """What goes on now. `answered`: by project, when it last answered, seconds since the epoch; `interval`: of polls."""

    def __init__(self, engine: Engine, answered: Mapping[int, float], interval: float) -> None:
        self._longest = max(ANSWERED_SECONDS, ANSWERED_POLLS * interval)
        self._engine = engine
        self._answered = answered
        self._shown: frozenset[int] = frozenset()

    def collected(self, cursor: object, now: float, own: Iterable[Update], scope: str) -> Collected:
        """Gauges of projects that have changed since `cursor`, and `own`, all of `scope`."""
        since = cursor if isinstance(cursor, int) else 0
        changed, version = self._engine.changed_since(since, now)
        live = frozenset(number for number, at in self._answered.items() if now - at <= self._longest)
        known = self._shown if since else frozenset()
        self._shown = live
        listed = (frozenset(changed) | (live - known)) & live
        updates = list(own)
        for number in sorted(listed):
            updates += self._engine.gauges(number, now)
        ended = (frozenset(changed) | known) - live
        return Collected(
            updates,
            complete=[scope, *map(str, sorted(listed | ended))],
            unchanged=list(map(str, live - listed)),
            cursor=version,
        )
