"""What a pipeline looks like over time, worked out from its jobs.

The rule is GitLab's (lib/gitlab/ci/status/composite.rb): the statuses of the jobs that nothing took the place of make that of
the pipeline, where what was allowed to fail counts as a success with a warning, and optional manual jobs not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from agent.sim.gitlab.objects import FINAL, Job, PipelineView

WARNED, IGNORED = "warned", "ignored"
_FINE = frozenset({"success", "skipped", WARNED, IGNORED})
_WAITING = frozenset({"pending", "created", "skipped", WARNED, IGNORED})
_ANY = ("canceling", "waiting_for_resource", "manual", "scheduled", "preparing")


def views(created: int, jobs: Iterable[Job]) -> tuple[PipelineView, ...]:
    """Everything that can ever be seen of a pipeline of these jobs, in order of time."""
    jobs = tuple(jobs)
    events = sorted(((at, place, status) for place, job in enumerate(jobs) for at, status in _events(job)), key=_moment)
    now: dict[int, str] = {}
    counts: Counter[str] = Counter()
    found = [PipelineView(created, "created")]
    for step, (at, place, status) in enumerate(events):
        before = now.get(place)
        if before is not None:
            counts[before] -= 1
        now[place] = status
        counts[status] += 1
        if step + 1 < len(events) and events[step + 1][0] == at:
            continue
        view = _next(found[-1], created, at, counts, jobs)
        if view is not None:
            if view.updated_at == found[-1].updated_at:
                found.pop()
            found.append(view)
    return tuple(found)


def _moment(event: tuple[int, int, str]) -> int:
    return event[0]


def _events(job: Job) -> Iterator[tuple[int, str]]:
    """When the job comes to count as what; "" = not at all any more."""
    lives = [job] if job.again is None else [job, job.again]
    for life in lives:
        yield life.created, "created"
        held_until = life.queued or life.ended
        if life.held != "created" and (not held_until or life.held_from < held_until):
            is_ignored = life.held == "manual" and life.spec.allow_failure
            yield max(life.created, life.held_from), IGNORED if is_ignored else life.held
        for at, status in ((life.queued, "pending"), (life.started, "running"), (life.canceling, "canceling")):
            if at:
                yield at, status
        if life.ended:
            is_excused = life.spec.allow_failure and life.status in ("failed", "canceled")
            yield life.ended, WARNED if is_excused else life.status
    if job.retried_at:
        yield job.retried_at, ""


def _next(last: PipelineView, created: int, at: int, counts: Counter[str], jobs: tuple[Job, ...]) -> PipelineView | None:
    """What the pipeline looks like from `at` on; None = as before."""
    status, warnings = composite({status for status, count in counts.items() if count and status}), bool(counts[WARNED])
    if status == last.status:
        return None
    started, queued = last.started_at, last.queued_duration
    if status == "running" and started is None:
        started, queued = at, (at - created) or None
    if status not in FINAL:
        return last._replace(updated_at=at, status=status, warnings=False, started_at=started, queued_duration=queued)
    finished, duration = last.finished_at, last.duration
    if status != "skipped":
        finished, duration = at, None if started is None else busy(jobs, at)
    is_warned = warnings and status == "success"
    return PipelineView(at, status, is_warned, started, finished, duration, queued, _coverage(jobs, at))


def composite(statuses: set[str]) -> str:
    """The status of a pipeline whose jobs have these."""
    if statuses <= {"skipped", IGNORED}:
        return "skipped"
    if statuses <= _FINE:
        return "success"
    if statuses <= {"created", IGNORED}:
        return "created"
    if statuses <= _FINE | {"canceled"}:
        return "canceled"
    if statuses <= _WAITING:
        return "pending"
    if "canceling" in statuses:
        return "canceling"
    if statuses & {"running", "pending"}:
        return "running"
    for status in _ANY:
        if status in statuses:
            return status
    return "running" if "created" in statuses else "failed"


def busy(jobs: Iterable[Job], now: int) -> int:
    """Seconds in which at least one job ran, of those that nothing had taken the place of by then."""
    spans = []
    for job in jobs:
        seen = job.at(now)
        if seen and seen.started_at is not None and not seen.retried:
            spans.append((seen.started_at, seen.finished_at or now))
    total, until = 0, 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, until))
        until = max(until, end)
    return total


def _coverage(jobs: Iterable[Job], now: int) -> float | None:
    seen = [view for job in jobs if (view := job.at(now)) and not view.retried and view.coverage is not None]
    return round(sum(view.coverage or 0.0 for view in seen) / len(seen), 2) if seen else None
