"""The embedded receiver takes what our 2.0 view and zstd blocks say, and shows what families are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from trio.testing import MockClock

from agent.model import Block, Encoding, Form, Protocol
from agent.sim.received import Received
from agent.sim.receiver import Receiver
from agent.wire import decode, remote_write
from agent.wire.compress import compress
from agent.wire.remote_write2_pb2 import Request
from agent.wire.transcode import recoded
from tests.receivers import NOW, NOW_MS, UP, message
from tests.test_store_v2 import Pair, temp, times

pytestmark = pytest.mark.anyio

ZSTD = {"Content-Encoding": "zstd", "Content-Type": "application/x-protobuf", "X-VictoriaMetrics-Remote-Write-Version": "1"}
WRITE2 = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(lambda: NOW)


@pytest.fixture
async def client(receiver: Receiver) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver), base_url="http://receiver") as client:
        yield client


async def test_zstd_is_taken(client: httpx.AsyncClient, receiver: Receiver) -> None:
    body = compress(message((UP, [(NOW_MS, 1.0)])), Encoding.ZSTD)

    answer = await client.post("/api/v1/write", content=body, headers=ZSTD)

    assert answer.status_code == 204
    assert receiver.received.series == {UP: [(NOW_MS, 1.0)]}
    assert receiver.requests[0].headers["x-victoriametrics-remote-write-version"] == "1"


async def test_2_with_zstd_is_not_understood(client: httpx.AsyncClient) -> None:
    body = compress(Request(symbols=[""]).SerializeToString(), Encoding.ZSTD)

    assert (await client.post("/api/v1/write", content=body, headers=WRITE2 | {"Content-Encoding": "zstd"})).status_code == 415


@pytest.mark.parametrize("native", [False, True])
async def test_a_2_view_is_taken_whole_and_counted(client: httpx.AsyncClient, receiver: Receiver, native: bool) -> None:
    pair = Pair(native_histograms=native)
    pair.put(temp("a", 1.0), times("a", 1, 2, 5, 4.5))
    (payload,) = pair.walk(pair.two)

    answer = await client.post("/api/v1/write", content=compress(payload, Encoding.SNAPPY), headers=WRITE2)

    written = {kind: int(answer.headers[WRITTEN.format(kind)]) for kind in ("Samples", "Histograms", "Exemplars")}
    assert written == {"Samples": 1 if native else 6, "Histograms": int(native), "Exemplars": 0}
    old = recoded(Block(compress(payload, Encoding.SNAPPY), Protocol.REMOTE_WRITE_2, Encoding.SNAPPY, 6, 0, 0.0), V1)
    expected = Received()
    expected.add(decode.remote_write(decode.unpack(old.payload, Encoding.SNAPPY)))
    assert receiver.received.series == expected.series


V1 = Form(Protocol.REMOTE_WRITE, Encoding.SNAPPY)


async def test_what_families_are_is_shown_whichever_protocol_said_so(client: httpx.AsyncClient) -> None:
    pair = Pair()
    pair.put(times("a", 1, 2, 3, 4.5))
    (payload,) = pair.walk(pair.two)
    (said,) = pair.one.described("", 0.0)
    shown = []
    for body, headers in ((said.payload, {**WRITE2, "Content-Type": "application/x-protobuf"}), (payload, WRITE2)):
        await client.post("/api/v1/write", content=compress(body, Encoding.SNAPPY), headers=headers)
        shown.append((await client.get("/api/v1/metadata")).json()["data"])

    entry = {"type": "histogram", "help": "How long.", "unit": "seconds"}
    assert shown == [{"job_seconds": [entry]}, {"job_seconds": [entry]}]


def test_no_more_families_are_kept_than_there_is_room_for() -> None:
    received = Received()
    for first in (0, decode.MAX_FAMILIES):
        received.describe({f"f{first + n}": decode.Described("gauge", "", "") for n in range(decode.MAX_FAMILIES)})

    assert len(received.families) == decode.MAX_FAMILIES


def test_a_sample_older_than_its_start_is_refused() -> None:
    request = Request(symbols=["", "__name__", "a"])
    request.timeseries.add(labels_refs=[1, 2]).samples.add(value=1.0, timestamp=remote_write.FIRST_MS, start_timestamp=NOW_MS)

    with pytest.raises(decode.DecodeError, match="start"):
        decode.remote_write2(request.SerializeToString())
