"""Pushgateway: groups put, remembered and deleted."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Accepted, Misconfigured, Outcome, Rejected, Retry, Snapshot
from agent.plugin import Context
from agent.sinks import pushgateway
from agent.sinks.groups import Group, path, split_url
from tests import servers

pytestmark = pytest.mark.anyio

START = 1_795_239_000.0
ME = ("cipush", "me")


class Gateway(httpx.AsyncBaseTransport):
    """Answers each request by a function of method and path; remembers what it was asked."""

    def __init__(self, answer: Callable[[str, str], int] = lambda method, path: 200) -> None:
        self.asked: list[tuple[str, str]] = []
        self.requests: list[httpx.Request] = []
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.asked.append((request.method, request.url.raw_path.decode()))
        return httpx.Response(self._answer(*self.asked[-1]), stream=httpx.ByteStream(b"words"))


def state(*groups: tuple[str, str], body: bytes = b"x 1\n") -> Snapshot:
    return Snapshot(tuple((group, body) for group in groups), len(groups), 0, START)


def sink_of(
    gateway: httpx.AsyncBaseTransport | None, state_dir: Path | None = None, url: str = "http://h:9091", **options: str
) -> pushgateway.PushgatewaySink:
    context = Context(lambda: START, *ME, user_agent="cipush/test", state_dir=state_dir)
    return pushgateway.build("gate", pushgateway.Options.model_validate({"url": url, **options}), context, gateway)


async def test_every_group_is_put_whole() -> None:
    gateway = Gateway()

    found = await sink_of(gateway).send(state(ME, ("node", "a:9100")))

    assert gateway.asked == [("PUT", "/metrics/job/cipush/instance/me"), ("PUT", "/metrics/job/node/instance/a%3A9100")]
    assert isinstance(found, Accepted)
    assert found.requests == 2


async def test_a_body_is_text_that_ends_with_its_line() -> None:
    gateway = Gateway()

    await sink_of(gateway).send(state(ME, body=b"x 1"))

    (request,) = gateway.requests
    assert request.content == b"x 1\n"
    assert request.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "content-encoding" not in request.headers


async def test_a_large_body_is_compressed() -> None:
    gateway = Gateway()

    await sink_of(gateway).send(state(ME, body=b"x 1\n" * 1000))

    (request,) = gateway.requests
    assert request.headers["content-encoding"] == "gzip"
    assert gzip.decompress(request.content) == b"x 1\n" * 1000


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ((("job", "x"), ("instance", "y")), "/metrics/job/x/instance/y"),
        ((("job", "grp/proj"), ("instance", "")), "/metrics/job@base64/Z3JwL3Byb2o/instance@base64/="),
        ((("job", "a b?#%"), ("instance", "ü")), "/metrics/job/a%20b%3F%23%25/instance/%C3%BC"),
        ((("job", ".."), ("instance", ".")), "/metrics/job@base64/Li4/instance@base64/Lg"),
        ((("job", "a/?>"),), "/metrics/job@base64/YS8_Pg"),
    ],
)
def test_values_that_a_path_cannot_hold_go_in_base64(group: Group, expected: str) -> None:
    assert path(group) == expected


LABEL = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]*", fullmatch=True)
VALUE = st.text(st.characters(exclude_categories=["Cs"]))


@given(VALUE.filter(bool), st.dictionaries(LABEL.filter(lambda name: name != "job"), VALUE))
def test_a_groups_path_reads_back(job: str, others: dict[str, str]) -> None:
    group = (("job", job), *others.items())

    assert split_url("/base" + path(group)) == ("/base", group)


@pytest.mark.parametrize("url", ["http://h:9091", "http://h:9091/", "http://h:9091/metrics", "http://h:9091/metrics/"])
async def test_an_address_may_end_at_the_gateway_or_at_metrics(url: str) -> None:
    gateway = Gateway()

    await sink_of(gateway, url=url).send(state(ME))

    assert gateway.asked == [("PUT", "/metrics/job/cipush/instance/me")]


async def test_a_group_in_the_address_replaces_the_agents_own_only() -> None:
    gateway = Gateway()

    await sink_of(gateway, url="http://h:9091/gw/metrics/job/nightly/branch@base64/bWFpbi8x").send(state(ME, ("node", "a")))

    assert gateway.asked == [
        ("PUT", "/gw/metrics/job/nightly/branch@base64/bWFpbi8x"),
        ("PUT", "/gw/metrics/job/node/instance/a"),
    ]


async def test_a_group_that_vanishes_is_deleted_once() -> None:
    gateway = Gateway()
    sink = sink_of(gateway)

    for snapshot in (state(ME, ("node", "a")), state(ME), state(ME)):
        await sink.send(snapshot)

    assert [asked for asked in gateway.asked if asked[0] == "DELETE"] == [("DELETE", "/metrics/job/node/instance/a")]


async def test_a_group_without_series_is_deleted_not_emptied() -> None:
    gateway = Gateway()
    sink = sink_of(gateway)
    await sink.send(state(ME))

    await sink.send(state(ME, body=b""))

    assert gateway.asked[1:] == [("DELETE", "/metrics/job/cipush/instance/me")]


async def test_groups_are_remembered_across_a_restart(tmp_path: Path) -> None:
    await sink_of(Gateway(), tmp_path).send(state(ME, ("old", "a/b")))
    gateway = Gateway()

    await sink_of(gateway, tmp_path).send(state(ME))

    assert ("DELETE", "/metrics/job/old/instance@base64/YS9i") in gateway.asked


async def test_a_group_is_remembered_before_it_is_pushed(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def answer(method: str, path: str) -> int:
        seen.append(json.loads((tmp_path / "sinks/gate/groups.json").read_text())["paths"])
        return 200

    await sink_of(Gateway(answer), tmp_path).send(state(ME))

    assert seen == [["/metrics/job/cipush/instance/me"]]


async def test_another_gateways_groups_are_left_alone(tmp_path: Path) -> None:
    await sink_of(Gateway(), tmp_path).send(state(("old", "a")))
    gateway = Gateway()

    await sink_of(gateway, tmp_path, url="http://other:9091").send(state(ME))

    assert gateway.asked == [("PUT", "/metrics/job/cipush/instance/me")]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"gateway": "http://h:9091", "paths": 7}', b"[" * 100_000])
async def test_a_broken_memory_is_reported_and_replaced(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "sinks/gate/groups.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)

    await sink_of(Gateway(), tmp_path).send(state(ME))

    assert json.loads(file.read_text())["paths"] == ["/metrics/job/cipush/instance/me"]
    assert len(caplog.records) == 1


async def test_a_memory_that_cannot_be_written_stops_no_push(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sinks").write_text("a file where a folder should be")
    found = await sink_of(Gateway(), tmp_path).send(state(ME))

    assert isinstance(found, Accepted)
    assert any("cannot write" in record.getMessage() for record in caplog.records)


def refusing(part: str, status: int, method: str = "PUT") -> Gateway:
    return Gateway(lambda asked, path: status if part in path and asked == method else 200)


async def test_a_refused_group_does_not_keep_back_the_others() -> None:
    gateway = refusing("bad", 400)

    found = await sink_of(gateway).send(state(("a", ""), ("bad", ""), ("z", "")))

    assert found == Rejected("400", "400 Bad Request: words")
    assert len(gateway.asked) == 3


@pytest.mark.parametrize(("status", "kind"), [(503, Retry), (401, Misconfigured)])
async def test_a_gateway_that_takes_nothing_is_not_asked_for_every_group(status: int, kind: type[Outcome]) -> None:
    gateway = refusing("", status)

    found = await sink_of(gateway).send(state(("a", ""), ("b", ""), ("c", "")))

    assert type(found) is kind
    assert len(gateway.asked) == 1


async def test_the_worst_outcome_wins() -> None:
    gateway = Gateway(lambda method, path: {"a": 400, "b": 200, "c": 503}[path.split("/")[3]])

    found = await sink_of(gateway).send(state(("a", ""), ("b", ""), ("c", "")))

    assert isinstance(found, Retry)


async def test_a_deletion_that_failed_is_tried_again() -> None:
    gateway = refusing("old", 503, "DELETE")
    sink = sink_of(gateway)
    await sink.send(state(ME, ("old", "")))

    outcomes = [type(await sink.send(state(ME))) for _ in range(2)]

    assert outcomes == [Retry, Retry]


async def test_a_deletion_that_is_refused_is_given_up_and_said(caplog: pytest.LogCaptureFixture) -> None:
    gateway = refusing("old", 405, "DELETE")
    sink = sink_of(gateway)
    await sink.send(state(ME, ("old", "")))

    outcomes = [type(await sink.send(state(ME))) for _ in range(2)]

    assert outcomes == [Accepted, Accepted]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(("on_shutdown", "deleted"), [("keep", []), ("delete", ["DELETE"])])
async def test_the_configuration_says_what_becomes_of_the_groups(on_shutdown: str, deleted: list[str]) -> None:
    gateway = Gateway()
    sink = sink_of(gateway, on_shutdown=on_shutdown)
    await sink.send(state(ME))

    await sink.aclose()

    assert [method for method, _ in gateway.asked[1:]] == deleted


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (state(("", "a")), "without a job"),
        (state(ME, ("nightly", "x")), "two groups"),
    ],
)
async def test_groups_that_cannot_be_pushed_are_misconfigured(snapshot: Snapshot, words: str) -> None:
    gateway = Gateway()

    found = await sink_of(gateway, url="http://h/metrics/job/nightly/instance/x").send(snapshot)

    assert isinstance(found, Misconfigured)
    assert words in found.reason
    assert gateway.asked == []


async def test_a_real_pushgateway_holds_the_groups_under_their_labels(pushgateway: servers.Pushgateway) -> None:
    sink = sink_of(None, url=pushgateway.url, on_shutdown="delete")

    outcome = await sink.send(state(("grp/proj", ""), ("a b", "ü/.."), body=b"# TYPE sinks_test gauge\nsinks_test 1\n"))
    found = pushgateway.samples("sinks_test")
    await sink.aclose()

    assert isinstance(outcome, Accepted)
    assert sorted((series.labels["job"], series.labels["instance"]) for series in found) == [("a b", "ü/.."), ("grp/proj", "")]
    servers.eventually(lambda: not pushgateway.samples("sinks_test"), "the groups are deleted")
