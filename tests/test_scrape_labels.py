"""What a scraped series is called: its family, its labels, and whose they are."""

from __future__ import annotations

import pytest

from agent.model import Kind
from tests.scraping import World, series

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("announced", "sample", "kind", "shown"),
    [
        ("# TYPE a counter", "a", Kind.COUNTER, "a"),
        ("# TYPE a counter", "a_total", Kind.COUNTER, "a_total"),
        ("# TYPE a_total counter", "a_total", Kind.COUNTER, "a_total"),
        ("# TYPE a histogram", 'a_bucket{le="1"}', Kind.HISTOGRAM, "a"),
        ("# TYPE a histogram", "a_sum", Kind.HISTOGRAM, "a"),
        ("# TYPE a histogram", "a_max", Kind.UNKNOWN, "a_max"),
        ("# TYPE a summary", 'a{quantile="0.5"}', Kind.SUMMARY, "a"),
        ("# TYPE a summary", "a_count", Kind.SUMMARY, "a"),
        ("# TYPE a gauge\n# TYPE a_sum gauge", "a_sum", Kind.GAUGE, "a_sum"),
        ("# TYPE a info", "a_info", Kind.INFO, "a_info"),
        ("# TYPE a untyped", "a", Kind.UNKNOWN, "a"),
        ("# TYPE b gauge", "a", Kind.UNKNOWN, "a"),
    ],
)
async def test_a_sample_belongs_to_the_family_that_was_announced(announced: str, sample: str, kind: Kind, shown: str) -> None:
    world = World()

    await world.scrape(f"{announced}\n{sample} 1\n")

    family = world.families[sample.partition("{")[0]]
    assert (family.kind, family.exposition_name) == (kind, shown)


async def test_help_and_unit_are_kept() -> None:
    world = World()

    await world.scrape("# HELP a_seconds How\\nlong.\n# UNIT a_seconds seconds\n# TYPE a_seconds gauge\na_seconds 1\n")

    assert (world.families["a_seconds"].help, world.families["a_seconds"].unit) == ("How\nlong.", "seconds")


async def test_a_scraped_label_called_like_the_targets_is_renamed() -> None:
    world = World()

    await world.scrape('test{job="original",instance="foo"} 1\n')

    assert list(world.scraped()) == [
        series("test", exported_job="original", exported_instance="foo", job="node", instance="127.0.0.1:9100")
    ]


async def test_a_name_that_is_taken_is_renamed_again() -> None:
    world = World()

    await world.scrape('test{job="a",exported_job="b"} 1\n')

    assert list(world.scraped("instance")) == [series("test", exported_exported_job="a", exported_job="b", job="node")]


async def test_honored_labels_win_over_the_targets() -> None:
    world = World(target={"honor_labels": True})

    await world.scrape('test{job="original"} 1\ntest{instance=""} 2\n')

    assert world.scraped() == {
        series("test", job="original", instance="127.0.0.1:9100"): 1.0,
        series("test", job="node"): 2.0,
    }


async def test_labels_without_a_value_are_absent() -> None:
    world = World()

    await world.scrape('test{a=""} 1.0\n')

    assert list(world.scraped("job", "instance")) == [series("test")]


async def test_of_two_lines_for_one_series_the_first_counts() -> None:
    world = World()

    await world.scrape('a{x="1",y="2"} 1\na{y="2",x="1"} 2\n')
    await world.scrape('a{x="1",y="2"} 1\na{y="2",x="1"} 3\n')

    assert world.scraped("job", "instance") == {series("a", x="1", y="2"): 1.0}
    assert world.own("scrape_samples_duplicate_total") == 2.0


@pytest.mark.parametrize("honored", ['a{job="node"} 1\na 2\n', 'a{job="node",instance="127.0.0.1:9100"} 1\na 2\n'])
async def test_an_honored_label_equal_to_the_targets_makes_no_second_series(honored: str) -> None:
    world = World(target={"honor_labels": True})

    collected = await world.scrape(honored)

    assert len([update for update in collected.updates if update.family.name == "a"]) == 1
    assert list(world.scraped().values()) == [1.0]


async def test_a_target_cannot_say_that_it_is_down() -> None:
    world = World()

    collected = await world.scrape("up 0\na 1\n")

    assert world.own("up") == 1.0
    assert len([update for update in collected.updates if update.family.name == "up"]) == 1
