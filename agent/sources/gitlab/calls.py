"""One request to GitLab and its whole answer: bounded in size, time and rate, counted, tried again where that may help."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from random import Random

import anyio
import httpx

from agent.backoff import Backoff
from agent.errors import CollectError
from agent.net.client import Client
from agent.net.reply import Reply, ask, reason
from agent.sources.gitlab.families import REQUEST_SECONDS
from agent.sources.gitlab.limits import Gate, Limits
from agent.sources.gitlab.parsed import LAST_SECOND

TRIES = 3
"""Of a request that fails in a way that may pass within seconds."""
MAX_BYTES = 64 << 20
"""Five thousand jobs have three megabytes; a test report with every case may have tens."""
FIRST_DATE = 1577836800
"""2020-01-01: a clock that says less has not been set since its machine started."""
GRAPHQL = "graphql"
"""The endpoint of GraphQL in labels."""
MAX_ENDPOINTS = 100
"""Different endpoints in labels; further ones are `other`."""
PASSING = (500, 502, 503, 504)
"""Statuses of a request that is tried again."""
_KNOWN = frozenset(
    {
        "access_requests",
        "access_tokens",
        "analytics",
        "approvals",
        "branches",
        "bridges",
        "commits",
        "compare",
        "contributors",
        "count",
        "deploy_tokens",
        "deployments",
        "dora",
        "environments",
        "files",
        "geo",
        "groups",
        "issues",
        "jobs",
        "languages",
        "latest",
        "memberships",
        "merge_requests",
        "metadata",
        "metrics",
        "namespaces",
        "notes",
        "personal_access_tokens",
        "pipelines",
        "projects",
        "releases",
        "repository",
        "reviewers",
        "self",
        "service_accounts",
        "statistics",
        "subgroups",
        "tags",
        "test_report",
        "test_report_summary",
        "tree",
        "user",
        "users",
        "variables",
        "version",
    }
)
"""Words of paths that are no names."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    endpoint: str
    """What it is called in labels."""
    content: bytes | None = None
    max_bytes: int = MAX_BYTES
    """What the answer may have at the most."""


@dataclass(slots=True)
class Durations:
    """How long answers took, as a histogram row wants it."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(REQUEST_SECONDS) + 1))
    """How many were within each of REQUEST_SECONDS and not within a smaller one; the last: longer."""
    total: float = 0.0
    """Seconds, all together."""

    def took(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(REQUEST_SECONDS, seconds)] += 1
        self.total += seconds


class Calls:
    """Requests to one instance over `client`, all that the source makes.

    `clock` gives seconds since the epoch, `seconds` is the patience with one request, `at_once` bounds their number.
    """

    def __init__(
        self, client: Client, clock: Callable[[], float], limits: Limits, random: Random, *, seconds: float, at_once: int
    ) -> None:
        self._client = client
        self._clock = clock
        self._seconds = seconds
        self._random = random
        self._turn = anyio.Semaphore(at_once)
        self.limits = limits
        self.gate = Gate()
        self.requests: dict[tuple[str, str, str], int] = {}
        """By method, endpoint, and status code or a word where there was none; since the agent's start."""
        self.durations: dict[tuple[str, str], Durations] = {}
        """By method and endpoint."""

    async def send(self, request: Request, passing: Collection[int] = PASSING) -> Reply:
        """The answer to one request; for GET a redirect within the instance is followed once: projects are renamed.

        `passing`: statuses with which the same request may fare better in a second.

        Raises CollectError: `rate_limit` for a refusal because of a limit that lasts, `auth` while no token is taken;
        `connect`, `timeout`, `size`, `encoding` where there is no whole answer; `status` for 5xx.
        """
        request = replace(request, endpoint=self._known(request.endpoint))
        reply = await self._tried(request, passing)
        if reply.is_redirect and request.method == "GET":
            reply = await self._tried(replace(request, url=reply.target(request.url)), passing)
        if reply.status == 429:
            raise CollectError("rate_limit", f"HTTP 429 {reply.words}")
        if reply.status >= 500:
            raise CollectError("status", f"HTTP {reply.status} {reply.words}".strip())
        return reply

    def date_of(self, reply: Reply) -> float:
        """The server's clock, seconds since the epoch; the agent's where it does not tell, or was never set."""
        return reply.date if reply.date is not None and FIRST_DATE <= reply.date < LAST_SECOND else self._clock()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _tried(self, request: Request, passing: Collection[int]) -> Reply:
        backoff = Backoff(self._random)
        for left in reversed(range(TRIES)):
            try:
                reply = await self._once(request)
            except CollectError as error:
                if error.kind != "connect" or not left:
                    raise
            else:
                if not left or (reply.status not in passing and reply.status != 429):
                    return reply
                if reply.status == 429:
                    continue  # the limits know how long to wait
            await anyio.sleep(backoff.failed())
        raise AssertionError("the last try returns or raises")

    async def _once(self, request: Request) -> Reply:
        async with self._turn:
            await anyio.sleep(self.limits.reserve(anyio.current_time()))
            await self._unblocked(request.endpoint)
            begun = anyio.current_time()
            self.gate.check(begun, self._clock())
            try:
                with anyio.fail_after(self._seconds):
                    reply = await ask(
                        self._client, request.method, request.url, request.headers, request.content, request.max_bytes
                    )
            except TimeoutError as error:
                self._failed(request, "timeout", begun)
                raise CollectError("timeout", f"no whole answer within {self._seconds:g} s") from error
            except httpx.HTTPError as error:
                self._failed(request, "connect", begun)
                raise CollectError("connect", reason(error)) from error
            except CollectError as error:
                self._count(request, error.kind)
                raise
            self._note(request, reply, begun)
            return reply

    async def _unblocked(self, endpoint: str) -> None:
        """Wait until the instance wants requests again; what others are told meanwhile counts as well."""
        wait = self.limits.blocked(endpoint, anyio.current_time())
        while wait:
            await anyio.sleep(wait)
            wait = self.limits.blocked(endpoint, anyio.current_time())

    def _note(self, request: Request, reply: Reply, begun: float) -> None:
        now = anyio.current_time()
        self._count(request, str(reply.status))
        self.durations.setdefault((request.method, request.endpoint), Durations()).took(now - begun)
        words = reply.words if reply.status in (401, 429) else ""
        self.limits.answered(request.endpoint, reply.status, reply.headers, self.date_of(reply), words, begun, now)
        if reply.status == 401:
            self.gate.refused(words, begun, now)
        elif reply.status < 429:
            self.gate.opened()

    def _failed(self, request: Request, word: str, begun: float) -> None:
        self._count(request, word)
        self.limits.troubled(begun, anyio.current_time())

    def _count(self, request: Request, code: str) -> None:
        key = (request.method, request.endpoint, code)
        self.requests[key] = self.requests.get(key, 0) + 1

    def _known(self, endpoint: str) -> str:
        """`endpoint`, or `other` where there would be too many."""
        seen = {known for _, known, _ in self.requests}
        return endpoint if endpoint in seen or len(seen) < MAX_ENDPOINTS else "other"


def endpoint_of(path: str) -> str:
    """A path as a label: what is no word of the API's own becomes `:id`; /projects/:id/pipelines/:id/jobs."""
    parts = path.partition("?")[0].strip("/").split("/")[:12]
    return "/" + "/".join(part if part in _KNOWN else ":id" for part in parts)
