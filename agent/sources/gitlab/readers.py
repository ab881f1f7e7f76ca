"""Which of GitLab's two APIs is asked: GraphQL, or REST where there is no GraphQL to be had."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from agent.errors import CollectError
from agent.sources.gitlab.objects import Job, Pipeline, Project, Report
from agent.sources.gitlab.reader import Found, Reader

log = logging.getLogger(__name__)

AGAIN_SECONDS = 86400.0
"""After how long GraphQL is tried again where it was refused."""
GARBLED = "json"
"""The kind of the error that says that something answered there which is no GraphQL."""
MAX_REFUSALS = 5
"""In a row, until GraphQL is given up that has worked before, or that answered something else from the beginning."""
REFUSED = "graphql"
"""The kind of the error that says that it cannot be had at all."""

T = TypeVar("T")


class Either:
    """A reader that asks by GraphQL until that is refused, then by REST; it tries GraphQL again once a day."""

    def __init__(self, name: str, graphql: Reader, rest: Reader, clock: Callable[[], float]) -> None:
        self._name = name
        self._graphql = graphql
        self._rest = rest
        self._clock = clock
        self._rest_until = 0.0
        self._refusals = 0
        """In a row; one alone may be a proxy's."""
        self._has_worked = False

    @property
    def uses_graphql(self) -> bool:
        """Whether the next question goes there."""
        return not 0.0 < self._rest_until - self._clock() <= AGAIN_SECONDS

    @property
    def together(self) -> int:
        """See `Reader`."""
        return (self._graphql if self.uses_graphql else self._rest).together

    async def changed(self, projects: Sequence[Project], after: int, before: int = 0) -> Found:
        """See `Reader`."""
        return await self._ask(lambda reader: reader.changed(projects, after, before))

    async def jobs(self, wanted: Mapping[Project, Sequence[Pipeline]]) -> dict[int, list[Job] | CollectError]:
        """See `Reader`."""
        return await self._ask(lambda reader: reader.jobs(wanted))

    async def pipelines(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Pipeline | CollectError | None]:
        """See `Reader`."""
        return await self._ask(lambda reader: reader.pipelines(wanted))

    async def unfinished(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(lambda reader: reader.unfinished(projects))

    async def heads(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(lambda reader: reader.heads(projects))

    async def recent(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(lambda reader: reader.recent(projects))

    async def reports(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Report | CollectError]:
        """See `Reader`."""
        return await self._ask(lambda reader: reader.reports(wanted))

    async def _ask(self, question: Callable[[Reader], Awaitable[T]]) -> T:
        if not self.uses_graphql:
            return await question(self._rest)
        try:
            answer = await question(self._graphql)
        except CollectError as error:
            if error.kind != REFUSED and (self._has_worked or error.kind != GARBLED):
                raise
            self._refusals += 1
            if (self._has_worked or error.kind == GARBLED) and self._refusals < MAX_REFUSALS:
                raise CollectError("status", str(error)) from error
            self._rest_until = self._clock() + AGAIN_SECONDS
            log.warning(
                "source %s: %s; asking by REST, which takes far more requests; trying GraphQL again in a day", self._name, error
            )
            return await question(self._rest)
        self._has_worked, self._refusals = True, 0
        return answer
