"""Runs and jobs that have not ended, as far as events tell: what the gauges of the present count.

Events get lost, so everything here ends by itself after a while; all of it is in notes as well.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from agent.model import Note

MOST = 100_000
"""Of either kind; the oldest are given up first."""
RANKS = {"queued": 0, "waiting": 1, "in_progress": 2, "completed": 3}
"""Which state comes after which, where times do not tell."""
STATE_SECONDS = {"queued": 86400.0, "waiting": 30 * 86400.0, "in_progress": 5 * 86400.0, "completed": 86400.0}
"""How long something may be in a state before it is taken for ended. A job that no runner takes is cancelled after a day,
one that is not approved after thirty; one on a runner of one's own ends after five days at the latest
(https://docs.github.com/en/actions/reference/limits). What has ended is remembered for events that come late."""
RUN_SECONDS = 35 * 86400.0


class State(NamedTuple):
    """One run or job."""

    status: str
    """A key of `RANKS`."""
    at: float
    """When the event of that status was emitted, seconds since the epoch."""
    heard: float
    """When it was heard of, by the agent's clock: events may be days late."""
    repository: str
    workflow: str
    runner_type: str = ""
    runner_group: str = ""
    since: float = 0.0
    """Of a job: when it was created, or first queued."""
    waiting: float = 0.0
    """When it began to wait for an approval; 0 = it did not, or has not been heard to."""
    queued: float = 0.0
    """When it was queued again after that."""
    picked: float = 0.0
    """When a runner took it."""


class Present:
    """States by key, `run:<id>` or `job:<id>`; every change comes out as a note."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, State] = OrderedDict()

    def restore(self, notes: Mapping[str, str]) -> None:
        """Take up what an earlier life noted; broken notes are left out."""
        for key, value in notes.items():
            if not key.startswith("now:"):
                continue
            try:
                status, at, heard, repository, workflow, runner_type, group, *times = json.loads(value)
                state = State(status, float(at), float(heard), repository, workflow, runner_type, group, *map(float, times))
                is_sound = state.status in RANKS and all(isinstance(text, str) for text in state[3:7])
            except (ValueError, TypeError, RecursionError, OverflowError):
                continue
            if is_sound:
                self._states[key.removeprefix("now:")] = state

    def get(self, key: str) -> State | None:
        """What is known of it."""
        return self._states.get(key)

    def put(self, key: str, new: State) -> Iterator[Note]:
        """An event says so. What is later in life, or was said later, is not overwritten by what is earlier."""
        old = self._states.get(key)
        if old is not None:
            # Each of the times is said by one kind of event only, so that they go together whatever came first.
            new = new._replace(
                since=min(filter(None, (old.since, new.since)), default=0.0),
                waiting=min(filter(None, (old.waiting, new.waiting)), default=0.0),
                queued=max(new.queued, old.queued),
                picked=min(filter(None, (old.picked, new.picked)), default=0.0),  # it is told again when its steps change
            )
            if not _follows(old, new):
                new = old._replace(heard=new.heard, since=new.since, waiting=new.waiting, queued=new.queued, picked=new.picked)
        self._states[key] = new
        yield Note(f"now:{key}", json.dumps(new, separators=(",", ":")))
        while len(self._states) > MOST:
            yield Note(f"now:{self._states.popitem(last=False)[0]}", None)

    def expire(self, now: float) -> Iterator[Note]:
        """What has not been heard of for so long that nothing more will be."""
        for key, state in list(self._states.items()):
            if now - state.heard > _limit(key, state):
                del self._states[key]
                yield Note(f"now:{key}", None)

    def counts(self, kind: str, now: float) -> Counter[tuple[str, ...]]:
        """(repository, workflow, runner type, runner group, status) -> how many, of `run` or `job`."""
        return Counter(
            (state.repository, state.workflow, state.runner_type, state.runner_group, state.status)
            for key, state in self._states.items()
            if key.startswith(kind + ":") and _is_present(key, state, now)
        )

    def oldest_queued(self, now: float) -> dict[tuple[str, ...], float]:
        """(repository, runner type, runner group) -> since when the longest queued job is."""
        found: dict[tuple[str, ...], float] = {}
        for key, state in self._states.items():
            if key.startswith("job:") and state.status == "queued" and _is_present(key, state, now):
                place = (state.repository, state.runner_type, state.runner_group)
                since = state.queued or state.since or state.at
                found[place] = min(found.get(place, since), since)
        return found


def _limit(key: str, state: State) -> float:
    return RUN_SECONDS if key.startswith("run:") and state.status != "completed" else STATE_SECONDS[state.status]


def _is_present(key: str, state: State, now: float) -> bool:
    return state.status != "completed" and now - state.at <= _limit(key, state)


def _follows(old: State, new: State) -> bool:
    """Whether `new` is what is true now: in_progress and completed are never taken back; else the later word holds."""
    if max(RANKS[old.status], RANKS[new.status]) >= RANKS["in_progress"]:
        return RANKS[new.status] >= RANKS[old.status]
    return (new.at, RANKS[new.status]) >= (old.at, RANKS[old.status])
