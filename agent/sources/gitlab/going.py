"""Pipelines that have not ended: which of them are to be read again, though GitLab may have nothing new to say of them."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest

from agent.sources.gitlab.engine import Engine
from agent.sources.gitlab.memory import Memory
from agent.sources.gitlab.objects import Pipeline
from agent.sources.gitlab.options import JobsOptions

FOLLOW_SECONDS = 900.0
"""After how long without news a pipeline that has not ended is asked for by its number: it may have been deleted."""
FOLLOWED_AT_ONCE = 24
"""Pipelines asked for so at a poll."""
GOING = ("running", "pending", "preparing", "canceling")
"""Statuses of pipelines whose jobs go on."""


class Going:
    """Of one instance. `jobs`: how they are collected."""

    def __init__(self, engine: Engine, jobs: JobsOptions) -> None:
        self._engine = engine
        self._jobs = jobs

    def is_news(self, pipeline: Pipeline, memory: Memory, now: float) -> bool:
        """Whether a pipeline that was told is to be read in full: it has changed, or its jobs may have."""
        if memory.seen.get(pipeline.id) != (pipeline.updated, pipeline.status):
            return True
        if pipeline.status not in GOING or not self._jobs.enabled:
            return False
        return now - memory.looked.get(pipeline.id, 0.0) >= self._jobs.interval_seconds

    def refresh(self, memory: Memory, now: float) -> None:
        """Jobs of pipelines that run may end though their pipeline does not change: those go to `memory.todo`."""
        if not self._jobs.enabled:
            return
        coming = memory.coming()
        for number, (project_id, pipeline) in list(memory.open.items()):
            if project_id not in memory.since:
                del memory.open[number]
            elif self._is_old(pipeline, memory, now) and number not in coming:
                memory.add(project_id, [pipeline])

    def _is_old(self, pipeline: Pipeline, memory: Memory, now: float) -> bool:
        is_late = now - memory.looked.get(pipeline.id, 0.0) >= self._jobs.interval_seconds
        return is_late and pipeline.status in GOING and not memory.waits(pipeline.id, now)

    def quiet(self, memory: Memory, projects: Iterable[int], now: float) -> dict[int, list[int]]:
        """Those of which nothing was heard for long, by project id; some at a time, first the ones that waited longest."""
        coming, found = memory.coming(), dict[int, list[int]]()
        waiting = [
            (memory.heard.get(number, 0.0), project, number)
            for project in projects
            if project in memory.since
            for number in self._engine.unfinished(project)
            if number not in coming and now - memory.heard.get(number, 0.0) >= FOLLOW_SECONDS
        ]
        for _, project, number in nsmallest(FOLLOWED_AT_ONCE, waiting):
            found.setdefault(project, []).append(number)
        return found
