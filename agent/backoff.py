"""How long to wait before trying again, and who may cut the wait short."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
JITTER = 0.1


class Backoff:
    """1 second, doubled after each failure up to 60, every wait off by up to 10 % either way.

    The jitter keeps agents that lost the same receiver from coming back in step.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next = FIRST_SECONDS

    def failed(self) -> float:
        """Seconds to wait after one more failure."""
        wait, self._next = self._next, min(self._next * 2, LONGEST_SECONDS)
        return self.jittered(wait)

    def jittered(self, seconds: float) -> float:
        """`seconds`, off by up to 10 % either way."""
        return seconds * self._random.uniform(1 - JITTER, 1 + JITTER)

    def reset(self) -> None:
        """The next failure waits 1 second again."""
        self._next = FIRST_SECONDS


class Hosts:
    """Tells the lanes of one host that it answers again, so that none sits out a long wait for nothing."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[], None]]] = {}

    def join(self, host: str, is_back: Callable[[], None]) -> None:
        """Have `is_back` called on each success of another member of `host`."""
        self._callbacks.setdefault(host, []).append(is_back)

    def leave(self, host: str, is_back: Callable[[], None]) -> None:
        """Undo `join`; it is fine never to have joined."""
        members = self._callbacks.get(host, [])
        if is_back in members:
            members.remove(is_back)

    def succeeded(self, host: str, is_back: Callable[[], None]) -> None:
        """`host` accepted something from the member that joined with `is_back`."""
        for callback in self._callbacks.get(host, []):
            if callback != is_back:
                callback()
