"""What goes wrong between GitLab and who listens to it: a seeded fate for every webhook, and trouble with the APIs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.sim import faults
from agent.sim.gitlab.announcements import Announcement
from agent.sim.weather import CALM, Weather

ROUGH = Weather(lost=0.05, duplicated=0.05, late=0.03, reordered=0.2)
"""5 % lost, 5 % doubled, 3 % minutes late, 20 % out of order."""
_BAD_GATEWAY = "<!DOCTYPE html><html><head><title>GitLab is not responding (502)</title></head><body>Whoops.</body></html>"
_PLAIN = (("content-type", "text/plain"), ("retry-after", "1"))

ERRORS: tuple[faults.Fault, ...] = (
    faults.Answer(500, (), '{"message":"500 Internal Server Error"}'),
    faults.Answer(502, (), _BAD_GATEWAY),
    faults.Answer(503, (("retry-after", "1"),), _BAD_GATEWAY),
    faults.Answer(429, _PLAIN, "Retry later\n"),
    faults.Close(200),
    faults.Delay(0.5),
)
"""Trouble that says so."""
BROKEN: tuple[faults.Fault, ...] = (
    faults.Answer(200, (), '[{"id":12,"statu'),
    faults.Answer(200, (), "null"),
    faults.Answer(200, (), '{"data":null,"errors":[{"message":"Timeout on Project.pipelines","path":["projects"]}]}'),
)
"""Answers that are none, with a status as if they were."""
TROUBLE = (*ERRORS, *BROKEN)


class Shipment(NamedTuple):
    """One try to deliver one announcement."""

    at: float
    """When, seconds since the epoch."""
    announcement: Announcement


def shipments(announced: Sequence[Announcement], weather: Weather = CALM, seed: int = 1) -> list[Shipment]:
    """What is delivered, in order of time, when that weather rules; the same arguments bring the same."""
    rng = random.Random(f"weather {seed}")
    found = [shipment for announcement in announced for shipment in _fate(announcement, weather, rng)]
    return sorted(found, key=lambda shipment: shipment.at)


def _fate(announcement: Announcement, weather: Weather, rng: random.Random) -> Iterator[Shipment]:
    chance, at = rng.random(), announcement.at
    if rng.random() < weather.reordered:
        at += rng.uniform(0, weather.reordered_seconds)
    later = at + rng.uniform(1, weather.late_seconds)
    if chance < weather.lost:
        return
    if chance < weather.lost + weather.late:
        yield Shipment(later, announcement)
        return
    yield Shipment(at, announcement)
    if chance < weather.lost + weather.late + weather.duplicated:
        yield Shipment(later, announcement)
