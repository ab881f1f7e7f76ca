"""Outages of the receiver in accelerated time: nothing is lost, order is kept as the receiver needs it."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sinks.remote_write import Receiver as Profile
from tests import outage
from tests.core import START
from tests.outage import Mode, Outage, Phase, Receiver

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return outage.virtual_backend()


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.WELL])
async def test_an_outage_of_five_minutes_loses_nothing(mode: Mode, profile: Profile) -> None:
    found = Outage(Receiver([Phase(Mode.WELL, 20), Phase(mode, 300)]), profile)

    await found.run(80)

    assert found.problems == {}


phases = st.lists(st.builds(Phase, st.sampled_from(Mode), st.floats(0.5, 200)), max_size=8)


@pytest.mark.parametrize("profile", Profile)
@given(script=phases, flushes=st.integers(1, 60))
@settings(max_examples=25)
def test_any_outage_loses_nothing(profile: Profile, script: list[Phase], flushes: int) -> None:
    async def play() -> None:
        found = Outage(Receiver(script), profile)
        await found.run(flushes)
        assert found.problems == {}

    backend = outage.virtual_backend()
    assert isinstance(backend, tuple)
    anyio.run(play, backend=backend[0], backend_options=backend[1])


@pytest.mark.parametrize("profile", Profile)
async def test_fresh_samples_go_before_a_backlog_only_where_the_receiver_takes_any_order(profile: Profile) -> None:
    """Half an hour down, then a receiver that takes a second for each request: the backlog drains for a while."""
    script = [Phase(Mode.STOPPED, 1500), Phase(Mode.SLOW, 100_000)]
    found = Outage(Receiver(script, slow_seconds=1.0), profile)

    await found.run(310)  # ten more flushes come in while it drains
    await found.until(lambda: not found.status["queue_blocks"], 4000)

    arrivals = [arrival for arrival in found.receiver.arrivals if arrival.samples]
    fresh = [arrival for arrival in arrivals if arrival.newest_ms / 1000 - START > arrivals[0].began]
    overtaken = [arrival for arrival in arrivals if arrival.began > fresh[0].ended and arrival not in fresh]
    if profile is Profile.VICTORIAMETRICS:
        assert len(overtaken) > 100
    else:
        assert overtaken == []
    assert found.problems == {}


async def test_a_drain_begins_within_seconds_of_the_receivers_return() -> None:
    """However long it was away, and refusing connections shows its return the soonest."""
    found = Outage(Receiver([Phase(Mode.STOPPED, 3000)]), Profile.GENERIC)

    await found.run(620)

    assert found.receiver.arrivals[0].began - 3000 <= 5
    assert found.problems == {}


async def test_a_receiver_that_names_a_time_is_left_alone_until_then() -> None:
    found = Outage(Receiver([Phase(Mode.BUSY, 60)]), Profile.GENERIC)

    await found.run(20)

    refused = [arrival.ended for arrival in found.receiver.arrivals if not arrival.stored]
    assert len(refused) > 3
    assert all(later - earlier >= 7 for earlier, later in pairwise(refused))
    assert found.problems == {}
