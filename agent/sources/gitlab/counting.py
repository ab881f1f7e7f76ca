"""From what ended to what it counts as: which series, and how much. The same thing gives the same observation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from agent.model import Increment, Observation
from agent.sources.gitlab import labels
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.labels import Labeller
from agent.sources.gitlab.objects import FINAL, Job, Pipeline, Upstream
from agent.sources.gitlab.refs import Rules

MOST_SERIES = 20_000
"""Job names whose label values are kept ready, about 1 kB each; beyond it they are made anew."""
SKIPPED = "skipped"

Labels = tuple[str, ...]


class Place(NamedTuple):
    """A project that is counted."""

    id: int
    path: str
    default_branch: str
    rules: Rules
    since: int
    """From when on it is counted, seconds since the epoch by GitLab's clock."""

    def ref(self, pipeline: Pipeline) -> str:
        """Label `ref` of what is counted of a pipeline."""
        return self.rules.label(pipeline.kind, pipeline.ref, self.default_branch)


def origin(place: Place, upstream: Upstream, places: Mapping[str, Place]) -> Place:
    """Where a pipeline of `place` was triggered; where that is not counted the rules are the same. `places`: by full path."""
    return places.get(upstream.project) or place._replace(default_branch="")


class _Series:
    """The series of one job name in one place."""

    __slots__ = ("by_end", "failed", "labels", "retried", "runs")

    def __init__(self, families: Families, own: Labels) -> None:
        self.labels = own
        self.runs = Increment(families.job_run_count, own, 1)
        self.retried = Increment(families.job_retries_total, own, 1)
        self.by_end: dict[tuple[str, str], Increment] = {}
        """By whose runner it had, in GitLab's word, and how it ended."""
        self.failed: dict[str, Increment] = {}
        """By why."""


class Counting:
    """One GitLab host. `places`: by full path, the projects that are counted. It keeps nothing but label values at hand."""

    def __init__(self, host: str, families: Families, labeller: Labeller, places: Mapping[str, Place]) -> None:
        self._families = families
        self._places = places
        self._labeller = labeller
        self._pipeline_key = f"gitlab:{host}:pipeline:"
        self._job_key = f"gitlab:{host}:job:"
        self._series: dict[tuple[str, str], dict[tuple[str, str], _Series]] = {}
        """By project and ref, then by stage and job name."""
        self._made = 0

    def pipeline(self, place: Place, pipeline: Pipeline) -> Observation:
        """A pipeline at its first end."""
        families, ref = self._families, place.ref(pipeline)
        own = self._own(place, ref, pipeline)
        ended = (*own, labels.status(pipeline.status))
        found = [Increment(families.pipeline_run_count, own, 1), Increment(families.pipeline_runs_by_status_total, ended, 1)]
        ran = pipeline.status != SKIPPED
        if ran and pipeline.duration is not None:
            found.append(Increment(families.pipeline_duration_seconds, ended, pipeline.duration))
        if ran and pipeline.queued is not None:
            found.append(Increment(families.pipeline_queued_duration_seconds, own, pipeline.queued))
        found += self._child(place, ref, pipeline)
        return Observation(f"{self._pipeline_key}{pipeline.id}", tuple(found))

    def retry(self, place: Place, pipeline: Pipeline) -> Observation:
        """A pipeline at an end after its first."""
        own = self._own(place, place.ref(pipeline), pipeline)
        increment = Increment(self._families.pipeline_retries_total, own, 1)
        return Observation(f"{self._pipeline_key}{pipeline.id}:retry:{pipeline.finished}", (increment,))

    def _own(self, place: Place, ref: str, pipeline: Pipeline) -> Labels:
        """What all families of pipelines have for labels."""
        return (place.path, ref, pipeline.kind, labels.source(pipeline.source), *self._labeller.variables(pipeline))

    def stages(self, place: Place, pipeline: Pipeline, finished: int, jobs: Sequence[Job]) -> Iterator[Observation]:
        """How long the stages of a pipeline took up to `finished`, its first end; none where no job ran."""
        ref, family = place.ref(pipeline), self._families.pipeline_stage_duration_seconds
        increments = tuple(
            Increment(family, (place.path, ref, stage), end - start)
            for stage, (start, end) in sorted(_spans(newest(jobs, finished), finished).items())
        )
        if increments:
            yield Observation(f"{self._pipeline_key}{pipeline.id}:stages", increments)

    def jobs(
        self, place: Place, pipeline: Pipeline, jobs: Iterable[Job], after: int, *, is_registered: bool
    ) -> list[Observation]:
        """The jobs of one pipeline that ended, if they were created or ended at `after` or later.

        One that never ran ended at no time that is told: it counts if its pipeline `is_registered` to have been unfinished.
        """
        prefix, where = self._job_key, (place.path, place.ref(pipeline))
        known = self._series.setdefault(where, {})
        found: list[Observation] = []
        for job in jobs:
            if job.status not in FINAL:
                continue
            if job.created < after and not (is_registered if job.finished is None else job.finished >= after):
                continue
            series = known.get((job.stage, job.name))
            if series is None:
                series = self._made_ready(known, where, job)
            found.append(Observation(f"{prefix}{job.id}", self._job(series, job)))
            if job.is_retried:
                found.append(Observation(f"{prefix}{job.id}:retried", (series.retried,)))
        if self._made > MOST_SERIES:
            self._series.clear()
            self._made = 0
        return found

    def _job(self, series: _Series, job: Job) -> tuple[Increment, ...]:
        families, status = self._families, job.status
        by_end = series.by_end.get((job.runner_type, status))
        if by_end is None:
            own = (*series.labels, self._labeller.runner_type(job), status)
            by_end = series.by_end[job.runner_type, status] = Increment(families.job_runs_by_status_total, own, 1)
        found = [series.runs, by_end]
        if status == SKIPPED:
            return tuple(found)
        if job.duration is not None:
            found.append(Increment(families.job_duration_seconds, by_end.labels, job.duration))
        # What GitLab says of one that no runner took grows from one answer to the next.
        if job.queued is not None and job.started is not None:
            found.append(Increment(families.job_queued_duration_seconds, series.labels, job.queued))
        if status.startswith("failed"):
            found.append(self._failed(series, self._labeller.failure_reason(job)))
        return tuple(found)

    def _failed(self, series: _Series, reason: str) -> Increment:
        failed = series.failed.get(reason)
        if failed is None:
            failed = series.failed[reason] = Increment(self._families.job_failures_total, (*series.labels, reason), 1)
        return failed

    def _made_ready(self, known: dict[tuple[str, str], _Series], where: tuple[str, str], job: Job) -> _Series:
        """Jobs that share a name but for their shards share their series."""
        name = self._labeller.job_name(job.name)
        series = known.get((job.stage, name))
        if series is None:
            series = known[job.stage, name] = _Series(self._families, (*where, job.stage, name))
        known[job.stage, job.name] = series
        self._made += 1
        return series

    def _child(self, place: Place, ref: str, pipeline: Pipeline) -> list[Increment]:
        """What a pipeline that another one triggered counts as beside."""
        families, upstream = self._families, pipeline.upstream
        if upstream is None:
            return []
        there = origin(place, upstream, self._places)
        parent = there.rules.label(upstream.kind, upstream.ref, there.default_branch)
        own = (place.path, ref, upstream.project, parent, self._labeller.job_name(upstream.bridge))
        found = [
            Increment(families.child_pipeline_run_count, own, 1),
            Increment(families.child_pipeline_runs_by_status_total, (*own, labels.status(pipeline.status)), 1),
        ]
        ran = pipeline.status != SKIPPED
        if ran and pipeline.duration is not None:
            found.append(Increment(families.child_pipeline_duration_seconds, own, pipeline.duration))
        if ran and pipeline.queued is not None:
            found.append(Increment(families.child_pipeline_queued_duration_seconds, own, pipeline.queued))
        return found


def newest(jobs: Iterable[Job], at: float = float("inf")) -> Iterable[Job]:
    """Of jobs of one name the one that was there last at that time: it took the place of the others."""
    found: dict[str, Job] = {}
    for job in jobs:
        if job.created <= at and ((held := found.get(job.name)) is None or held.id < job.id):
            found[job.name] = job
    return found.values()


def _spans(jobs: Iterable[Job], finished: int) -> dict[str, tuple[int, int]]:
    """By stage: from when to when those of these jobs ran that had ended by then."""
    spans: dict[str, tuple[int, int]] = {}
    for job in jobs:
        if job.started is None or job.finished is None or job.finished > finished:
            continue
        start, end = spans.get(job.stage, (job.started, job.finished))
        spans[job.stage] = (min(start, job.started), max(end, job.finished))
    return spans
