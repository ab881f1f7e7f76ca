"""What one poller of pipelines knows: its cursor, what it is in the middle of, and what one collect brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.model import Note, Observation
from agent.sources.gitlab.asking import AHEAD_SECONDS
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.progress import Progress

MAX_TRIES = 5
"""Of reading the jobs of one pipeline, until it is counted without them."""
MAX_SEEN = 100_000
"""Pipelines that are remembered as counted; the oldest are forgotten first and cost another reading."""


@dataclass
class Memory:
    """What is known beside the cursor; worth something only while commits succeed."""

    progress: Progress
    since: dict[int, int] = field(default_factory=dict)
    """By project id: from which second on it is counted."""
    todo: dict[int, list[Pipeline]] = field(default_factory=dict)
    """By project id: changed pipelines that are still to be read in full and counted, the oldest last."""
    spans: dict[int, int] = field(default_factory=dict)
    """By project id: how many seconds of changes are asked for at once, where all since its mark are too many."""
    until: dict[int, int] = field(default_factory=dict)
    """By project id: the second up to which it is read, where that is not its end."""
    stuck: set[int] = field(default_factory=set)
    """Projects of which something could not be read in full: they stay behind."""
    seen: dict[int, tuple[int, str]] = field(default_factory=dict)
    """By pipeline id: (updated, status) of those that were counted as they are."""
    open: dict[int, tuple[int, Pipeline]] = field(default_factory=dict)
    """By id of a pipeline that has not ended: its project, and what it was like when it was last read."""
    looked: dict[int, float] = field(default_factory=dict)
    """By id of a pipeline that has not ended: when its jobs were last read, by the agent's clock."""

    heard: dict[int, float] = field(default_factory=dict)
    """By id of a pipeline that has not ended: when GitLab last spoke of it, by the agent's clock."""

    newest: int = 0
    """The latest `updated` of any pipeline."""

    def note_newest(self, pipelines: Sequence[Pipeline], now: float) -> None:
        """These were told; times that are far ahead of the agent's clock say nothing."""
        self.newest = max([self.newest, *(one.updated for one in pipelines if one.updated <= now + AHEAD_SECONDS)])

    def hear(self, pipelines: Sequence[Pipeline], now: float) -> None:
        """GitLab spoke of these."""
        for pipeline in pipelines:
            self.heard.pop(pipeline.id, None)
            if not pipeline.is_final:
                self.heard[pipeline.id] = now

    tries: dict[int, int] = field(default_factory=dict)
    """By id of a pipeline whose jobs could not be read: how often that was tried."""

    def gives_up(self, pipeline_id: int) -> bool:
        """Its jobs could not be read once more; whether it is to be counted without them."""
        self.tries[pipeline_id] = self.tries.get(pipeline_id, 0) + 1
        return self.tries[pipeline_id] >= MAX_TRIES

    def read(self, project_id: int, end: int) -> None:
        """All that changed in a project before a second was told; 0 = all there is."""
        self.until.pop(project_id, None)
        if end:
            self.until[project_id] = end
        else:
            self.spans.pop(project_id, None)

    def drop(self, pipeline_id: int) -> None:
        """There is none of that number any more."""
        for held in (self.open, self.looked, self.heard, self.tries, self.seen):
            held.pop(pipeline_id, None)

    def coming(self) -> set[int]:
        """Ids of the pipelines that are still to be read in full."""
        return {pipeline.id for pipelines in self.todo.values() for pipeline in pipelines}

    def count(self, project_id: int, pipeline: Pipeline, now: float) -> None:
        """It was read in full and counted as far as it can be."""
        self.seen.pop(pipeline.id, None)
        self.seen[pipeline.id] = (pipeline.updated, pipeline.status)
        self.looked.pop(pipeline.id, None)
        self.tries.pop(pipeline.id, None)
        self.open.pop(pipeline.id, None)
        if not pipeline.is_final:
            self.looked[pipeline.id] = now
            self.open[pipeline.id] = (project_id, pipeline)
        if len(self.seen) > MAX_SEEN:
            del self.seen[next(iter(self.seen))]
        for held in (self.looked, self.open, self.heard, self.tries):
            if len(held) > MAX_SEEN:
                del held[next(iter(held))]

    def reached(self, project_id: int) -> None:
        """Nothing of a project is left to do: it is as far as the others, unless it was not read to its end."""
        self.todo.pop(project_id, None)
        until = self.until.pop(project_id, 0)
        if project_id not in self.stuck:
            self.progress.late.pop(project_id, None)
            if until:
                self.progress.late[project_id] = until
        self.stuck.discard(project_id)


class Digest(Protocol):
    """What the engine made of something."""

    @property
    def observations(self) -> Sequence[Observation]:
        """What happened."""
        ...

    @property
    def notes(self) -> Sequence[Note]:
        """What has to be known again after a restart."""
        ...


@dataclass
class Gathered:
    """What one collect brings."""

    observations: list[Observation] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    read: dict[Project, list[Pipeline]] = field(default_factory=dict)
    """Pipelines that were worked through."""

    def add(self, digest: Digest) -> None:
        """The engine made that of something."""
        self.observations += digest.observations
        self.notes.update({note.key: note for note in digest.notes})

    def note(self, key: str, value: str | None) -> None:
        """One more note; None = it is to be forgotten."""
        self.notes[key] = Note(key, value)
