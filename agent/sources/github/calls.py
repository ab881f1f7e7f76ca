"""One request to GitHub and its whole answer: bounded in size and time, counted, tried again where that may help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import anyio
import httpx

from agent.backoff import Backoff
from agent.errors import CollectError
from agent.net.client import Client
from agent.net.reply import Reply, ask, reason
from agent.sources.github.limits import Limits, resource_of

API_VERSION = "2022-11-28"
"""https://docs.github.com/en/rest/about-the-rest-api/api-versions; servers that do not know it ignore it."""
CONCURRENT = 8
"""Requests at one time; GitHub allows a hundred, shared by all that use the same credential."""
TRIES = 3
"""Of a request that fails in a way that may pass within seconds."""
MAX_BYTES = 16 << 20
"""A hundred runs have two megabytes."""


class Calls:
    """Requests to one host over `client`, all that the source makes. `clock` gives seconds since the epoch."""

    def __init__(self, client: Client, clock: Callable[[], float], seconds: float, random: Random) -> None:
        self._client = client
        self._seconds = seconds
        self._random = random
        self._turn = anyio.Semaphore(CONCURRENT)
        self.limits = Limits(clock)
        self.requests: dict[tuple[str, str], int] = {}
        """By resource and status code, or a word where there was none; since the agent's start."""

    async def send(
        self,
        who: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        max_bytes: int = MAX_BYTES,
        content: bytes | None = None,
    ) -> Reply:
        """The answer to one request of the credential called `who`; a redirect within the host is followed once.

        Raises CollectError: `rate_limit` for a refusal because of a limit, and without asking before that has passed;
        `connect`, `timeout`, `size`, `encoding` where there is no whole answer; `status` for 5xx.
        """
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION, **headers}
        reply = await self._tried(who, method, url, headers, max_bytes, content)
        if reply.is_redirect and method == "GET":
            reply = await self._tried(who, method, reply.target(url), headers, max_bytes, content)
        if reply.status >= 500:
            raise CollectError("status", f"HTTP {reply.status} {reply.words}".strip())
        return reply

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _tried(
        self, who: str, method: str, url: str, headers: Mapping[str, str], max_bytes: int, content: bytes | None
    ) -> Reply:
        backoff = Backoff(self._random)
        for left in reversed(range(TRIES)):
            try:
                reply = await self._once(who, method, url, headers, max_bytes, content)
            except CollectError as error:
                if error.kind != "connect" or not left:
                    raise
            else:
                if reply.status < 500 or not left:
                    return reply
            await anyio.sleep(backoff.failed())
        raise AssertionError("the last try returns or raises")

    async def _once(
        self, who: str, method: str, url: str, headers: Mapping[str, str], max_bytes: int, content: bytes | None
    ) -> Reply:
        async with self._turn:
            self.limits.check(who)
            try:
                with anyio.fail_after(self._seconds):
                    reply = await ask(self._client, method, url, headers, content, max_bytes)
            except TimeoutError as error:
                self._count("core", "timeout")
                raise CollectError("timeout", f"no whole answer within {self._seconds:g} s") from error
            except httpx.HTTPError as error:
                self._count("core", "connect")
                raise CollectError("connect", reason(error)) from error
            self._count(resource_of(reply.headers), str(reply.status))
            words = reply.words if reply.status in (403, 429) else ""
            if self.limits.note(who, reply.status, reply.headers, words):
                self.limits.check(who)
                raise CollectError("rate_limit", f"HTTP {reply.status} {words}")
            return reply

    def _count(self, resource: str, code: str) -> None:
        self.requests[resource, code] = self.requests.get((resource, code), 0) + 1
