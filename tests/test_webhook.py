"""Webhooks: who is let in, in which order things are asked, and what is answered when. In process."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial

import anyio
import pytest
import trio.testing

from agent.errors import DeliveryError, TemporaryError
from agent.web.journal import QUIET_SECONDS
from agent.web.webhook import IN_PROGRESS, IN_PROGRESS_BYTES, Limits
from tests.webhooks import NOW, Entrance

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})


@pytest.mark.parametrize("path", ["/webhook/ci", "/webhook", "/webhook/"])
async def test_a_delivery_is_accepted_once_the_ledger_has_it(path: str) -> None:
    entrance = Entrance()
    answer = await entrance.ask(path=path, content=b"hello")

    assert (answer.status_code, answer.text) == (202, "")
    assert [(name, found.notes[0].value) for name, found in entrance.ledger.kept] == [("ci", "hello")]
    assert entrance.counted(202) == 1


async def test_the_answer_waits_for_the_ledger() -> None:
    entrance = Entrance()
    entrance.ledger.gate = anyio.Event()
    statuses: list[int] = []

    async def deliver() -> None:
        statuses.append((await entrance.ask()).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deliver)
        await entrance.ledger.entered.wait()
        await anyio.sleep(5)
        before = list(statuses)
        entrance.ledger.gate.set()

    assert (before, statuses) == ([], [202])


async def test_a_source_sees_the_bytes_the_headers_and_the_time() -> None:
    entrance = Entrance()
    await entrance.ask(content=b"\x00\xff", headers={"X-Event": "push", "x-Other": "1"})

    (delivery,) = entrance.source.deliveries
    assert (delivery.body, delivery.received) == (b"\x00\xff", NOW)
    assert (delivery.headers["x-event"], delivery.headers["x-other"]) == ("push", "1")


async def test_a_body_in_parts_arrives_whole() -> None:
    entrance = Entrance()

    assert await entrance.in_parts(b"one ", b"", b"two") == 202
    assert entrance.source.deliveries[0].body == b"one two"


async def test_a_header_that_comes_twice_is_joined() -> None:
    entrance = Entrance()
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    headers = [(b"x-sum", b"1"), (b"x-sum", b"2")]
    scope = {"type": "http", "method": "POST", "path": "/webhook/ci", "headers": headers, "client": None}
    await entrance.app(scope, receive, send)

    assert entrance.source.deliveries[0].headers == {"x-sum": "1, 2"}
    assert sent[0]["status"] == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_only_post_delivers(method: str) -> None:
    entrance = Entrance()
    answer = await entrance.ask(method)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert not entrance.source.asked
    assert entrance.counted(405, source="") == 1


@pytest.mark.parametrize("path", ["/webhook/other", "/webhook/ci/", "/webhook/ci/x", "/webhook/" + "x" * 5000])
async def test_an_unknown_source_is_answered_404_and_makes_no_series(path: str) -> None:
    entrance = Entrance()

    assert (await entrance.ask(path=path)).status_code == 404
    assert entrance.counted(404, source="") == 1


async def test_a_refused_address_is_answered_403_before_the_body_is_read() -> None:
    entrance = Entrance()
    entrance.source.admitted = False
    read: list[bytes] = []

    async def watched() -> AsyncIterator[bytes]:
        read.append(b"")
        yield b"hello"

    answer = await entrance.ask(content=watched())

    assert (answer.status_code, read, entrance.source.asked) == (403, [], ["192.0.2.1"])
    assert not entrance.source.deliveries


async def test_a_source_that_cannot_tell_yet_asks_for_a_while() -> None:
    entrance = Entrance()
    entrance.source.not_yet = True
    answer = await entrance.ask()

    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "not known yet\n", "10")


async def test_a_client_behind_a_trusted_proxy_is_the_one_that_it_names() -> None:
    entrance = Entrance(trusted=("192.0.2.0/24",))
    await entrance.ask(headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9, 192.0.2.77"})

    assert entrance.source.asked == ["203.0.113.9"]


async def test_anybody_else_s_word_about_his_address_does_not_count() -> None:
    entrance = Entrance(trusted=("10.0.0.0/8",))
    await entrance.ask(headers={"X-Forwarded-For": "203.0.113.9"})

    assert entrance.source.asked == ["192.0.2.1"]


async def test_more_than_a_burst_is_answered_429_with_when_to_come_back() -> None:
    entrance = Entrance(per_second=0.1)
    statuses = [(await entrance.ask()).status_code for _ in range(2)]
    answer = await entrance.ask()
    await anyio.sleep(10)

    assert statuses == [202, 429]
    assert answer.headers["retry-after"] == "10"
    assert (await entrance.ask()).status_code == 202


async def test_a_burst_after_a_quiet_time_is_taken() -> None:
    entrance = Entrance(per_second=2)

    assert [(await entrance.ask()).status_code for _ in range(21)] == [202] * 20 + [429]


async def test_a_body_over_the_limit_is_answered_413_unread() -> None:
    entrance = Entrance(Limits(max_body_bytes=10))
    answer = await entrance.ask(content=b"x" * 11)

    assert (answer.status_code, answer.text) == (413, "the body is over the limit of 10 bytes\n")
    assert not entrance.source.deliveries


async def test_a_body_in_parts_over_the_limit_is_answered_413() -> None:
    entrance = Entrance(Limits(max_body_bytes=10))

    assert await entrance.in_parts(b"x" * 6, b"x" * 5) == 413
    assert entrance.monitor.value(IN_PROGRESS_BYTES) == 0


async def test_a_body_that_does_not_end_is_answered_408() -> None:
    entrance = Entrance(Limits(body_seconds=10))

    assert await entrance.in_parts(*[b"x"] * 100, pause=1) == 408
    assert entrance.monitor.value(IN_PROGRESS) == 0


async def test_more_deliveries_at_one_time_than_there_is_room_for_are_answered_503_unread() -> None:
    entrance = Entrance(Limits(max_in_progress=3))
    entrance.ledger.gate = anyio.Event()

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(entrance.ask)
        await anyio.sleep(1)
        answer, busy = await entrance.ask(), entrance.monitor.value(IN_PROGRESS)
        entrance.ledger.gate.set()

    assert (answer.status_code, answer.headers["retry-after"], busy) == (503, "10", 3)
    assert len(entrance.source.deliveries) == 3
    assert (await entrance.ask()).status_code == 202


async def test_more_bytes_at_one_time_than_there_is_room_for_are_answered_503() -> None:
    entrance = Entrance(Limits(max_in_progress_bytes=100))
    entrance.ledger.gate = anyio.Event()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(entrance.ask, "POST", "/webhook/ci", b"x" * 60)
        await anyio.sleep(1)
        announced, in_parts = await entrance.ask(content=b"x" * 41), await entrance.in_parts(b"x" * 40, b"x")
        fitting = entrance.monitor.value(IN_PROGRESS_BYTES)
        entrance.ledger.gate.set()

    assert (announced.status_code, in_parts, fitting) == (503, 503, 60)
    assert len(entrance.ledger.kept) == 1


async def test_bytes_that_have_not_come_take_no_room() -> None:
    entrance = Entrance(Limits(max_in_progress_bytes=100))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(entrance.in_parts, b"x" * 90, pause=5, announced=b"90"))
        await anyio.sleep(1)

        assert (await entrance.ask(content=b"x" * 90)).status_code == 202


@pytest.mark.parametrize(
    ("status", "answered"), [(400, 400), (401, 401), (404, 404), (422, 422), (503, 503), (200, 503), (999, 503)]
)
async def test_a_source_s_refusal_is_the_answer(status: int, answered: int) -> None:
    entrance = Entrance()
    entrance.source.problem = DeliveryError(status, "no, because")
    answer = await entrance.ask()

    assert (answer.status_code, answer.text) == (answered, "no, because\n")
    assert not entrance.ledger.kept


async def test_a_ledger_that_cannot_take_it_asks_for_a_while() -> None:
    entrance = Entrance()
    entrance.ledger.problem = TemporaryError("disk full")
    answer = await entrance.ask()

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "disk" not in answer.text


async def test_a_source_that_was_replaced_meanwhile_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    entrance = Entrance()
    entrance.ledger.problem = DeliveryError(503, "replaced meanwhile")
    answer = await entrance.ask()

    assert (answer.status_code, answer.text) == (503, "replaced meanwhile\n")
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_source_that_is_being_replaced_asks_for_a_while() -> None:
    entrance = Entrance()
    entrance.not_now = DeliveryError(503, "being replaced")
    answer = await entrance.ask()

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


async def test_a_ledger_that_takes_too_long_is_not_waited_for() -> None:
    entrance = Entrance(Limits(commit_seconds=25))
    entrance.ledger.gate = anyio.Event()
    begun = anyio.current_time()

    assert (await entrance.ask()).status_code == 503
    assert anyio.current_time() - begun == 25


@pytest.mark.parametrize("where", ["source", "ledger"])
async def test_a_bug_is_answered_503_and_logged_once(where: str, caplog: pytest.LogCaptureFixture) -> None:
    entrance = Entrance()
    broken = entrance.source if where == "source" else entrance.ledger
    broken.problem = RuntimeError("a bug")
    statuses = [(await entrance.ask()).status_code for _ in range(3)]

    assert statuses == [503] * 3
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_two_bugs_are_logged_each(caplog: pytest.LogCaptureFixture) -> None:
    entrance = Entrance()
    for problem in (RuntimeError("one"), KeyError("two"), RuntimeError("one again")):
        entrance.source.problem = problem
        await entrance.ask()

    assert len([record for record in caplog.records if record.exc_info]) == 2


async def test_a_kind_of_refusal_is_told_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    entrance = Entrance()
    entrance.source.problem = DeliveryError(401, "not signed")
    for _ in range(50):
        await entrance.ask()

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "webhook ci: answered 401 to 192.0.2.1: not signed" in caplog.text


async def test_a_delivery_to_no_source_is_told_by_its_path(caplog: pytest.LogCaptureFixture) -> None:
    await Entrance().ask(path="/webhook/c%0Ai")

    assert caplog.records[0].getMessage().startswith(r"webhook '/webhook/c\ni': answered 404 to 192.0.2.1: there is no such")


async def test_a_refusal_now_and_then_is_one_kind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="agent.web.journal")
    entrance = Entrance()
    for _ in range(50):
        entrance.source.problem = DeliveryError(401, "not signed")
        await entrance.ask()
        entrance.source.problem = None
        await entrance.ask()

    assert len(caplog.records) == 1


async def test_a_kind_of_refusal_is_told_when_it_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="agent.web.journal")
    entrance = Entrance()
    entrance.source.problem = DeliveryError(401, "not signed")
    await entrance.ask()
    await anyio.sleep(20)
    await entrance.ask()
    entrance.source.problem = None
    await anyio.sleep(QUIET_SECONDS)
    await entrance.ask()
    await entrance.ask()

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.records[1].getMessage() == "webhook ci: no more 401 since 300 s (2 in the 20 s before)"


async def test_each_delivery_has_a_line_for_who_debugs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="agent.web.journal")
    await Entrance().ask(content=b"12345")

    assert [record.getMessage() for record in caplog.records] == [
        "POST '/webhook/ci' from 192.0.2.1: 202, 5 bytes in 0.0000 s",
    ]


async def test_what_a_stranger_writes_is_cut_and_escaped_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="agent.web.journal")
    await Entrance().ask(path="/webhook/" + "%0Aforged" * 1000)

    assert max(len(record.getMessage()) for record in caplog.records) < 400
    assert not any("\n" in record.getMessage() for record in caplog.records)
