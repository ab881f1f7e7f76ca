"""Variables of pipelines by the REST API: one request for each pipeline, once, for they are given to it when it is made.

https://docs.gitlab.com/api/pipelines/, "List all pipeline variables": 403 for whoever is not Maintainer, unless the pipeline
is their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import CollectError
from agent.sources.gitlab.asking import Api, pages, spread
from agent.sources.gitlab.objects import Pipeline, Project, Variables
from agent.sources.gitlab.variables import Wanted

REFUSED_SECONDS = 6 * 3600.0
"""How long a project is not asked again that refused to tell."""
MAX_KNOWN = 20_000
"""Pipelines whose variables are remembered."""


class VariableReader:
    """Those that are `wanted`; where none are, nothing is asked."""

    def __init__(self, api: Api, wanted: Wanted, per_page: int, at_once: int) -> None:
        self._api = api
        self._wanted = wanted
        self._per_page = str(per_page)
        self._at_once = at_once
        self._known: dict[int, Variables] = {}
        self._refused: dict[int, float] = {}
        """When projects refused, by the server's clock."""
        self._now = 0.0

    async def read(self, pipelines: Sequence[tuple[Project, Pipeline]], now: float = 0.0) -> dict[int, CollectError]:
        """Ask for what is not known yet; by pipeline what could not be read, but for what may not be.

        `now`: the server's clock, where it is known.
        """
        self._now = max(self._now, now)
        asked = [(p, pipeline.id) for p, pipeline in pipelines if self._wanted and pipeline.id not in self._known]
        answers = await spread(asked, self._ask, self._at_once)
        pairs = zip(asked, answers, strict=True)
        return {number: answer for (_, number), answer in pairs if isinstance(answer, CollectError)}

    def of(self, number: int) -> Variables:
        """What a pipeline has of them, as far as it was read."""
        return self._known.get(number, ())

    async def _ask(self, asked: tuple[Project, int]) -> None:
        project, number = asked
        refused = self._refused.get(project.id)
        if refused is not None and self._now - refused < REFUSED_SECONDS:
            return
        try:
            path = f"/projects/{project.id}/pipelines/{number}/variables"
            found, _ = await pages(self._api, path, {"per_page": self._per_page})
        except CollectError as error:
            if error.kind == "missing":  # it is gone by now
                return
            if error.kind != "forbidden":
                raise
            self._refused[project.id] = self._now
            self._wanted.refused(project.path)
            return
        self._refused.pop(project.id, None)
        self._known[number] = self._wanted.of(found, project.path)
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
