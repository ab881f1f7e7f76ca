"""The gauges of all projects, and when they last changed: whoever shows them lists those of few projects each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from agent.model import Update
from agent.sources.gitlab.counting import Place, newest
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.gauges import Gauges, chosen, until
from agent.sources.gitlab.labels import Labeller, status
from agent.sources.gitlab.now import Standing
from agent.sources.gitlab.objects import Job, Pipeline, Report
from agent.sources.gitlab.refs import ref_name
from agent.sources.gitlab.state import JobState, ProjectState, RefState, place_of


class Shown:
    """By project; `places` has them by full path.

    Versions are counted in changes; a project that is forgotten has changed for the last time.
    """

    def __init__(self, families: Families, labeller: Labeller, places: Mapping[str, Place]) -> None:
        self._gauges = Gauges(families, labeller, places)
        self._labeller = labeller
        self._places: dict[int, Place] = {}
        self._states: dict[int, ProjectState] = {}
        self._versions: OrderedDict[int, int] = OrderedDict()
        """The project that changed last is the last."""
        self._version = 0
        self._until: dict[int, float] = {}
        """When the gauges of a project change because something has grown too old."""
        self._chosen: dict[int, tuple[int, Collection[tuple[str, str]]]] = {}
        """At a version, the refs that are shown."""
        self.now = 0.0
        """The agent's clock, as it was last told."""

    def watch(self, place: Place) -> None:
        """A project, or what is new of it."""
        self._places[place.id] = place
        self._states.setdefault(place.id, ProjectState(place.path)).path = place.path
        self.touch(place.id)

    def forget(self, project_id: int) -> None:
        """A project that is read no longer."""
        if self._places.pop(project_id, None) is not None:
            self.touch(project_id)
        for held in (self._states, self._until, self._chosen):
            held.pop(project_id, None)

    def touch(self, project_id: int) -> None:
        """The gauges of a project are not what they were."""
        self._version += 1
        self._versions[project_id] = self._version
        self._versions.move_to_end(project_id)
        self._until.pop(project_id, None)

    def take(self, place: Place, pipeline: Pipeline, jobs: Sequence[Job] | None = None) -> bool:
        """What a pipeline says of its ref, if that has a name; whether a gauge has changed."""
        state = self._states[place.id]
        name = ref_name(pipeline.kind, pipeline.ref, pipeline.merge_request)
        if not place.rules.shown(pipeline.kind, name, place.default_branch):
            return False
        has_changed = state.take(pipeline)
        if jobs is not None and state.is_head(pipeline):
            has_changed |= state.read(pipeline, [self._job_state(job) for job in newest(jobs)])
        return has_changed

    def exist(self, place: Place, heads: Sequence[Pipeline]) -> None:
        """The newest pipeline of each branch and tag that exists."""
        has_changed = self._states[place.id].exist(heads)
        for pipeline in heads:
            has_changed |= self.take(place, pipeline)
        self._touch_if(place.id, has_changed=has_changed)

    def recall(self, place: Place, pipelines: Sequence[Pipeline]) -> None:
        """What ran before, of refs whose newest pipeline may be another."""
        told = [self.take(place, pipeline) for pipeline in sorted(pipelines, key=lambda one: one.id)]
        self._touch_if(place.id, has_changed=any(told))

    def report(self, project_id: int, pipeline: Pipeline, report: Report) -> None:
        """The test report of a pipeline."""
        state = self._states.get(project_id)
        self._touch_if(project_id, has_changed=state is not None and state.reported(pipeline, report))

    def drop(self, project_id: int, pipeline_id: int) -> None:
        """A pipeline is gone."""
        state = self._states.get(project_id)
        self._touch_if(project_id, has_changed=state is not None and state.drop(pipeline_id))

    def delete(self, project_id: int, kind: str, name: str) -> None:
        """A branch or tag is gone."""
        state = self._states.get(project_id)
        self._touch_if(project_id, has_changed=state is not None and state.delete(kind, name))

    def request(self, project_id: int, number: int, to: str) -> None:
        """A merge request came to another state."""
        state = self._states.get(project_id)
        self._touch_if(project_id, has_changed=state is not None and state.request(number, to))

    def of(self, project_id: int, pipeline: Pipeline) -> RefState | None:
        """The ref that a pipeline ran on, if it is shown; None for a child as well."""
        place, state = self._places.get(project_id), self._states.get(project_id)
        found = None if state is None else state.of(pipeline)
        if place is None or state is None or found is None:
            return None
        version = self._versions[project_id]
        at, refs = self._chosen.get(project_id, (-1, ()))
        if at != version:
            refs = chosen(place, state, self.now)
            self._chosen[project_id] = (version, refs)
        return found if place_of(pipeline) in refs else None

    def changed_since(self, version: int) -> tuple[list[int], int]:
        """The projects whose gauges have changed since that version, and the present one; -1 = all."""
        for project_id in [project_id for project_id, end in self._until.items() if end < self.now]:
            self.touch(project_id)
        found = []
        for project_id, changed in reversed(self._versions.items()):
            if changed <= version:
                break
            found.append(project_id)
        return found, self._version

    def gauges(self, project_id: int, standing: tuple[Standing, Standing], now: float) -> list[Update]:
        """All gauges of a project; none of one that is not read."""
        place, state = self._places.get(project_id), self._states.get(project_id)
        if place is None or state is None:
            return []
        state.prune(chosen(place, state, now))
        self._until[project_id] = until(place, state, now)
        return self._gauges.of(place, state, standing, now)

    def _touch_if(self, project_id: int, *, has_changed: bool) -> None:
        if has_changed:
            self.touch(project_id)

    def _job_state(self, job: Job) -> JobState:
        name, reason = self._labeller.job_name(job.name), self._labeller.failure_reason(job)
        return JobState(job.id, name, job.stage, status(job.status), reason, job.artifacts_bytes)
