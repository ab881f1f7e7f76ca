"""A scrape and its time: slow targets, timeouts, cancellation; on a virtual clock."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from tests.scraping import Stream, World, answering, source

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_a_slow_target_is_down_after_its_timeout() -> None:
    scrape = source(answering(Stream(b"a 1\n", None)), timeout_seconds=7)
    begun = anyio.current_time()

    collected = await scrape.pollers()[0].collect(None)

    assert anyio.current_time() - begun == pytest.approx(7)
    assert [update.value for update in collected.updates if update.family.name == "up"] == [0.0]


async def test_the_timeout_is_never_more_than_the_interval() -> None:
    scrape = source(answering(Stream(None)), interval=2, timeout_seconds=7)
    begun = anyio.current_time()

    await scrape.pollers()[0].collect(None)

    assert anyio.current_time() - begun == pytest.approx(2)


async def test_a_cancelled_scrape_is_no_failed_one() -> None:
    stream = Stream(None)
    scrape = source(answering(stream))

    with anyio.move_on_after(1) as patience:
        await scrape.pollers()[0].collect(None)

    assert patience.cancelled_caught
    assert stream.closed


async def test_a_target_says_since_when_it_counts() -> None:
    world = World("process_start_time_seconds 900.5\nx_total 1\n")

    assert (await world.scrape()).started == 900.5
    assert (await world.scrape("process_start_time_seconds 900.5\nx_total 2\n")).started == 900.5
    assert (await world.scrape("process_start_time_seconds 1010\nx_total 0\n")).started == 1010.0
    assert (await world.scrape("x_total 0\n")).started == 0.0


async def test_a_start_time_with_labels_is_another_process() -> None:
    world = World('process_start_time_seconds{name="other"} 900\n')

    assert (await world.scrape()).started == 0.0
