"""What the GraphQL of an instance knows: versions differ, and a field that is not there fails the whole query.

https://docs.gitlab.com/api/graphql/reference/ describes the newest; 16.3 has no `Pipeline.source`, no `mergeRequest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from agent.errors import CollectError
from agent.sources.gitlab.api import Gitlab

FRESH_SECONDS = 86400.0
"""How long what was found is believed; instances are updated once a month, and a query that fails asks anew."""
MAX_NAMES = 5000
"""Names that are read of one type."""
QUERY = (
    '{pipeline:__type(name:"Pipeline"){fields{name args{name}}}job:__type(name:"CiJob"){fields{name}}'
    'project:__type(name:"Project"){fields{name args{name}}}query:__type(name:"Query"){fields{name args{name}}}'
    'statuses:__type(name:"PipelineStatusEnum"){enumValues{name}}metadata{version}}'
)
NEEDED = {"id", "status", "createdAt"}
"""Fields without which nothing can be counted."""


class Schema(NamedTuple):
    """The names that the queries choose from."""

    pipeline: frozenset[str]
    """Fields of a pipeline."""
    job: frozenset[str]
    """Fields of a job."""
    statuses: tuple[str, ...]
    """Of a pipeline, as GraphQL writes them."""
    arguments: Mapping[str, frozenset[str]]
    """Of `projects`, `pipelines` and `jobs`."""
    version: tuple[int, int] | None = None
    """None = it is not told."""

    @property
    def lists_children(self) -> bool:
        """Whether child pipelines are in lists of their own: `source: parent_pipeline` finds them from 17.0 on."""
        return self.version is None or self.version >= (17, 0)


class Schemas:
    """The schema of one instance, asked for when it is first needed. `clock` gives seconds since the epoch."""

    def __init__(self, api: Gitlab, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._found: Schema | None = None
        self._at = 0.0

    async def current(self) -> Schema:
        """As it was found less than a day ago. Raises CollectError, `graphql` where there is none to be had."""
        if self._found is not None and 0 <= self._clock() - self._at < FRESH_SECONDS:
            return self._found
        self._found, result = None, await self._api.query(QUERY, {})
        try:
            found = schema_of(result.data)
        except CollectError as error:
            torn = next((one for one in result.errors if one.is_timeout or one.is_broken), None)
            if torn is None:
                raise
            raise CollectError("timeout" if torn.is_timeout else "status", f"GraphQL: {torn.message}") from error
        if not result.errors:  # one with holes is believed once
            self._found, self._at = found, self._clock()
        return found

    def forget(self) -> None:
        """It does not hold any more."""
        self._found = None


def schema_of(data: Mapping[str, Any]) -> Schema:
    """What an answer to QUERY says. Raises CollectError, kind `graphql`, for an instance without pipelines."""
    fields = {name: _arguments(data.get(name)) for name in ("pipeline", "job", "project", "query")}
    found = Schema(
        frozenset(fields["pipeline"]),
        frozenset(fields["job"]),
        tuple(_names(data.get("statuses"), "enumValues")),
        {
            "projects": fields["query"].get("projects", frozenset()),
            "pipelines": fields["project"].get("pipelines", frozenset()),
            "jobs": fields["pipeline"].get("jobs", frozenset()),
        },
        _version(data.get("metadata")),
    )
    if not (found.pipeline >= NEEDED and found.job >= NEEDED and found.statuses):
        raise CollectError("graphql", "this GraphQL knows no pipelines and jobs, or does not show its schema")
    if "ids" not in found.arguments["projects"] or "updatedAfter" not in found.arguments["pipelines"]:
        raise CollectError("graphql", "this GraphQL cannot be asked for what changed in some projects: GitLab is too old")
    return found


def _version(metadata: Any) -> tuple[int, int] | None:
    said = metadata.get("version") if isinstance(metadata, dict) else None
    matched = re.match(r"(\d{1,4})\.(\d{1,4})\b", said) if isinstance(said, str) else None
    return (int(matched[1]), int(matched[2])) if matched else None


def _arguments(kind: Any) -> dict[str, frozenset[str]]:
    """By name of field: names of its arguments."""
    return {name: frozenset(_names(field, "args")) for name, field in _named(kind, "fields")}


def _names(kind: Any, key: str) -> list[str]:
    return [name for name, _ in _named(kind, key)]


def _named(kind: Any, key: str) -> Iterator[tuple[str, Any]]:
    found = kind.get(key) if isinstance(kind, dict) else None
    for item in found[:MAX_NAMES] if isinstance(found, list) else ():
        name = item.get("name") if isinstance(item, dict) else None
        if isinstance(name, str) and name.isascii() and name.isidentifier():
            yield name, item
