"""The refs of one project that are shown, and what last ran on each: the gauges of state.

The newest pipeline of a ref is the one with the highest number that is no child of another. What is said of one pipeline
later by GitLab's clock is not overwritten by what was said before, in whatever order it is heard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.sources.gitlab.objects import BRANCH, FINAL, MERGE_REQUEST, TAG, Pipeline, Report
from agent.sources.gitlab.refs import is_child, ref_name

MOST_REFS = 2000
"""Of one project; those that ran longest ago are left out."""
MOST_CHILDREN = 2000
"""Of one project, the newest."""
SPARE = 50
"""Refs of one project that are kept though they are not shown, and child pipelines: what is shown may change."""
WHOLE_LIST = 100
"""A list of heads that is shorter names every ref; of a longer one there may be refs that ran before any of those it names."""
RAN = FINAL - {"canceled", "skipped"}
"""Statuses of pipelines that ran to their end."""

Place = tuple[str, str]
"""Kind and name of a ref."""


class JobState(NamedTuple):
    """One job of a ref's newest pipeline."""

    id: int
    name: str
    """As label `job_name` has it."""
    stage: str
    status: str
    failure_reason: str
    artifacts_bytes: int | None


@dataclass(slots=True)
class RefState:
    """One ref. Numbers of pipelines are 0 where there is none."""

    head: Pipeline
    jobs: tuple[JobState, ...] = ()
    """Of the head; of each name the job that is there now."""
    coverage: float | None = None
    coverage_of: int = 0
    finished: int = 0
    """When a pipeline of this ref last ended."""
    ran_of: int = 0
    """The newest that ran to its end."""
    report: Report | None = None
    report_of: int = 0
    """The newest that has ended with a report, as far as is known."""
    request_state: str = ""
    is_deleted: bool = False


@dataclass(slots=True)
class ProjectState:
    """One project. `path` is its full path."""

    path: str
    refs: dict[Place, RefState] = field(default_factory=dict)
    children: dict[int, Pipeline] = field(default_factory=dict)

    def take(self, pipeline: Pipeline) -> bool:
        """A pipeline as it is now; whether anything has changed."""
        if pipeline.upstream is not None and is_child(pipeline, self.path):
            return self._take_child(pipeline)
        if is_child(pipeline, self.path):
            return False
        place = place_of(pipeline)
        state = self.refs.get(place)
        if state is None:
            state = self.refs[place] = RefState(pipeline)
            self._bound()
            _learn(state, pipeline)
            return True
        return _learn(state, pipeline)

    def is_head(self, pipeline: Pipeline) -> bool:
        """Whether it is the newest of its ref."""
        state = self.refs.get(place_of(pipeline))
        return state is not None and state.head.id == pipeline.id

    def read(self, pipeline: Pipeline, jobs: Sequence[JobState]) -> bool:
        """The jobs of the newest pipeline of a ref; whether anything has changed."""
        state = self.refs.get(place_of(pipeline))
        if state is None:
            return False
        found = tuple(sorted(_kept(jobs, state.jobs), key=lambda job: job.id))
        if found == state.jobs:
            return False
        state.jobs = found
        return True

    def reported(self, pipeline: Pipeline, report: Report) -> bool:
        """The test report of a pipeline; whether anything has changed."""
        state = self.of(pipeline)
        if state is None or pipeline.id < state.report_of:
            return False
        is_news = (state.report_of, state.report) != (pipeline.id, report)
        state.report, state.report_of = report, pipeline.id
        return is_news

    def of(self, pipeline: Pipeline) -> RefState | None:
        """The ref whose state a pipeline is of; a child is of none, and neither is one that is newer than its newest."""
        state = None if is_child(pipeline, self.path) else self.refs.get(place_of(pipeline))
        return None if state is None or pipeline.id > state.head.id else state

    def exist(self, heads: Iterable[Pipeline]) -> bool:
        """The newest pipeline of each ref that exists: other refs are deleted. Whether anything has changed."""
        listed: dict[str, dict[Place, int]] = {BRANCH: {}, TAG: {}}
        for pipeline in heads:
            if pipeline.kind in listed:
                listed[pipeline.kind][place_of(pipeline)] = pipeline.id
        oldest = {kind: min(found.values()) if len(found) >= WHOLE_LIST else 0 for kind, found in listed.items()}
        has_changed = False
        for place, state in self.refs.items():
            if place[0] not in listed or (place not in listed[place[0]] and state.head.id < oldest[place[0]]):
                continue
            is_deleted = place not in listed[place[0]]
            has_changed |= state.is_deleted != is_deleted
            state.is_deleted = is_deleted
        gone = [state.head.id for place, state in self.refs.items() if _is_gone(state, listed.get(place[0], {}).get(place, 0))]
        for number in gone:
            has_changed |= self.drop(number)
        return has_changed

    def delete(self, kind: str, name: str) -> bool:
        """A ref is gone; one that is made anew is seen by a newer pipeline. Whether anything has changed."""
        state = self.refs.get((kind, name))
        if state is None or state.is_deleted:
            return False
        state.is_deleted = True
        return True

    def request(self, number: int, to: str) -> bool:
        """A merge request came to another state; whether anything has changed."""
        state = self.refs.get((MERGE_REQUEST, ref_name(MERGE_REQUEST, "", number)))
        if state is None or state.request_state == to:
            return False
        state.request_state = to
        return True

    def drop(self, number: int) -> bool:
        """A pipeline is gone; whether anything has changed. What ran before it on its ref is not known any more."""
        if self.children.pop(number, None) is not None:
            return True
        gone = [place for place, state in self.refs.items() if state.head.id == number]
        for place in gone:
            del self.refs[place]
        return bool(gone)

    def prune(self, shown: Collection[Place]) -> None:
        """Let go of refs that are not shown, but for some that ran last, and of what is below no ref that is."""
        spare = sorted((place for place in self.refs if place not in shown), key=lambda place: self.refs[place].head.id)
        for place in spare[:-SPARE]:
            del self.refs[place]
        if len(self.children) > 4 * SPARE:
            heads = [self.refs[place].head for place in shown if place in self.refs]
            below = {child.id for children in self.children_of(heads).values() for child in children}
            for number in sorted(self.children.keys() - below)[:-SPARE]:
                del self.children[number]

    def children_of(self, heads: Iterable[Pipeline]) -> dict[int, list[Pipeline]]:
        """By the number of each head: what it triggered in its own project, and what that triggered.

        Of one trigger job the newest; where its name is not told, all. Where the number of what triggered a pipeline is not
        told, the pipeline before it on that ref did.
        """
        newest = {_trigger(child): number for number, child in sorted(self.children.items())}
        below: dict[int | str, list[int]] = {}
        for number in newest.values():
            upstream = self.children[number].upstream
            if upstream is not None:
                below.setdefault(upstream.pipeline or ref_name(upstream.kind, upstream.ref), []).append(number)
        found = {}
        for head in heads:
            numbers = [number for key in (head.id, place_of(head)[1]) for number in below.get(key, ()) if number > head.id]
            for number in numbers:  # it grows on the way
                numbers += [deeper for deeper in below.get(number, ()) if deeper > number]
            found[head.id] = [self.children[number] for number in sorted(numbers)]
        return found

    def _take_child(self, pipeline: Pipeline) -> bool:
        held = self.children.get(pipeline.id)
        if held is not None and not _is_later(held, pipeline):
            return False
        self.children[pipeline.id] = pipeline
        while len(self.children) > MOST_CHILDREN:
            del self.children[min(self.children)]
        return held != pipeline

    def _bound(self) -> None:
        if len(self.refs) > MOST_REFS:
            del self.refs[min(self.refs, key=lambda place: self.refs[place].head.id)]


def _learn(state: RefState, pipeline: Pipeline) -> bool:
    """What a pipeline says of its ref; whether anything has changed."""
    has_changed = False
    if pipeline.id > state.head.id:
        state.head, state.jobs, state.is_deleted, has_changed = pipeline, (), False, True
    elif pipeline.id == state.head.id and _is_later(state.head, pipeline) and pipeline != state.head:
        state.head, has_changed = pipeline, True
    if pipeline.coverage is not None and pipeline.id >= state.coverage_of:
        has_changed |= state.coverage != pipeline.coverage
        state.coverage, state.coverage_of = pipeline.coverage, pipeline.id
    if pipeline.is_final and (pipeline.finished or 0) > state.finished:
        state.finished, has_changed = pipeline.finished or 0, True
    if pipeline.status in RAN:
        state.ran_of = max(state.ran_of, pipeline.id)
    if pipeline.merge_request_state and pipeline.id >= state.head.id:
        has_changed |= state.request_state != pipeline.merge_request_state
        state.request_state = pipeline.merge_request_state
    return has_changed


def _is_later(held: Pipeline, told: Pipeline) -> bool:
    """Whether what is told is not older than what is held; of what was in one second the end is later."""
    return (told.updated, told.is_final) >= (held.updated, held.is_final)


def _is_gone(state: RefState, newest: int) -> bool:
    """Whether the newest pipeline of a ref was deleted, where an older one is the newest now; 0 = none is named."""
    return 0 < newest < state.head.id and state.head.is_final


def place_of(pipeline: Pipeline) -> Place:
    """The ref that it ran on."""
    return pipeline.kind, ref_name(pipeline.kind, pipeline.ref, pipeline.merge_request)


def _trigger(child: Pipeline) -> tuple[str | int, ...]:
    """What tells the trigger job of a pipeline from others; it is the same when it is run again."""
    upstream = child.upstream
    if upstream is None or not upstream.bridge:
        return (child.id,)
    return upstream.kind, upstream.ref, upstream.pipeline, upstream.bridge


def _kept(told: Iterable[JobState], held: Iterable[JobState]) -> Iterator[JobState]:
    """The jobs as told, with the sizes of artifacts that were told before and are not told now."""
    sizes = {job.id: job.artifacts_bytes for job in held}
    for job in told:
        known = sizes.get(job.id) if job.artifacts_bytes is None else None
        yield job if known is None else job._replace(artifacts_bytes=known)
