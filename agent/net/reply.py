"""One request to an API and its whole answer: bounded in size, whatever its status. Limits and retries are the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from agent.errors import CollectError
from agent.net.client import Client
from agent.net.credentials import CredentialError
from agent.net.fetch import read
from agent.net.push import http_date
from agent.net.words import escaped, failure

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

    @property
    def date(self) -> float | None:
        """The server's clock, seconds since the epoch; None = it does not tell."""
        return http_date(self.headers.get("date"))

    @property
    def is_redirect(self) -> bool:
        """Whether it is to be had elsewhere."""
        return self.status in _REDIRECTS

    def target(self, url: str) -> str:
        """Where a redirect of `url` leads. Raises CollectError, `status`, for another origin: credentials go nowhere else."""
        found = _joined(url, self.headers.get("location", ""))
        there, here = _origin(found), _origin(url)
        if there != here:
            what = "scheme or port" if there[1] == here[1] else "host"
            words = f"HTTP {self.status}: a redirect to another {what}{_named(found)}, which is not followed"
            raise CollectError("status", f"{words}; if url should lead there, write it so")
        return found


async def ask(client: Client, method: str, url: str, headers: Mapping[str, str], content: bytes | None, max_bytes: int) -> Reply:
    """The whole answer; the time it takes is the caller's.

    Raises httpx.HTTPError where there is none, and CollectError, `size` or `encoding`, for one that cannot be read.
    """
    body = bytearray()
    async with client.stream(method, url, {**headers, "Accept-Encoding": "gzip"}, content) as response:
        if response.status_code < 300:
            await read(response, max_bytes, body.extend)
        else:
            await _begin(response, body)
        following = response.links.get("next", {}).get("url", "")
        following = _joined(url, following) if following else ""
        return Reply(response.status_code, dict(response.headers), bytes(body), following)


def reason(error: httpx.HTTPError) -> str:
    """Why there is no whole answer; a credential that cannot be had says all there is to say itself."""
    if isinstance(error, httpx.TransportError) and not isinstance(error, CredentialError):
        return f"no whole answer: {failure(error)[1]}"
    return escaped(str(error)) or type(error).__name__


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


def _named(url: str) -> str:
    """Scheme, host and port, to be printed; "" where there are none."""
    scheme, host, _ = _origin(url)
    return escaped(f", {scheme}://{urlsplit(url).netloc.rpartition('@')[2]}") if host else ""


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "", None, None
