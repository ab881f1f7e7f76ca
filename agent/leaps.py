"""A system clock that leaps ahead, told from one that is right."""

from __future__ import annotations

BELIEF_SECONDS = 60.0
"""A system clock that leapt ahead is believed after it has stayed there so long: Prometheus 2.42 takes a single sample
from the future and then refuses all normal ones, while a clock that was set right goes on within a minute."""


class Leaps:
    """Tells whether the system clock just leapt ahead of the event loop's."""

    def __init__(self) -> None:
        self._ahead: float | None = None
        self._doubted_until = float("-inf")

    def doubts(self, wall: float, loop: float, most: float) -> bool:
        """Whether `wall`, seconds since the epoch, is more than `most` seconds off what `loop` led to expect."""
        ahead = wall - loop
        leap = 0.0 if self._ahead is None else ahead - self._ahead
        self._ahead = ahead
        if leap > most:
            self._doubted_until = loop + BELIEF_SECONDS
        elif leap < -most:
            self._doubted_until = float("-inf")
        return loop < self._doubted_until
