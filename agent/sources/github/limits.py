"""GitHub's rate limits, as its answers tell them: how much is left, and until when nothing more may be asked.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api and
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api say what is done here: wait as
long as `retry-after` says; else, with nothing left, until `x-ratelimit-reset`; else a minute, longer each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from agent.errors import CollectError
from agent.net.push import http_date, retry_after

FIRST_SECONDS = 60.0
"""The wait where nothing is told; doubled each time in a row."""
LONGEST_SECONDS = 3600.0
"""No wait is longer: a limit is reset every hour."""
MAX_STANDINGS = 1000
"""Credentials times resources that are kept; beyond it the oldest is forgotten."""
_RESOURCE = re.compile(r"[a-z_]{1,40}")
_LIMITED = ("rate limit", "abuse detection")


class Standing(NamedTuple):
    """What is left of one limit."""

    remaining: float
    """Requests."""
    reset: float
    """When it is full again, seconds since the epoch."""


class Limits:
    """What is known of the limits. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._strikes: dict[str, int] = {}
        self._standings: dict[tuple[str, str], Standing] = {}

    def check(self, who: str) -> None:
        """Raises CollectError, kind `rate_limit`, while the credential called `who` must not ask."""
        until = self._until.get(who, 0.0)
        now = self._clock()
        if now < until <= now + LONGEST_SECONDS:
            at = datetime.fromtimestamp(until, UTC).strftime("%H:%M:%S")
            raise CollectError("rate_limit", f"GitHub's rate limit is used up; nothing is asked until {at} UTC")

    def note(self, who: str, status: int, headers: Mapping[str, str], words: str = "") -> bool:
        """Take in an answer; whether it refuses because of a limit. `words`: the beginning of the body of a refusal."""
        now = self._clock()
        left = _number(headers.get("x-ratelimit-remaining"))
        reset = self._reset(headers, now)
        if left is not None and reset is not None:
            self._standings.pop((who, resource_of(headers)), None)
            self._standings[who, resource_of(headers)] = Standing(left, reset)
            if len(self._standings) > MAX_STANDINGS:
                del self._standings[next(iter(self._standings))]
        if status not in (403, 429) or not (status == 429 or left == 0 or "retry-after" in headers or _is_limit(words)):
            if status < 400:
                self._strikes.pop(who, None)
            if left == 0 and reset is not None and resource_of(headers) == "core":
                self._until[who] = reset  # the next would be refused, and counted against us
            return False
        strikes = self._strikes.get(who, 0)
        self._strikes[who] = strikes + 1
        wait = _retry_after(headers, now)
        if wait is None and left == 0 and reset is not None:
            wait = max(1.0, reset - now)
        if wait is None:
            wait = FIRST_SECONDS * 2 ** min(strikes, 6)
        self._until[who] = now + min(wait, LONGEST_SECONDS)
        return True

    def standings(self) -> dict[str, Standing]:
        """By resource: what is left of it, where there are several credentials of the one that has least."""
        found: dict[str, Standing] = {}
        for (_, resource), standing in self._standings.items():
            if standing.reset > self._clock() or resource not in found:
                found[resource] = min(standing, found.get(resource, standing))
        return found

    def _reset(self, headers: Mapping[str, str], now: float) -> float | None:
        """When the limit is reset, by our clock, which may be off GitHub's."""
        reset, date = _number(headers.get("x-ratelimit-reset")), http_date(headers.get("date"))
        if reset is None:
            return None
        return now + min(max(0.0, reset - (now if date is None else date)), LONGEST_SECONDS)


def resource_of(headers: Mapping[str, str]) -> str:
    """Which of GitHub's limits an answer counts against."""
    resource = headers.get("x-ratelimit-resource", "core")
    return resource if _RESOURCE.fullmatch(resource) else "other"


def _is_limit(words: str) -> bool:
    return any(limited in words.lower() for limited in _LIMITED)


def _number(text: str | None) -> float | None:
    return float(text) if text and len(text) <= 15 and text.isascii() and text.isdecimal() else None


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    seconds = _number(headers.get("retry-after"))
    return retry_after(headers, now) if seconds is None else max(1.0, seconds)
