"""Metadata over 1.0: every family is told once, when it is new, and again after a while."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Collected, Family, Kind, Update
from agent.store.describe import REPEAT_SECONDS, REQUEST_FAMILIES
from agent.wire import remote_write
from agent.wire.remote_write_pb2 import MetricMetadata, WriteRequest
from tests.core import GAUGE, Bench
from tests.store_world import TEMP, TIMES, World
from tests.test_wire_remote_write import TEXTS


def told(world: World, now: float = 0.0, group: str = "") -> list[str]:
    return [entry.metric_family_name for entry in entries(world, now, group)]


def entries(world: World, now: float = 0.0, group: str = "") -> list[MetricMetadata]:
    found: list[MetricMetadata] = []
    for rendered in world.view.described(group, now):
        assert (rendered.samples, rendered.metadata) == (0, True)
        found += WriteRequest.FromString(bytes(rendered.payload)).metadata
    return found


def put(world: World, families: Iterable[Family], group: str = "") -> None:
    updates = [Update(family, ("x",) * len(family.labels), 1.0, 0.0) for family in families]
    world.store.apply(world.feed, Collected(updates, group=group), 0.0)


@given(TEXTS, st.sampled_from(Kind), TEXTS, TEXTS)
def test_an_entry_is_what_protobuf_builds(name: str, kind: Kind, help: str, unit: str) -> None:
    request = WriteRequest()
    entry = request.metadata.add(metric_family_name=name, help=help, unit=unit)
    entry.type = getattr(MetricMetadata, kind.name)

    assert remote_write.metadata(name, kind, help, unit) == request.SerializeToString()


def test_a_family_is_told_once_with_its_type_help_and_unit() -> None:
    world = World()
    world.put("a")
    world.store.apply(world.feed, Collected([Update(TIMES, ("j",), (1, 1, 1, 1.0), 0.0)]), 0.0)

    found = entries(world)

    assert [(entry.metric_family_name, entry.type, entry.help, entry.unit) for entry in found] == [
        ("room_celsius", MetricMetadata.GAUGE, "Heat.", ""),
        ("job_seconds", MetricMetadata.HISTOGRAM, "How long.", "seconds"),
    ]
    assert told(world) == []


def test_a_new_family_is_told_alone() -> None:
    world = World()
    world.put("a")
    told(world)
    put(world, [GAUGE, TEMP])

    assert told(world) == ["g"]


def test_the_sample_names_of_one_exposed_family_are_told_under_its_name_once() -> None:
    world = World()
    names = ("x_seconds_bucket", "x_seconds_sum", "x_seconds_count")
    put(world, [Family(name, Kind.HISTOGRAM, "h", exposition_name="x_seconds") for name in names])

    assert told(world) == ["x_seconds"]


def test_all_are_told_again_after_a_while_or_when_the_clock_was_set_back() -> None:
    world = World()
    world.put("a")
    told(world, 1_000)

    assert told(world, 999 + REPEAT_SECONDS) == []
    assert told(world, 1_000 + REPEAT_SECONDS) == ["room_celsius"]
    assert told(world, 500) == ["room_celsius"]


def test_a_flush_group_tells_its_own_families() -> None:
    world = World()
    put(world, [GAUGE], "target")
    world.put("a")

    assert told(world, group="target") == ["g"]
    assert told(world) == ["room_celsius"]


def test_many_families_are_told_in_several_requests() -> None:
    world = World()
    put(world, [Family(f"f{number}", Kind.GAUGE, "h") for number in range(REQUEST_FAMILIES + 1)])

    sizes = [len(WriteRequest.FromString(bytes(said.payload)).metadata) for said in world.view.described("", 0.0)]

    assert sizes == [REQUEST_FAMILIES, 1]


def test_a_family_that_is_gone_is_not_told_again() -> None:
    world = World()
    world.put("a")
    put(world, [GAUGE])
    told(world)
    world.store.remove_feed(world.feed)
    list(world.pages(0.0, 0.0))
    for _ in world.store.expiring(10_000.0):
        pass
    for _ in world.store.expiring(20_000.0):
        pass

    assert told(world, 20_000.0) == []


@pytest.mark.anyio
async def test_a_lane_is_handed_metadata_as_a_block_without_samples_after_the_samples() -> None:
    bench = Bench()
    lane = bench.lane()
    bench.put({"a": 1.0})

    await bench.flusher.flush()

    (said,) = lane.metadata
    (entry,) = WriteRequest.FromString(snappy.uncompress(said.payload)).metadata
    assert (said.samples, said.flush, entry.metric_family_name, entry.help) == (0, 1, "g", "A gauge.")
    assert [item.samples for item in lane.items] == [1]
