"""What our sender does with each answer of a real VictoriaMetrics 1.79.5, over remote-write and the import endpoint."""

from __future__ import annotations

import gzip
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import httpx
import pytest

from agent.model import STALE_NAN_BITS, Block, Encoding, Protocol
from agent.wire.remote_write_pb2 import Histogram
from tests import crafted, servers
from tests.crafted import block, labels, request, to_import, to_remote_write

pytestmark = pytest.mark.anyio

SECOND, HOUR = 1000, 3_600_000
DAY = 24 * HOUR

Stored = list[tuple[dict[str, str], float, int]]
"""Labels without the name, value and time of each sample."""


@pytest.fixture
def anyio_backend() -> object:
    return crafted.fast_backend()


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.VictoriaMetrics]:
    """One of our own, because its counters are read."""
    with servers.victoria_metrics(tmp_path_factory.mktemp("victoria")) as server:
        yield server


@dataclass(frozen=True)
class Case:
    """What is sent, one block after the other, and what it holds afterwards."""

    name: str
    blocks: Callable[[str, int], list[Block]]
    """From the metric's name and the present in milliseconds."""
    stored: Callable[[int], Stored]
    codes: frozenset[str] = frozenset({"204"})
    dropped: int = 0


def one(name: str, value: float, at: int, **more: str) -> Block:
    """A block with one sample."""
    return block((labels(name, **more), [(value, at)]))


def numbered(count: int) -> dict[str, str]:
    """So many labels."""
    return {f"l{i:02}": str(i) for i in range(count)}


def with_a_native_histogram(name: str, now: int) -> list[Block]:
    """A plain sample, and a native histogram."""
    message = request((labels(name), [(1.0, now)]), (labels(name, native="1"), []))
    message.timeseries[1].histograms.append(Histogram(count_int=3, sum=4.0, timestamp=now))
    message.metadata.add(metric_family_name=name, help="a help text", type=2)
    message.timeseries[0].exemplars.add(value=1.0, timestamp=now)
    return [crafted.packed(message, 2, now)]


CASES = (
    Case(
        "an identical resend is stored twice, identically",
        lambda name, now: [one(name, 1.0, now), one(name, 1.0, now)],
        lambda now: [({}, 1.0, now), ({}, 1.0, now)],
    ),
    Case(
        "any age and order within the retention is stored",
        lambda name, now: [one(name, 1.0, now), one(name, 2.0, now - 3 * HOUR), one(name, 3.0, now - 20 * DAY)],
        lambda now: [({}, 3.0, now - 20 * DAY), ({}, 2.0, now - 3 * HOUR), ({}, 1.0, now)],
    ),
    Case(
        "labels are sorted by the receiver, empty ones left out, of a double one the last is kept",
        lambda name, now: [block(([("b", "2"), ("__name__", name), ("e", ""), ("a", "1"), ("a", "3")], [(1.0, now)]))],
        lambda now: [({"a": "3", "b": "2"}, 1.0, now)],
    ),
    Case(
        "infinities are stored, a plain NaN is not",
        lambda name, now: [
            block((labels(name), [(math.inf, now), (-math.inf, now + 1), (math.nan, now + 2), (5.0, now + 3)])),
        ],
        lambda now: [({}, math.inf, now), ({}, -math.inf, now + 1), ({}, 5.0, now + 3)],
    ),
    Case(
        "too far ahead and too far back is ignored though the answer is 204",
        lambda name, now: [one(name, 1.0, now + 3 * DAY), one(name, 2.0, now), one(name, 3.0, now - 4000 * DAY)],
        lambda now: [({}, 2.0, now)],
    ),
    Case(
        "of 36 labels six are lost though the answer is 204",
        lambda name, now: [one(name, 1.0, now, **numbered(36))],
        lambda now: [(numbered(29), 1.0, now)],
    ),
    Case(
        "a long value is cut though the answer is 204",
        lambda name, now: [one(name, 1.0, now, long="x" * 20_000)],
        lambda now: [({"long": "x" * 16_384}, 1.0, now)],
    ),
    Case(
        "metadata and exemplars disturb nothing; a native histogram is silently dropped",
        with_a_native_histogram,
        lambda now: [({}, 1.0, now)],
    ),
    Case(
        "a body that is garbage is dropped and holds up nothing",
        lambda name, now: [replace(one(name, 1.0, now), payload=b"garbage"), one(name, 2.0, now)],
        lambda now: [({}, 2.0, now)],
        codes=frozenset({"204", "400"}),
        dropped=1,
    ),
)


def held(server: servers.VictoriaMetrics, name: str) -> Stored:
    """What the receiver has of a metric, in the order of time."""
    found = [
        ({key: text for key, text in series.labels.items() if key != "__name__"}, value, at)
        for series in server.export(name)
        for value, at in zip(series.values, series.timestamps_ms, strict=True)
    ]
    return sorted(found, key=lambda point: (point[2], point[1]))


def metric(case: Case) -> str:
    """A name that no other case uses."""
    return "case_" + "".join(c if c.isalnum() else "_" for c in case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_victoria_metrics_makes_of_remote_write(case: Case, victoria: servers.VictoriaMetrics) -> None:
    name, now = metric(case), crafted.now_ms()

    found = await to_remote_write(victoria.url).deliver(*case.blocks(name, now))

    assert held(victoria, name) == case.stored(now)
    assert sum(found.dropped.values()) == case.dropped, found
    assert found.codes == case.codes
    assert found.status["queue_blocks"] == 0


async def test_a_staleness_marker_is_kept_and_ends_the_series_for_queries(victoria: servers.VictoriaMetrics) -> None:
    now = crafted.now_ms()
    ended = request((labels("ends"), [(0.0, now)])).SerializeToString()
    marked = ended.replace(b"\x09" + bytes(8), b"\x09" + STALE_NAN_BITS.to_bytes(8, "little"))
    ending = crafted.packed(request().FromString(marked), 1, now)

    await to_remote_write(victoria.url).deliver(one("ends", 1.0, now - SECOND), ending)

    points = held(victoria, "ends")
    assert [(math.isnan(value), at) for _, value, at in points] == [(False, now - SECOND), (True, now)]
    assert query(victoria, "ends", now / 1000 + 1) == []
    assert query(victoria, "ends", now / 1000 - 0.5) == [1.0]


def query(server: servers.VictoriaMetrics, expression: str, at: float) -> list[float]:
    """The values of an instant query."""
    params = {"query": expression, "time": f"{at:.3f}", "nocache": "1"}
    answer = httpx.get(f"{server.url}/api/v1/query", params=params, timeout=10.0).raise_for_status()
    return [float(found["value"][1]) for found in answer.json()["data"]["result"]]


def lines(*raw: str) -> Block:
    """An import block with these lines."""
    payload = gzip.compress("".join(line + "\n" for line in raw).encode(), mtime=0)
    return Block(payload, Protocol.IMPORT, Encoding.GZIP, len(raw), crafted.now_ms(), time.time())


def line(name: str, values: str, at: int) -> str:
    """One import line."""
    return f'{{"metric":{json.dumps({"__name__": name})},"values":[{values}],"timestamps":[{at}]}}'


BAD_LINES: dict[str, Callable[[int], str]] = {
    "null": lambda at: line("import_null", "null", at),
    "a quoted NaN": lambda at: line("import_nan", '"NaN"', at),
    "a quoted infinity": lambda at: line("import_inf", '"Infinity"', at),
    "a fraction of a millisecond": lambda at: line("import_float", "1", at).replace(str(at), f"{at}.5"),
    "no JSON": lambda at: "nonsense",
}


@pytest.mark.parametrize("kind", BAD_LINES)
async def test_a_bad_import_line_is_lost_silently_and_the_others_are_stored(kind: str, victoria: servers.VictoriaMetrics) -> None:
    """Which is why our encoder writes none of these, and why remote-write is the better way."""
    now, good = crafted.now_ms(), "good_beside_" + "".join(c if c.isalnum() else "_" for c in kind)
    before = victoria.rows_invalid()

    found = await to_import(victoria.url).deliver(lines(line(good, "1.5", now), BAD_LINES[kind](now), line(good, "2.5", now + 1)))

    assert [value for _, value, _ in held(victoria, good)] == [1.5, 2.5]
    servers.eventually(lambda: victoria.rows_invalid() == before + 1, "its counter tells of the line")
    assert found.codes == {"204"}


async def test_import_lines_arrive_packed_with_gzip(victoria: servers.VictoriaMetrics) -> None:
    now = crafted.now_ms()

    found = await to_import(victoria.url).deliver(lines(line("imported", "0.1", now)), lines(line("imported", "0.2", now + 1)))

    assert held(victoria, "imported") == [({}, 0.1, now), ({}, 0.2, now + 1)]
    assert found.requests == {"204": 2}
