"""What the embedded receiver gives back: queries, exports and the page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from agent.sim import selector
from agent.sim.received import STALE
from agent.sim.receiver import Receiver
from agent.wire import decode
from tests.receivers import NOW, NOW_MS, UP, values

pytestmark = pytest.mark.anyio


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(lambda: NOW)


@pytest.fixture
async def client(receiver: Receiver) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver), base_url="http://receiver") as client:
        yield client


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


@pytest.mark.parametrize(
    "query", ["", "up{", "up{a=1}", 'up{a=~"(a+)+"}', "rate(up[5m])", 'up{a="b" c="d"}', "{}", "x" * 5000, 'up{a="\\q"}']
)
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
        ('a=~"q.*"', False),
        ('a=~"x.*q.*z"', False),
        ('b=""', True),
        ('b=~".+"', False),
        ('a="xyz",b="",', True),
    ],
)
def test_a_selector_matches_as_promql_does(condition: str, fits: bool) -> None:
    assert selector.matches(selector.parse(f"{{{condition}}}"), {"a": "xyz"}) is fits


async def test_a_time_that_is_no_number_is_answered_422(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/query", params={"query": "up", "time": "soon"})).status_code == 422


async def test_an_unknown_page_names_those_that_are_there(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere")

    assert (answer.status_code, "/api/v1/export" in answer.text) == (404, True)


async def test_the_page_shows_labels_escaped(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.received.add([decode.Sample((("__name__", "up"), ("a", "<script>")), NOW_MS, 1.0)])

    page = (await client.get("/")).text

    assert "up{a=&quot;&lt;script&gt;&quot;}" in page
    assert "<script>" not in page
