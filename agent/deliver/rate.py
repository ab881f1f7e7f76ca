"""A limit on how many bytes leave in a second, so that a drain does not fill a thin line."""

from __future__ import annotations

import anyio

BURST_SECONDS = 1.0
"""What may be saved up while nothing is sent."""


class Rate:
    """A token bucket. 0 bytes a second = no limit."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._free_at = float("-inf")
        """On the event loop's clock: when what was sent so far is paid for."""

    async def pay(self, size: int) -> None:
        """Wait until `size` bytes may leave. One body larger than a second's worth leaves all the same, and is paid after."""
        if not self._rate:
            return
        now = anyio.current_time()
        start = max(self._free_at, now - BURST_SECONDS)
        # Booked before the wait: two bodies at once must not share the same second.
        self._free_at = start + size / self._rate
        await anyio.sleep(max(0.0, start - now))
