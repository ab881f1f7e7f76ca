"""Which of GitLab's two APIs is asked: GraphQL, or REST where there is no GraphQL to be had."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import anyio

from agent.errors import CollectError
from agent.sources.gitlab.asking import moment_of
from agent.sources.gitlab.objects import Job, Pipeline, Project, Report
from agent.sources.gitlab.reader import Found, Reader

log = logging.getLogger(__name__)

PAUSES = (600.0, 3600.0, 86400.0)
"""For how many seconds REST is asked when GraphQL is given up for the first time, the second, and from then on."""
MAX_REFUSALS = 5
"""Of one question in a row, until GraphQL is given up: a proxy's one odd answer is no reason for far more requests."""
SOON_SECONDS = 1.0
"""Before the second of them, where GraphQL has never answered, and before each further one twice as long: a process that
reads only once is to come to an end. Later a poll that is refused fails, and the next one asks again."""
REFUSED = frozenset({"graphql", "json"})
"""Kinds of errors that say that it cannot be had, and that something answered there which is no GraphQL."""

LISTS = "lists"
"""What those questions are called that a project's lists answer: one is like another."""

T = TypeVar("T")


class Either:
    """A reader that asks by GraphQL until that is refused, then by REST; it tries GraphQL again after a while."""

    def __init__(self, name: str, graphql: Reader, rest: Reader, clock: Callable[[], float]) -> None:
        self._name = name
        self._graphql = graphql
        self._rest = rest
        self._clock = clock
        self._rest_until = 0.0
        self._why = ""
        """What GraphQL said when it was given up."""
        self._falls: list[str] = []
        """The questions for which it was, each until it is answered again."""
        self._refusals: Counter[str] = Counter()
        """In a row, by question: of some a proxy may think otherwise than of the others."""
        self._has_answered = False

    @property
    def uses_graphql(self) -> bool:
        """Whether the next question goes there."""
        return not 0.0 < self._rest_until - self._clock() <= PAUSES[-1]

    @property
    def remark(self) -> str:
        """Until when REST is asked, and why; "" = it is not."""
        if self.uses_graphql:
            return ""
        return f"GitLab is asked by REST, which takes far more requests, until {moment_of(int(self._rest_until))}: {self._why}"

    @property
    def together(self) -> int:
        """See `Reader`."""
        return (self._graphql if self.uses_graphql else self._rest).together

    async def changed(self, projects: Sequence[Project], after: int, before: int = 0, among: int = 0) -> Found:
        """See `Reader`."""
        return await self._ask(LISTS, lambda reader: reader.changed(projects, after, before, among))

    async def jobs(self, wanted: Mapping[Project, Sequence[Pipeline]]) -> dict[int, list[Job] | CollectError]:
        """See `Reader`."""
        return await self._ask("jobs", lambda reader: reader.jobs(wanted))

    async def pipelines(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Pipeline | CollectError | None]:
        """See `Reader`."""
        return await self._ask("pipelines", lambda reader: reader.pipelines(wanted))

    async def unfinished(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(LISTS, lambda reader: reader.unfinished(projects))

    async def heads(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(LISTS, lambda reader: reader.heads(projects))

    async def recent(self, projects: Sequence[Project]) -> Found:
        """See `Reader`."""
        return await self._ask(LISTS, lambda reader: reader.recent(projects))

    async def reports(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Report | CollectError]:
        """See `Reader`."""
        return await self._ask("reports", lambda reader: reader.reports(wanted))

    async def _ask(self, name: str, question: Callable[[Reader], Awaitable[T]]) -> T:
        if not self.uses_graphql:
            return await question(self._rest)
        try:
            answer = await question(self._graphql)
        except CollectError as error:
            if error.kind not in REFUSED:
                raise
            self._refusals[name] += 1
            left = 0 if self._falls else MAX_REFUSALS - self._refusals[name]
            if left > 0 and self._has_answered:
                said = f"{error}; after {left} more such answers REST is asked, with use_graphql: false at once"
                raise CollectError("status", said) from error
            if left > 0:
                await anyio.sleep(SOON_SECONDS * 2 ** (self._refusals[name] - 1))
                return await self._ask(name, question)
            self._fall(name, error)
            return await question(self._rest)
        self._has_answered = True
        del self._refusals[name]
        if name in self._falls:
            self._falls = [other for other in self._falls if other != name]
            log.info("source %s: GraphQL answers again, and is asked", self._name)
        return answer

    def _fall(self, name: str, error: CollectError) -> None:
        """GraphQL is given up for a while."""
        pause = PAUSES[min(len(self._falls), len(PAUSES) - 1)]
        self._falls.append(name)
        del self._falls[: -len(PAUSES)]
        self._rest_until, self._why = self._clock() + pause, str(error)
        said = "source %s: %s; asking by REST, which takes far more requests; trying GraphQL again in %.0f minutes"
        log.warning(said, self._name, error, pause / 60)
