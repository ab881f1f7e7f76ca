"""A simulated organisation's deliveries through the engine: whatever befalls them, the totals are the world's own."""

from __future__ import annotations

from random import Random

import pytest

from agent.sim.github import deliveries, world
from agent.sim.github.deliveries import Announcement
from agent.sim.github.truth import truth
from agent.sources.github.engine import Digest, Engine
from agent.sources.github.families import families
from agent.sources.github.options import Options
from tests.github_truth import Tally, differences

HOOKED = Options.model_validate({"webhook": {"secret": "s3cret"}})
FOUND_AGAIN_SECONDS = 500.0
"""When the delivery log is read; within `join_seconds`."""


class Life:
    """Engines one after the other, and all that they note and count."""

    def __init__(self, options: Options = HOOKED) -> None:
        self.options = options
        self.tally = Tally()
        self.notes: dict[str, str] = {}
        self.engine = self.begun()
        self.settled = 0.0

    def begun(self) -> Engine:
        """A new engine that knows what was noted."""
        engine = Engine("github.com", self.options, families(self.options))
        engine.restore(self.notes)
        return engine

    def take(self, digest: Digest) -> None:
        """Commit."""
        self.tally.take(list(digest.observations))
        for note in digest.notes:
            if note.value is None:
                self.notes.pop(note.key, None)
            else:
                self.notes[note.key] = note.value

    def hear(self, here: world.World, announcement: Announcement, at: float) -> None:
        """One delivery, and once a minute a look at the clock."""
        payload = deliveries.payload(here, announcement)
        self.take(self.engine.webhook(announcement.event, payload, announcement.guid, at))
        if at - self.settled > 60:
            self.settled = at
            self.take(self.engine.settle(at))


def small(seed: int) -> world.World:
    """A day of a few repositories."""
    return world.build(seed, repositories=12, jobs=900, seconds=86_400)


def befallen(here: world.World, random: Random) -> list[tuple[float, Announcement]]:
    """(when it comes in, delivery): 5 % lost and found again in the log, 20 % late, 5 % twice."""
    found = []
    for announcement in deliveries.announcements(here):
        at, fate = announcement.at, random.random()
        if fate < 0.05:
            at += random.uniform(60, FOUND_AGAIN_SECONDS)
        elif fate < 0.25:
            at += random.uniform(0, 20)
        found.append((at, announcement))
        if random.random() < 0.05:
            found.append((at + random.uniform(0, 300), announcement))
    return sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_every_delivery_in_order_leads_to_the_worlds_own_totals(seed: int) -> None:
    here, life = small(seed), Life()

    for announcement in deliveries.announcements(here):
        life.hear(here, announcement, announcement.at)

    assert differences(life.tally, truth(here)) == []


@pytest.mark.parametrize("seed", range(6))
def test_lost_late_repeated_and_reordered_deliveries_lead_to_the_same(seed: int) -> None:
    here, life = small(seed), Life()

    for at, announcement in befallen(here, Random(seed)):
        life.hear(here, announcement, at)
    life.take(life.engine.settle(here.end + 3600.0))

    assert differences(life.tally, truth(here)) == []


@pytest.mark.parametrize("seed", range(4))
def test_so_do_lives_that_end_at_any_moment(seed: int) -> None:
    here, life, random = small(seed), Life(), Random(seed)

    for at, announcement in befallen(here, random):
        life.hear(here, announcement, at)
        if random.random() < 0.02:
            life.engine = life.begun()
    life.take(life.engine.settle(here.end + 3600.0))

    assert differences(life.tally, truth(here)) == []


def test_a_delivery_that_is_given_twice_brings_the_same_observations() -> None:
    here, life = small(1), Life()

    for announcement in deliveries.announcements(here):
        payload = deliveries.payload(here, announcement)
        first, second = (
            life.engine.webhook(announcement.event, payload, announcement.guid, announcement.at).observations for _ in range(2)
        )
        assert [one.key for one in first] == [one.key for one in second]
        assert list(first) == list(second)


def test_when_all_has_ended_nothing_is_present_any_more() -> None:
    here, life = small(2), Life()
    for announcement in deliveries.announcements(here):
        life.hear(here, announcement, announcement.at)

    shown = {update.family.name for update in life.engine.gauges(here.end)}

    assert shown <= {"events_ignored_total", "invalid_timestamps_total"}


def test_what_is_remembered_is_forgotten_in_the_end() -> None:
    here, life = small(2), Life()
    for announcement in deliveries.announcements(here):
        life.hear(here, announcement, announcement.at)

    life.take(life.engine.settle(here.end + 3 * 86_400.0))

    assert life.notes == {}
