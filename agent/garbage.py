"""Keeps garbage collection short: what has survived a long collection is not looked at again for hours.

A store of a million series is a million small objects that live for days. CPython's collector walks all of
them whenever a quarter as many new ones have come (https://docs.python.org/3/library/gc.html), 40-80 ms in
which nothing else runs. After a collection that took long the survivors are frozen; now and then they are
let go once, so that a cycle among them does not stay for ever.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

LONG_SECONDS = 0.01
"""A full collection that takes longer freezes what it left."""
THAW_SECONDS = 6 * 3600.0


class Garbage:
    """Hooks into the collector between `install` and `remove`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._begun = 0.0
        self._thawed = clock()

    def install(self) -> None:
        """Freeze what there is, and watch."""
        gc.freeze()
        gc.callbacks.append(self._collected)

    def remove(self) -> None:
        """Leave the collector as it was found."""
        gc.callbacks.remove(self._collected)
        gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] != 2:
            return
        now = self._clock()
        if phase == "start":
            self._begun = now
            if now - self._thawed > THAW_SECONDS:
                self._thawed = now
                gc.unfreeze()
        elif now - self._begun > LONG_SECONDS:
            gc.freeze()
