"""The gauges of one project: the state of its refs, and what has not ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.model import Family, Update
from agent.sources.gitlab import labels
from agent.sources.gitlab.counting import Place
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.labels import Labeller
from agent.sources.gitlab.now import Standing
from agent.sources.gitlab.objects import BRANCH, MERGE_REQUEST, TAG, Pipeline
from agent.sources.gitlab.refs import ref_name
from agent.sources.gitlab.state import JobState, ProjectState, RefState

Labels = tuple[str, ...]
Sample = tuple[Family, Labels, float]


def chosen(place: Place, state: ProjectState, now: float) -> dict[tuple[str, str], str]:
    """Which refs are shown at that time: (kind, name) -> label `ref`."""
    found: dict[tuple[str, str], str] = {}
    for kind in (BRANCH, TAG, MERGE_REQUEST):
        rules, most = place.rules, place.rules.most_recent(kind)
        oldest = now - rules.max_age_seconds(kind)
        refs = [
            (one.head.id, name, label)
            for (of, name), one in state.refs.items()
            if of == kind and one.head.created >= oldest and _exists(place, kind, one)
            if (label := rules.shown(kind, name, place.default_branch))
        ]
        refs.sort(reverse=True)
        found.update(((kind, name), label) for _, name, label in refs[: most or None])
    return found


def until(place: Place, state: ProjectState, now: float) -> float:
    """When a ref that is shown now will have grown too old, if nothing else happens; infinite = never."""
    ends = (state.refs[ref].head.created + place.rules.max_age_seconds(ref[0]) for ref in chosen(place, state, now))
    return min(ends, default=float("inf"))


def _exists(place: Place, kind: str, state: RefState) -> bool:
    if kind == MERGE_REQUEST:
        return place.rules.takes_state(state.request_state)
    return not (state.is_deleted and place.rules.ends_deleted(kind))


class Gauges:
    """Under the names and labels of `families`."""

    def __init__(self, families: Families, labeller: Labeller) -> None:
        self._families = families
        self._labeller = labeller

    def of(self, place: Place, state: ProjectState, standing: tuple[Standing, Standing], now: float) -> list[Update]:
        """All of one project, each series once; their scope is the project's number."""
        found = {(family, own): value for family, own, value in self._samples(place, state, standing, now)}
        scope = str(place.id)
        return [Update(family, own, value, now, scope) for (family, own), value in found.items()]

    def _samples(self, place: Place, state: ProjectState, standing: tuple[Standing, Standing], now: float) -> Iterator[Sample]:
        families = self._families
        for ref, label in chosen(place, state, now).items():
            one = state.refs[ref]
            yield from self._ref(place, label, one)
            yield from self._jobs(place, label, one.jobs)
            yield from self._report(place, label, one)
            for child in state.children_of(one.head):
                yield from self._child(place, label, label, child)
            upstream = one.head.upstream
            if upstream is not None:
                name = ref_name(upstream.kind, upstream.ref)
                parent = place.rules.shown(upstream.kind, name, "") or place.rules.label(upstream.kind, upstream.ref, "")
                yield from self._child(place, label, parent, one.head)
        told = (
            (families.pipelines_unfinished, families.pipelines_oldest_timestamp_seconds),
            (families.jobs_unfinished, families.jobs_oldest_timestamp_seconds),
        )
        for (count, oldest), standing_now in zip(told, standing, strict=True):
            for status, (number, created) in standing_now.items():
                own = (place.path, status)
                yield count, own, number
                yield oldest, own, created

    def _ref(self, place: Place, label: str, state: RefState) -> Iterator[Sample]:
        families, head = self._families, state.head
        own = (place.path, label, head.kind)
        status, source, variables = labels.status(head.status), labels.source(head.source), self._labeller.variables(head)
        for word, value in _statuses(status, labels.PIPELINE_STATUSES, is_sparse=place.rules.is_sparse):
            yield families.pipeline_status, (*own, source, *variables, word), value
        yield families.pipeline_id, own, head.id
        yield families.pipeline_created_timestamp, own, head.created
        if state.coverage is not None:
            yield families.pipeline_coverage, own, state.coverage
        if state.finished:
            yield families.pipeline_last_run_timestamp_seconds, own, state.finished

    def _child(self, place: Place, label: str, parent: str, child: Pipeline) -> Iterator[Sample]:
        if child.upstream is None:
            return
        own = (place.path, label, child.upstream.project, parent, self._labeller.job_name(child.upstream.bridge))
        for word, value in _statuses(labels.status(child.status), labels.PIPELINE_STATUSES, is_sparse=place.rules.is_sparse):
            yield self._families.child_pipeline_status, (*own, word), value

    def _jobs(self, place: Place, label: str, jobs: Iterable[JobState]) -> Iterator[Sample]:
        """Jobs that share their name, such as shards, share its series: each status that one of them has is there."""
        status_family, size_family = self._families.job_status, self._families.job_artifact_size_bytes
        sizes: dict[Labels, int] = {}
        present: dict[Labels, set[str]] = {}
        for job in jobs:
            own: Labels = (place.path, label, job.stage, job.name)
            present.setdefault(own, set()).add(job.status)
            yield status_family, (*own, job.status, job.failure_reason), 1
            if job.artifacts_bytes is not None:
                sizes[own] = sizes.get(own, 0) + job.artifacts_bytes
        for own, size in sizes.items():
            yield size_family, own, size
        if not place.rules.is_sparse:
            for own, statuses in present.items():
                yield from ((status_family, (*own, word, ""), 0) for word in labels.JOB_STATUSES if word not in statuses)

    def _report(self, place: Place, label: str, state: RefState) -> Iterator[Sample]:
        if state.report is None:
            return
        families, own, totals = self._families, (place.path, label), state.report.totals
        yield families.test_report_total_time_seconds, own, totals.seconds
        yield families.test_report_total_count, own, totals.total
        yield families.test_report_success_count, own, totals.success
        yield families.test_report_failed_count, own, totals.failed
        yield families.test_report_skipped_count, own, totals.skipped
        yield families.test_report_error_count, own, totals.error
        for name, suite in state.report.suites:
            yield families.test_suite_duration_seconds, (*own, name), suite.seconds
            yield families.test_suite_count, (*own, name), suite.total


def _statuses(present: str, known: Iterable[str], *, is_sparse: bool) -> Iterator[tuple[str, int]]:
    """The present status, and the others where they are wanted."""
    yield present, 1
    if not is_sparse:
        yield from ((word, 0) for word in known if word != present)
