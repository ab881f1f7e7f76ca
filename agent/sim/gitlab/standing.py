"""How a world stands at a moment: what somebody who has seen all of it up to then shows as gauges of state.

Of each ref that a rule names the newest pipeline that is no child, with its jobs and its children, and the test report of
the newest that has ended with one, with single cases where they are counted; beside it what has not ended. Deleted pipelines
are as if they had never been; who has seen them may still show what they left behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.sim.gitlab import rules as words
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.objects import BUILD, FINAL, Job, JobView, Pipeline
from agent.sim.gitlab.places import Project, World
from agent.sim.gitlab.rules import Rules
from agent.sim.gitlab.truth import Key

DAY = 86_400
TAGS, TAG_DAYS = 10, 90
MERGE_REQUESTS, MERGE_REQUEST_DAYS = 20, 30
"""How many are shown of a project, and of what age at most."""
STATES = ("opened", "merged")
"""In which merge requests are shown."""


def standing(world: World, now: float, *, rules: Rules | None = None, token: str = TOKEN) -> dict[Key, float]:
    """Values by (family without prefix, labels), in the projects that `token` sees."""
    found = _Standing(world, now, Rules() if rules is None else rules, token)
    for project in world.visible(world.tokens[token], now):
        if not project.archived and project.builds_enabled:
            found.project(project)
    return found.values


@dataclass(frozen=True)
class _Standing:
    world: World
    now: float
    rules: Rules
    token: str
    values: dict[Key, float] = field(default_factory=dict)

    def project(self, project: Project) -> None:
        """All of one project."""
        refs: dict[tuple[str, str], list[Pipeline]] = {}
        for pipeline in project.pipelines:
            if pipeline.at(self.now) is None:
                continue
            self._unfinished(project, pipeline)
            if not pipeline.is_child:
                refs.setdefault((pipeline.kind, ref_name(pipeline)), []).append(pipeline)
        for kind, most, days in (
            ("branch", 0, 0),
            ("tag", TAGS, TAG_DAYS),
            ("merge_request", MERGE_REQUESTS, MERGE_REQUEST_DAYS),
        ):
            shown = [
                (made[-1].id, name, made) for (of, name), made in refs.items() if of == kind and self._is_shown(project, made)
            ]
            for _, name, made in sorted(shown, reverse=True)[: most or None]:
                if not days or made[-1].created >= self.now - days * DAY:
                    self._ref(project, name, made)

    def _is_shown(self, project: Project, made: list[Pipeline]) -> bool:
        head = made[-1]
        if head.merge_request is not None:
            return head.merge_request.state(self.now) in STATES
        pattern = self.rules.tags if head.tag else self.rules.branches
        return pattern is not None and re.search(pattern, head.ref) is not None and project.ref_exists(head, self.now)

    def _ref(self, project: Project, name: str, made: list[Pipeline]) -> None:
        head, path = made[-1], project.path_at(self.now)
        view = head.at(self.now)
        assert view is not None
        own = {"project": path, "ref": name, "kind": head.kind}
        status = words.pipeline_status(view)
        given = self.rules.given(head, self.world.tokens[self.token])
        self._set("pipeline_status", {**own, "source": self.rules.source(head), **given, "status": status}, 1)
        self._set("pipeline_id", own, head.id)
        self._set("pipeline_created_timestamp", own, head.created)
        seen = [each for pipeline in made if (each := pipeline.at(self.now))]
        covered = [each.coverage for each in seen if each.coverage is not None]
        if covered:
            self._set("pipeline_coverage", own, covered[-1])
        if ends := [each.finished_at for each in seen if each.finished_at]:
            self._set("pipeline_last_run_timestamp_seconds", own, max(ends))
        self._jobs(head, path, name)
        self._children(project, head, path, name)
        self._report(made, path, name)

    def _jobs(self, head: Pipeline, path: str, name: str) -> None:
        for job, view in newest(head.jobs, self.now):
            own = {"project": path, "ref": name, "stage": job.spec.stage, "job_name": words.job_name(job.spec.name)}
            why = words.reason(view.failure_reason) if view.status == "failed" else ""
            self._set("job_status", {**own, "status": words.job_status(job, view.status), "failure_reason": why}, 1)

    def _children(self, project: Project, head: Pipeline, path: str, name: str) -> None:
        """What the head triggered in its own project; and itself, where another project's pipeline triggered it."""
        above = {head}
        for pipeline in project.pipelines:
            view, upstream = pipeline.at(self.now), pipeline.upstream
            if view is None or upstream is None:
                continue
            is_below = pipeline.is_child and upstream.pipeline in above
            parent = upstream.pipeline
            if not (is_below or pipeline is head) or not self.world.tokens[self.token].sees(parent.project):
                continue
            if is_below:
                above.add(pipeline)
            own = {
                "project": path,
                "ref": name,
                "parent_project": parent.project.path_at(self.now),
                "parent_ref": name if is_below else ref_name(parent) if parent.merge_request else self.rules.ref(parent),
                "bridge_name": words.job_name(upstream.bridge.spec.name),
            }
            self._set("child_pipeline_status", {**own, "status": words.pipeline_status(view)}, 1)

    def _report(self, made: Sequence[Pipeline], path: str, name: str) -> None:
        """That of the newest pipeline that has any; it has its report when it has ended."""
        suites = next((suites for each in reversed(made) if (suites := each.report_at(self.now))), ())
        own, cases = {"project": path, "ref": name}, [case for suite in suites for case in suite.cases]
        if not cases:
            return
        self._set("test_report_total_time_seconds", own, sum(case.seconds for case in cases))
        self._set("test_report_total_count", own, len(cases))
        for status in ("success", "failed", "skipped", "error"):
            self._set(f"test_report_{status}_count", own, sum(case.status == status for case in cases))
        for suite in suites:
            named = {**own, "suite_name": words.job_name(suite.name)}
            self._plus("test_suite_duration_seconds", named, sum(case.seconds for case in suite.cases))
            self._plus("test_suite_count", named, len(suite.cases))
            for case in suite.cases if self.rules.cases else ():
                self._set(
                    "test_case_status", {**own, "suite": named["suite_name"], "case_name": case.name, "status": case.status}, 1
                )

    def _unfinished(self, project: Project, pipeline: Pipeline) -> None:
        view = pipeline.at(self.now)
        if view is None or view.status in FINAL:
            return
        path = project.path_at(self.now)
        self._more("pipelines", path, view.status, pipeline.created)
        for job, seen in newest(pipeline.jobs, self.now):
            if seen.status not in FINAL:
                self._more("jobs", path, seen.status, job.created)

    def _more(self, what: str, path: str, status: str, created: int) -> None:
        labels = {"project": path, "status": status}
        oldest = _key(f"{what}_oldest_timestamp_seconds", labels)
        self._plus(f"{what}_unfinished", labels, 1)
        self.values[oldest] = min(self.values.get(oldest, created), created)

    def _plus(self, family: str, labels: Mapping[str, str], value: float) -> None:
        key = _key(family, labels)
        self.values[key] = self.values.get(key, 0) + value

    def _set(self, family: str, labels: Mapping[str, str], value: float) -> None:
        self.values[_key(family, labels)] = value


def ref_name(pipeline: Pipeline) -> str:
    """What label `ref` of gauges says: a merge request is `!12`."""
    return f"!{pipeline.merge_request.iid}" if pipeline.merge_request else pipeline.ref


def newest(jobs: Iterable[Job], now: float) -> Iterator[tuple[Job, JobView]]:
    """Of the jobs of one name that are there the last, bridges left out."""
    found = {job.spec.name: (job, view) for job in jobs if job.spec.kind == BUILD and (view := job.at(now))}
    return iter(found.values())


def _key(family: str, labels: Mapping[str, str]) -> Key:
    return family, tuple(sorted((name, value) for name, value in labels.items() if value))
