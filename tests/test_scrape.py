"""The scrape source: what a target's text becomes, from one scrape to the next."""

from __future__ import annotations

import logging
import math
import struct

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import STALE_NAN_BITS, Kind
from tests.scraping import OWN, World, same, series

pytestmark = pytest.mark.anyio

TEXT = """\
# HELP http_requests_total Requests, by code.
# TYPE http_requests_total counter
http_requests_total{code="200"} 10
http_requests_total{code="500"} 1
# TYPE temperature gauge
temperature -4.25
"""


async def test_a_first_scrape_lists_every_series_with_the_targets_labels() -> None:
    world = World()

    collected = await world.scrape(TEXT)

    assert world.scraped() == {
        series("http_requests_total", code="200", job="node", instance="127.0.0.1:9100"): 10.0,
        series("http_requests_total", code="500", job="node", instance="127.0.0.1:9100"): 1.0,
        series("temperature", job="node", instance="127.0.0.1:9100"): -4.25,
    }
    assert collected.complete == (collected.group,) == ("node/node/127.0.0.1:9100",)


async def test_the_targets_labels_are_constants_of_the_family() -> None:
    world = World(target={"job": "web", "instance": "one", "labels": {"rack": "7"}})

    await world.scrape('a{b="c"} 1\n')

    assert world.families["a"].labels == ("b",)
    assert world.families["a"].constants == (("job", "web"), ("instance", "one"), ("rack", "7"))


async def test_a_second_scrape_brings_only_the_values_that_changed() -> None:
    world = World()
    await world.scrape(TEXT)

    collected = await world.scrape(TEXT.replace("-4.25", "NaN"))

    assert [update.family.name for update in collected.updates if not update.family.name.startswith(OWN)] == ["temperature"]
    assert (collected.complete, collected.unchanged) == ((), (collected.group,))
    assert math.isnan(world.scraped("job", "instance")[series("temperature")])


async def test_a_line_that_vanished_ends_its_series_and_keeps_the_families_of_the_rest() -> None:
    world = World()
    await world.scrape(TEXT)
    family = world.families["http_requests_total"]

    collected = await world.scrape(TEXT.replace('http_requests_total{code="500"} 1\n', ""))

    assert collected.complete == (collected.group,)
    assert world.scraped("job", "instance") == {series("http_requests_total", code="200"): 10.0, series("temperature"): -4.25}
    assert world.families["http_requests_total"] is family


async def test_another_help_text_ends_no_series() -> None:
    world = World()
    await world.scrape(TEXT)
    family = world.families["http_requests_total"]

    await world.scrape(TEXT.replace("Requests, by code.", "Every request."))

    assert world.families["http_requests_total"] is family


async def test_without_a_cursor_everything_is_listed() -> None:
    world = World()
    await world.scrape(TEXT)
    world.cursor = None

    collected = await world.scrape()

    assert collected.complete == (collected.group,)
    assert len(world.scraped()) == 3


async def test_a_collect_whose_result_was_lost_hides_nothing_from_the_next() -> None:
    world = World()
    await world.scrape(TEXT)
    world.text = TEXT.replace("-4.25", "7")
    await world.collect(world.cursor)  # cancelled before it was applied

    await world.scrape()

    assert world.scraped("job", "instance")[series("temperature")] == 7.0


async def test_a_series_line_that_becomes_another_one_is_noticed() -> None:
    world = World()
    await world.scrape("a 1\nb 2\n")

    await world.scrape("a1 5\nb 2\n")

    assert world.scraped("job", "instance") == {series("a1"): 5.0, series("b"): 2.0}


LINES = st.tuples(
    st.sampled_from(["a", "a1", "b", 'a{x="1"}', 'a{x="1",y="2"}', 'a{y="2",x="1"}', 'a{x=""}', 'a{job="j"}', "up", "#", ""]),
    st.sampled_from([" ", "  ", "\t"]),
    st.sampled_from(["1", "2", "1e3", "NaN", "-Inf", "5.5"]),
    st.sampled_from(["", " 1600000000000", " ", ' # {id="1 2"} 3', "\r"]),
).map("".join)


@given(st.lists(st.lists(LINES, max_size=6), min_size=2, max_size=5), st.booleans())
async def test_a_known_target_reads_like_an_unknown_one(bodies: list[list[str]], honor: bool) -> None:
    known = World(target={"honor_labels": honor})

    for lines in bodies:
        text = "\n".join(line if line[:1] != "#" else "# note" for line in lines if line.strip("\t \r") != "")
        fresh = World(target={"honor_labels": honor})
        await known.scrape(text)
        await fresh.scrape(text)
        assert same(known.scraped(), fresh.scraped())
        assert known.own("up") == fresh.own("up")
        assert known.own("scrape_samples_scraped") == fresh.own("scrape_samples_scraped")


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4))
async def test_any_bytes_are_a_scrape_or_a_failed_one(bodies: list[bytes]) -> None:
    world = World()

    for body in bodies:
        await world.scrape(body)
        assert world.own("up") in (0.0, 1.0)


async def test_lines_may_end_as_on_windows() -> None:
    world = World()

    await world.scrape("# TYPE a gauge\r\na 1\r\n\r\nb 2\r")
    collected = await world.scrape("# TYPE a gauge\r\na 3\r\n\r\nb 2\r")

    assert world.scraped("job", "instance") == {series("a"): 3.0, series("b"): 2.0}
    assert world.families["a"].kind is Kind.GAUGE
    assert collected.unchanged


async def test_timestamps_are_ignored_and_counted() -> None:
    world = World()

    await world.scrape("a 1 1600000000000\nb 2\n")
    collected = await world.scrape("a 2 1600000015000\nb 2\n")

    assert world.scraped("job", "instance") == {series("a"): 2.0, series("b"): 2.0}
    assert world.own("scrape_sample_timestamps_ignored_total") == 2.0
    assert collected.unchanged


async def test_no_value_has_the_bits_of_a_staleness_marker() -> None:
    world = World()

    collected = await world.scrape("a NaN\n")

    bits = [struct.unpack("<Q", struct.pack("<d", update.value))[0] for update in collected.updates]
    assert STALE_NAN_BITS not in bits


async def test_the_scrape_reports_on_itself() -> None:
    world = World()

    collected = await world.scrape(TEXT)

    assert (world.own("up"), world.own("scrape_samples_scraped")) == (1.0, 3.0)
    assert world.own("scrape_duration_seconds") >= 0
    assert collected.group_at == 1015.0


async def test_a_clock_put_back_makes_no_update_older_than_the_last() -> None:
    world = World()
    first = await world.scrape(TEXT)
    world.now = 10.0

    second = await world.scrape(TEXT)

    assert second.updates[0].at >= first.updates[0].at
    assert second.group_at == 25.0


async def test_one_bad_line_fails_the_scrape_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.scrape(TEXT)

    collected = await world.scrape(TEXT.replace("-4.25", "warm"))

    assert (world.scraped(), world.own("up")) == ({}, 0.0)
    assert collected.complete == (collected.group,)
    assert "line 6: the value is not a number: 'temperature warm'" in caplog.text


async def test_a_failed_target_comes_back_whole() -> None:
    world = World(text=TEXT)
    await world.scrape()
    world.status = 503
    await world.scrape()
    world.status = 200

    await world.scrape()

    assert (len(world.scraped()), world.own("up")) == (3, 1.0)


async def test_failures_are_logged_once_until_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agent.sources.scrape")
    world = World(text=TEXT, status=500)

    for status in (500, 500, 404, 200, 200):
        world.status = status
        await world.scrape()

    assert [record.getMessage() for record in caplog.records if record.name == "agent.sources.scrape"] == [
        "scrape of http://127.0.0.1:9100/metrics fails: HTTP 500",
        "scrape of http://127.0.0.1:9100/metrics works again",
    ]


async def test_a_target_that_is_down_is_a_problem_until_it_works_again() -> None:
    world = World(text=TEXT, status=500)

    down = await world.scrape()
    world.status = 200

    assert down.problem == "scrape of http://127.0.0.1:9100/metrics fails: HTTP 500"
    assert (await world.scrape()).problem == ""


async def test_an_openmetrics_answer_without_its_end_was_cut_short() -> None:
    world = World(content_type="application/openmetrics-text; version=1.0.0; charset=utf-8")

    await world.scrape("a 1\n")
    cut = world.own("up")
    await world.scrape("a 1\n# EOF\n")

    assert (cut, world.own("up")) == (0.0, 1.0)


async def test_more_samples_than_allowed_fail_the_scrape() -> None:
    world = World(target={"max_samples": 2})

    await world.scrape("a 1\nb 2\n")
    enough = world.own("up")
    await world.scrape("a 1\nb 2\nc 3\n")

    assert (enough, world.own("up")) == (1.0, 0.0)


async def test_a_long_exposition_lets_others_run_while_it_is_read() -> None:
    world = World(text="".join(f'a{{n="{number}"}} {number}\n' for number in range(20_000)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await world.scrape()
        group.cancel_scope.cancel()

    assert turns >= 10
