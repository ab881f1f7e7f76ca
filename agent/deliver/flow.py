"""How fast a queue grows or shrinks, and what becomes of it at that rate."""

from __future__ import annotations

STEP_SECONDS = 5.0
"""The rate is taken over at least so long: blocks come in bursts."""
WEIGHT = 0.3
"""Of the newest step in the moving average: after four steps three quarters of it are new."""


class Flow:
    """A moving average of how many bytes a queue gains in a second."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._bytes = 0
        self._last = 0
        self._rate: float | None = None

    def note(self, queued: int, now: float) -> None:
        """This many bytes wait at `now`, seconds since the epoch."""
        self._last = queued
        if self._at is None or now < self._at or not queued:
            # An empty queue gains nothing, whatever it did before.
            self._at, self._bytes, self._rate = now, queued, None
            return
        passed = now - self._at
        if passed < STEP_SECONDS:
            return
        rate = (queued - self._bytes) / passed
        self._rate = rate if self._rate is None else WEIGHT * rate + (1 - WEIGHT) * self._rate
        self._at, self._bytes = now, queued

    @property
    def drain_seconds(self) -> float | None:
        """When it will be empty; None = it does not shrink, or nobody knows yet."""
        if not self._last:
            return 0.0
        return self._last / -self._rate if self._rate is not None and self._rate < 0 else None

    def hours_left(self, max_bytes: int) -> float | None:
        """When it will be full; None = it does not grow, or nobody knows yet."""
        if self._rate is None or self._rate <= 0:
            return None
        return max(0, max_bytes - self._last) / self._rate / 3600
