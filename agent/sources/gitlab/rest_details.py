"""Single pipelines by the REST API, what they triggered, and what triggered them.

Lists leave out durations, coverage and tags (https://docs.gitlab.com/api/pipelines/), and no page of a pipeline tells
what triggered it: that is known from the bridges of the other one. What was read of a pipeline is read again only when
it has changed, for the same pipelines are listed at every poll while they are recent.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from agent.errors import CollectError
from agent.sources.gitlab.asking import Api, items, pages
from agent.sources.gitlab.objects import TAG, Pipeline, Project, Upstream
from agent.sources.gitlab.parsed import MAX_PATH, Json, MalformedError, kind_of, pipeline_of, readable, seconds, text, whole

CHILD = "parent_pipeline"
"""Source of a pipeline that another one of the same project triggered."""
DOWNSTREAM = "pipeline"
"""Source of one that was triggered by a pipeline of another project."""
MAX_DEPTH = 5
"""Pipelines below one another; GitLab allows children of children and no more (https://docs.gitlab.com/ci/pipelines/downstream_pipelines/)."""
MAX_KNOWN = 20_000
"""Pipelines remembered as they were last read."""
MAX_LINKS = 100_000
"""Pipelines of which it is remembered what triggered them."""
MAX_CANDIDATES = 20
"""Pipelines of one commit that are looked through for the one that triggered a child."""
_GONE = frozenset({"missing", "forbidden"})


class Row(NamedTuple):
    """A pipeline as lists show it."""

    id: int
    updated: str
    """As GitLab writes it; the same = nothing has changed."""
    status: str
    source: str
    ref: str
    path: str = ""
    """Full path of its project; "" = not told."""


class _Known(NamedTuple):
    """What was read of a pipeline."""

    project: Project
    updated: str
    sha: str
    pipeline: Pipeline
    children: tuple[Row, ...] | None = None
    """None = not asked."""


def row_of(found: Json) -> Row:
    """An item of a list of pipelines. Raises MalformedError."""
    address = text(found, "web_url", 2 * MAX_PATH).partition("/-/pipelines/")[0]
    source = text(found, "source").lower()
    return Row(whole(found, "id"), text(found, "updated_at"), text(found, "status"), source, text(found, "ref"), address)


def _is_later(known: str, told: str) -> bool:
    return (seconds(known) or 0) > (seconds(told) or 0)


class Details:
    """Pipelines of one instance. `malformed`: objects that could not be read, by kind, counted here."""

    def __init__(self, api: Api, per_page: int, *, with_children: bool, malformed: Counter[str]) -> None:
        self._api = api
        self._per_page = str(per_page)
        self._with_children = with_children
        self._malformed = malformed
        self._known: dict[int, _Known] = {}
        self._upstream: dict[int, Upstream | None] = {}
        """None = it was looked for and not found."""

    async def of(self, project: Project, number: int, updated: str = "") -> Pipeline | None:
        """A pipeline, asked for unless known as it was `updated`, or later; None = there is none.

        Raises CollectError, MalformedError.
        """
        known = self._known.get(number)
        if known is not None and (known.updated == updated or (updated and _is_later(known.updated, updated))):
            return known.pipeline
        try:
            data = (await self._api.get(f"/projects/{project.id}/pipelines/{number}", {})).data
        except CollectError as error:
            if error.kind == "missing":
                return None
            raise
        if not isinstance(data, dict) or data.get("id") != number:  # half an answer of something in between, not GitLab's word
            raise CollectError("json", f"project {project.path}: the answer is not pipeline {number}")
        pipeline = pipeline_of(data)
        self._keep(_Known(project, text(data, "updated_at"), text(data, "sha"), pipeline))
        return pipeline

    async def tree(self, project: Project, row: Row, depth: int = 0) -> list[Pipeline]:
        """A pipeline and the children below it; what it triggered elsewhere is remembered. Raises CollectError."""
        try:
            pipeline = await self.of(project, row.id, row.updated)
        except MalformedError:
            self._malformed["pipeline"] += 1
            return []
        if pipeline is None:
            return []
        found = [pipeline]
        for child in await self._children(project, pipeline) if depth < MAX_DEPTH else ():
            found += await self.tree(project, child, depth + 1)
        return found

    async def find_parent(self, project: Project, pipeline: Pipeline) -> None:
        """Look for what triggered a pipeline, where that was not seen yet. Raises CollectError."""
        if pipeline.source == DOWNSTREAM:
            await self._find_elsewhere(pipeline)
        else:
            await self._find_beside(project, pipeline)

    async def _find_beside(self, project: Project, pipeline: Pipeline) -> None:
        """A child's parent: among the pipelines of its commit."""
        known = self._known.get(pipeline.id)
        if known is None or not known.sha:
            return
        path, params = f"/projects/{project.id}/pipelines", {"sha": known.sha, "per_page": self._per_page}
        listed = items((await self._api.get(path, params)).data, path)
        rows = sorted(readable("pipeline", listed, row_of, self._malformed), reverse=True)
        for row in [row for row in rows if row.id < pipeline.id][:MAX_CANDIDATES]:
            await self.tree(project, row)
            if pipeline.id in self._upstream:
                return
        self._link(pipeline.id, None)

    async def _find_elsewhere(self, pipeline: Pipeline) -> None:
        """Another project's pipeline may trigger something while nothing changes that lists tell: ask those under way."""
        begun = [one for one in self._known.values() if not one.pipeline.is_final and one.pipeline.created <= pipeline.created]
        for one in sorted(begun, key=lambda one: one.pipeline.id, reverse=True)[:MAX_CANDIDATES]:
            await self._children(one.project, one.pipeline)
            if pipeline.id in self._upstream:
                return

    def give_up(self, pipeline: Pipeline) -> None:
        """What triggered a pipeline is out of sight."""
        self._link(pipeline.id, None)

    def is_orphan(self, pipeline: Pipeline) -> bool:
        """Whether it was triggered by a pipeline that nobody has looked for."""
        return pipeline.source in (CHILD, DOWNSTREAM) and pipeline.id not in self._upstream

    def upstream(self, number: int) -> Upstream | None:
        """What triggered a pipeline; None = nothing, or not known."""
        return self._upstream.get(number)

    async def _children(self, project: Project, pipeline: Pipeline) -> tuple[Row, ...]:
        """What its bridges triggered in the same project. A pipeline that has ended triggers nothing until it changes."""
        known = self._known.get(pipeline.id)
        if known is not None and known.children is not None and pipeline.is_final:
            return known.children
        path = f"/projects/{project.id}/pipelines/{pipeline.id}/bridges"
        try:
            bridges, _ = await pages(self._api, path, {"per_page": self._per_page})
        except CollectError as error:
            if error.kind not in _GONE:
                raise
            bridges = []
        found = [child for child in readable("bridge", bridges, _triggered, self._malformed) if child is not None]
        kind = kind_of(pipeline.ref, "", is_tag=pipeline.kind == TAG)  # its source is what GraphQL does not tell of it
        for name, _, row in found:
            self._link(row.id, Upstream(project.path, pipeline.ref, name, kind, pipeline.id))
        own = (row for _, place, row in found if place == project.id and row.source == CHILD)
        children = tuple(own) if self._with_children else ()
        if known is not None and known.pipeline is pipeline:
            self._keep(known._replace(children=children))
        return children

    def _keep(self, known: _Known) -> None:
        self._known.pop(known.pipeline.id, None)
        self._known[known.pipeline.id] = known
        _bound(self._known, MAX_KNOWN)

    def _link(self, number: int, upstream: Upstream | None) -> None:
        self._upstream.pop(number, None)
        self._upstream[number] = upstream
        _bound(self._upstream, MAX_LINKS)


def _triggered(bridge: Json) -> tuple[str, int, Row] | None:
    """A bridge's name, and the project and pipeline that it triggered; None = it has not. Raises MalformedError."""
    downstream = bridge.get("downstream_pipeline")
    if downstream is None:
        return None
    return text(bridge, "name"), whole(downstream, "project_id"), row_of(downstream)


def _bound(known: dict[int, Any], most: int) -> None:
    """Forget the oldest beyond `most`."""
    while len(known) > most:
        del known[next(iter(known))]
