"""What every answer and every failure of the network means for a block."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Accepted, Misconfigured, Outcome, Rejected, Retry, TooLarge, Unsupported
from agent.net.client import Client, TransportOptions
from agent.net.push import MAX_WORDS, Request, Rules, escaped, outcome, push, retry_after
from tests import loopback
from tests.loopback import Answer, Then, status
from tests.servers import free_port

pytestmark = pytest.mark.anyio

NOW = 1_795_239_000.0
NOW_HTTP = "Sat, 21 Nov 2026 05:30:00 GMT"
RETRIES = {408, 425, 429}
MISCONFIGURED = {401, 402, 403, 404, 405, 410, 415}


def client_of(url: str, transport: httpx.AsyncBaseTransport | None = None, **options: Any) -> Client:
    return Client("sinks.vm", TransportOptions.model_validate({"url": url, **options}), "cipush/test", transport)


@asynccontextmanager
async def closing(client: Client) -> AsyncIterator[Client]:
    try:
        yield client
    finally:
        await client.aclose()


async def send(client: Client, rules: Rules = Rules.CAREFUL) -> Outcome:
    return await push(client, Request("POST", client.url, {}, b"block"), lambda: NOW, rules)


async def sent_to(*script: Answer) -> tuple[Outcome, loopback.Receiver]:
    async with loopback.receiver(*script) as receiver, closing(client_of(receiver.url)) as client:
        return await send(client), receiver


def expected(code: int) -> type[Outcome]:
    if 200 <= code < 300:
        return Accepted
    if code in MISCONFIGURED or 300 <= code < 400:
        return Misconfigured
    if code == 413:
        return TooLarge
    return Rejected if 400 <= code < 500 and code not in RETRIES else Retry


@pytest.mark.parametrize("code", range(100, 1000))
def test_every_status_has_the_outcome_of_the_table(code: int) -> None:
    found = outcome(code, {}, "", NOW, Rules.CAREFUL)

    assert (type(found), found.code) == (expected(code), str(code))


@pytest.mark.parametrize("code", range(400, 500))
def test_strict_spec_drops_on_every_4xx_but_429(code: int) -> None:
    assert type(outcome(code, {}, "", NOW, Rules.STRICT)) is (Retry if code == 429 else Rejected)


@pytest.mark.parametrize("code", [200, 204, 302, 500, 503, 600])
def test_strict_spec_changes_nothing_but_4xx(code: int) -> None:
    assert outcome(code, {}, "", NOW, Rules.STRICT) == outcome(code, {}, "", NOW, Rules.CAREFUL)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "86400"}, 600.0),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 05:30:40 GMT"}, 40.0),
        ({"retry-after": "Sat, 21 Nov 2026 05:29:00 GMT"}, 0.0),
        # The receiver's clock is an hour behind: its own Date is what the answer was meant by.
        ({"retry-after": "Sat, 21 Nov 2026 04:30:40 GMT", "date": "Sat, 21 Nov 2026 04:30:00 GMT"}, 40.0),
        ({"retry-after": "Sat, 99 Nov 2026 05:30:40 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_ten_minutes(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=200))
def test_no_retry_after_text_breaks_the_table(text: str) -> None:
    found = retry_after({"retry-after": text, "date": text}, NOW)

    assert found is None or 0 <= found <= 600


@given(st.text(max_size=2000))
def test_foreign_words_become_one_short_printable_line(text: str) -> None:
    found = escaped(text)

    assert found.isprintable()
    assert len(found) <= MAX_WORDS * 10 + 3


async def test_an_accepted_answer_tells_the_receivers_clock() -> None:
    found, _ = await sent_to(Answer(status(204, f"Date: {NOW_HTTP}")))

    assert found == Accepted("204", date=1_795_239_000.0)


async def test_a_refusal_is_quoted_in_the_receivers_words() -> None:
    found, _ = await sent_to(Answer(status(400, body=b"out of order\x1b[31m\nsample \xff")))

    assert found == Rejected("400", "400 Bad Request: out of order\\x1b[31m sample \N{REPLACEMENT CHARACTER}")


async def test_a_long_explanation_is_cut() -> None:
    found, _ = await sent_to(Answer(status(500, body=b"x" * 1_000_000)))

    assert isinstance(found, Retry)
    assert found.reason == "500 Internal Server Error: " + "x" * MAX_WORDS + "..."


async def test_a_body_without_end_costs_its_connection_not_our_time() -> None:
    long = Answer(status(200, body=b"x" * 1_000_000))
    async with loopback.receiver(long) as receiver, closing(client_of(receiver.url)) as client:
        outcomes = [await send(client), await send(client)]

    assert outcomes == [Accepted("200"), Accepted("204")]
    assert receiver.connections == 2


async def test_the_environments_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    found, _ = await sent_to()

    assert found == Accepted("204")


async def test_a_compressed_explanation_is_not_unpacked() -> None:
    found, receiver = await sent_to(Answer(status(500, "Content-Encoding: gzip", body=b"\x1f\x8bbomb")))

    assert isinstance(found, Retry)
    assert b"Accept-Encoding: identity" in receiver.requests[0]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "protocol"),
        (b"HTTP/1.1 20", "protocol"),
        (b"HTTP/1.1 204 No Content\r\nX-Cut", "protocol"),
        (b"\x00\x01\x02 garbage\r\n\r\n", "protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "protocol"),
        (b"X" * 300_000, "protocol"),
    ],
)
async def test_an_answer_that_is_cut_or_garbage_is_retried(data: bytes, code: str) -> None:
    found, receiver = await sent_to(Answer(data, Then.CLOSE))

    assert isinstance(found, Retry)
    assert found.code == code
    assert found.reason
    assert len(receiver.requests) == 1


async def test_a_status_stands_though_its_body_is_cut() -> None:
    found, _ = await sent_to(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", Then.CLOSE))

    assert found == Accepted("200")


async def test_a_status_stands_though_its_body_never_ends() -> None:
    found, _ = await sent_to(Answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nabc", Then.HANG))

    assert found == Rejected("400", "400 Bad Request: abc")


async def test_a_refused_connection_is_retried() -> None:
    async with closing(client_of(f"http://127.0.0.1:{free_port()}")) as client:
        found = await send(client)

    assert isinstance(found, Retry)
    assert found.code == "connect"
    assert "refused" in found.reason.lower() or "failed" in found.reason.lower()


async def test_plain_http_behind_an_https_address_is_a_tls_failure() -> None:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        async with closing(client_of(f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")) as client:
            found = await send(client)
        group.cancel_scope.cancel()

    assert isinstance(found, Retry)
    assert found.code == "tls"


class Raises(httpx.AsyncBaseTransport):
    """A network that fails in one way."""

    def __init__(self, error: Exception, cause: BaseException | None) -> None:
        self._error, self._cause = error, cause

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self._error from self._cause


@pytest.mark.parametrize(
    ("error", "cause", "code"),
    [
        (httpx.ConnectTimeout(""), None, "timeout"),
        (httpx.ReadTimeout(""), None, "timeout"),
        (httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known"), "dns"),
        (httpx.ConnectError("x"), ssl.SSLCertVerificationError(1, "certificate has expired"), "tls"),
        (httpx.ConnectError("x"), ExceptionGroup("", [OSError(111, "Connection refused")]), "connect"),
        (httpx.ReadError("x"), ConnectionResetError(104, "reset"), "connect"),
        (httpx.WriteError(""), None, "connect"),
        (httpx.RemoteProtocolError("peer closed"), None, "protocol"),
        (httpx.LocalProtocolError("x"), None, "protocol"),
        (httpx.UnsupportedProtocol("x"), None, "protocol"),
    ],
)
async def test_every_network_failure_is_retried_under_one_word(error: Exception, cause: BaseException | None, code: str) -> None:
    async with closing(client_of("http://h", Raises(error, cause))) as client:
        found = await send(client)

    assert isinstance(found, Retry)
    assert found.code == code
    assert found.reason


async def test_a_failure_tells_its_innermost_cause() -> None:
    cause = ExceptionGroup("several", [OSError(111, "Connection refused")])
    async with closing(client_of("http://h", Raises(httpx.ConnectError("All attempts failed"), cause))) as client:
        found = await send(client)

    hint = "check host and port in url (or proxy_url), and that something listens there"
    assert found == Retry("connect", f"[Errno 111] Connection refused; {hint}")


async def test_a_stale_connection_is_replaced_once_without_a_word() -> None:
    async with (
        loopback.receiver(Answer(status(204)), Answer(b"", Then.CLOSE)) as receiver,
        closing(client_of(receiver.url)) as client,
    ):
        outcomes = [await send(client), await send(client)]

    assert outcomes == [Accepted("204"), Accepted("204")]
    assert (len(receiver.requests), receiver.connections) == (3, 2)


async def test_a_receiver_that_always_closes_gets_one_more_try_only() -> None:
    closes = [Answer(b"", Then.CLOSE)] * 3
    async with loopback.receiver(Answer(status(204)), *closes) as receiver, closing(client_of(receiver.url)) as client:
        await send(client)
        found = await send(client)

    assert isinstance(found, Retry)
    assert len(receiver.requests) == 3


async def test_one_connection_carries_many_requests() -> None:
    async with loopback.receiver() as receiver, closing(client_of(receiver.url)) as client:
        for _ in range(5):
            await send(client)

    assert receiver.connections == 1


@pytest.mark.parametrize("code", [307, 308])
async def test_a_redirect_within_the_origin_gets_the_same_post_once(code: int) -> None:
    found, receiver = await sent_to(Answer(status(code, "Location: /elsewhere?x=1")))

    assert found == Accepted("204")
    assert receiver.requests[1].startswith(b"POST /elsewhere?x=1 HTTP/1.1\r\n")
    assert receiver.requests[1].endswith(b"\r\n\r\nblock")


async def test_a_second_redirect_is_not_followed() -> None:
    found, receiver = await sent_to(*[Answer(status(307, "Location: /elsewhere"))] * 2)

    assert isinstance(found, Misconfigured)
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/x", "https://127.0.0.1/x", "//other.example/x", "http://[", ""])
async def test_a_redirect_elsewhere_is_not_followed(location: str) -> None:
    found, receiver = await sent_to(Answer(status(308, f"Location: {location}")))

    assert isinstance(found, Misconfigured)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [301, 302, 303])
async def test_a_redirect_that_would_lose_the_body_is_not_followed(code: int) -> None:
    found, receiver = await sent_to(Answer(status(code, "Location: /login?token=hidden")))

    assert isinstance(found, Misconfigured)
    assert "/login" in found.reason
    assert "hidden" not in found.reason
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("counted", [True, False])
def test_a_400_to_any_but_the_simplest_form_may_be_about_the_form(counted: bool) -> None:
    found = outcome(400, {}, "", NOW, Rules.CAREFUL, simplest=False, counted=counted)

    assert isinstance(found, Unsupported)


def test_a_400_that_says_what_was_written_is_about_the_data() -> None:
    headers = {"x-prometheus-remote-write-samples-written": "3", "x-prometheus-remote-write-histograms-written": "2"}

    assert outcome(400, headers, "", NOW, Rules.CAREFUL, simplest=False, counted=True) == Rejected("400", "400 Bad Request", 5)
    assert isinstance(outcome(400, headers, "", NOW, Rules.CAREFUL, simplest=False), Unsupported)


@pytest.mark.parametrize("said", [{}, {"x-prometheus-remote-write-samples-written": "many"}])
def test_a_2xx_to_2_0_that_does_not_say_what_was_written_stored_nothing(said: dict[str, str]) -> None:
    assert isinstance(outcome(204, said, "", NOW, Rules.CAREFUL, simplest=False, counted=True), Unsupported)
    assert outcome(204, said, "", NOW, Rules.CAREFUL) == Accepted("204", None)
