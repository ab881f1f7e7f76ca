"""What the demo prints comes from the receiver's own answers, whichever receiver it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.sim import demo
from agent.sim.receiver import Receiver
from agent.wire.decode import Sample

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
CPUS = Sample((("__name__", "host_cpu_count"), ("instance", "a"), ("job", "ci")), int(NOW) * 1000, 4.0)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def client_of(answers: dict[str, str]) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        text = answers.get(request.url.path)
        return httpx.Response(404) if text is None else httpx.Response(200, text=text)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


async def watched(client: httpx.AsyncClient, seconds: float, after: Callable[[], object] = lambda: None) -> list[str]:
    """What `watch` prints in so many seconds; `after` is called halfway."""
    printed: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await demo.watch("http://vm/api/v1/write", printed.append, clock=lambda: NOW, client=client, pages=["http://page"])

        tasks.start_soon(run)
        await anyio.sleep(seconds / 2)
        after()
        await anyio.sleep(seconds / 2)
        tasks.cancel_scope.cancel()
    return printed


async def test_the_first_series_is_printed_as_the_receiver_gives_it_back() -> None:
    receiver = Receiver(lambda: NOW)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver)) as client:
        printed = await watched(client, 4.0, lambda: receiver.received.add([CPUS]))

    assert printed[0].startswith("1 series read back from http://vm after ")
    assert printed[1:] == ['  host_cpu_count{instance="a",job="ci"} 4']


async def test_samples_of_an_earlier_demo_are_not_taken_for_ours() -> None:
    receiver = Receiver(lambda: NOW)
    receiver.received.add([CPUS._replace(timestamp_ms=int(NOW - 30) * 1000)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver)) as client:
        printed = await watched(client, 2.0)

    assert printed == []


async def test_of_many_series_one_of_each_name_is_printed() -> None:
    receiver = Receiver(lambda: NOW)
    receiver.received.add(
        Sample((("__name__", name), ("cpu", cpu)), int(NOW) * 1000, 1.0) for name in ("host_a", "host_b") for cpu in "01"
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver)) as client:
        printed = await watched(client, 2.0)

    assert printed[1:] == ['  host_a{cpu="0"} 1', '  host_b{cpu="0"} 1', "  ... and 2 more"]


async def test_a_line_with_counts_and_pages_follows_every_few_seconds() -> None:
    receiver = Receiver(lambda: NOW)
    receiver.received.add([CPUS])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver)) as client:
        printed = await watched(client, 12.0)

    assert printed[2:] == ["1 series in the receiver, the newest 0.0 s old | http://page"] * 2


async def test_a_receiver_that_cannot_be_read_is_said_once() -> None:
    async with client_of({}) as client:
        printed = await watched(client, 30.0)

    assert printed == ["cannot read the receiver, still trying: http://vm: HTTP 404"]


async def test_a_receiver_that_answers_again_is_said() -> None:
    answers: dict[str, str] = {}
    async with client_of(answers) as client:
        printed = await watched(client, 4.0, lambda: answers.update({"/metrics": "host_cpu_count 4\n"}))

    assert printed[1:] == ["the receiver answers again", printed[2], "  host_cpu_count 4"]


@pytest.mark.parametrize(
    ("path", "text", "at"),
    [
        ("/api/v1/export", '{"metric":{"__name__":"host_x","a":"\u2028"},"values":[1,2],"timestamps":[1000,2000]}\n', 2.0),
        (
            "/api/v1/query",
            json.dumps({"data": {"result": [{"metric": {"__name__": "host_x", "a": "\u2028"}, "value": [2, "2"]}]}}),
            2.0,
        ),
        ("/metrics", 'host_x{a="\u2028"} 2\nother 3\n', None),
    ],
)
async def test_every_query_interface_is_understood(path: str, text: str, at: float | None) -> None:
    async with client_of({path: text}) as client:
        found = await demo.ask(client, "http://gate", "host_", NOW)

    assert found == [demo.Seen("host_x", (("a", "\u2028"),), 2.0, at)]


@pytest.mark.parametrize("text", ["[]", "{}", "null", "garbage", '{"data":{"result":[1]}}', '{"values":[]}', "[" * 100_000])
async def test_garbage_is_an_unreadable_receiver(text: str) -> None:
    async with client_of(dict.fromkeys(("/api/v1/export", "/api/v1/query"), text)) as client:
        with pytest.raises(demo.UnreadableError, match="not understood"):
            await demo.ask(client, "http://vm", "host_", NOW)


async def test_an_endless_answer_is_cut_off() -> None:
    async with client_of({"/api/v1/export": "#" * (demo.MAX_BYTES + 1)}) as client:
        with pytest.raises(demo.UnreadableError, match="longer than"):
            await demo.ask(client, "http://vm", "host_", NOW)


@pytest.mark.parametrize(
    ("push_url", "base"),
    [
        ("http://vm:8428", "http://vm:8428"),
        ("http://vm:8428/", "http://vm:8428"),
        ("http://vm:8428/api/v1/write?x=1", "http://vm:8428"),
        ("http://vm:8428/prometheus/api/v1/import", "http://vm:8428/prometheus"),
        ("http://gate:9091/metrics/job/ci/instance/a", "http://gate:9091"),
    ],
)
def test_queries_go_to_the_address_that_is_pushed_to(push_url: str, base: str) -> None:
    assert demo.base_url(push_url) == base
