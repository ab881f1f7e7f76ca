"""Sample times: what a flush stamps its samples with."""

from __future__ import annotations

from agent.wire import remote_write


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
