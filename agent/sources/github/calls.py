"""One request to GitHub and its whole answer: bounded in size and time, counted, tried again where that may help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from urllib.parse import urljoin, urlsplit

import anyio
import httpx

from agent.backoff import Backoff
from agent.errors import CollectError
from agent.net.client import Client
from agent.net.credentials import CredentialError
from agent.net.fetch import read
from agent.net.words import escaped, failure
from agent.sources.github.limits import Limits, resource_of

API_VERSION = "2022-11-28"
"""https://docs.github.com/en/rest/about-the-rest-api/api-versions; servers that do not know it ignore it."""
CONCURRENT = 8
"""Requests at one time; GitHub allows a hundred, shared by all that use the same credential."""
TRIES = 3
"""Of a request that fails in a way that may pass within seconds."""
MAX_BYTES = 16 << 20
"""A hundred runs have two megabytes."""
_WORDS_BYTES = 64 << 10
"""Of a refusal only so much is read."""
_REDIRECTS = (301, 302, 307, 308)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    next: str
    """Address of the next page, "" = this is the last."""

    @property
    def words(self) -> str:
        """The body as text for people and for telling kinds of refusal."""
        return escaped(self.body[:4096].decode("utf-8", "replace"))


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
        if reply.status in _REDIRECTS and method == "GET":
            target = _joined(url, reply.headers.get("location", ""))
            if _origin(target) != _origin(url):
                raise CollectError("status", f"HTTP {reply.status}: a redirect to another host, which is not followed")
            reply = await self._tried(who, method, target, headers, max_bytes, content)
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
                    reply = await self._answer(method, url, headers, max_bytes, content)
            except TimeoutError as error:
                self._count("core", "timeout")
                raise CollectError("timeout", f"no whole answer within {self._seconds:g} s") from error
            except httpx.HTTPError as error:
                self._count("core", "connect")
                raise CollectError("connect", _reason(error)) from error
            self._count(resource_of(reply.headers), str(reply.status))
            words = reply.words if reply.status in (403, 429) else ""
            if self.limits.note(who, reply.status, reply.headers, words):
                self.limits.check(who)
                raise CollectError("rate_limit", f"HTTP {reply.status} {words}")
            return reply

    async def _answer(self, method: str, url: str, headers: Mapping[str, str], max_bytes: int, content: bytes | None) -> Reply:
        body = bytearray()
        async with self._client.stream(method, url, {**headers, "Accept-Encoding": "gzip"}, content) as response:
            if response.status_code < 300:
                await read(response, max_bytes, body.extend)
            else:
                await _begin(response, body)
            following = response.links.get("next", {}).get("url", "")
            following = _joined(url, following) if following else ""
            return Reply(response.status_code, dict(response.headers), bytes(body), following)

    def _count(self, resource: str, code: str) -> None:
        self.requests[resource, code] = self.requests.get((resource, code), 0) + 1


async def _begin(response: httpx.Response, body: bytearray) -> None:
    """The beginning of a body that only says what is wrong; a broken or endless one is as good as none."""
    try:
        await read(response, _WORDS_BYTES, body.extend)
    except CollectError:
        body.clear()


def _joined(url: str, reference: str) -> str:
    """Where a reference leads to; what is none leads nowhere."""
    try:
        return urljoin(url, reference)
    except ValueError:
        return "nowhere:"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "", None, None


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TransportError) and not isinstance(error, CredentialError):
        return f"no whole answer: {failure(error)[1]}"
    return escaped(str(error)) or type(error).__name__
