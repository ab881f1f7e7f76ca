"""Jobs and their runs: a job's event does not say what triggered its run, so that is remembered, and waited for.

Everything here is in notes as well, and so outlives the agent.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agent.model import Note
from agent.sources.github.payload import Job, Repository

MOST = 100_000
"""Runs remembered, and jobs that wait for theirs; the oldest are given up first."""
DONE_SECONDS = 86400.0
"""How long a run is remembered after it ended: events of its jobs may be late."""
OPEN_SECONDS = 35 * 86400.0
"""GitHub ends a run after 35 days (https://docs.github.com/en/actions/reference/limits)."""


class Context(NamedTuple):
    """What a run's jobs have to know of it."""

    workflow: str
    path: str
    event: str
    ref: str
    """Its class."""
    starts: dict[int, float]
    """When each attempt began, seconds since the epoch."""
    seen: float
    """When it was last heard of, by the agent's clock."""
    is_done: bool

    def knows(self, attempt: int) -> bool:
        """Whether it is known when that attempt began."""
        return attempt in self.starts


class Pending(NamedTuple):
    """A job that ended, and waits for word of its run, or of an approval."""

    job: Job
    repository: Repository
    since: float
    """By the agent's clock."""
    may_change: bool
    """Whether other deliveries may say more of its times: it uses an environment, which may have asked for an approval,
    or says that it started when it was created."""
    queued: float | None = None
    """When it was last queued, where it had waited for an approval."""
    waited: float | None = None
    """How long it waited for that, seconds."""
    picked: float | None = None
    """When a runner took it, where its own start does not tell."""


class Runs:
    """Contexts by run id, and pending jobs by job id; every change comes out as notes."""

    def __init__(self) -> None:
        self._contexts: OrderedDict[int, Context] = OrderedDict()
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._waiting: dict[int, list[int]] = {}
        """Run id -> its pending jobs."""

    def restore(self, notes: Mapping[str, str], now: float) -> None:
        """Take up what an earlier life noted; broken notes are left out. Jobs wait since `now` at the earliest."""
        for key, value in notes.items():
            kind, _, number = key.partition(":")
            try:
                if kind == "run":
                    self._contexts[int(number)] = _context(json.loads(value))
                elif kind == "job":
                    pending = _pending(json.loads(value))
                    self._wait(int(number), pending._replace(since=max(now, pending.since)))
            except (ValueError, TypeError, IndexError, AttributeError, RecursionError, OverflowError):
                continue

    def context(self, run_id: int) -> Context | None:
        """Of a run; None while it is not known."""
        return self._contexts.get(run_id)

    def learn(self, run_id: int, new: Context) -> Iterator[Note]:
        """What an event says of a run, put together with what others said; noted again though it is no news, for the first
        note may not have been committed."""
        old = self._contexts.get(run_id)
        if old is not None:
            is_later = max(new.starts, default=0) > max(old.starts, default=0)
            is_done = new.is_done or (old.is_done and not is_later)
            new = new._replace(starts={**old.starts, **new.starts}, is_done=is_done)
        self._contexts[run_id] = new
        self._contexts.move_to_end(run_id)
        yield Note(f"run:{run_id}", json.dumps(new, separators=(",", ":")))
        while len(self._contexts) > MOST:
            yield Note(f"run:{self._contexts.popitem(last=False)[0]}", None)

    def hold(self, pending: Pending) -> Iterator[Note]:
        """A job that has to wait."""
        old = self._pending.get(pending.job.id)
        if old is not None:
            pending = pending._replace(since=min(old.since, pending.since))
        self._wait(pending.job.id, pending)
        yield Note(f"job:{pending.job.id}", json.dumps(pending, separators=(",", ":")))

    def pending(self, job_id: int) -> Pending | None:
        """A job that is held."""
        return self._pending.get(job_id)

    def freed(self, run_id: int) -> list[Pending]:
        """The jobs that waited for this run; they stay until `counted`."""
        context = self._contexts.get(run_id)
        found = [self._pending[job] for job in self._waiting.get(run_id, ())]
        return [pending for pending in found if context is not None and context.knows(pending.job.attempt)]

    def overdue(self, before: float) -> list[Pending]:
        """The jobs that wait since before then, and those beyond the limit."""
        beyond = len(self._pending) - MOST
        return [pending for number, pending in enumerate(self._pending.values()) if pending.since <= before or number < beyond]

    def counted(self, job_id: int) -> Iterator[Note]:
        """A job waits no more."""
        pending = self._pending.pop(job_id, None)
        if pending is not None:
            self._waiting[pending.job.run_id].remove(job_id)
            if not self._waiting[pending.job.run_id]:
                del self._waiting[pending.job.run_id]
            yield Note(f"job:{job_id}", None)

    def expire(self, now: float) -> Iterator[Note]:
        """Runs that ended a while ago."""
        for run_id, context in list(self._contexts.items()):
            if now - context.seen > (DONE_SECONDS if context.is_done else OPEN_SECONDS) and run_id not in self._waiting:
                del self._contexts[run_id]
                yield Note(f"run:{run_id}", None)

    def _wait(self, job_id: int, pending: Pending) -> None:
        if job_id not in self._pending:
            self._waiting.setdefault(pending.job.run_id, []).append(job_id)
        self._pending[job_id] = pending


def _context(found: Any) -> Context:
    workflow, path, event, ref, starts, seen, is_done = found
    times = {int(attempt): float(at) for attempt, at in starts.items()}
    return Context(str(workflow), str(path), str(event), str(ref), times, float(seen), bool(is_done))


def _pending(found: Any) -> Pending:
    job, repository, since, may_change, *times = found
    job[_LABELS] = tuple(map(str, job[_LABELS]))
    queued, waited, picked = [None if at is None else float(at) for at in times]
    where = Repository(*_typed(repository, _ANYWHERE))
    return Pending(Job(*_typed(job, _ANY_JOB)), where, float(since), bool(may_change), queued, waited, picked)


_ANY_JOB = Job(0, 0, 0, "", "", "", "", "", 0.0, 0.0, 0.0, (), "", "", 0, 0.0)
_LABELS = Job._fields.index("labels")
_ANYWHERE = Repository(0, "", "", False)


def _typed(found: Sequence[Any], like: Sequence[object]) -> Sequence[Any]:
    """The same values if they are of the types of `like`; times may be None. Raises TypeError and ValueError."""
    for value, example in zip(found, like, strict=True):
        if not isinstance(value, float | int | None if isinstance(example, float) else type(example)):
            raise TypeError(f"{value!r} instead of something like {example!r}")
    return found
