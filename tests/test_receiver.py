"""The embedded receiver: what it takes, what it refuses, and what it shows."""

from __future__ import annotations

import gzip
import struct
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
import snappy
from trio.testing import MockClock

from agent.model import STALE_NAN_BITS
from agent.sim.faults import Answer, Close, Delay, Faults, Lose
from agent.sim.receiver import Receiver, RefusedError, grouping, serve
from agent.web.server import MAX_BODY_BYTES
from agent.wire import decode, remote_write2_pb2, vm_import
from tests.receivers import NOW, NOW_MS, UP, message, values, written

pytestmark = pytest.mark.anyio

WRITE = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
WRITE2 = WRITE | {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}


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


async def test_remote_write_is_kept_as_sent(client: httpx.AsyncClient, receiver: Receiver) -> None:
    answer = await client.post("/api/v1/write", content=written((UP, [(NOW_MS, 1.0), (NOW_MS + 1, -0.0)])), headers=WRITE)

    assert answer.status_code == 204
    assert repr(receiver.received.series) == repr({UP: [(NOW_MS, 1.0), (NOW_MS + 1, -0.0)]})


async def test_a_staleness_marker_is_told_from_a_nan_by_its_bits(client: httpx.AsyncClient, receiver: Receiver) -> None:
    body = message((UP, [(NOW_MS, 7.0), (NOW_MS + 1, float("nan"))])).replace(
        struct.pack("<d", 7.0), struct.pack("<Q", STALE_NAN_BITS)
    )

    await client.post("/api/v1/write", content=snappy.compress(body), headers=WRITE)

    assert [decode.is_stale(value) for _time, value in receiver.received.series[UP]] == [True, False]
    assert receiver.received.stale_markers == 1


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ((("job", "ci"), ("__name__", "up")), "order of bytes"),
        ((("__name__", "up"), ("job", "")), "empty value"),
        ((("__name__", "up"), ("job", "a"), ("job", "b")), "twice"),
        ((("__name__", "up"), ("a.b", "c")), "bad label name"),
        ((("job", "ci"),), "missing __name__"),
        ((("__name__", "1up"),), "bad or missing __name__"),
    ],
)
async def test_labels_against_the_rules_are_refused_with_their_names(
    client: httpx.AsyncClient, receiver: Receiver, labels: tuple[tuple[str, str], ...], complaint: str
) -> None:
    answer = await client.post("/api/v1/write", content=written((UP, [(1, 1.0)]), (labels, [(1, 1.0)])), headers=WRITE)

    assert answer.status_code == 400
    assert complaint in answer.text
    assert receiver.received.series == {}


async def test_uppercase_names_sort_before_the_metric_name(client: httpx.AsyncClient) -> None:
    labels = (("Zone", "a"), ("__name__", "up"), ("job", "ci"))

    answer = await client.post("/api/v1/write", content=written((labels, [(1, 1.0)])), headers=WRITE)

    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "begin with its size"),
        (b"\xff\xff\xff\xff\x0f", "the limit is"),
        (b"\x05\xffgarbage", "not a snappy block"),
        (b"\xff\x06\x00\x00sNaPpY", "not a snappy block"),
        (snappy.compress(b"\xff\xff"), "not a remote-write 1.0 message"),
        (written((UP, [])), "no sample"),
        (written((UP, [(2, 1.0), (1, 1.0)])), "order of time"),
    ],
)
async def test_a_body_that_is_not_remote_write_is_refused(client: httpx.AsyncClient, body: bytes, complaint: str) -> None:
    answer = await client.post("/api/v1/write", content=body, headers=WRITE)

    assert (answer.status_code, complaint in answer.text) == (400, True), answer.text


@pytest.mark.parametrize("headers", [{"Content-Encoding": "br"}, {"Content-Type": "text/plain"}, {"Content-Encoding": ""}])
async def test_an_unknown_encoding_or_message_is_answered_415(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/api/v1/write", content=written((UP, [(1, 1.0)])), headers=WRITE | headers)

    assert answer.status_code == 415


def request2(symbols: list[str], refs: list[int]) -> bytes:
    request = remote_write2_pb2.Request(symbols=symbols)
    series = request.timeseries.add(labels_refs=refs)
    series.samples.add(value=5.0, timestamp=NOW_MS)
    return bytes(snappy.compress(request.SerializeToString()))


async def test_remote_write_2_is_answered_with_what_was_written(client: httpx.AsyncClient, receiver: Receiver) -> None:
    body = request2(["", "__name__", "up", "job", "ci"], [1, 2, 3, 4])

    answer = await client.post("/api/v1/write", content=body, headers=WRITE2)

    assert answer.headers["X-Prometheus-Remote-Write-Samples-Written"] == "1"
    assert receiver.received.series == {UP: [(NOW_MS, 5.0)]}


@pytest.mark.parametrize(
    ("symbols", "refs"),
    [([], []), (["x"], []), (["", "a", "a"], [1, 2]), (["", "__name__"], [1]), (["", "__name__"], [1, 2])],
)
async def test_broken_symbols_are_refused(client: httpx.AsyncClient, symbols: list[str], refs: list[int]) -> None:
    answer = await client.post("/api/v1/write", content=request2(symbols, refs), headers=WRITE2)

    assert answer.status_code == 400


async def test_import_lines_are_kept(client: httpx.AsyncClient, receiver: Receiver) -> None:
    body, _skipped = vm_import.lines([vm_import.prefix(UP)], [2.5], NOW_MS)

    answer = await client.post("/api/v1/import", content=gzip.compress(body), headers={"Content-Encoding": "gzip"})

    assert answer.status_code == 204
    assert receiver.received.series == {UP: [(NOW_MS, 2.5)]}


@pytest.mark.parametrize(
    "line",
    [
        '{"metric":{"__name__":"up"},"values":[NaN],"timestamps":[1]}',
        '{"metric":{"__name__":"up"},"values":[null],"timestamps":[1]}',
        '{"metric":{"__name__":"up"},"values":[1e999],"timestamps":[1]}',
        '{"metric":{"__name__":"up"},"values":[1],"timestamps":[1.5]}',
        '{"metric":{"__name__":"up"},"values":[1],"timestamps":[]}',
        '{"metric":{"__name__":"up","a":""},"values":[1],"timestamps":[1]}',
        '{"metric":{"__name__":"up","a":"\\ud800"},"values":[1],"timestamps":[1]}',
        '{"metric":{"__name__":"up"},"values":[1%s],"timestamps":[1]}' % ("0" * 400),
        '{"metric":{}',
        "[" * 100_000,
    ],
)
async def test_a_bad_import_line_is_refused_with_its_number(client: httpx.AsyncClient, line: str) -> None:
    good = '{"metric":{"__name__":"up"},"values":[1],"timestamps":[1]}'

    answer = await client.post("/api/v1/import", content=f"{good}\n{line}\n".encode())

    assert (answer.status_code, answer.text[:7]) == (400, "line 2:")


async def test_a_pushed_group_is_replaced_whole(client: httpx.AsyncClient) -> None:
    await client.put("/metrics/job/ci/instance/a", content=b"x 1\ny 1\n")

    await client.put("/metrics/job/ci/instance/a", content=b"x 2\n")

    assert await values(client, '{job="ci",instance="a"}') == {"x": "2"}


async def test_a_post_replaces_only_metrics_of_the_same_name(client: httpx.AsyncClient) -> None:
    await client.put("/metrics/job/ci", content=b'x{a="1"} 1\ny 1\n')

    await client.post("/metrics/job/ci", content=b'x{a="2"} 2\n')

    assert await values(client, '{job="ci"}') == {"x": "2", "y": "1"}


async def test_a_deleted_group_is_gone_and_its_neighbour_stays(client: httpx.AsyncClient) -> None:
    await client.put("/metrics/job/ci", content=b"x 1\n")
    await client.put("/metrics/job/ci/instance/a", content=b"y 1\n")

    answer = await client.delete("/metrics/job/ci")

    assert answer.status_code == 202
    assert await values(client, '{job="ci"}') == {"y": "1"}


async def test_the_grouping_key_overrides_the_body(client: httpx.AsyncClient) -> None:
    await client.put("/metrics/job/ci", content=b'x{job="other"} 1\n')

    assert await values(client, 'x{job="ci"}') == {"x": "1"}


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/metrics/job/ci", {"job": "ci"}),
        ("/metrics/job/a%2Fb/instance/x%20y", {"job": "a/b", "instance": "x y"}),
        ("/metrics/job/ci/path@base64/Z3JwL3Byb2o", {"job": "ci", "path": "grp/proj"}),
        ("/metrics/job@base64/Y2k=/empty@base64/=", {"job": "ci", "empty": ""}),
    ],
)
def test_a_grouping_key_is_read_from_its_path(path: str, labels: dict[str, str]) -> None:
    assert dict(grouping(path)) == labels


@pytest.mark.parametrize(
    "path", ["/metrics/job", "/metrics/job//a/b", "/metrics/job/x/__a/b", "/metrics/job@base64/a", "/metrics/a/b"]
)
def test_a_bad_grouping_key_is_refused(path: str) -> None:
    with pytest.raises(RefusedError):
        grouping(path)


@pytest.mark.parametrize("body", [b"x 1", b"x 1 1700000000000\n", b"x 1\nx 1\n", b'x{a="1} 1\n', b"\xff 1\n"])
async def test_pushed_text_against_the_rules_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.put("/metrics/job/ci", content=body)).status_code == 400


async def test_the_requests_page_keeps_no_credentials(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/write", content=b"", headers=WRITE | {"Authorization": "Bearer hunter2hunter2"})

    answer = await client.get("/requests")

    assert "hunter2" not in answer.text
    assert answer.json()[0]["status"] == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/nowhere", 404), ("PUT", "/api/v1/write", 405), ("PATCH", "/metrics/job/ci", 405)],
)
async def test_what_is_not_served_is_answered_so(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    assert (await client.request(method, path)).status_code == status


async def test_an_import_in_an_unknown_encoding_is_answered_415(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/import", headers={"Content-Encoding": "zstd"})).status_code == 415


async def test_the_first_sample_is_announced_once() -> None:
    announced: list[bool] = []
    receiver = Receiver(lambda: NOW, on_first=lambda: announced.append(True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver), base_url="http://receiver") as client:
        for _ in range(2):
            await client.post("/api/v1/write", content=written((UP, [(1, 1.0)])), headers=WRITE)

    assert announced == [True]


async def test_a_scripted_answer_stores_nothing_and_is_used_up(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.faults.extend([Answer(503, (("Retry-After", "7"),), times=2)])
    body = written((UP, [(1, 1.0)]))

    found = [(await client.post("/api/v1/write", content=body, headers=WRITE)) for _ in range(3)]

    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in found] == [(503, "7"), (503, "7"), (204, None)]
    assert receiver.received.samples == 1


async def test_queries_take_no_step_of_the_script(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.faults.extend([Answer(500)])

    assert (await client.get("/")).status_code == 200
    assert len(receiver.faults) == 1


async def test_a_scripted_delay_passes_before_the_answer(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.faults.extend([Delay(30.0)])
    start = anyio.current_time()

    await client.post("/api/v1/write", content=written((UP, [(1, 1.0)])), headers=WRITE, timeout=60.0)

    assert anyio.current_time() - start == 30.0


@pytest.mark.parametrize(("fault", "stored"), [(Close(), 0), (Lose(), 1)])
async def test_a_closed_connection_is_a_protocol_error_to_the_sender(fault: Close | Lose, stored: int) -> None:
    receiver = Receiver(lambda: NOW, faults=Faults([fault]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver), base_url="http://receiver") as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/api/v1/write", content=written((UP, [(1, 1.0)])), headers=WRITE)

    assert receiver.received.samples == stored


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_over_a_real_socket_samples_are_kept_and_connections_cut(anyio_backend: str) -> None:
    receiver = Receiver(lambda: NOW, faults=Faults([Close()]))
    body = written((UP, [(NOW_MS, 1.0)]))
    async with anyio.create_task_group() as tasks:
        address = await tasks.start(serve, "127.0.0.1:0", receiver)
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            with pytest.raises(httpx.TransportError):
                await client.post("/api/v1/write", content=body, headers=WRITE)
            await client.post("/api/v1/write", content=body, headers=WRITE)
            found = await values(client, "up")
        tasks.cancel_scope.cancel()

    assert found == {"up": "1"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_body_over_the_agents_own_limit_is_taken(anyio_backend: str) -> None:
    receiver = Receiver(lambda: NOW)
    line = b'{"metric":{"__name__":"up"},"values":[1],"timestamps":[1]}\n'
    async with anyio.create_task_group() as tasks:
        address = await tasks.start(serve, "127.0.0.1:0", receiver)
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            answer = await client.post("/api/v1/import", content=line + b" " * (MAX_BODY_BYTES + 1))
        tasks.cancel_scope.cancel()

    assert answer.status_code == 204
