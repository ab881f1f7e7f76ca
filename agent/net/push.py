"""What a receiver's answer means for what was sent: decided here, for every sink."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

from agent.model import Accepted, Misconfigured, Outcome, Rejected, Retry, TooLarge, Unsupported
from agent.net.client import Client, shown
from agent.net.credentials import CredentialError
from agent.net.words import MAX_WORDS, escaped, failure

__all__ = ["MAX_WORDS", "Request", "Rules", "escaped", "outcome", "push", "retry_after", "rules"]

MAX_BODY_BYTES = 8 * 1024
"""Read of an answer's body; enough for any explanation, and what is longer closes the connection."""
BODY_SECONDS = 1.0
"""Patience with a body after the status is known: it decides nothing."""
MAX_RETRY_AFTER_SECONDS = 600.0
"""A longer Retry-After is cut to this."""

_REDIRECTS = {307, 308}  # the only ones that keep the method and the body (RFC 9110, 15.4.8 and 15.4.9)


class Rules(Enum):
    """Which refusals may be tried again."""

    CAREFUL = "careful"
    STRICT = "strict"
    """Every 4xx but 429 drops the block, as the remote-write specifications ask."""


def rules(strict_spec: bool) -> Rules:
    """The rules that the option `strict_spec` stands for."""
    return Rules.STRICT if strict_spec else Rules.CAREFUL


Verdict = type[Accepted] | type[Retry] | type[Rejected] | type[Misconfigured] | type[TooLarge]

_VERDICTS: Mapping[int, Verdict] = {
    401: Misconfigured,
    402: Misconfigured,
    403: Misconfigured,
    404: Misconfigured,
    405: Misconfigured,
    408: Retry,
    410: Misconfigured,
    413: TooLarge,
    415: Misconfigured,  # of the simplest form; of any other see `outcome`
    425: Retry,
    429: Retry,
}


def verdict(status: int, rules: Rules) -> Verdict:
    """The kind of outcome that a status means."""
    if 400 <= status < 500:
        if rules is Rules.STRICT and status != 429:
            return Rejected
        return _VERDICTS.get(status, Rejected)
    if 200 <= status < 300:
        return Accepted
    if 300 <= status < 400:
        return Misconfigured
    return Retry  # 5xx, and what is no status at all


def outcome(
    status: int,
    headers: Mapping[str, str],
    words: str,
    now: float,
    rules: Rules,
    *,
    simplest: bool = True,
    counted: bool = False,
) -> Outcome:
    """What an answer means. `words` is what the receiver said, already cut and escaped; `now` in seconds.

    `simplest`: there is no simpler form of the request; who does not understand it is not the receiver we want. Of any
    other a 400 may mean that, even from one that took the form before: it may be an older one behind the same address,
    and what is bad is refused in the simpler form too. `counted`: the request was remote-write 2.0, whose receivers say
    how much they wrote; of other requests such headers mean nothing (2.0 specification, "Required Written Response
    Headers").
    """
    code, kind = str(status), verdict(status, rules)
    reason = f"{status} {_phrase(status)}".rstrip() + (f": {words}" if words else "")
    written = _written(headers) if counted else None
    if counted and written is None and 200 <= status < 300:
        return Unsupported(code, f"{status}, but not what was written: a receiver of remote-write 1.0, which stored nothing")
    if status == 415 and not simplest:
        return Unsupported(code, reason)
    if status == 400 and written is None and not simplest:
        return Unsupported(code, reason)
    if kind is Accepted:
        return Accepted(code, http_date(headers.get("date")), written=written)
    if kind is Retry:
        return Retry(code, reason, retry_after(headers, now))
    if kind is Rejected:
        return Rejected(code, reason, written)
    if kind is Misconfigured and 300 <= status < 400:
        reason += f" (redirects to {escaped(shown_or_nothing(headers.get('location', '')))}; put the final address into url)"
    assert kind is Misconfigured or kind is TooLarge
    return kind(code, reason)


_WRITTEN = tuple(f"x-prometheus-remote-write-{what}-written" for what in ("samples", "histograms", "exemplars"))


def _written(headers: Mapping[str, str]) -> int | None:
    """Samples and histograms that the receiver says it wrote; None where it says nothing (2.0 specification)."""
    said = [headers.get(name, "").strip() for name in _WRITTEN]
    if not any(text.isascii() and text.isdigit() for text in said):
        return None
    return sum(int(text) for text in said[:2] if text.isascii() and text.isdigit() and len(text) <= 18)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def shown_or_nothing(location: str) -> str:
    """A `Location` as it may be printed; "nothing" when it is no URL."""
    try:
        return shown(location) or "nothing"
    except ValueError:
        return "nothing"


def http_date(text: str | None) -> float | None:
    """An HTTP date as seconds since the epoch; None for anything else."""
    try:
        date = parsedate_to_datetime(text or "")
        # "-0000" parses as a time of no zone; HTTP knows only GMT.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """`Retry-After` in seconds, 0 to 600; its date form is taken relative to the receiver's own clock if it tells it."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,18})?", text):
        seconds = float(text)
    else:
        date = http_date(text)
        if date is None:
            return None
        seconds = date - (http_date(headers.get("date")) or now)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


@dataclass(frozen=True, slots=True)
class Request:
    """One request body and where it goes."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    simplest: bool = True
    """There is no simpler form of it."""
    counted: bool = False
    """It is remote-write 2.0."""


class _Trace:
    """Whether the request opened a connection of its own, and whether an answer began."""

    def __init__(self) -> None:
        self.connected = False
        self.answered = False

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:  # httpcore's hook; it wants a coroutine
        if event == "connection.connect_tcp.started":
            self.connected = True
        elif event == "http11.receive_response_headers.complete":
            self.answered = True

    def is_stale(self, error: httpx.TransportError) -> bool:
        """Whether the peer had simply closed an idle connection, which says nothing about the request."""
        if self.connected or self.answered:
            return False
        closed = isinstance(error, httpx.NetworkError) or "without sending a response" in str(error)
        return closed and not isinstance(error, httpx.ConnectError)


async def push(client: Client, request: Request, clock: Callable[[], float], rules: Rules) -> Outcome:
    """Send one request and say what came of it; raises nothing for what network and receiver do.

    A connection found closed is replaced once, silently; a 307 or 308 to the same origin is followed once.
    """
    try:
        found, location = await _fresh(client, request, clock, rules)
        if location is not None:
            found, _ = await _fresh(client, _moved(request, location), clock, rules)
        return found
    except CredentialError as error:
        return Retry("credentials", error.reason) if error.retry else Misconfigured("credentials", error.reason)
    except httpx.TransportError as error:
        return Retry(*failure(error))


async def _fresh(client: Client, request: Request, clock: Callable[[], float], rules: Rules) -> tuple[Outcome, str | None]:
    trace = _Trace()
    try:
        return await _once(client, request, clock, rules, trace)
    except httpx.TransportError as error:
        if not trace.is_stale(error):
            raise
    return await _once(client, request, clock, rules, _Trace())


async def _once(
    client: Client, request: Request, clock: Callable[[], float], rules: Rules, trace: _Trace
) -> tuple[Outcome, str | None]:
    """The outcome, and where to go instead if the answer was a redirect that may be followed."""
    # Compressed words could be a bomb, and are not worth unpacking.
    headers = {**request.headers, "Accept-Encoding": "identity"}
    async with client.stream(request.method, request.url, headers, request.content, {"trace": trace}) as response:
        words = await _words(response)
        found = outcome(
            response.status_code, response.headers, words, clock(), rules, simplest=request.simplest, counted=request.counted
        )
        return found, _followed(request.url, response)


async def _words(response: httpx.Response) -> str:
    """What the receiver said, as far as it comes at once."""
    body = bytearray()
    with anyio.move_on_after(BODY_SECONDS):
        # The status stands, whatever becomes of the explanation.
        with suppress(httpx.TransportError):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) >= MAX_BODY_BYTES:
                    break
    return escaped(bytes(body[:MAX_BODY_BYTES]).decode("utf-8", "replace"))


def _followed(url: str, response: httpx.Response) -> str | None:
    location = response.headers.get("location")
    if response.status_code not in _REDIRECTS or not location:
        return None
    try:
        target = httpx.URL(url).join(location).copy_with(fragment=None)
        same = _origin(str(target)) == _origin(url)
    except (httpx.InvalidURL, ValueError):
        return None
    return str(target) if same and not target.userinfo else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _moved(request: Request, url: str) -> Request:
    return replace(request, url=url)
