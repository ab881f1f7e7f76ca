"""Trouble by chance: how often what befalls what a CI system announces and what it is asked; seeded, so that it comes again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from agent.sim import faults


@dataclass(frozen=True, slots=True)
class Weather:
    """The share of deliveries that each trouble befalls, 0 to 1, and how long it lasts at most, seconds."""

    lost: float = 0.0
    """Sent, logged as failed, and never heard."""
    silent: float = 0.0
    """Never sent and in no log."""
    redelivered: float = 0.0
    """Lost at first; somebody asks for it again within `late_seconds`."""
    duplicated: float = 0.0
    """Heard, and delivered a second time within `late_seconds`."""
    late: float = 0.0
    late_seconds: float = 300.0
    throttled: float = 0.0
    """Held back by the sender for `late_seconds` at most, which the log tells."""
    reordered: float = 0.0
    """Overtaken by the deliveries of the next `reordered_seconds`."""
    reordered_seconds: float = 20.0


CALM = Weather()


class Showers:
    """Trouble that befalls a share of the API's requests, 0 to 1: one of `kinds`."""

    def __init__(self, share: float, kinds: Sequence[faults.Fault], seed: int = 1) -> None:
        self.share = share
        """May be changed while it rains."""
        self._rng = random.Random(f"showers {seed}")
        self._kinds = kinds

    def take(self) -> faults.Fault | None:
        """What becomes of the next request; None = nothing special."""
        return self._rng.choice(self._kinds) if self._rng.random() < self.share else None
