"""GitLab's two APIs: where they are, and how their answers are read. What is asked belongs to those who collect.

https://docs.gitlab.com/api/rest/ (pages, errors, authentication) and https://docs.gitlab.com/api/graphql/ (limits).
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from pydantic_core import from_json

from agent.errors import CollectError, ConfigError
from agent.net.client import Client
from agent.net.credentials import FileSecret
from agent.net.options import Tls, TransportOptions
from agent.net.reply import Reply
from agent.net.words import escaped
from agent.plugin import Context
from agent.secret import Secret
from agent.sources.gitlab.calls import GRAPHQL, PASSING, Calls, Request, endpoint_of
from agent.sources.gitlab.limits import Limits
from agent.sources.gitlab.options import Options

MAX_GRAPHQL_ERRORS = 100
"""Errors that are read of one answer; GitLab's validation stops after five, its resolvers have one for each field."""
_COMPLEX = re.compile(r"which exceeds max (complexity|depth)|query is too (large|complex)", re.I)
_TIMEOUT = re.compile(r"timed? ?-?out", re.I)
_BROKEN = re.compile(r"internal (server )?error", re.I)
_log = logging.getLogger(__name__)

Json = Mapping[str, Any]
Params = Mapping[str, str | Sequence[str]]
_NONE: Params = {}


class Answer(NamedTuple):
    """What the REST API answered."""

    data: Any
    """The JSON."""
    next: str
    """What to ask for the next page, "" = this is the last."""
    date: float
    """The server's clock, seconds since the epoch."""


class GraphqlError(NamedTuple):
    """Something that a query did not get."""

    message: str
    """GitLab's, printable, cut."""
    path: tuple[str | int, ...]
    """Where in the data; () = not told."""

    @property
    def is_timeout(self) -> bool:
        """Whether GitLab gave up because it took too long."""
        return _TIMEOUT.search(self.message) is not None

    @property
    def is_broken(self) -> bool:
        """Whether something went wrong in GitLab itself."""
        return _BROKEN.search(self.message) is not None


class Result(NamedTuple):
    """What GraphQL answered; there may be errors and data both."""

    data: Json
    errors: tuple[GraphqlError, ...]
    date: float
    """The server's clock, seconds since the epoch."""


class Token:
    """The access token as it is now. Raises ConfigError for a file that cannot be read."""

    def __init__(self, where: str, options: Options) -> None:
        self._token = options.token
        self._file = FileSecret(f"{where}.token_file", options.token_file) if options.token_file else None

    def current(self) -> Secret:
        """Read again where its file has changed."""
        return self._file.current() if self._file else self._token


class Gitlab:
    """One instance at `base`, asked as one token."""

    def __init__(self, base: str, calls: Calls, token: Token) -> None:
        self._root = urlsplit(base).path.rstrip("/") + "/api/v4"
        self._base = base
        self._token = token
        self._last = Secret("")
        self.calls = calls
        self.malformed: Counter[str] = Counter()
        """By kind: things in GraphQL's answers that were not what they should be, and were left out."""

    async def get(self, path: str, params: Params = _NONE) -> Answer:
        """The JSON at `path`, which begins with / and is below /api/v4, or is an `Answer.next`.

        Raises CollectError: kinds `missing` (404: gone, or hidden), `forbidden` (403), `auth` (401), `request`
        (400: this GitLab does not understand it), `json` for an answer that is none, and those of `Calls.send`.
        """
        url = f"{self._base}/api/v4{path}"
        url += f"{'&' if '?' in path else '?'}{urlencode(params, doseq=True)}" if params else ""
        reply = await self._ask(Request("GET", url, {}, endpoint_of(path)), PASSING)
        where = path.partition("?")[0]
        _refusal(reply, where)
        return Answer(_json(reply, where), self._next(path, params, reply), self.calls.date_of(reply))

    async def query(self, text: str, variables: Mapping[str, object]) -> Result:
        """The data of a GraphQL query, whole or in part.

        Raises CollectError: `graphql` where there is no GraphQL to be had, or it does not take the query;
        `complexity` for too much at once, `timeout` where that showed only when it was tried; else as `get` does.
        """
        content = json.dumps({"query": text, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = Request("POST", f"{self._base}/api/graphql", headers, GRAPHQL, content)
        reply = await self._ask(request, ())  # a smaller question may fare better, not the same again
        if reply.status in (403, 404, 405) or 300 <= reply.status < 400:
            raise CollectError("graphql", f"GraphQL is not to be had here: HTTP {reply.status} {reply.words}".strip())
        if reply.status in (413, 414):
            raise CollectError("complexity", f"GraphQL: HTTP {reply.status} {reply.words}")
        if reply.status == 401:
            _refusal(reply, "/api/graphql")
        body = _json(reply, "/api/graphql")
        errors = _errors(body)
        data = body.get("data") if isinstance(body, dict) else None
        if isinstance(data, dict) and reply.status < 300:
            return Result(data, errors, self.calls.date_of(reply))
        if any(_COMPLEX.search(error.message) for error in errors):
            raise CollectError("complexity", f"GraphQL: {errors[0].message}")
        if any(error.is_timeout for error in errors):
            raise CollectError("timeout", f"GraphQL: {errors[0].message}")
        words = errors[0].message if errors else reply.words
        if _BROKEN.search(words) or not errors:
            raise CollectError("status", f"GraphQL: HTTP {reply.status} {words}")
        raise CollectError("graphql", f"GraphQL does not take the query: HTTP {reply.status} {words}")

    def token(self) -> Secret:
        """The one of now."""
        return self._token.current()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.calls.aclose()

    async def _ask(self, request: Request, passing: Collection[int]) -> Reply:
        token = self._token.current()
        if token != self._last:
            self.calls.gate.opened()
            self._last = token
        reply = await self.calls.send(_signed(request, token), passing)
        fresh = self._token.current()
        if reply.status == 401 and fresh != token:
            self.calls.gate.opened()
            self._last = fresh
            reply = await self.calls.send(_signed(request, fresh), passing)
        return reply

    def _next(self, path: str, params: Params, reply: Reply) -> str:
        """The path of the next page. Of an address in a header only the query is believed: token and host stay ours."""
        where = path.partition("?")[0]
        if reply.next:
            return f"{where}?{urlsplit(reply.next).query}"
        page = reply.headers.get("x-next-page", "").strip()
        if not (page.isascii() and page.isdecimal() and len(page) < 10):
            return ""
        given = dict(parse_qsl(path.partition("?")[2])) | dict(params)
        return f"{where}?{urlencode({**given, 'page': page}, doseq=True)}"


def _signed(request: Request, token: Secret) -> Request:
    headers = {**request.headers, "PRIVATE-TOKEN": token.reveal()} if token else request.headers
    return Request(request.method, request.url, headers, request.endpoint, request.content, request.max_bytes)


def _refusal(reply: Reply, where: str) -> None:
    """Raises CollectError for an answer that is a refusal."""
    said = f"{where}: HTTP {reply.status} {reply.words}".strip()
    if reply.status == 401:
        raise CollectError("auth", f"{said}; is the token still good, and may it read this?")
    if reply.status == 403 and "insufficient_scope" in reply.words:
        raise CollectError(
            "forbidden", f"{where}: the token may not read the API (insufficient_scope); make one with the scope read_api"
        )
    if reply.status == 403:
        raise CollectError("forbidden", f"{said}; check the token's scope (read_api) and role, and whether the feature is on")
    if reply.status in (404, 410, 451):
        raise CollectError("missing", f"{said}; it is gone, or may not be seen with this token")
    if reply.status == 400:
        raise CollectError("request", said)
    if reply.status >= 300:
        raise CollectError("status", said)


def _json(reply: Reply, where: str) -> Any:
    try:
        # two thirds of the time that json.loads takes, and texts that repeat are there once: answers are large
        return from_json(reply.body, allow_inf_nan=False)
    except ValueError as error:
        raise CollectError("json", f"{where}: the answer is not JSON; is `url` the address of a GitLab?") from error


def _errors(body: Any) -> tuple[GraphqlError, ...]:
    """What is in `errors`, as far as it has a message."""
    raw = body.get("errors") if isinstance(body, dict) else None
    found = []
    for error in raw[:MAX_GRAPHQL_ERRORS] if isinstance(raw, list) else ():
        message = error.get("message") if isinstance(error, dict) else None
        path = error.get("path") if isinstance(error, dict) else None
        steps = path[:30] if isinstance(path, list) else ()
        if isinstance(message, str):
            found.append(GraphqlError(escaped(message), tuple(step for step in steps if isinstance(step, str | int))))
    return tuple(found)


def base_of(where: str, url: str) -> str:
    """The instance's address without a slash at its end. Raises ConfigError for one that cannot be it."""
    base = url.rstrip("/")
    parts = urlsplit(base)
    place = parts.netloc.rpartition("@")[2]
    path = re.sub(r"/api(/v4|/graphql)?$", "", parts.path)
    right = f"{parts.scheme}://{place}{path}"
    if base != right:
        shown = f"{parts.scheme}://{place}{parts.path}{'?...' if parts.query else ''}"
        raise ConfigError([f"{where}.url: {shown} is not the address of an instance; use {right}"])
    return base


def connect(where: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> Gitlab:
    """The instance as configured; `where` is the configuration path, `transport` replaces the network in tests.

    Raises ConfigError for an address that is none, unusable files, and keys that contradict each other.
    """
    base = base_of(where, options.url)
    peer = TransportOptions.without_credentials(options, base, _tls(where, options))
    try:
        client = Client(where, peer, context.user_agent, transport)
    except ConfigError as error:
        if options.tls.ca_file:
            raise
        raise ConfigError([one.replace(f"{where}.tls.ca_file", f"{where}.ca_cert_path") for one in error.problems]) from error
    limits = Limits(options.max_requests_per_second, options.burst_requests_per_second)
    calls = Calls(
        client,
        context.clock,
        limits,
        Random(),
        seconds=options.timeout_seconds,
        at_once=options.max_concurrent_requests,
    )
    return Gitlab(base, calls, Token(where, options))


def _tls(where: str, options: Options) -> Tls:
    """The section `tls` together with the two keys of amazing-gitlab-exporter for the same. Raises ConfigError."""
    problems = []
    given, tls = options.model_fields_set, options.tls
    skips, ca_file = tls.insecure_skip_verify, tls.ca_file or options.ca_cert_path
    if "enable_tls_verify" in given:
        skips = not options.enable_tls_verify
        if "insecure_skip_verify" in tls.model_fields_set and tls.insecure_skip_verify != skips:
            problems.append(f"{where}: enable_tls_verify and tls.insecure_skip_verify contradict each other; keep one")
    if tls.ca_file and options.ca_cert_path and tls.ca_file != options.ca_cert_path:
        problems.append(f"{where}: ca_cert_path and tls.ca_file are both set; keep one")
    if urlsplit(options.url).scheme != "https" and not options.proxy_url:
        if skips and not tls.insecure_skip_verify:
            problems.append(f"{where}.enable_tls_verify does nothing without https:// in url; remove it")
        if options.ca_cert_path:
            problems.append(f"{where}.ca_cert_path does nothing without https:// in url; remove it")
    if problems:
        raise ConfigError(problems)
    if skips:
        _log.warning("%s: certificates are not checked: whoever is in between can read the token", where)
    return tls.model_copy(update={"insecure_skip_verify": skips, "ca_file": ca_file})
