"""Sample times: what a flush stamps its samples with."""

from __future__ import annotations

from agent.wire import remote_write

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


class SampleClock:
    """Sample times of one flush group: strictly increasing, whatever the system clock does."""

    def __init__(self, last_ms: int = 0) -> None:
        self.last_ms = last_ms

    def next(self, at: float, max_step_back: float) -> tuple[int, str]:
        """(milliseconds for a flush at `at` seconds, "") or (0, why there can be none now).

        The reason `epoch` comes with a time: the clock stepped back by more than `max_step_back` seconds.
        """
        if not remote_write.FIRST_MS <= at * 1000 <= remote_write.LAST_MS:
            return 0, "clock_out_of_range"
        ms, reason = int(at * 1000), ""
        if ms <= self.last_ms:
            if self.last_ms - ms <= max_step_back * 1000:
                return 0, "clock_behind"
            reason = "epoch"
        self.last_ms = ms
        return ms, reason
