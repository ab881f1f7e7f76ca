"""The embedded receiver: what it takes, what it refuses, and what it shows."""

from __future__ import annotations

import contextlib
import gzip
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.model import STALE_NAN_BITS
from agent.sim import selector
from agent.sim.faults import Answer, Close, Delay, Faults, Lose
from agent.sim.received import STALE, Limits, Received
from agent.sim.receiver import Receiver, RefusedError, grouping
from agent.wire import decode, remote_write2_pb2, remote_write_pb2, vm_import

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
WRITE = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
WRITE2 = WRITE | {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
UP = (("__name__", "up"), ("job", "ci"))


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


def message(*series: tuple[tuple[tuple[str, str], ...], list[tuple[int, float]]]) -> bytes:
    request = remote_write_pb2.WriteRequest()
    for labels, points in series:
        entry = request.timeseries.add()
        for name, value in labels:
            entry.labels.add(name=name, value=value)
        for time, number in points:
            entry.samples.add(timestamp=time, value=number)
    return request.SerializeToString()


def written(*series: tuple[tuple[tuple[str, str], ...], list[tuple[int, float]]]) -> bytes:
    return bytes(snappy.compress(message(*series)))


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


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_but_decode_errors(body: bytes) -> None:
    for read in (decode.unsnappy, decode.gunzip, decode.remote_write, decode.remote_write2, decode.import_lines, decode.text):
        with contextlib.suppress(decode.DecodeError):
            list(read(body))


@pytest.mark.parametrize("headers", [{"Content-Encoding": "zstd"}, {"Content-Type": "text/plain"}, {"Content-Encoding": ""}])
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


def test_a_gzip_bomb_is_refused() -> None:
    with pytest.raises(decode.DecodeError, match="more than 1000 bytes"):
        decode.gunzip(gzip.compress(bytes(1001)), 1000)


def test_a_snappy_bomb_is_refused() -> None:
    with pytest.raises(decode.DecodeError, match="the limit is 1000"):
        decode.unsnappy(snappy.compress(bytes(1001)), 1000)


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


async def values(client: httpx.AsyncClient, query: str) -> dict[str, str]:
    answer = await client.get("/api/v1/query", params={"query": query})
    return {found["metric"]["__name__"]: found["value"][1] for found in answer.json()["data"]["result"]}


async def test_a_query_gives_the_newest_sample(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.received.add([decode.Sample(UP, NOW_MS - 2, 1.0), decode.Sample(UP, NOW_MS - 1, 2.0)])

    answer = await client.get("/api/v1/query", params={"query": 'up{job="ci"}'})

    assert answer.json()["data"]["result"] == [{"metric": dict(UP), "value": [(NOW_MS - 1) / 1000, "2"]}]


@pytest.mark.parametrize("last", [decode.Sample(UP, NOW_MS, STALE), decode.Sample(UP, NOW_MS - 300_001, 1.0)])
async def test_a_query_leaves_out_what_ended_or_is_too_old(
    client: httpx.AsyncClient, receiver: Receiver, last: decode.Sample
) -> None:
    receiver.received.add([decode.Sample(UP, NOW_MS - 400_000, 1.0), last])

    assert await values(client, "up") == {}


async def test_an_export_has_every_sample_and_null_for_what_json_cannot_say(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.received.add([decode.Sample(UP, NOW_MS, 1.0), decode.Sample(UP, NOW_MS + 5, STALE)])

    answer = await client.get("/api/v1/export", params={"match[]": '{__name__=~"u.*"}'})

    assert json.loads(answer.text) == {"metric": dict(UP), "values": [1.0, None], "timestamps": [NOW_MS, NOW_MS + 5]}


async def test_an_export_starts_where_it_is_asked_to(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.received.add([decode.Sample(UP, NOW_MS, 1.0), decode.Sample(UP, NOW_MS + 5000, 2.0)])

    answer = await client.get("/api/v1/export", params={"match[]": "up", "start": str(NOW + 1)})

    assert json.loads(answer.text)["values"] == [2.0]


async def test_the_series_are_listed(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.received.add([decode.Sample(UP, NOW_MS, 1.0)])

    assert (await client.get("/api/v1/series", params={"match[]": "up"})).json()["data"] == [dict(UP)]


@pytest.mark.parametrize("query", ["", "up{", "up{a=1}", 'up{a=~"(a+)+"}', "rate(up[5m])", 'up{a="b" c="d"}', "{}", "x" * 5000])
async def test_a_query_that_is_not_understood_is_answered_422(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get("/api/v1/query", params={"query": query})).status_code == 422


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ('a="xyz"', True),
        ('a!="xyz"', False),
        ('a=~"x.*"', True),
        ('a=~".*z"', True),
        ('a=~"x.+z"', True),
        ('a=~"xyz.+"', False),
        ('a=~"xyz.*"', True),
        ('a=~"xy.*yz"', False),
        ('a=~"q|xyz"', True),
        ('a=~"x"', False),
        ('a!~"x.*|q"', False),
        ('a=~".+.+.+.+"', False),
        ('b=""', True),
        ('b=~".+"', False),
        ('a="xyz",b="",', True),
    ],
)
def test_a_selector_matches_as_promql_does(condition: str, fits: bool) -> None:
    assert selector.matches(selector.parse(f"{{{condition}}}"), {"a": "xyz"}) is fits


async def test_the_page_shows_labels_escaped(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.received.add([decode.Sample((("__name__", "up"), ("a", "<script>")), NOW_MS, 1.0)])

    page = (await client.get("/")).text

    assert "up{a=&quot;&lt;script&gt;&quot;}" in page
    assert "<script>" not in page


async def test_the_requests_page_keeps_no_credentials(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/write", content=b"", headers=WRITE | {"Authorization": "Bearer hunter2hunter2"})

    answer = await client.get("/requests")

    assert "hunter2" not in answer.text
    assert answer.json()[0]["status"] == 400


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


def sample(name: str, time: int = 1) -> decode.Sample:
    return decode.Sample((("__name__", name),), time, 1.0)


def test_series_past_the_limit_are_refused_and_counted() -> None:
    received = Received(Limits(series=1))

    received.add([sample("a"), sample("b"), sample("a", 2)])

    assert (len(received.series), received.samples, received.refused) == (1, 2, 1)


def test_label_bytes_past_the_limit_are_refused() -> None:
    received = Received(Limits(label_bytes=15))

    received.add([sample("a"), sample("b" * 100)])

    assert (len(received.series), received.refused) == (1, 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=300))
def test_the_newest_sample_is_kept_and_the_number_of_samples_bounded(pushed: list[tuple[str, int]]) -> None:
    received = Received(Limits(samples=10))

    received.add(sample(name, time) for name, time in pushed)

    assert sum(map(len, received.series.values())) <= 10
    assert {labels[0][1]: points[-1][0] for labels, points in received.series.items()} == dict(pushed)
    assert received.samples == len(pushed)


def test_repeated_and_late_samples_are_counted() -> None:
    received = Received()

    received.add([sample("a", 5), sample("a", 5), sample("a", 4)])

    assert (received.repeated, received.late) == (1, 1)
