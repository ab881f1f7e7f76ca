"""Pipelines whose list does not tell what triggered them: that is known once the project is read in which it ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.errors import CollectError
from agent.sources.gitlab.asking import ALONE
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.rest_details import Details

MAX_WAITS = 3
"""How often a project is left for the next poll because what triggered a pipeline of it may be read by then."""
MAX_ORPHANS = 10_000
"""That are waited for at one time."""


@dataclass
class _Orphan:
    heard: set[int]
    """Projects that were read since it was first seen; the same set for all that were first seen together."""
    waits: int = 0


class Upstreams:
    """Of one instance, as its `details` know them."""

    def __init__(self, details: Details) -> None:
        self._details = details
        self._orphans: dict[int, _Orphan] = {}
        """By pipeline id."""

    def await_all(self, projects: Iterable[Project], found: Found, among: int) -> None:
        """A pipeline counts once: its project fails for now, unless all of `among` projects have been read in the meantime."""
        asked = list(projects)
        read = {project.id for project in asked if project.id not in found.failed or found.failed[project.id].kind in ALONE}
        for heard in {id(orphan.heard): orphan.heard for orphan in self._orphans.values()}.values():
            heard |= read
        for project in asked:
            for pipeline in found.pipelines.get(project.id, ()):
                if not pipeline.is_final or not self._details.is_orphan(pipeline):
                    self._orphans.pop(pipeline.id, None)
                    continue
                orphan = self._orphans.setdefault(pipeline.id, _Orphan(read))
                orphan.waits += 1
                if len(orphan.heard) >= among or orphan.waits > MAX_WAITS:
                    del self._orphans[pipeline.id]
                    self._details.give_up(pipeline)
                else:
                    text = f"what triggered pipeline {pipeline.id} is not known yet; the project is read at the next poll"
                    found.failed[project.id] = CollectError("upstream", text)
        for number in found.failed:
            found.pipelines.pop(number, None)
        while len(self._orphans) > MAX_ORPHANS:
            del self._orphans[next(iter(self._orphans))]
