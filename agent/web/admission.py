"""How much may come in: deliveries a second, and deliveries and bytes at one time."""

from __future__ import annotations

BURST_SECONDS = 10.0
"""So many seconds' worth of deliveries may come at once after a quiet time: CI comes in bursts."""


class Bucket:
    """A token bucket, filled with `per_second` tokens a second; 0 = no limit."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._tokens = self._most
        self._filled = float("-inf")

    def take(self, now: float) -> float:
        """Take one token: 0.0, or how many seconds there is none. `now` in seconds, by a clock that only grows."""
        if not self.per_second:
            return 0.0
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self.per_second)
        self._filled = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self.per_second
        self._tokens -= 1.0
        return 0.0


class Load:
    """Deliveries being read or committed, and the bytes of their bodies held meanwhile, over all sources.

    Bytes are booked as they arrive, not as announced: a client must send them to take the room of others.
    """

    def __init__(self, max_deliveries: int, max_bytes: int) -> None:
        self._max_deliveries = max_deliveries
        self._max_bytes = max_bytes
        self.deliveries = 0
        self.bytes = 0

    def has_room(self, announced: int) -> bool:
        """Whether one more delivery, of so many bytes, may begin."""
        return self.deliveries < self._max_deliveries and self.bytes + announced <= self._max_bytes

    def begin(self) -> None:
        """One more delivery."""
        self.deliveries += 1

    def grow(self, size: int) -> bool:
        """`size` more bytes are held; False = that is too many, over all, and they have to be let go."""
        self.bytes += size
        return self.bytes <= self._max_bytes

    def end(self, held: int) -> None:
        """One delivery less, and the bytes that it held."""
        self.deliveries -= 1
        self.bytes -= held
