"""What goes wrong between GitHub and who listens to it: a seeded fate for every delivery, and trouble with the API."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.sim import faults
from agent.sim.github.deliveries import Announcement
from agent.sim.weather import CALM, Weather

ROUGH = Weather(
    lost=0.04, silent=0.005, redelivered=0.01, duplicated=0.05, late=0.03, throttled=0.02, reordered=0.2
)  # fmt: skip
"""5 % lost, 5 % duplicated, 20 % out of order, and some of everything else."""

OK = (200, "OK")
FAILURES = (
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (0, "failed to connect to host"),
    (0, "timed out"),
    (500, "Error"),
)
"""(status code, status) of deliveries that failed: not all have a code from 400 on."""


class Shipment(NamedTuple):
    """One try to deliver one announcement to the hook."""

    at: float
    """When, seconds since the epoch."""
    announcement: Announcement
    failure: tuple[int, str] | None = None
    """What the log says when it is not to arrive; None = it is sent."""
    redelivery: bool = False
    throttled_at: float = 0.0


def shipments(announced: Sequence[Announcement], weather: Weather = CALM, seed: int = 1) -> list[Shipment]:
    """All tries to deliver, in order of time; the same arguments bring the same ones."""
    rng = random.Random(f"weather {seed}")
    found = [shipment for announcement in announced for shipment in _fate(announcement, weather, rng)]
    return sorted(found, key=lambda shipment: (shipment.at, shipment.announcement.guid, shipment.redelivery))


def _fate(announcement: Announcement, weather: Weather, rng: random.Random) -> Iterator[Shipment]:
    chance, at = rng.random(), announcement.at + 0.1
    if rng.random() < weather.reordered:
        at += rng.uniform(0, weather.reordered_seconds)
    later = at + rng.uniform(1, weather.late_seconds)
    shares = (weather.silent, weather.lost, weather.redelivered, weather.duplicated, weather.late, weather.throttled)
    place = 0
    while place < len(shares) and chance >= shares[place]:
        chance -= shares[place]
        place += 1
    first = Shipment(at, announcement)
    if place == 1:
        yield first._replace(failure=rng.choice(FAILURES))
    elif place == 2:
        yield first._replace(failure=rng.choice(FAILURES))
        yield Shipment(later, announcement, redelivery=True)
    elif place == 3:
        yield first
        yield Shipment(later, announcement, redelivery=True)
    elif place == 4:
        yield first._replace(at=later)
    elif place == 5:
        yield first._replace(at=later, throttled_at=at)
    elif place > 5:
        yield first


def secondary_limit(retry_after: int, *, status: int = 403, times: int = 1) -> faults.Answer:
    """The secondary rate limit, which says for how many seconds to go away; a step for `GithubApi.faults`."""
    body = '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}'
    return faults.Answer(status, (("retry-after", str(retry_after)),), body, times)


ERRORS: tuple[faults.Fault, ...] = (
    faults.Answer(500),
    faults.Answer(502, (), "<html>Unicorn!</html>"),
    faults.Answer(503, (("retry-after", "1"),)),
    faults.Close(200),
    faults.Delay(0.5),
    secondary_limit(1),
)
"""Trouble that says so."""
BROKEN: tuple[faults.Fault, ...] = (
    faults.Answer(200, (), '{"total_count": 3, "workflow_runs": [{"id": 12'),
    faults.Answer(200, (), "null"),
)
"""Answers that are none, with a status as if they were."""
TROUBLE = (*ERRORS, *BROKEN)
