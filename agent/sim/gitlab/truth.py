"""What a perfect observer counts in a world, worked out from the world's own plan and from nothing that observes it.

It looks at every project from `since` on, until `until`, and sees everything that can be seen of them; what had ended before
does not count. Durations are whole seconds, cut off, so that sums are exact. Series that are 0 are not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from agent.sim.gitlab import rules as words
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.objects import BUILD, Job, Pipeline, PipelineView
from agent.sim.gitlab.places import Deployment, Project, World
from agent.sim.gitlab.rules import Rules

Labels = tuple[tuple[str, str], ...]
"""(name, value) of the labels that are not empty, sorted."""
Key = tuple[str, Labels]
"""(family without prefix, labels)."""


@dataclass
class Truth:
    """The totals of every series, by family and labels."""

    counters: dict[Key, float] = field(default_factory=dict)
    histograms: dict[Key, list[float]] = field(default_factory=dict)
    """How many were up to each bound, how many in all, and their sum: as rows of a histogram."""
    pipelines: int = 0
    jobs: int = 0

    def as_json(self) -> dict[str, object]:
        """The same for a query: lists of `{family, labels, value}`."""
        both: tuple[tuple[str, Mapping[Key, object]], ...] = (("counters", self.counters), ("histograms", self.histograms))
        listed = {
            name: [{"family": family, "labels": dict(labels), "value": value} for (family, labels), value in series.items()]
            for name, series in both
        }
        return {"pipelines": self.pipelines, "jobs": self.jobs, **listed}


def truth(
    world: World,
    since: float | Mapping[int, float] = 0.0,
    until: float = math.inf,
    *,
    rules: Rules | None = None,
    token: str = TOKEN,
    path: Callable[[Project, float], str] = Project.path_at,
) -> Truth:
    """The totals of everything that ended by `until`, seconds since the epoch, in the projects that `token` sees.

    `since`: from when on projects are looked at, for all or by project id (where one is missing it is not looked at).
    `path`: what label `project` says of something that ended at that moment; by default its full path then.
    """
    counted = _Counted(Truth(), Rules() if rules is None else rules, until, path, world, token)
    seen = world.tokens[token]
    for project in world.projects:
        begin = since.get(project.id) if isinstance(since, Mapping) else since
        if begin is None or project.archived or not project.builds_enabled or not seen.sees(project):
            continue
        for pipeline in project.pipelines:
            if not pipeline.is_child or counted.rules.child_pipelines:
                counted.pipeline(pipeline, begin)
        for deployment in project.deployments:
            counted.deployment(project, deployment, begin)
    return counted.found


@dataclass(frozen=True)
class _Counted:
    found: Truth
    rules: Rules
    until: float
    path: Callable[[Project, float], str]
    world: World
    token: str

    def pipeline(self, pipeline: Pipeline, since: float) -> None:
        """One pipeline and its jobs."""
        until = min(self.until, pipeline.deleted_at - 1) if pipeline.deleted_at else self.until
        before = pipeline.at(since)
        is_registered = before is not None and not before.is_final
        begin = since if is_registered else 0.0  # of what was run again, nobody knows that it had ended before
        ends = [view for view in _ends(pipeline) if begin <= view.updated_at <= until]
        if ends and (pipeline.created >= since or is_registered):
            self._ended(pipeline, ends[0])
            for again in ends[1:]:
                self._add("pipeline_retries_total", self._pipeline_labels(pipeline, again.updated_at), 1)
        for job in pipeline.jobs:
            if job.spec.kind == BUILD:
                self._job(pipeline, job, since, until, is_registered=is_registered)

    def _ended(self, pipeline: Pipeline, end: PipelineView) -> None:
        self.found.pipelines += 1
        labels = self._pipeline_labels(pipeline, end.updated_at)
        self._run("pipeline", labels, end)
        if pipeline.upstream and self.world.tokens[self.token].sees(pipeline.upstream.pipeline.project):
            self._run("child_pipeline", self._child_labels(pipeline, end.updated_at), end)
        self._stages(pipeline, end, labels)
        if self.rules.cases:
            for suite in pipeline.report:
                for case in suite.cases:
                    own = {"project": labels["project"], "ref": labels["ref"]}
                    named = {**own, "suite": words.job_name(suite.name), "case_name": case.name}
                    self._observe("test_case_duration_seconds", named, case.seconds, self.rules.case_seconds)

    def _run(self, what: str, labels: Mapping[str, str], end: PipelineView) -> None:
        with_status = {**labels, "status": words.pipeline_status(end)}
        self._add(f"{what}_run_count", labels, 1)
        self._add(f"{what}_runs_by_status_total", with_status, 1)
        if end.duration is not None and end.status != "skipped":
            with_status = with_status if what == "pipeline" else dict(labels)
            self._observe(f"{what}_duration_seconds", with_status, end.duration, self.rules.pipeline_seconds)
        if end.queued_duration is not None:
            self._observe(f"{what}_queued_duration_seconds", labels, end.queued_duration, self.rules.pipeline_seconds)

    def _stages(self, pipeline: Pipeline, end: PipelineView, labels: Mapping[str, str]) -> None:
        if end.finished_at is None:
            return
        newest = {job.spec.name: job for job in pipeline.jobs if job.spec.kind == BUILD and job.created <= end.finished_at}
        spans: dict[str, tuple[int, int]] = {}
        for job in newest.values():
            if job.started and 0 < job.ended <= end.finished_at:
                begin, until = spans.get(job.spec.stage, (job.started, job.ended))
                spans[job.spec.stage] = (min(begin, job.started), max(until, job.ended))
        for stage, (begin, until) in spans.items():
            named = {"project": labels["project"], "ref": labels["ref"], "stage": stage}
            self._observe("pipeline_stage_duration_seconds", named, until - begin, self.rules.pipeline_seconds)

    def _job(self, pipeline: Pipeline, job: Job, since: float, until: float, *, is_registered: bool) -> None:
        for life in (job, job.again):
            if life is None or not 0 < life.ended <= until:
                continue
            if life.again is not None and life.again.created <= since:
                continue  # nobody has seen it skipped
            finished = 0 if life.status == "skipped" else life.ended
            if job.created >= since or finished >= since or (not finished and is_registered):
                self._job_ended(pipeline, job, life)
                break
        else:
            return
        if 0 < job.retried_at <= until:
            self._add("job_retries_total", self._job_labels(pipeline, job, job.retried_at), 1)

    def _job_ended(self, pipeline: Pipeline, job: Job, life: Job) -> None:
        self.found.jobs += 1
        labels = self._job_labels(pipeline, job, life.ended)
        runner = job.spec.runner_type if life.started else "unknown"
        ended = {**labels, "runner_type": runner, "status": words.job_status(job, life.status)}
        self._add("job_run_count", labels, 1)
        self._add("job_runs_by_status_total", ended, 1)
        if life.started:
            self._observe("job_duration_seconds", ended, life.ended - life.started, self.rules.job_seconds)
            self._observe("job_queued_duration_seconds", labels, life.started - life.queued, self.rules.job_seconds)
        if life.status == "failed":
            self._add("job_failures_total", {**labels, "failure_reason": words.reason(life.failure_reason)}, 1)

    def deployment(self, project: Project, deployment: Deployment, since: float) -> None:
        """One deployment; of those through the API nobody knows how long they took."""
        if not 0 < deployment.ended <= self.until or deployment.ended < since:
            return
        labels = {"project": self.path(project, deployment.ended), "environment": deployment.environment.name}
        self._add("environment_deployment_count", labels, 1)
        self._add("environment_deployments_by_status_total", {**labels, "status": deployment.status}, 1)
        if deployment.job is not None and deployment.started:
            seconds = deployment.ended - deployment.started
            self._observe("environment_deployment_duration_seconds", labels, seconds, self.rules.job_seconds)

    def _pipeline_labels(self, pipeline: Pipeline, at: float) -> dict[str, str]:
        return {
            "project": self.path(pipeline.project, at),
            "ref": self.rules.ref(pipeline),
            "kind": pipeline.kind,
            "source": self.rules.source(pipeline),
            **self.rules.given(pipeline, self.world.tokens[self.token]),
        }

    def _child_labels(self, pipeline: Pipeline, at: float) -> dict[str, str]:
        assert pipeline.upstream is not None
        parent, bridge = pipeline.upstream
        return {
            "project": self.path(pipeline.project, at),
            "ref": self.rules.ref(pipeline),
            "parent_project": self.path(parent.project, at),
            "parent_ref": self.rules.ref(parent),
            "bridge_name": words.job_name(bridge.spec.name),
        }

    def _job_labels(self, pipeline: Pipeline, job: Job, at: float) -> dict[str, str]:
        return {
            "project": self.path(pipeline.project, at),
            "ref": self.rules.ref(pipeline),
            "stage": job.spec.stage,
            "job_name": words.job_name(job.spec.name),
        }

    def _add(self, family: str, labels: Mapping[str, str], value: float) -> None:
        key = _key(family, labels)
        self.found.counters[key] = self.found.counters.get(key, 0.0) + value

    def _observe(self, family: str, labels: Mapping[str, str], value: float, buckets: tuple[float, ...]) -> None:
        row = self.found.histograms.setdefault(_key(family, labels), [0.0] * (len(buckets) + 2))
        for place, bound in enumerate(buckets):
            row[place] += value <= bound
        row[-2] += 1
        row[-1] += value


def _key(family: str, labels: Mapping[str, str]) -> Key:
    return family, tuple(sorted((name, value) for name, value in labels.items() if value))


def _ends(pipeline: Pipeline) -> Iterator[PipelineView]:
    """Its ends: the first, and of later ones each with another time."""
    first: PipelineView | None = None
    times: set[int | None] = set()
    for view in pipeline.views:
        if view.is_final and (first is None or view.finished_at not in times):
            first = first or view
            times.add(view.finished_at)
            yield view
