"""What GitLab's pipelines and jobs come to: observations, what has to be remembered, and the gauges of the present.

No I/O and no clock: polls and webhooks all end here, and the same pipeline or job leads to the same observation whichever
way it came. What an observation's key has been seen with before, the ledger leaves out; so everything is told again
whenever it is heard of, and nothing is lost with a commit that failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.errors import DeliveryError
from agent.model import Note, Observation, Update
from agent.sources.gitlab import payload
from agent.sources.gitlab.asking import AHEAD_SECONDS
from agent.sources.gitlab.counting import Counting, Place
from agent.sources.gitlab.ended import Endings
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.labels import Labeller
from agent.sources.gitlab.now import KEEP_SECONDS, Unfinished
from agent.sources.gitlab.objects import Job, Pipeline, Project, Report
from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.parsed import MalformedError
from agent.sources.gitlab.refs import CHILD_SOURCE, Rules, is_child
from agent.sources.gitlab.shown import Shown
from agent.sources.gitlab.variables import Wanted


class Digest(NamedTuple):
    """What one call brought."""

    observations: Sequence[Observation] = ()
    notes: Sequence[Note] = ()
    outcome: str = "noted"
    """counted, noted, hinted or ignored."""


class Hint(NamedTuple):
    """There is something new in a project."""

    project_id: int
    is_deployment: bool = False
    """Whether it is in its environments, not in its pipelines."""


class Engine:
    """One GitLab instance; `host` is its name in keys."""

    def __init__(self, host: str, options: Options, families: Families) -> None:
        collectors = options.collectors
        self._options = options
        self._counts_jobs = collectors.pipelines.enabled and collectors.jobs.enabled
        self._labeller = Labeller(options.labels, with_runners=collectors.jobs.include_runner_details)
        self._paths: dict[str, Place] = {}
        self._counting = Counting(host, families, self._labeller, self._paths)
        self._shown = Shown(families, self._labeller, self._paths)
        self._places: dict[int, Place] = {}
        self._unfinished = Unfinished(collectors.pipelines.max_pipelines_per_ref)
        self._endings = Endings()
        self._variables = Wanted(options.labels.variables)
        self.malformed: Counter[str] = Counter()
        """Objects in webhook bodies that could not be read, by kind."""
        self.ignored: Counter[str] = Counter()
        """Events that do not count, by why."""

    @property
    def abandoned(self) -> int:
        """Pipelines that were followed and given up before their end."""
        return self._unfinished.abandoned

    def restore(self, notes: Mapping[str, str], now: float) -> None:
        """Go on where an earlier life ended; broken notes are left out."""
        self._shown.now = now
        self._unfinished.restore(notes)
        self._endings.restore(notes)

    # -- projects --------------------------------------------------------------------------------------

    def watch(self, project: Project, rules: ProjectOptions, since: int) -> None:
        """A project is counted from that second on, by GitLab's clock. Said again, it is known by its new name and rules."""
        own = Rules(rules, by_class=self._options.labels.ref == "class")
        place = Place(project.id, project.path, project.default_branch, own, since)
        self._leave(project.id)
        self._places[project.id] = self._paths[project.path] = place
        self._shown.watch(place)

    def forget(self, project_id: int) -> Digest:
        """A project is read no longer."""
        self._leave(project_id)
        self._shown.forget(project_id)
        return Digest(notes=[self._unfinished.end(number) for number in self._unfinished.of(project_id)])

    def register(self, project_id: int, pipelines: Sequence[Pipeline], now: float) -> Digest:
        """What had not ended when a project was first read: it counts when it ends."""
        place = self._places.get(project_id)
        if place is None:
            return Digest()
        notes: list[Note] = []
        for pipeline in pipelines:
            if not pipeline.is_final and self._is_wanted(pipeline):
                notes += self._unfinished.put(pipeline, place.id, now, _group(pipeline, place), is_registered=True)
                self._shown.take(place, pipeline)
        self._shown.touch(project_id)
        return Digest(notes=notes)

    # -- pipelines and jobs ----------------------------------------------------------------------------

    def take(self, project_id: int, pipelines: Sequence[Pipeline], jobs: Mapping[int, Sequence[Job]], now: float) -> Digest:
        """Pipelines as they are now, and the jobs of those whose jobs were read, all of them, by pipeline id."""
        self._shown.now = max(self._shown.now, now)
        place = self._places.get(project_id)
        if place is None or not self._options.collectors.pipelines.enabled:
            return Digest(outcome="ignored")
        found = _Found(self._expire(now))
        for pipeline in pipelines:
            if self._is_wanted(pipeline):
                self._take(found, place, pipeline, jobs.get(pipeline.id) if self._counts_jobs else None, now)
        if found.has_changed:
            self._shown.touch(project_id)
        return found.digest()

    def _take(self, found: _Found, place: Place, pipeline: Pipeline, jobs: Sequence[Job] | None, now: float) -> None:
        number = pipeline.id
        opened, ended = self._unfinished.get(number), self._endings.get(number)
        is_registered = (opened is not None and opened.is_registered) or (ended is not None and ended.is_registered)
        after = max(place.since, int(now - KEEP_SECONDS))
        counts = is_registered or ended is not None or pipeline.created >= after
        if pipeline.is_final:
            if counts and ended is None:
                self._endings.put(pipeline, now, is_registered=is_registered)
            if opened is None or pipeline.updated >= opened.updated:
                found.notes.append(self._unfinished.end(number))
                found.has_changed |= opened is not None
        elif not self._endings.is_before_end(pipeline):
            group = _group(pipeline, place)
            found.notes += self._unfinished.put(pipeline, place.id, now, group, is_registered=is_registered)
            found.has_changed |= self._unfinished.get(number) != opened
        if counts:
            self._count(found, place, pipeline, jobs)
        if jobs is not None:
            found.observations += self._counting.jobs(place, pipeline, jobs, after, is_registered=is_registered)
            found.has_changed |= self._unfinished.read(number, jobs)
        found.has_changed |= self._shown.take(place, pipeline, jobs)

    def _count(self, found: _Found, place: Place, pipeline: Pipeline, jobs: Sequence[Job] | None) -> None:
        """What a pipeline counts as, if it has ended before or now."""
        ended, first = self._endings.get(pipeline.id), self._endings.first(pipeline.id)
        if ended is None:
            return
        if first is not None:
            found.observations.append(self._counting.pipeline(place, first))
            found.notes.append(self._endings.note(pipeline.id))
        if pipeline.is_final and pipeline.finished is not None and pipeline.finished != ended.finished:
            found.observations.append(self._counting.retry(place, pipeline))
        is_later = pipeline.is_final or pipeline.updated > ended.finished
        if jobs and ended.finished and is_later and found.is_whole:
            found.observations += self._counting.stages(place, pipeline, ended.finished, jobs)

    def gone(self, project_id: int, pipeline_id: int) -> Digest:
        """A pipeline was deleted before it was heard to end."""
        self._shown.drop(project_id, pipeline_id)
        if self._unfinished.get(pipeline_id) is not None:
            self._shown.touch(project_id)
        return Digest(notes=[self._unfinished.end(pipeline_id)])

    def unfinished(self, project_id: int) -> list[int]:
        """Pipelines of a project that are to be asked for until they end."""
        return self._unfinished.followed(project_id)

    # -- gauges ----------------------------------------------------------------------------------------

    def heads(self, project_id: int, pipelines: Sequence[Pipeline], now: float) -> None:
        """The newest pipeline of each branch and tag that exists: the state of other refs ends."""
        self._shown.now = max(self._shown.now, now)
        place = self._places.get(project_id)
        if place is not None:
            self._shown.exist(place, pipelines)

    def recall(self, project_id: int, pipelines: Sequence[Pipeline], now: float) -> None:
        """What ran lately, on refs of which another may be the newest; which of them there are still, `heads` says after it."""
        self._shown.now = max(self._shown.now, now)
        place = self._places.get(project_id)
        if place is not None:
            self._shown.recall(place, pipelines)

    def report(self, project_id: int, pipeline: Pipeline, report: Report) -> None:
        """The test report of a pipeline; that of a newer one stays."""
        self._shown.report(project_id, pipeline, report)

    def is_shown(self, project_id: int, pipeline: Pipeline) -> bool:
        """Whether a pipeline is the newest of a ref whose state is shown, or the newest that ran to its end there."""
        state = self._shown.of(project_id, pipeline)
        return state is not None and pipeline.id in (state.head.id, state.ran_of)

    def shows(self, project_id: int, pipeline: Pipeline) -> bool:
        """Whether a pipeline ran on a ref whose state is shown, and is no child of another."""
        return self._shown.of(project_id, pipeline) is not None

    def wants_report(self, project_id: int, pipeline: Pipeline) -> bool:
        """Whether it is the test report of this pipeline that would be shown, if it has one."""
        state = self._shown.of(project_id, pipeline)
        return state is not None and pipeline.is_final and pipeline.id >= state.report_of

    def changed_since(self, version: int, now: float = 0.0) -> tuple[list[int], int]:
        """The projects whose gauges have changed since that version, and the present one; -1 = all.

        Those of a project that is forgotten have changed too: it has none any more.
        """
        self._shown.now = max(self._shown.now, now)
        return self._shown.changed_since(version)

    def gauges(self, project_id: int, now: float) -> list[Update]:
        """All gauges of a project, with its number as their scope; none of one that is not read."""
        return self._shown.gauges(project_id, self._unfinished.standing(project_id), now)

    # -- webhooks --------------------------------------------------------------------------------------

    def webhook(self, event: str, body: Mapping[str, Any], received: float) -> tuple[Digest, Hint | None]:
        """What the body of an event comes to; `event` as the header X-Gitlab-Event has it.

        Raises DeliveryError, 400, for a body that is not what its event says.
        """
        if event not in payload.EVENTS:
            return self._ignored("event"), None
        try:
            project_id = payload.project_of(body)
            place = self._places.get(project_id)
            if place is None:
                return self._ignored("project"), None
            if event == payload.PIPELINE:
                return self._pipeline_event(place, payload.pipeline_of(body, self._variables), received)
            if event in (payload.PUSH, payload.TAG_PUSH):
                ref = payload.deleted_ref_of(body)
                if ref is not None:
                    self._shown.delete(project_id, *ref)
            elif event == payload.MERGE_REQUEST_HOOK:
                self._shown.request(project_id, *payload.merge_request_of(body))
        except MalformedError as error:
            raise DeliveryError(400, f"{error}; is this a {event} of GitLab's?") from error
        return Digest(outcome="hinted"), Hint(project_id, is_deployment=event == payload.DEPLOYMENT)

    def _pipeline_event(self, place: Place, told: payload.Told, received: float) -> tuple[Digest, Hint | None]:
        self.malformed["build"] += told.lost
        hint = Hint(place.id) if told.is_downstream or told.lost or not told.pipeline.is_final else None
        if told.latest > received + AHEAD_SECONDS:  # what is true of it the API tells
            return Digest(outcome="hinted"), Hint(place.id)
        if told.is_downstream or not told.pipeline.is_final:
            return Digest(outcome="hinted"), hint
        if not self._options.collectors.pipelines.enabled:
            return self._ignored("collector"), None
        found = _Found(self._expire(received), is_whole=not told.lost)
        self._take(found, place, told.pipeline, told.jobs if self._counts_jobs else None, received)
        if found.has_changed:
            self._shown.touch(place.id)
        return found.digest(), hint

    # -- small things ----------------------------------------------------------------------------------

    def _leave(self, project_id: int) -> None:
        """Its name and rules hold no longer."""
        place = self._places.pop(project_id, None)
        if place is not None and self._paths.get(place.path) is place:
            del self._paths[place.path]

    def _is_wanted(self, pipeline: Pipeline) -> bool:
        return self._options.collectors.pipelines.include_child_pipelines or pipeline.source != CHILD_SOURCE

    def _expire(self, now: float) -> list[Note]:
        """What is too old."""
        notes = list(self._endings.expire(now))
        for project_id, note in self._unfinished.expire(now):
            notes.append(note)
            self._shown.touch(project_id)
        return notes

    def _ignored(self, reason: str) -> Digest:
        self.ignored[reason] += 1
        return Digest(outcome="ignored")


class _Found:
    """What one call brings, while it is gathered."""

    def __init__(self, notes: list[Note], *, is_whole: bool = True) -> None:
        self.observations: list[Observation] = []
        self.notes = notes
        self.is_whole = is_whole
        """Whether the jobs of pipelines are all of them."""
        self.has_changed = False
        """Whether gauges have."""

    def digest(self) -> Digest:
        """All of it; of notes for one key the last."""
        notes = {note.key: note for note in self.notes}
        return Digest(self.observations, tuple(notes.values()), "counted" if self.observations else "noted")


def _group(pipeline: Pipeline, place: Place) -> str:
    """What at most so many pipelines are followed of."""
    if pipeline.upstream is not None and is_child(pipeline, place.path):
        return f"child:{pipeline.upstream.pipeline}:{pipeline.ref}"
    return f"{pipeline.kind}:{pipeline.ref}"
