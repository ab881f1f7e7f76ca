"""Numbers of things: as GitLab's they rise with the time of making, whatever order a world is planned in."""

from __future__ import annotations

from collections import defaultdict

PIPELINES, JOBS, DEPLOYMENTS = 1_200_000_000, 6_400_000_000, 310_000_000
"""Where the numbers begin."""


class Ids:
    """Numbers of one kind, of which so many at most are given out in one second."""

    def __init__(self, first: int, origin: int, width: int = 4096) -> None:
        self._first = first
        self._origin = origin
        self._width = width
        self._used: defaultdict[int, int] = defaultdict(int)

    def take(self, at: int) -> int:
        """The next number of something made at that second. Raises ValueError where a second has run out of them."""
        used = self._used[at]
        if used >= self._width:
            raise ValueError(f"more than {self._width} things are made in second {at}")
        self._used[at] = used + 1
        return self._first + (at - self._origin) * self._width + used
