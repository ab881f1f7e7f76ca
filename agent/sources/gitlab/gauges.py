"""The gauges of one project: the state of its refs, and what has not ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.model import Family, Update
from agent.sources.gitlab import labels
from agent.sources.gitlab.counting import Place, origin
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.labels import Labeller
from agent.sources.gitlab.now import Standing
from agent.sources.gitlab.objects import BRANCH, MERGE_REQUEST, TAG, Pipeline, Upstream
from agent.sources.gitlab.refs import ref_name
from agent.sources.gitlab.state import JobState, ProjectState, RefState

Labels = tuple[str, ...]


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
    """Under the names and labels of `families`. `places`: by full path, the projects that are counted."""

    def __init__(self, families: Families, labeller: Labeller, places: Mapping[str, Place]) -> None:
        self._families = families
        self._labeller = labeller
        self._places = places

    def of(self, place: Place, state: ProjectState, standing: tuple[Standing, Standing], now: float) -> list[Update]:
        """All of one project, each series once; their scope is the project's number."""
        families, found = self._families, _Series()
        refs = [(label, state.refs[ref]) for ref, label in chosen(place, state, now).items()]
        children = state.children_of(one.head for _, one in refs)
        for label, one in refs:
            self._ref(found, place, label, one)
            self._jobs(found, place, label, one.jobs)
            self._report(found, place, label, one)
            for child in children[one.head.id]:
                self._child(found, place, label, label, child)
            upstream = one.head.upstream
            if upstream is not None:
                self._child(found, place, label, self._parent(place, upstream), one.head)
        told = (
            (families.pipelines_unfinished, families.pipelines_oldest_timestamp_seconds),
            (families.jobs_unfinished, families.jobs_oldest_timestamp_seconds),
        )
        for (count, oldest), standing_now in zip(told, standing, strict=True):
            for status, (number, created) in standing_now.items():
                own = (place.path, status)
                found.add(count, own, number)
                found.add(oldest, own, created)
        if not place.rules.is_sparse:
            found.fill(families.job_status, labels.JOB_STATUSES, "")
            found.fill(families.pipeline_status, labels.PIPELINE_STATUSES)
            found.fill(families.child_pipeline_status, labels.PIPELINE_STATUSES)
        scope = str(place.id)
        return [Update(family, own, value, now, scope) for (family, own), value in found.values.items()]

    def _ref(self, found: _Series, place: Place, label: str, state: RefState) -> None:
        families, head = self._families, state.head
        own = (place.path, label, head.kind)
        source, variables = labels.source(head.source), self._labeller.variables(head)
        found.status(families.pipeline_status, (*own, source, *variables), labels.status(head.status))
        found.add(families.pipeline_id, own, head.id)
        found.add(families.pipeline_created_timestamp, own, head.created)
        if state.coverage is not None:
            found.add(families.pipeline_coverage, own, state.coverage)
        if state.finished:
            found.add(families.pipeline_last_run_timestamp_seconds, own, state.finished)

    def _parent(self, place: Place, upstream: Upstream) -> str:
        """Label `ref` of the state of what triggered a pipeline; where none is shown, as it is counted."""
        there, name = origin(place, upstream, self._places), ref_name(upstream.kind, upstream.ref)
        shown = there.rules.shown(upstream.kind, name, there.default_branch)
        return shown or there.rules.label(upstream.kind, upstream.ref, there.default_branch)

    def _child(self, found: _Series, place: Place, label: str, parent: str, child: Pipeline) -> None:
        if child.upstream is None:
            return
        own = (place.path, label, child.upstream.project, parent, self._labeller.job_name(child.upstream.bridge))
        found.status(self._families.child_pipeline_status, own, labels.status(child.status))

    def _jobs(self, found: _Series, place: Place, label: str, jobs: Iterable[JobState]) -> None:
        families = self._families
        for job in jobs:
            own = (place.path, label, job.stage, job.name)
            found.status(families.job_status, own, job.status, job.failure_reason)
            if job.artifacts_bytes is not None:
                found.add(families.job_artifact_size_bytes, own, job.artifacts_bytes)

    def _report(self, found: _Series, place: Place, label: str, state: RefState) -> None:
        if state.report is None:
            return
        families, own, totals = self._families, (place.path, label), state.report.totals
        found.add(families.test_report_total_time_seconds, own, totals.seconds)
        found.add(families.test_report_total_count, own, totals.total)
        found.add(families.test_report_success_count, own, totals.success)
        found.add(families.test_report_failed_count, own, totals.failed)
        found.add(families.test_report_skipped_count, own, totals.skipped)
        found.add(families.test_report_error_count, own, totals.error)
        for name, suite in state.report.suites:
            named = (*own, self._labeller.job_name(name))
            found.add(families.test_suite_duration_seconds, named, suite.seconds)
            found.add(families.test_suite_count, named, suite.total)


class _Series:
    """What is shown, while it is gathered.

    Things may have the same labels: shards of a job, a branch and a tag of one name. What is a number of theirs adds up;
    of their statuses each that one of them has is there.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[Family, Labels], float] = {}
        self._present: dict[tuple[Family, Labels], set[str]] = {}
        """By what comes before label `status`."""

    def add(self, family: Family, own: Labels, value: float) -> None:
        """A number."""
        self.values[family, own] = self.values.get((family, own), 0) + value

    def status(self, family: Family, own: Labels, word: str, *more: str) -> None:
        """A status, and the labels behind it."""
        self.values[family, (*own, word, *more)] = 1
        self._present.setdefault((family, own), set()).add(word)

    def fill(self, family: Family, known: Iterable[str], *more: str) -> None:
        """The statuses that nothing has, as 0, with these labels behind them."""
        for (of, own), present in self._present.items():
            if of is family:
                self.values.update({(family, (*own, word, *more)): 0 for word in known if word not in present})
