"""Who may ask the simulated API, and how often: tokens, an App and its installation, the primary rate limit.

Rules: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api and
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Iterable
from typing import NamedTuple

INSTALLATION_ID = 40_400_040
TOKEN_SECONDS = 3600
"""How long an installation token is good for."""
WINDOW_SECONDS = 3600
MAX_JWT_SECONDS = 660
"""An App may sign itself in for ten minutes, and its clock may be a minute behind."""
ANONYMOUS_LIMIT = 60


class Caller(NamedTuple):
    """Who asks."""

    kind: str
    """token, app, installation or anonymous."""
    key: str
    """What its limit is counted by."""


class CredentialsError(Exception):
    """The credentials are none. The message is the answer's."""


class Access:
    """The tokens that are good, and those that an App was given."""

    def __init__(self, tokens: Iterable[str], client_id: str) -> None:
        self._tokens = frozenset(tokens)
        self._client_id = client_id
        self._issued: dict[str, float] = {}
        self._numbers = itertools.count(1)

    def caller(self, authorization: str, now: float) -> Caller:
        """Who sends that header. Raises CredentialsError for credentials that are no good (any more)."""
        scheme, _, secret = authorization.strip().partition(" ")
        if not scheme:
            return Caller("anonymous", "anonymous")
        if scheme.lower() not in ("bearer", "token"):
            raise CredentialsError("Bad credentials")
        if secret in self._tokens:
            return Caller("token", secret)
        if self._issued.get(secret, 0.0) > now:
            return Caller("installation", secret)
        if self._is_jwt(secret):
            return Caller("app", "app")
        raise CredentialsError("Bad credentials")

    def issue(self, now: float) -> tuple[str, float]:
        """(a new installation token, when it expires)."""
        expires = float(int(now) + TOKEN_SECONDS)
        filling = base64.urlsafe_b64encode(f"simulated token {next(self._numbers)}".encode() * 8).decode().rstrip("=")
        token = f"ghs_{len(self._issued) + 1}_{filling}.{filling}.sim_"
        self._issued[token] = expires
        return token, expires

    def revoke(self) -> None:
        """Let no installation token be good any more."""
        self._issued.clear()

    def _is_jwt(self, text: str) -> bool:
        """Whether it looks like what the App signs itself in with; the signature is believed."""
        parts = text.split(".")
        if len(parts) != 3 or not parts[2]:
            return False
        try:
            head, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
            is_short = 0 < claims["exp"] - claims["iat"] <= MAX_JWT_SECONDS
        except (binascii.Error, ValueError, KeyError, TypeError):
            return False
        return bool(is_short and head.get("alg") == "RS256" and str(claims.get("iss")) == self._client_id)


class Limit:
    """The primary limit: so many requests an hour for each caller; installations share one."""

    def __init__(self, per_hour: int) -> None:
        self.per_hour = per_hour
        self._used: dict[str, tuple[float, int]] = {}

    def headers(self, caller: Caller, now: float, cost: int) -> tuple[dict[str, str], bool]:
        """(what the answer says of the limit, whether the request is within it), after `cost` more requests."""
        key = caller.kind if caller.kind == "installation" else caller.key
        allowed = ANONYMOUS_LIMIT if caller.kind == "anonymous" else self.per_hour
        began, used = self._used.get(key, (now, 0))
        if now >= began + WINDOW_SECONDS:
            began, used = now, 0
        is_within = used + cost <= allowed
        used = min(allowed, used + cost)
        self._used[key] = (began, used)
        return {
            "x-ratelimit-limit": str(allowed),
            "x-ratelimit-remaining": str(allowed - used),
            "x-ratelimit-used": str(used),
            "x-ratelimit-reset": str(int(began) + WINDOW_SECONDS),
            "x-ratelimit-resource": "core",
        }, is_within
