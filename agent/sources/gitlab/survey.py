"""What there is to read: which projects, and which of their pipelines have changed since they were read last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import anyio

from agent.errors import CollectError
from agent.model import SKEW_SECONDS
from agent.sources.gitlab.asking import ALONE, ALONE_SECONDS
from agent.sources.gitlab.engine import Engine
from agent.sources.gitlab.memory import Gathered, Memory
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.progress import OVERLAP_SECONDS
from agent.sources.gitlab.reader import Found, Reader

FORGET_SECONDS = 3600.0
"""After how long a project is forgotten that no list has any more."""
HEADS_SECONDS = 1800.0
"""How old what is known of branches, tags and the states of merge requests may become."""
FOLLOW_SECONDS = 900.0
"""After how long without news a pipeline that has not ended is asked for by its number: it may have been deleted."""
GOING = ("running", "pending", "preparing", "canceling")
"""Statuses of pipelines whose jobs go on."""
REFRESH_SECONDS = 60.0
"""After how long, at the least, their jobs are read again where nothing is said to have changed."""
FOLLOWED_AT_ONCE = 24
"""Pipelines asked for so at a poll."""
SINCE = "since:"
"""Notes: from which second on the project of that number is counted."""

Known = Mapping[int, tuple[Project, ProjectOptions]]
"""Projects and the rules for them, by id."""


class Listed(Protocol):
    """What discovery found."""

    @property
    def projects(self) -> Known:
        """By id."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read, one line each."""
        ...


class Discovery(Protocol):
    """Which projects there are."""

    async def projects(self) -> Listed:
        """All that are read now. Raises CollectError where there is nothing."""
        ...


class Survey:
    """Asks what there is; remembers which projects there are and when they answered."""

    def __init__(self, reader: Reader, discovery: Discovery, engine: Engine, options: Options) -> None:
        self._reader = reader
        self._discovery = discovery
        self._engine = engine
        self._jobs = options.collectors.jobs
        self._max_gap = options.max_gap_seconds
        self._retry: dict[int, float] = {}
        self._heads_at = 0.0
        self._missing: dict[int, float] = {}
        """By id of a project that is in no list any more: since when."""
        self.skew = 0.0
        """How far GitLab's clock is ahead of the agent's, seconds, by its last answer."""
        self.begun = anyio.Event()
        """Set once it is known which projects there are."""
        self.projects: Known = {}
        """All that are read."""
        self.active: dict[int, float] = {}
        """By project id: when something of it was last seen to change, by the agent's clock."""
        self.confirmed: dict[int, float] = {}
        """By project id: when it last answered."""
        self.errors: Counter[tuple[str, str]] = Counter()
        """What could not be read, by (collector, kind), since the agent's start: a project once a poll."""
        self._blamed: set[int] = set()
        """Projects that are counted there for this poll."""

    @property
    def is_skewed(self) -> bool:
        """Whether one of the two clocks is wrong."""
        return abs(self.skew) > SKEW_SECONDS

    def forget(self) -> None:
        """Nothing of what was asked has been committed."""
        self._heads_at = 0.0

    async def everything(self, memory: Memory, now: float, gathered: Gathered) -> None:
        """What is to be read of all projects goes to `memory.todo`. Raises CollectError where nothing can be read."""
        self._blamed.clear()
        await self._list(memory, now, gathered)
        due = [project for project, _ in self.projects.values() if self._is_due(project.id, now)]
        await self._join([project for project in due if project.id not in memory.since], memory, now, gathered)
        due = [project for project in due if project.id in memory.since]
        has_answered = await self._ask(due, memory, now, gathered)
        await self._follow(memory, now, gathered)
        self._refresh(memory, now)
        if not 0 <= now - self._heads_at < HEADS_SECONDS:
            await self._heads(due, memory, now, gathered)
            self._heads_at = now
        if not has_answered:
            return
        progress = memory.progress
        # What GitLab says of its own pipelines is the one clock that cannot be wrong about them.
        before, progress.mark = progress.mark, max(progress.mark, memory.newest - OVERLAP_SECONDS)
        for number in memory.since:
            if number in memory.todo or number in memory.spans or self.confirmed.get(number) != now:
                progress.late.setdefault(number, before)
            else:
                progress.late.pop(number, None)

    async def some(self, numbers: Sequence[int], memory: Memory, now: float, gathered: Gathered) -> None:
        """The same for a few projects; how far the others are stays as it is."""
        self._blamed.clear()
        due = [self.projects[number][0] for number in numbers if number in memory.since and number in self.projects]
        for number, (project_id, _) in memory.open.items():
            if project_id in numbers:
                memory.looked.pop(number, None)  # it may be about a job
        await self._ask([project for project in due if self._is_due(project.id, now)], memory, now, gathered)
        self._refresh(memory, now)

    def _is_due(self, number: int, now: float) -> bool:
        return not 0 < self._retry.get(number, 0.0) - now <= ALONE_SECONDS

    async def _list(self, memory: Memory, now: float, gathered: Gathered) -> None:
        """Which projects there are, under which names, by which rules."""
        listed = await self._discovery.projects()
        gathered.problems += listed.problems
        before, missing = self.projects, [number for number in memory.since if number not in listed.projects]
        self._missing = {number: self._missing.get(number, now) for number in missing}
        # A list that shifts while it is read leaves something out now and then.
        lost = [number for number in missing if not 0 <= now - self._missing[number] < FORGET_SECONDS]
        kept = {number: before[number] for number in missing if number in before and number not in lost}
        self.projects = {**listed.projects, **kept}
        self.begun.set()
        for number, known in listed.projects.items():
            if number in memory.since and before.get(number) != known:
                self._engine.watch(*known, memory.since[number])
        if listed.problems:  # what is not there may only not have been read
            return
        for number in lost:
            del memory.since[number]
            memory.progress.late.pop(number, None)
            self.confirmed.pop(number, None)
            self.active.pop(number, None)
            gathered.add(self._engine.forget(number))
            gathered.note(f"{SINCE}{number}", None)

    async def _join(self, joined: Sequence[Project], memory: Memory, now: float, gathered: Gathered) -> None:
        """Register what has not ended of projects that are new to the agent; one that was just made counts whole."""
        progress, begun = memory.progress, min(memory.since.values(), default=0)
        for first in range(0, len(joined), self._reader.together):
            batch = joined[first : first + self._reader.together]
            found = await self._reader.unfinished(batch)
            self._failed(found, memory, now, gathered)
            begins = self._begins(found, memory, now)
            if found.pipelines and not progress.mark:
                progress.mark = begins - OVERLAP_SECONDS
            for project in batch:
                if project.id not in found.pipelines:
                    continue
                is_newborn = bool(begun) and project.created >= begun
                since = project.created if is_newborn else begins
                memory.since[project.id] = since
                gathered.note(f"{SINCE}{project.id}", str(since))
                progress.late[project.id] = since - (0 if is_newborn else OVERLAP_SECONDS)
                self._engine.watch(*self.projects[project.id], since)
                if not is_newborn:
                    gathered.add(self._engine.register(project.id, found.pipelines[project.id], now))

    def _begins(self, found: Found, memory: Memory, now: float) -> int:
        """The second on GitLab's clock at which it answered."""
        for pipelines in found.pipelines.values():
            memory.note_newest(pipelines, now)
        self._compare(found, now)
        return max(int(min(found.date, now)), memory.newest) if self.is_skewed else int(found.date)

    def _compare(self, found: Found, now: float) -> None:
        """The two clocks."""
        if found.date:
            self.skew = found.date - now

    async def _ask(self, projects: Sequence[Project], memory: Memory, now: float, gathered: Gathered) -> bool:
        """What has changed in these projects since their marks; whether anything was answered."""
        groups: dict[tuple[int, int], list[Project]] = {}
        for project in projects:
            mark = max(memory.progress.of(project.id), int(now - self._max_gap))
            end = mark + memory.spans.get(project.id, 0)
            is_past = end < min(now, now + self.skew) - OVERLAP_SECONDS  # by either clock
            groups.setdefault((mark, end if mark < end and is_past else 0), []).append(project)
        has_answered = False
        for (mark, end), group in sorted(groups.items()):
            found = await self._reader.changed(group, mark, end)
            has_answered |= bool(found.pipelines)
            self._compare(found, now)
            self._failed(found, memory, now, gathered)
            for project in group:
                if project.id in found.pipelines:
                    memory.read(project.id, end)
                    self._found(project, found, memory, now)
                elif project.id in found.failed and found.failed[project.id].kind == "size":
                    memory.spans[project.id] = max(1, ((end or int(now)) - mark) // 2)
        return has_answered

    def _found(self, project: Project, found: Found, memory: Memory, now: float) -> None:
        """One project's changed pipelines."""
        number, path = project.id, found.paths.get(project.id, project.path)
        if path != project.path:
            known = (project._replace(path=path), self.projects[number][1])
            self.projects = {**self.projects, number: known}
            self._engine.watch(*known, memory.since[number])
        self.confirmed[number] = now
        memory.stuck.discard(number)
        memory.hear(found.pipelines[number], now)
        memory.note_newest(found.pipelines[number], now)
        news = [pipeline for pipeline in found.pipelines[number] if self._is_news(pipeline, memory, now)]
        if any(memory.seen.get(pipeline.id) != (pipeline.updated, pipeline.status) for pipeline in news):
            self.active[number] = now
        _add(memory, number, news)
        if number not in memory.todo:
            memory.reached(number)

    def _is_news(self, pipeline: Pipeline, memory: Memory, now: float) -> bool:
        """Whether it is to be read in full: it has changed, or its jobs may have."""
        if memory.seen.get(pipeline.id) != (pipeline.updated, pipeline.status):
            return True
        if pipeline.status not in GOING or not self._jobs.enabled:
            return False
        return now - memory.looked.get(pipeline.id, 0.0) >= self._jobs.interval_seconds

    def _refresh(self, memory: Memory, now: float) -> None:
        """Jobs of pipelines that run may end though their pipeline does not change."""
        age = max(self._jobs.interval_seconds, REFRESH_SECONDS)
        if not self._jobs.enabled:
            return
        coming = memory.coming()
        for number, (project_id, pipeline) in list(memory.open.items()):
            if project_id not in memory.since:
                del memory.open[number]
            elif pipeline.status in GOING and now - memory.looked.get(number, 0.0) >= age and number not in coming:
                _add(memory, project_id, [pipeline])

    async def _follow(self, memory: Memory, now: float, gathered: Gathered) -> None:
        """Ask for pipelines that have not ended, and of which nothing was heard for long, by their numbers."""
        wanted: dict[Project, list[int]] = {}
        left = FOLLOWED_AT_ONCE
        coming = memory.coming()
        for number, (project, _) in self.projects.items():
            followed = (one for one in self._engine.unfinished(number) if one not in coming)
            quiet = [one for one in followed if now - memory.heard.get(one, 0.0) >= FOLLOW_SECONDS]
            if quiet and number in memory.since and left > 0:
                wanted[project] = quiet[:left]
                left -= len(wanted[project])
        if not wanted:
            return
        answers = await self._reader.pipelines(wanted)
        for project, numbers in wanted.items():
            for number in numbers:
                memory.heard[number] = now
            found = [pipeline for number in numbers if isinstance(pipeline := answers.get(number), Pipeline)]
            _add(memory, project.id, found)
            for number in numbers:
                answer = answers.get(number, ...)
                if isinstance(answer, CollectError):
                    self._blame(project.id, answer, gathered)
                elif answer is None:
                    memory.drop(number)
                    gathered.add(self._engine.gone(project.id, number))

    async def _heads(self, projects: Sequence[Project], memory: Memory, now: float, gathered: Gathered) -> None:
        """Which branches and tags there are, what ran last on them, and how merge requests are: some change by that alone."""
        recent, heads = await self._reader.recent(projects), await self._reader.heads(projects)
        for found in (recent, heads):
            self._failed(found, memory, now, gathered)
        for number, pipelines in recent.pipelines.items():
            self._engine.recall(number, pipelines, now)
        for number, pipelines in heads.pipelines.items():
            self._engine.heads(number, pipelines, now)
            both = (*recent.pipelines.get(number, ()), *pipelines)
            _add(memory, number, [one for one in both if one.id not in memory.seen and self._engine.is_shown(number, one)])

    def _failed(self, found: Found, memory: Memory, now: float, gathered: Gathered) -> None:
        """Projects that could not be read: some are left alone for hours, the others are asked at the next poll."""
        memory.stuck |= found.failed.keys()
        for number, error in found.failed.items():
            if error.kind in ALONE:
                self._retry[number] = now + ALONE_SECONDS
            self._blame(number, error, gathered)

    def _blame(self, number: int, error: CollectError, gathered: Gathered) -> None:
        """Count and tell that a project could not be read."""
        if number not in self._blamed:
            self.errors["pipelines", error.kind] += 1
            self._blamed.add(number)
        path = self.projects[number][0].path if number in self.projects else number
        gathered.problems.append(f"project {path}: {error}")


def _add(memory: Memory, number: int, pipelines: Sequence[Pipeline]) -> None:
    """More to do for a project; of one pipeline what was said last."""
    if not pipelines:
        return
    todo = {pipeline.id: pipeline for pipeline in (*memory.todo.get(number, ()), *pipelines)}
    memory.todo[number] = sorted(todo.values(), key=lambda pipeline: (pipeline.updated, pipeline.id), reverse=True)
