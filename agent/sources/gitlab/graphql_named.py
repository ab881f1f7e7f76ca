"""Pipelines by id, by GraphQL: a few in one request, each under a name of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from agent.errors import CollectError
from agent.sources.gitlab.api import Gitlab, GraphqlError, Json, Result
from agent.sources.gitlab.batches import Size, spread, take
from agent.sources.gitlab.graphql_lists import error_at
from agent.sources.gitlab.nodes import nodes_of
from agent.sources.gitlab.objects import Project


class Wanted(NamedTuple):
    """A pipeline that is asked for."""

    project: Project
    pipeline: int


def grouped(wanted: Sequence[Wanted]) -> dict[int, list[int]]:
    """Pipelines by project."""
    found: dict[int, list[int]] = {}
    for project, pipeline in wanted:
        found.setdefault(project.id, []).append(pipeline)
    return found


def node_of(result: Result, wanted: Wanted) -> Json | CollectError | None:
    """What an answer says of a pipeline; None = there is none, an error: it could not be read."""
    alias, name = f"r{wanted.project.id}", f"p{wanted.pipeline}"
    nodes = nodes_of(result.data.get(alias))
    project = nodes[0] if nodes and isinstance(nodes[0], dict) else None
    at: tuple[str | int, ...] = (alias, "nodes", 0, name) if project else (alias,)
    what = f"pipeline {wanted.pipeline} of {wanted.project.path}"
    found = project.get(name) if project else None
    if isinstance(found, dict):
        return found
    blamed = [error for error in result.errors if _covers(error, at)]
    if blamed:
        return error_at(blamed, (), what)
    if project is None:
        return CollectError("missing", f"{wanted.project.path}: it is gone, or may not be seen with this token")
    return None


def jobs_in(result: Result, wanted: Wanted) -> Json | CollectError:
    """The page of jobs of a pipeline; an error where it is gone or could not be read."""
    found = node_of(result, wanted)
    if found is None:
        return CollectError("missing", f"pipeline {wanted.pipeline} of {wanted.project.path} is gone")
    if isinstance(found, CollectError):
        return found
    page = found.get("jobs")
    if isinstance(page, dict) and isinstance(page.get("nodes"), list):
        return page
    at = (f"r{wanted.project.id}", "nodes", 0, f"p{wanted.pipeline}")
    return error_at(result.errors, at, f"jobs of pipeline {wanted.pipeline} of {wanted.project.path}")


def _covers(error: GraphqlError, path: tuple[str | int, ...]) -> bool:
    """Whether an error is about what is at `path`, above or below it, or says not what it is about."""
    length = min(len(error.path), len(path))
    return error.path[:length] == path[:length]


async def read_named(
    api: Gitlab,
    wanted: Mapping[Project, Sequence[int]],
    text_of: Callable[[Mapping[int, Sequence[int]]], str],
    at_once: int,
    most: int,
) -> dict[int, Json | CollectError | None]:
    """What is said of pipelines by id, as `node_of` has it; `most` of them in one request, which `text_of` makes.

    Raises CollectError where nothing can be read.
    """
    answers: dict[int, Json | CollectError | None] = {}
    size = Size(most, 1, most)
    items = [Wanted(project, number) for project, numbers in wanted.items() for number in dict.fromkeys(numbers)]

    async def ask(taken: Sequence[Wanted]) -> Sequence[Wanted]:
        result = await api.query(text_of(grouped(taken)), {})
        again = []
        for one in taken:
            found = node_of(result, one)
            if isinstance(found, CollectError) and found.kind == "timeout" and len(taken) > 1:
                again.append(one)
            else:
                answers[one.pipeline] = found
        if again:
            size.failed(len(taken))
        return again

    def failed(taken: Sequence[Wanted], error: CollectError) -> Sequence[Wanted]:
        size.failed(len(taken), error.kind)
        if len(taken) > 1:
            return taken
        answers[taken[0].pipeline] = error
        return ()

    await spread(items, lambda todo: take(todo, int(size.value)), ask, failed, at_once)
    return answers
