"""GitLab's two kinds of rate limits: by user for everything, and by user for single endpoints.

Figures: https://docs.gitlab.com/user/gitlab_com/#rate-limits-on-gitlabcom and
https://docs.gitlab.com/administration/settings/rate_limit_on_projects_api/. A self-managed instance has none unless somebody
turns them on, and then tells nothing of them either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from agent.sim.gitlab.asked import RequestError

TOO_MANY = {"message": {"error": "This endpoint has been requested too many times. Try again later."}}
GITLAB_COM = {
    "projects": (2_000, 600),
    "project": (400, 60),
    "groups": (200, 60),
    "group": (400, 60),
    "group_projects": (600, 60),
    "user_projects": (300, 60),
    "project_jobs": (600, 60),
}
"""Requests, and in how many seconds, by endpoint."""


@dataclass
class Limits:
    """How much may be asked, and what has been."""

    per_minute: int = 2_000
    """Of one user; 0 = no limit, and no headers."""
    endpoints: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(GITLAB_COM))
    _used: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def throttle(self, who: str, now: float) -> dict[str, str]:
        """Count a request; the headers of its answer. Raises RequestError (429, plain text) for one too many."""
        if not self.per_minute:
            return {}
        used = self._count("", who, now, 60)
        reset = (int(now) // 60 + 1) * 60
        headers = {
            "ratelimit-limit": str(self.per_minute),
            "ratelimit-name": "throttle_authenticated_api",
            "ratelimit-observed": str(used),
            "ratelimit-remaining": str(max(0, self.per_minute - used)),
            "ratelimit-reset": str(reset),
            "ratelimit-resettime": formatdate(reset, usegmt=True),
        }
        if used > self.per_minute:
            plain = {**headers, "retry-after": str(max(1, reset - int(now))), "content-type": "text/plain"}
            raise RequestError(429, "Retry later", plain)
        return headers

    def endpoint(self, name: str, who: str, now: float) -> None:
        """Count a request to one endpoint. Raises RequestError (429, JSON, without headers) for one too many."""
        allowed, seconds = self.endpoints.get(name, (0, 0)) if self.per_minute else (0, 0)
        if allowed and self._count(name, who, now, seconds) > allowed:
            raise RequestError(429, dict(TOO_MANY))

    def _count(self, name: str, who: str, now: float, seconds: int) -> int:
        window = int(now) // seconds
        key = (name, who, window)
        if key not in self._used:
            self._used = {each: used for each, used in self._used.items() if each[:2] != key[:2]}
        self._used[key] = self._used.get(key, 0) + 1
        return self._used[key]


def none() -> Limits:
    """The limits of a self-managed instance: off."""
    return Limits(0, {})
