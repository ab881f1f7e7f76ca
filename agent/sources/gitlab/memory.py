"""What one poller of pipelines knows: its cursor, what it is in the middle of, and what one collect brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from agent.model import Note, Observation
from agent.sources.gitlab.asking import AHEAD_SECONDS
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.progress import Progress
from agent.sources.gitlab.rounds import Round

AGAIN_SECONDS = 30.0
"""After how long the jobs of a pipeline are read again that could not be; each further time twice as long,"""
RARE_SECONDS = 1800.0
"""so long in the end."""
GIVE_UP_SECONDS = 6 * 3600.0
"""After so long it is counted without them."""
MAX_SEEN = 100_000
"""Pipelines that are remembered as counted; the oldest are forgotten first and cost another reading."""


class Trouble(NamedTuple):
    """A pipeline whose jobs could not be read; times by the agent's clock."""

    since: float
    until: float
    """When it is tried again."""
    seconds: float
    """How long that was to wait."""


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
    told: set[int] = field(default_factory=set)
    """Projects of which GitLab has said what changed; they are as far as that once their `todo` is done."""
    stuck: set[int] = field(default_factory=set)
    """Projects of which something could not be read in full: they stay behind."""
    round: Round | None = None
    """A look at all projects that is not at its end."""
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

    tries: dict[int, Trouble] = field(default_factory=dict)
    """By id of a pipeline whose jobs could not be read."""

    def gives_up(self, pipeline_id: int, now: float) -> bool:
        """Its jobs could not be read once more; whether it is to be counted without them."""
        before = self.tries.get(pipeline_id)
        seconds = AGAIN_SECONDS if before is None else min(2 * before.seconds, RARE_SECONDS)
        self.tries[pipeline_id] = Trouble(now if before is None else before.since, now + seconds, seconds)
        return now - self.tries[pipeline_id].since >= GIVE_UP_SECONDS

    def waits(self, pipeline_id: int, now: float) -> bool:
        """Whether it is too early to try again."""
        trouble = self.tries.get(pipeline_id)
        return trouble is not None and 0 < trouble.until - now <= RARE_SECONDS

    def read(self, project_id: int, end: int) -> None:
        """All that changed in a project before a second was told; 0 = all there is."""
        self.told.add(project_id)
        self.stuck.discard(project_id)
        if self.round is not None:
            self.round.answered.add(project_id)
        self.until.pop(project_id, None)
        if end:
            self.until[project_id] = end
        else:
            self.spans.pop(project_id, None)

    def drop(self, pipeline_id: int) -> None:
        """There is none of that number any more."""
        for held in (self.open, self.looked, self.heard, self.tries, self.seen):
            held.pop(pipeline_id, None)

    def add(self, project_id: int, pipelines: Sequence[Pipeline]) -> None:
        """More to do for a project; of one pipeline what was said last."""
        if not pipelines:
            return
        todo = {pipeline.id: pipeline for pipeline in (*self.todo.get(project_id, ()), *pipelines)}
        self.todo[project_id] = sorted(todo.values(), key=lambda pipeline: (pipeline.updated, pipeline.id), reverse=True)

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
        if project_id not in self.told:
            return
        until = self.until.pop(project_id, 0)
        if project_id not in self.stuck:
            self.progress.late.pop(project_id, None)
            if until:
                self.progress.late[project_id] = until
        elif self.round is not None:
            self.round.behind.add(project_id)
        self.told.discard(project_id)
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
