"""Outages of the receiver in accelerated time: nothing is lost, order is kept as the receiver needs it."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sinks.remote_write import Receiver as Profile
from tests import outage
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


async def test_a_receiver_that_names_a_time_is_left_alone_until_then() -> None:
    found = Outage(Receiver([Phase(Mode.BUSY, 60)]), Profile.GENERIC)

    await found.run(20)

    refused = [arrival.ended for arrival in found.receiver.arrivals if not arrival.stored]
    assert len(refused) > 3
    assert all(later - earlier >= 7 for earlier, later in pairwise(refused))
    assert found.problems == {}
