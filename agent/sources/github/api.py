"""GitHub's REST API: where it is, and how its answers are read. What is asked belongs to those who collect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import httpx

from agent.errors import CollectError, ConfigError
from agent.net.client import Client
from agent.net.options import TransportOptions
from agent.net.reply import Reply
from agent.plugin import Context
from agent.sources.github.auth import App, Credential, Credentials, Token
from agent.sources.github.calls import MAX_BYTES, Calls
from agent.sources.github.options import Options

MAX_PAGES = 100
"""Pages of one list, a hundred items each."""
PER_PAGE = "100"
"""The most items of a page (https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api)."""
_LOCAL = ("localhost", "127.0.0.1", "::1")

Json = Mapping[str, Any]


class Answer(NamedTuple):
    """What the API answered."""

    status: int
    """200, or 304 where nothing has changed since the answer with that ETag."""
    data: Any
    """The JSON; None with a 304."""
    next: str
    """What to ask for the next page, "" = this is the last."""
    etag: str
    """To be handed in with the next such question; "" = none was given."""


class Api:
    """One GitHub host, asked as one token or App; at `base`."""

    def __init__(self, base: str, calls: Calls, credentials: Credentials) -> None:
        self._base = base
        self.calls = calls
        self._credentials = credentials

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, etag: str = "", owner: str = "", max_bytes: int = MAX_BYTES
    ) -> Answer:
        """The JSON at `path`, which begins with /, or at an `Answer.next`.

        A 304 answers a question with an `etag` that still holds, and costs nothing of the limit. `owner`: whose
        installation of the App is asked; told from the path where it is "".
        Raises CollectError: kinds `missing` for what is not there (any more), `auth` for what may not be read, `json`
        for an answer that is none, `rate_limit`, and those of `Calls.send`.
        """
        url = self._url(path, params or {})
        owner = owner or owner_of(path)
        credential = await self._credentials.of(owner)
        reply = await self._ask(url, credential, etag, max_bytes)
        if reply.status == 401 and self._credentials.refused(credential):
            reply = await self._ask(url, await self._credentials.of(owner), etag, max_bytes)
        if reply.status == 304 and etag:
            return Answer(304, None, "", etag)
        return Answer(200, self._data(reply, path), reply.next, reply.headers.get("etag", "")[:200])

    async def every(
        self, path: str, params: Mapping[str, str] | None = None, *, key: str = "", owner: str = "", most: int = MAX_PAGES
    ) -> list[Json]:
        """The items of a list, all its pages; `key`: where in a page they are, "" = a page is the list itself.

        Raises CollectError as `get` does, kind `size` for a list that does not end within `most` pages.
        """
        owner = owner or owner_of(path)
        answer = await self.get(path, {"per_page": PER_PAGE, **(params or {})}, owner=owner)
        found = items(answer.data, key)
        pages = 1
        while answer.next:
            pages += 1
            if pages > most:
                raise CollectError("size", f"{path}: the list has more than {most} pages")
            answer = await self.get(answer.next, owner=owner)
            found += items(answer.data, key)
        return found

    @property
    def is_app(self) -> bool:
        """Whether it is asked as an App, which has lists of its own of what it may read."""
        return self._credentials.is_app

    async def owners(self) -> tuple[str, ...]:
        """Where the App is installed; () for a token. Raises CollectError."""
        return await self._credentials.owners()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.calls.aclose()

    async def _ask(self, url: str, credential: Credential, etag: str, max_bytes: int) -> Reply:
        headers = {"Authorization": f"Bearer {credential.token.reveal()}"} if credential.token else {}
        if etag:
            headers["If-None-Match"] = etag
        return await self.calls.send(credential.who, "GET", url, headers, max_bytes=max_bytes)

    def _url(self, path: str, params: Mapping[str, str]) -> str:
        """Raises CollectError for an address that is not the API's: credentials go nowhere else."""
        if path.startswith("/"):
            path = self._base + path
        elif not path.startswith(f"{self._base}/"):
            raise CollectError("status", "the next page would be at another address, which is not followed")
        return f"{path}?{urlencode(params)}" if params else path

    def _data(self, reply: Reply, path: str) -> Any:
        where = path.removeprefix(self._base).partition("?")[0]
        if reply.status in (404, 410, 451):
            raise CollectError("missing", f"{where}: HTTP {reply.status}; it is gone, or may not be seen with these credentials")
        if reply.status in (401, 403):
            hint = "check the token and its rights" if reply.status == 403 else "is the token still good?"
            raise CollectError("auth", f"{where}: HTTP {reply.status} {reply.words}; {hint}")
        if reply.status != 200:
            raise CollectError("status", f"{where}: HTTP {reply.status} {reply.words}".strip())
        try:
            return json.loads(reply.body)
        except (ValueError, RecursionError) as error:
            raise CollectError("json", f"{where}: the answer is not JSON; is `url` the address of the API?") from error


def items(data: Any, key: str) -> list[Json]:
    """The objects of a page of a list. Raises CollectError, kind `json`, where there is none."""
    found = data.get(key) if key and isinstance(data, dict) else data
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise CollectError("json", f"the answer holds no list{f' called {key}' if key else ''}")
    return found


def owner_of(path: str) -> str:
    """Who owns what is at a path: `acme` for /repos/acme/shop/hooks and /orgs/acme; `/app` for the App itself."""
    kind, _, rest = path.removeprefix("/").partition("/")
    if path.startswith("/app"):
        return "/app"
    return rest.partition("/")[0] if kind in ("repos", "orgs", "users") else ""


def base_of(where: str, url: str) -> str:
    """The API's address without a slash at its end. Raises ConfigError for one that cannot be it, naming the right one.

    https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api,
    https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency and, for servers of one's own,
    https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api
    """
    base = url.rstrip("/")
    parts = urlsplit(base)
    host = (parts.hostname or "").lower()
    right = ""
    if host in ("github.com", "www.github.com"):
        right = "https://api.github.com"
    elif host.endswith(".ghe.com") and not host.startswith("api."):
        right = f"https://api.{host}"
    elif host == "api.github.com" or host.endswith(".ghe.com"):
        right = f"https://{host}" if parts.path or parts.scheme != "https" else ""
    elif host not in _LOCAL and not parts.path.endswith("/api/v3"):
        right = f"{parts.scheme}://{parts.netloc}/api/v3"
    place = parts.netloc.rpartition("@")[2]
    right = right.replace(parts.netloc, place)
    if right or parts.query or "@" in parts.netloc:
        shown = f"{parts.scheme}://{place}{parts.path}"
        raise ConfigError([f"{where}.url: {shown}{'?...' if parts.query else ''} is not the API; use {right or shown}"])
    return base


def connect(where: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> Api:
    """The API as configured; `where` is the configuration path, `transport` replaces the network in tests.

    Raises ConfigError for an address that is not the API's, unusable files, and an App without what it needs.
    """
    base = base_of(where, options.url)
    peer = TransportOptions.without_credentials(options, base, options.tls)
    client = Client(where, peer, context.user_agent, transport)
    calls = Calls(client, context.clock, options.timeout_seconds, Random())
    if options.app is not None:
        return Api(base, calls, App(f"{where}.app", options.app, base, calls, context.clock))
    return Api(base, calls, Token(where, options))
