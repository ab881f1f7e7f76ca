"""What there is to read: which projects, and which of their pipelines have changed since they were read last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import anyio

from agent.errors import CollectError
from agent.model import SKEW_SECONDS
from agent.sources.gitlab.asking import ALONE, ALONE_SECONDS
from agent.sources.gitlab.away import Away
from agent.sources.gitlab.batches import Size
from agent.sources.gitlab.engine import Engine
from agent.sources.gitlab.going import Going
from agent.sources.gitlab.memory import Gathered, Memory
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.progress import OVERLAP_SECONDS
from agent.sources.gitlab.reader import Discovery, Found, Known, Reader
from agent.sources.gitlab.rounds import Round, longest

FORGET_SECONDS = 3600.0
"""After how long a project is forgotten that no list has any more."""
HEADS_SECONDS = 1800.0
"""How old what is known of branches, tags and the states of merge requests may become."""
HINTED_SECONDS = 15.0
"""After how long the jobs of a pipeline that runs are read again where somebody hints at its project."""
NEWBORN_SECONDS = 3600.0
"""How much later than it was made a project may be listed, and still be new."""
MOST_AT_ONCE = 1000
"""Projects of one piece of a look."""
SINCE = "since:"
"""Notes: from which second on the project of that number is counted."""

Ask = Callable[[Sequence[Project], Memory, float, Gathered], Awaitable[None]]


class Survey:
    """Asks what there is; remembers which projects there are and when they answered."""

    def __init__(self, reader: Reader, discovery: Discovery, engine: Engine, options: Options) -> None:
        self._reader = reader
        self._discovery = discovery
        self._engine = engine
        self._going = Going(engine, options.collectors.jobs)
        self._max_gap = options.max_gap_seconds
        self._listed = 0
        """GitLab's second at which the projects were listed last."""
        self._heads_at = 0.0
        self._limit = longest(options.max_requests_per_second)
        """Seconds for one piece of a look."""
        self._sizes = {kind: Size(reader.together, 1, MOST_AT_ONCE) for kind in ("join", "ask", "heads")}
        self._missing: dict[int, float] = {}
        """By id of a project that is in no list any more: since when."""
        self.away = Away(ALONE_SECONDS)
        """Projects that are left alone."""
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
        self.gap = 0.0
        """Seconds since the oldest change from which on projects were first asked in this life; whoever tells it sets it to 0."""
        self.said: dict[str, None] = {}
        """What could not be read of projects in the last look at all of them, one line each, in that order."""

    @property
    def is_skewed(self) -> bool:
        """Whether one of the two clocks is wrong."""
        return abs(self.skew) > SKEW_SECONDS

    @property
    def paths(self) -> dict[int, str]:
        """By project id."""
        return {number: project.path for number, (project, _) in self.projects.items()}

    def forget(self) -> None:
        """Nothing of what was asked has been committed."""
        self._heads_at = 0.0

    async def begin(self, memory: Memory, now: float, gathered: Gathered) -> None:
        """A look at all projects: `memory.round`. Raises CollectError where they cannot be listed."""
        self._blamed.clear()
        self.said.clear()
        await self._list(memory, now, gathered)
        due = [project for project, _ in self.projects.values() if self.away.is_due(project.id, now)]
        known = [project for project in due if project.id in memory.since]
        is_heads = not 0 <= now - self._heads_at < HEADS_SECONDS
        joined = [project for project in due if project.id not in memory.since]
        before, self._listed = self._listed, int(now + self.skew)
        listed = min(before or memory.progress.mark, memory.progress.mark)
        memory.round = Round(joined, known, due if is_heads else [], listed)
        if is_heads:
            self._heads_at = now

    async def go_on(self, memory: Memory, now: float, gathered: Gathered) -> None:
        """A piece of it; what is to be read in full goes to `memory.todo`. Raises CollectError where nothing can be read."""
        left = memory.round
        if left is None:
            return
        if left.join:
            most = min(int(self._sizes["join"].value), self._reader.together)
            await self._piece("join", left.join, most, self._join, memory, now, gathered)
        elif left.ask:
            await self._piece("ask", left.ask, int(self._sizes["ask"].value), self._ask, memory, now, gathered)
            left.newest = left.newest or memory.newest
        elif not left.is_followed:
            left.is_followed = True
            with anyio.move_on_after(self._limit):
                await self._follow(memory, now, gathered)
            self._going.refresh(memory, now)
        elif left.heads:
            await self._piece("heads", left.heads, int(self._sizes["heads"].value), self._heads, memory, now, gathered)
        else:
            self._end(left, memory)

    async def _piece(
        self, kind: str, todo: list[Project], most: int, ask: Ask, memory: Memory, now: float, gathered: Gathered
    ) -> None:
        """Ask about the next of `todo`, for a while; what is not answered by then is asked in smaller pieces."""
        batch, begun = todo[:most], anyio.current_time()
        with anyio.move_on_after(self._limit) as scope:
            due = [project for project in batch if project.id in self.projects and self.away.is_due(project.id, now)]
            await ask(due, memory, now, gathered)
        if not scope.cancelled_caught:
            self._sizes[kind].answered(len(batch), anyio.current_time() - begun)
            del todo[: len(batch)]
            return
        self._sizes[kind].failed(len(batch))
        words = f"the answers took longer than {self._limit:g} s; raise max_requests_per_second, or look at how GitLab does"
        if len(batch) == 1:  # then it is the next round's, and of what changed in it less is asked for at once
            del todo[:1]
            self._blame(batch[0].id, CollectError("timeout", words), gathered)
            if kind == "ask":
                self._halve(batch[0].id, memory, now)
        else:
            gathered.problems.append(f"{len(batch)} projects at once: {words}; they are asked for in smaller numbers")

    def _end(self, left: Round, memory: Memory) -> None:
        """How far all projects are that answered."""
        memory.round = None
        if not left.answered:
            if remark := self.away.remark(self.paths):
                self.said[remark] = None
            return
        progress = memory.progress
        # What GitLab says of its own pipelines is the one clock that cannot be wrong about them.
        before, progress.mark = progress.mark, max(progress.mark, left.newest - OVERLAP_SECONDS)
        for number in memory.since:
            is_behind = number in memory.todo or number in memory.spans or number in left.behind
            if is_behind or number not in left.answered:
                progress.late.setdefault(number, before)
            else:
                progress.late.pop(number, None)

    async def some(self, numbers: Sequence[int], memory: Memory, now: float, gathered: Gathered) -> None:
        """The same for a few projects; how far the others are stays as it is."""
        self._blamed.clear()
        due = [self.projects[number][0] for number in numbers if number in memory.since and number in self.projects]
        for number, (project_id, _) in memory.open.items():
            if project_id in numbers and now - memory.looked.get(number, 0.0) >= HINTED_SECONDS:
                memory.looked.pop(number, None)  # it may be about a job
        with anyio.move_on_after(self._limit):
            await self._ask([project for project in due if self.away.is_due(project.id, now)], memory, now, gathered)
        self._going.refresh(memory, now)

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
            self.away.forget(number)
            gathered.add(self._engine.forget(number))
            gathered.note(f"{SINCE}{number}", None)

    async def _join(self, joined: Sequence[Project], memory: Memory, now: float, gathered: Gathered) -> None:
        """Register what has not ended of projects that are new to the agent; one that was just made counts whole."""
        progress, listed = memory.progress, memory.round.listed if memory.round else 0
        found = await self._reader.unfinished(joined)
        self._failed(found, now, gathered)
        begins = self._begins(found, memory, now)
        if found.pipelines and not progress.mark:
            progress.mark = begins - OVERLAP_SECONDS
        for project in joined:
            if project.id not in found.pipelines:
                continue
            # One that was there when projects were last listed, and only could not be seen, has a past that does not count.
            is_newborn = bool(listed and memory.since) and project.created >= listed - NEWBORN_SECONDS
            since = min(project.created, begins) if is_newborn else begins
            memory.since[project.id] = since
            gathered.note(f"{SINCE}{project.id}", str(since))
            progress.late[project.id] = since - (0 if is_newborn else OVERLAP_SECONDS)
            self._engine.watch(*self.projects[project.id], since)
            if not is_newborn:
                gathered.add(self._engine.register(project.id, found.pipelines[project.id], now))
            if memory.round is not None:
                memory.round.ask.append(project)

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

    async def _ask(self, projects: Sequence[Project], memory: Memory, now: float, gathered: Gathered) -> None:
        """What has changed in these projects since their marks."""
        groups: dict[tuple[int, int], list[Project]] = {}
        for project in projects:
            mark = self._mark(project.id, memory, now)
            end = mark + memory.spans.get(project.id, 0)
            is_past = end < min(now, now + self.skew) - OVERLAP_SECONDS  # by either clock
            groups.setdefault((mark, end if mark < end and is_past else 0), []).append(project)
        among = sum(number in self.projects and self.away.is_due(number, now) for number in memory.since)
        for (mark, end), group in sorted(groups.items()):
            found = await self._reader.changed(group, mark, end, among)
            self._compare(found, now)
            self._failed(found, now, gathered)
            memory.told -= found.failed.keys()
            for project in group:
                if project.id in found.pipelines:
                    if project.id not in self.confirmed:
                        self.gap = max(self.gap, now + self.skew - memory.progress.of(project.id))
                    memory.read(project.id, end)
                    self._found(project, found, memory, now)
                elif project.id in found.failed and found.failed[project.id].kind == "size":
                    self._halve(project.id, memory, now)

    def _mark(self, number: int, memory: Memory, now: float) -> int:
        return max(memory.progress.of(number), int(now - self._max_gap))

    def _halve(self, number: int, memory: Memory, now: float) -> None:
        """Less of what changed in a project is to be asked for at once."""
        whole = int(min(now, now + self.skew)) - self._mark(number, memory, now)
        memory.spans[number] = max(1, memory.spans.get(number, whole) // 2)

    def _found(self, project: Project, found: Found, memory: Memory, now: float) -> None:
        """One project's changed pipelines."""
        number, path = project.id, found.paths.get(project.id, project.path)
        if path != project.path:
            known = (project._replace(path=path), self.projects[number][1])
            self.projects = {**self.projects, number: known}
            self._engine.watch(*known, memory.since[number])
        self.confirmed[number] = now
        self.away.back(number)
        memory.hear(found.pipelines[number], now)
        memory.note_newest(found.pipelines[number], now)
        news = [pipeline for pipeline in found.pipelines[number] if self._going.is_news(pipeline, memory, now)]
        if any(memory.seen.get(pipeline.id) != (pipeline.updated, pipeline.status) for pipeline in news):
            self.active[number] = now
        early = {pipeline.id for pipeline in news if memory.waits(pipeline.id, now)}
        if early:
            memory.stuck.add(number)
        memory.add(number, [pipeline for pipeline in news if pipeline.id not in early])
        if number not in memory.todo:
            memory.reached(number)

    async def _follow(self, memory: Memory, now: float, gathered: Gathered) -> None:
        """Ask for pipelines that have not ended, and of which nothing was heard for long, by their numbers."""
        quiet = self._going.quiet(memory, self.projects, now)
        wanted = {self.projects[number][0]: numbers for number, numbers in quiet.items()}
        if not wanted:
            return
        answers = await self._reader.pipelines(wanted)
        for project, numbers in wanted.items():
            for number in numbers:
                memory.heard[number] = now
            found = [pipeline for number in numbers if isinstance(pipeline := answers.get(number), Pipeline)]
            memory.add(project.id, found)
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
            self._failed(found, now, gathered)
        for number, pipelines in recent.pipelines.items():
            self._engine.recall(number, pipelines, now)
        for number, pipelines in heads.pipelines.items():
            self._engine.heads(number, pipelines, now)
            both = (*recent.pipelines.get(number, ()), *pipelines)
            new = [one for one in both if one.id not in memory.seen and not memory.waits(one.id, now)]
            memory.add(number, [one for one in new if self._engine.is_shown(number, one)])

    def _failed(self, found: Found, now: float, gathered: Gathered) -> None:
        """Projects that could not be read: some are left alone, the others are asked at the next poll."""
        for number, error in found.failed.items():
            if error.kind in ALONE and self.away.is_due(number, now):
                self.away.put(number, error, now)
            self._blame(number, error, gathered)

    def _blame(self, number: int, error: CollectError, gathered: Gathered) -> None:
        """Count and tell that a project could not be read; one that is left alone is told of elsewhere."""
        if number not in self._blamed:
            self.errors["pipelines", error.kind] += 1
            self._blamed.add(number)
        if error.kind in ALONE:
            return
        path = self.projects[number][0].path if number in self.projects else number
        line = f"project {path}: {error}"
        self.said[line] = None
        gathered.problems.append(line)
