"""Lists of pipelines by GraphQL: the first pages of a hundred projects in one request, then what is left, one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio

from agent.errors import CollectError
from agent.sources.gitlab.api import Gitlab, GraphqlError, Json, Result
from agent.sources.gitlab.batches import Size, spread, take
from agent.sources.gitlab.nodes import PROJECT, cursor_of, id_of, nodes_of, pipelines_of
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.parsed import MAX_PATH, MalformedError, text
from agent.sources.gitlab.queries import MAX_PROJECTS, Listing, Queries, project_gid
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.variables import Wanted

MAX_ITEMS = 50_000
"""Of one list of a project."""
MAX_PAGES = 100
"""That bring nothing, of one list."""


class _Page(NamedTuple):
    """A page that is still to be read."""

    project: Project
    listing: Listing
    cursor: str
    number: int
    """1 = the second."""
    items: int
    """How many came before."""


@dataclass
class Reading:
    """What was found so far."""

    found: Found = field(default_factory=Found)
    pipelines: dict[int, dict[int, Pipeline]] = field(default_factory=dict)
    """By project and by their own id."""

    def add(self, project: int, pipelines: Sequence[Pipeline]) -> None:
        """More of a project, none too; of one pipeline what was updated last."""
        known = self.pipelines.setdefault(project, {})
        for pipeline in pipelines:
            before = known.get(pipeline.id)
            if before is None or before.updated <= pipeline.updated:
                known[pipeline.id] = pipeline

    def failed(self, project: int, error: CollectError) -> None:
        """A project could not be read to its end."""
        self.found.failed.setdefault(project, error)

    def dated(self, date: float) -> None:
        """An answer came when the server's clock said that."""
        self.found.date = min(self.found.date or date, date)

    def whole(self) -> Found:
        """All of it; of projects that failed nothing."""
        for project, pipelines in self.pipelines.items():
            if project not in self.found.failed:
                self.found.pipelines[project] = list(pipelines.values())
        return self.found


class Lists:
    """Reads them from one instance. What is malformed is counted there."""

    def __init__(self, api: Gitlab, at_once: int, variables: Wanted) -> None:
        self._api = api
        self._variables = variables
        self._at_once = at_once
        self._size = Size(MAX_PROJECTS, 1, MAX_PROJECTS)

    async def read(
        self,
        queries: Queries,
        projects: Sequence[Project],
        listings: Sequence[Listing],
        reading: Reading,
        times: Mapping[str, str] = {},
    ) -> None:
        """Add these lists of all `projects` to `reading`; `times`: by the name of a variable that the query may have.

        Raises CollectError where nothing can be read.
        """
        query = queries.listed(listings)
        time = {name: moment for name, moment in times.items() if f"${name}:" in query}
        pages: list[_Page] = []

        async def ask(taken: Sequence[Project]) -> Sequence[Project]:
            begun = anyio.current_time()
            ids = [project_gid(project.id) for project in taken]
            result = await self._api.query(query, {"ids": ids, "n": len(ids), **time})
            again = self._first_pages(result, taken, listings, reading, pages)
            if again:
                self._size.failed(len(taken))
            else:
                self._size.answered(len(taken), anyio.current_time() - begun)
            return again

        def failed(taken: Sequence[Project], error: CollectError) -> Sequence[Project]:
            self._size.failed(len(taken), error.kind)
            if len(taken) > 1:
                return taken
            reading.failed(taken[0].id, error)
            return ()

        await spread(projects, lambda todo: take(todo, int(self._size.value)), ask, failed, self._at_once)
        await self._rest(queries, pages, time, reading)

    def _first_pages(
        self, result: Result, taken: Sequence[Project], listings: Sequence[Listing], reading: Reading, pages: list[_Page]
    ) -> list[Project]:
        """Take in an answer; the projects that took GitLab too long, where there were others in the question."""
        reading.dated(result.date)
        nodes = connection_of(result, "projects")
        left = {project.id: project for project in taken}
        again = []
        for place, node in enumerate(nodes):
            project = left.pop(number_of(node, self._api.malformed), None)
            if project is None:
                continue
            at = ("projects", "nodes", place)
            if any(_is_torn(node.get(listing.alias), result.errors, (*at, listing.alias)) for listing in listings):
                error = error_at(result.errors, at, f"{project.path}: its pipelines")
                if error.kind == "timeout" and len(taken) > 1:
                    again.append(project)
                else:
                    reading.failed(project.id, error)
                continue
            path = reading.found.paths[project.id] = _path_of(node) or project.path
            for listing in listings:
                self._page(node.get(listing.alias), _Page(project, listing, "", 0, 0), path, reading, pages)
        for project in left.values():
            reading.failed(project.id, CollectError("missing", f"{project.path}: it is gone, or may not be seen with this token"))
        return again

    def _page(self, found: Any, page: _Page, path: str, reading: Reading, pages: list[_Page]) -> None:
        """Take in `found`, the answer for `page`; what follows goes to `pages`."""
        project, listing, nodes = page.project, page.listing, nodes_of(found)
        pipelines = pipelines_of(nodes, path, listing.is_children, self._api.malformed, self._variables)
        reading.add(project.id, list(pipelines))
        items = page.items + len(nodes)
        if (cursor := cursor_of(found)) and not 0 < listing.enough <= items:
            pages.append(_Page(project, listing, cursor, page.number + 1, items))

    async def _rest(self, queries: Queries, pages: Sequence[_Page], time: Mapping[str, str], reading: Reading) -> None:
        """Further pages, to the end of each list."""

        async def ask(taken: Sequence[_Page]) -> Sequence[_Page]:
            page = taken[0]
            query = queries.next_page(page.listing)
            result = await self._api.query(query, {"ids": [project_gid(page.project.id)], "n": 1, "c": page.cursor, **time})
            nodes = connection_of(result, "projects")
            node = nodes[0] if nodes and isinstance(nodes[0], dict) else {}
            found = node.get(page.listing.alias)
            if _is_torn(found, result.errors, ("projects",)):
                reading.failed(page.project.id, error_at(result.errors, (), f"{page.project.path}: its pipelines"))
                return ()
            more: list[_Page] = []
            path = reading.found.paths.get(page.project.id, page.project.path)
            self._page(found, page, path, reading, more)
            if more and (more[0].items >= MAX_ITEMS or more[0].number >= MAX_PAGES + more[0].items):
                words = f"{page.project.path}: more than {MAX_ITEMS} pipelines in one list"
                reading.failed(page.project.id, CollectError("size", words))
                return ()
            return more

        def failed(taken: Sequence[_Page], error: CollectError) -> Sequence[_Page]:
            reading.failed(taken[0].project.id, error)
            return ()

        await spread(pages, lambda todo: [todo.popleft()], ask, failed, self._at_once)


def _is_torn(page: Any, errors: Sequence[GraphqlError], path: tuple[str | int, ...]) -> bool:
    """Whether GitLab could not answer for the list at `path`, in whole or in part."""
    nodes = page.get("nodes") if isinstance(page, dict) else None
    if not isinstance(nodes, list):
        return True
    return None in nodes and any(error.path[: len(path)] == path for error in errors)


def _path_of(node: Json) -> str:
    try:
        return text(node, "fullPath", MAX_PATH)
    except MalformedError:
        return ""


def connection_of(result: Result, name: str) -> list[Any]:
    """The nodes below `name`. Raises CollectError where an error took their place."""
    found = result.data.get(name)
    if not isinstance(found, dict) or not isinstance(found.get("nodes"), list):
        raise error_at(result.errors, (), f"GraphQL: {name}")
    return nodes_of(found)


def number_of(node: Any, malformed: Counter[str]) -> int:
    """The id of a project; 0 for what is none, which is counted."""
    try:
        return id_of(node.get("id"), PROJECT)
    except (MalformedError, AttributeError):
        malformed["project"] += 1
        return 0


def error_at(errors: Sequence[GraphqlError], path: tuple[str | int, ...], what: str) -> CollectError:
    """Why there is nothing below `path`: `timeout`, `status` for another error, `forbidden` where none is told."""
    found = next((error for error in errors if error.path[: len(path)] == path), None)
    if found is None:
        return CollectError("forbidden", f"{what} may not be seen with this token")
    return CollectError("timeout" if found.is_timeout else "status", f"{what}: GraphQL: {found.message}")
