"""How fast an instance may be asked: as configured, as it says itself, and as it bears.

https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/ names the headers and the two kinds of 429:
the one for a user or an address, with `RateLimit-*` and `Retry-After`, and the one for a single endpoint, which often
says nothing of when it ends; those limits are counted by the minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from agent.errors import CollectError
from agent.net.push import retry_after

MOST_SECONDS = 3600.0
"""What is believed of a Retry-After: no limit of GitLab's is counted over more."""
LONGEST_SECONDS = 90.0
"""A limit that lasts longer is an error instead of a wait: limits are counted by the minute."""
MINUTE = 60.0
SLOW_SECONDS = 10.0
"""An answer that takes longer says that the instance is busy; GitLab gives up on a query after 30."""
LEAST_FACTOR = 1 / 16
"""Of the configured rate at least so much is used, however badly the instance bears it."""
RECOVERY = 1.05
"""The factor that the rate grows by with each good answer, once it was lowered."""
FIRST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 900.0
"""Between two questions with a token that was refused; doubled each time."""
STRIKES = 3
"""Refusals of the token in a row, none of them saying that it is the token, until nothing more is asked."""
_BAD_TOKEN = ("invalid token", "invalid_token", "token is expired", "token was revoked")
_ENDPOINT = "this endpoint has been requested too many times"


class Standing(NamedTuple):
    """What the instance says is left of its limit."""

    remaining: float
    """Requests."""
    reset: float
    """When it is full again, seconds since the epoch on the instance's clock."""


class Limits:
    """Times are of a clock that only grows, in seconds; `now` of the methods is its time.

    `rate`: requests a second on average, `burst`: requests at once after a pause.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.standing: Standing | None = None
        """None = the instance never told."""
        self.factor = 1.0
        """How much of the configured rate is used."""
        self._rate = rate
        self._burst = max(1.0, burst)
        self._tokens = self._burst
        self._filled = 0.0
        self._reset = 0.0
        self._lowered = 0.0
        self._until: dict[str, float] = {}

    def reserve(self, now: float) -> float:
        """Seconds to wait before the next request, which is counted as made then.

        Raises CollectError, kind `rate_limit`, where the instance leaves so little that it would be long.
        """
        rate, burst = self._rate * self.factor, self._burst
        left = self.standing.remaining if self.standing is not None and now < self._reset else None
        if left is not None:  # it has to last until the reset, and others may ask with the same token
            rate = min(rate, max(left, 1.0) / (self._reset - now))
            burst = min(burst, max(left / 10, 1.0))
        self._tokens = min(burst, self._tokens + max(0.0, now - self._filled) * rate)
        self._filled = now
        wait = max(0.0, (1.0 - self._tokens) / rate)
        if left is not None:
            wait = min(wait, self._reset - now)
            _bearable(wait, "all endpoints")
            self._spend()
        self._tokens -= 1.0
        return wait

    def blocked(self, endpoint: str, now: float) -> float:
        """Seconds for which the instance wants no request to `endpoint`. Raises CollectError, `rate_limit`, where it is long."""
        seconds = max(self._until.get("", 0.0), self._until.get(endpoint, 0.0)) - now
        _bearable(seconds, endpoint)
        return max(0.0, seconds)

    def answered(
        self, endpoint: str, status: int, headers: Mapping[str, str], date: float, words: str, begun: float, now: float
    ) -> None:
        """Take in an answer to a request that began at `begun`.

        `date`: when by the instance's clock, seconds since the epoch; `words`: the beginning of the body of a refusal.
        """
        self._note(headers, date, now)
        if status == 429:
            wait = _number(headers.get("retry-after"))
            wait = retry_after(headers, date) if wait is None else min(wait, MOST_SECONDS)
            if wait is None:
                wait = MINUTE - date % MINUTE
            which = endpoint if _ENDPOINT in words.lower() else ""
            self._until[which] = max(self._until.get(which, 0.0), now + max(1.0, wait))
        elif status >= 500:
            self.troubled(begun, now)
        elif now - begun > SLOW_SECONDS:
            self.troubled(begun, now, 0.8)
        else:
            self.factor = min(1.0, self.factor * RECOVERY)

    def troubled(self, begun: float, now: float, factor: float = 0.5) -> None:
        """The instance did not bear a request: the rate is lowered, once for all requests that were under way together."""
        if begun >= self._lowered:
            self.factor = max(LEAST_FACTOR, self.factor * factor)
            self._lowered = now

    def _spend(self) -> None:
        if self.standing is not None:
            self.standing = Standing(max(0.0, self.standing.remaining - 1.0), self.standing.reset)

    def _note(self, headers: Mapping[str, str], date: float, now: float) -> None:
        left, reset = _number(headers.get("ratelimit-remaining")), _number(headers.get("ratelimit-reset"))
        if left is None or reset is None:
            return
        if self.standing is not None and self.standing.reset == reset:
            left = min(left, self.standing.remaining)  # an answer that was overtaken
        self.standing = Standing(left, reset)
        self._reset = now + min(max(0.0, reset - date), MINUTE * MINUTE)
        if left < 1.0:
            self._until[""] = max(self._until.get("", 0.0), self._reset)


class Gate:
    """Shut while the token is refused: one request now and then asks whether it still is. Times as in `Limits`."""

    def __init__(self) -> None:
        self._refused = 0
        self._pause = 0.0
        self._since = 0.0

    def check(self, now: float, wall: float) -> None:
        """Let a request through. Raises CollectError, kind `auth`, while it is shut; `wall`: seconds since the epoch."""
        if not self._pause:
            return
        until = self._since + self._pause
        if now < until:
            at = datetime.fromtimestamp(wall + until - now, UTC).strftime("%H:%M:%S")
            raise CollectError("auth", f"GitLab does not take the token; it is tried again at {at} UTC")
        self._since = now  # the others wait for what this one finds

    def refused(self, words: str, begun: float, now: float) -> None:
        """A request of `begun` was answered with 401.

        Some are about a missing right to one thing: it takes several in a row to shut, or clear `words`.
        """
        if begun < self._since:
            return
        self._refused += 1
        if self._refused >= STRIKES or any(bad in words.lower() for bad in _BAD_TOKEN):
            self._pause = min(max(FIRST_PAUSE_SECONDS, self._pause * 2), LONGEST_PAUSE_SECONDS)
            self._since = now

    def opened(self) -> None:
        """The token was taken, or is another."""
        self._refused, self._pause = 0, 0.0


def _bearable(seconds: float, endpoint: str) -> None:
    if seconds > LONGEST_SECONDS:
        raise CollectError("rate_limit", f"GitLab's rate limit for {endpoint} lasts {seconds:.0f} s more")


def _number(text: str | None) -> float | None:
    return float(text) if text and len(text) <= 15 and text.isascii() and text.isdecimal() else None
