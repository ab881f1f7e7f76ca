"""What our sender does with each answer of a real Prometheus 2.42, plain and with an out-of-order window.

One row for each case that its receiver is known to treat in its own way; blocks are made by hand, because the
store could not even hold most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from agent.model import STALE_NAN_BITS, Block
from agent.wire.remote_write_pb2 import BucketSpan, Histogram
from tests import crafted, servers
from tests.crafted import block, labels, request, to_remote_write

pytestmark = pytest.mark.anyio

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
OUT_OF_ORDER = "storage: {tsdb: {out_of_order_time_window: 10m}}\n"

Points = list[tuple[float, int]]


@pytest.fixture
def anyio_backend() -> object:
    return crafted.fast_backend()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Prometheus]:
    """As it comes, but for the receiver."""
    with servers.prometheus(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Prometheus]:
    """With an out-of-order window of ten minutes, and native histograms."""
    folder = tmp_path_factory.mktemp("lenient")
    with servers.prometheus(folder, "--enable-feature=native-histograms", more_config=OUT_OF_ORDER) as server:
        yield server


@dataclass(frozen=True)
class Case:
    """What is sent, one block after the other, and what comes of it."""

    name: str
    blocks: Callable[[str, int], list[Block]]
    """From the metric's name and the present in milliseconds."""
    stored: Callable[[int], Points]
    """Values and times in the receiver afterwards, of all series of that name."""
    codes: frozenset[str]
    dropped: int = 0


def one(name: str, value: float, at: int, **more: str) -> Block:
    """A block with one sample."""
    return block((labels(name, **more), [(value, at)]))


def mixed(name: str, now: int, old: int) -> list[Block]:
    """A first sample, then one request of a good one, an old one, and a good one."""
    first = (labels(name, n="old"), [(1.0, now)])
    good = [(labels(name, n=n), [(2.0, now)]) for n in ("good", "too")]
    return [block(first), block(good[0], (labels(name, n="old"), [(3.0, now - old)]), good[1])]


def doubled(name: str, now: int) -> list[Block]:
    """A request with a series between two good ones that has a label twice."""
    good = [(labels(name, n=n), [(2.0, now)]) for n in ("a", "z")]
    return [block(good[0], ([*labels(name), ("a", "1"), ("a", "2")], [(9.0, now)]), good[1])]


def with_metadata(name: str, now: int) -> list[Block]:
    """A request that also says what the family measures."""
    message = request((labels(name), [(1.0, now)]))
    message.metadata.add(metric_family_name=name, help="a help text", type=2)
    return [crafted.packed(message, 1, now)]


def with_native_histogram(name: str, now: int) -> list[Block]:
    """A request with a native histogram between two plain samples."""
    message = request(*[(labels(name, n=n), [(2.0, now)]) for n in ("a", "z")])
    entry = message.timeseries.add()
    for key, value in labels(f"{name}_native"):
        entry.labels.add(name=key, value=value)
    spans = [BucketSpan(offset=0, length=1)]
    entry.histograms.append(Histogram(count_int=3, sum=4.0, schema=0, positive_spans=spans, positive_deltas=[3], timestamp=now))
    return [crafted.packed(message, 3, now)]


EVERYWHERE = (
    Case(
        "an identical resend is harmless",
        lambda name, now: [one(name, 1.0, now), one(name, 1.0, now)],
        lambda now: [(1.0, now)],
        frozenset({"204"}),
    ),
    Case(
        "another value at the same time is refused and counted",
        lambda name, now: [one(name, 1.0, now), one(name, 2.0, now), one(name, 3.0, now + 1)],
        lambda now: [(1.0, now), (3.0, now + 1)],
        frozenset({"204", "400"}),
        dropped=1,
    ),
    Case(
        "a new series may be 20 minutes old",
        lambda name, now: [one(name, 1.0, now - 20 * MINUTE)],
        lambda now: [(1.0, now - 20 * MINUTE)],
        frozenset({"204"}),
    ),
    Case(
        "a label twice costs that series alone, though the answer is 500",
        doubled,
        lambda now: [(2.0, now), (2.0, now)],
        frozenset({"204", "500"}),
        dropped=1,
    ),
    Case(
        "names that only newer versions refuse are taken as they are",
        lambda name, now: [block((labels(name, **{"a.b": "1", "bad-name": "2"}), [(1.0, now)]))],
        lambda now: [(1.0, now)],
        frozenset({"204"}),
    ),
    Case(
        "unsorted labels and an empty one are put right by the receiver",
        lambda name, now: [block(([("z", "1"), ("__name__", name), ("a", ""), ("b", "2")], [(1.0, now)]))],
        lambda now: [(1.0, now)],
        frozenset({"204"}),
    ),
    Case("metadata disturbs nothing", with_metadata, lambda now: [(1.0, now)], frozenset({"204"})),
)

PLAIN = (
    Case(
        "5 s older than the last is refused and counted",
        lambda name, now: [one(name, 1.0, now), one(name, 2.0, now - 5 * SECOND)],
        lambda now: [(1.0, now)],
        frozenset({"204", "400"}),
        dropped=1,
    ),
    Case(
        "20 minutes older is refused and counted",
        lambda name, now: [one(name, 1.0, now), one(name, 2.0, now - 20 * MINUTE)],
        lambda now: [(1.0, now)],
        frozenset({"204", "400"}),
        dropped=1,
    ),
    Case(
        "3 h older is refused and counted",
        lambda name, now: [one(name, 1.0, now), one(name, 2.0, now - 3 * HOUR)],
        lambda now: [(1.0, now)],
        frozenset({"204", "400"}),
        dropped=1,
    ),
    Case(
        "an old sample between good ones costs that sample alone",
        lambda name, now: mixed(name, now, 5 * SECOND),
        lambda now: [(2.0, now), (1.0, now), (2.0, now)],
        frozenset({"204", "400"}),
        dropped=1,
    ),
    Case(
        "a native histogram costs that histogram alone, though the answer is 500",
        with_native_histogram,
        lambda now: [(2.0, now), (2.0, now)],
        frozenset({"204", "500"}),
        dropped=1,
    ),
)

LENIENT = (
    Case(
        "5 s older than the last is stored",
        lambda name, now: [one(name, 1.0, now), one(name, 2.0, now - 5 * SECOND)],
        lambda now: [(2.0, now - 5 * SECOND), (1.0, now)],
        frozenset({"204"}),
    ),
    Case(
        "too old between good ones costs that sample alone, though the answer is 500",
        lambda name, now: mixed(name, now, 20 * MINUTE),
        lambda now: [(2.0, now), (1.0, now), (2.0, now)],
        frozenset({"204", "500"}),
        dropped=1,
    ),
    Case(
        "3 h older between good ones costs that sample alone, though the answer is 500",
        lambda name, now: mixed(name, now, 3 * HOUR),
        lambda now: [(2.0, now), (1.0, now), (2.0, now)],
        frozenset({"204", "500"}),
        dropped=1,
    ),
    Case(
        "a native histogram is stored",
        with_native_histogram,
        lambda now: [(2.0, now), (2.0, now)],
        frozenset({"204"}),
    ),
)


def metric(case: Case) -> str:
    """A name that no other case uses."""
    return "case_" + "".join(c if c.isalnum() else "_" for c in case.name)


async def hold(case: Case, server: servers.Prometheus) -> None:
    """The claim of a case."""
    name, now = metric(case), crafted.now_ms()

    found = await to_remote_write(server.url).deliver(*case.blocks(name, now))

    # Series come in no order of ours.
    stored = [point for series in server.samples(name, "4h") for point in zip(series.values, series.timestamps_ms, strict=True)]
    assert sorted(stored) == sorted(case.stored(now))
    assert sum(found.dropped.values()) == case.dropped, found
    assert sum(kept.samples for kept in found.quarantined) == case.dropped
    assert found.codes == case.codes
    assert found.status["queue_blocks"] == 0


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", [*EVERYWHERE, *PLAIN], ids=named)
async def test_what_a_plain_prometheus_makes_of_it(case: Case, plain: servers.Prometheus) -> None:
    await hold(case, plain)


@pytest.mark.parametrize("case", [*EVERYWHERE, *LENIENT], ids=named)
async def test_what_a_prometheus_with_an_out_of_order_window_makes_of_it(case: Case, lenient: servers.Prometheus) -> None:
    await hold(case, lenient)


async def test_a_staleness_marker_ends_a_series_for_queries(plain: servers.Prometheus) -> None:
    now = crafted.now_ms()
    ended = request((labels("ends"), [(0.0, now + 1)])).SerializeToString()
    marked = ended.replace(b"\x09" + bytes(8), b"\x09" + STALE_NAN_BITS.to_bytes(8, "little"))

    await to_remote_write(plain.url).deliver(one("ends", 1.0, now))
    before = plain.query("ends", now / 1000)
    await to_remote_write(plain.url).deliver(crafted.packed(request().FromString(marked), 1, now + 1))

    assert before
    assert plain.query("ends", (now + 1) / 1000) == []
    assert plain.samples("ends")[0].values == [1.0]


async def test_a_native_histogram_can_be_queried_where_they_are_on(lenient: servers.Prometheus) -> None:
    now = crafted.now_ms()

    await to_remote_write(lenient.url).deliver(*with_native_histogram("queried", now))

    assert [found["value"][1] for found in lenient.query("histogram_count(queried_native)", now / 1000)] == ["3"]


async def test_what_is_older_than_an_hour_is_not_even_sent_to_a_prometheus(plain: servers.Prometheus) -> None:
    now = crafted.now_ms()
    blocks = [one("aged", 1.0, now - 2 * HOUR), one("aged", 2.0, now)]

    found = await to_remote_write(plain.url, receiver="prometheus").deliver(*blocks)

    assert found.dropped == {"too_old": 1}
    assert found.requests == {"204": 1}


async def test_a_lone_sample_that_is_answered_500_is_given_up_while_a_fresh_one_is_stored(lenient: servers.Prometheus) -> None:
    """Nothing of its block is accepted; that it is not the receiver's trouble is told by a sample of our own."""
    now = crafted.now_ms()
    blocks = [one("lone", 1.0, now), one("lone", 2.0, now - 20 * MINUTE), one("lone", 3.0, now + 1)]

    found = await to_remote_write(lenient.url).deliver(*blocks)

    assert lenient.samples("lone")[0].values == [1.0, 3.0]
    assert found.dropped == {"rejected": 1}


async def test_a_receiver_that_is_switched_off_is_told_as_misconfigured(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The address of a Prometheus without its receiver answers 404; nothing is lost, somebody has to look."""
    with servers.prometheus(tmp_path_factory.mktemp("off")) as server:
        found = to_remote_write(server.url + "/elsewhere")
        outcome = await found.sink.send(one("off", 1.0, crafted.now_ms()))
        await found.sink.aclose()

    assert type(outcome).__name__ == "Misconfigured"
    assert outcome.code == "404"
