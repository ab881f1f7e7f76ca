"""Credentials, certificates and proxies of a peer: OAuth2 against scripted endpoints, TLS and proxies on loopback."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pydantic import ValidationError

from agent.errors import ConfigError
from agent.model import Accepted, Misconfigured, Outcome, Retry
from agent.net.client import Client, TransportOptions
from agent.net.push import Request, Rules, push
from agent.net.words import failure
from tests.listening import Hello, serving
from tests.scraping import Stream
from tests.test_web_tls import Pair, openssl, self_signed, signed

pytestmark = pytest.mark.anyio
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates with")

SENTINEL = "sentinel-Zq7+/word"
TOKEN_URL = "http://login.test/token"
OAUTH2 = {"client_id": "me", "client_secret": SENTINEL, "token_url": TOKEN_URL, "scopes": ["write"]}


def client_of(options: dict[str, Any], answer: Callable[[httpx.Request], httpx.Response] | None = None) -> Client:
    transport = httpx.MockTransport(answer) if answer else None
    return Client("sinks.vm", TransportOptions.model_validate({"url": "http://vm.test/w", **options}), "cipush/test", transport)


async def send(client: Client) -> Outcome:
    return await push(client, Request("POST", client.url, {}, b"x"), lambda: 0.0, Rules.CAREFUL)


class Endpoint:
    """Hands out tokens t1, t2, ...; the receiver beside it takes all but `stale`."""

    def __init__(self, status: int = 200, **answer: object) -> None:
        self.status, self.answer = status, answer
        self.asked: list[httpx.Request] = []
        self.stale: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "vm.test":
            return httpx.Response(401 if request.headers["Authorization"] in self.stale else 204, stream=Stream())
        self.asked.append(request)
        given = {"access_token": f"t{len(self.asked)}", "expires_in": 600} if self.status == 200 else {}
        return httpx.Response(self.status, stream=Stream(json.dumps(given | self.answer).encode()))


async def test_a_token_is_fetched_once_for_requests_at_one_time() -> None:
    endpoint = Endpoint()
    client = client_of({"oauth2": OAUTH2}, endpoint)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(send, client)
    await client.aclose()

    assert [request.content for request in endpoint.asked] == [b"grant_type=client_credentials&scope=write"]


async def test_a_token_refused_by_the_receiver_is_replaced_at_the_next_try() -> None:
    endpoint = Endpoint()
    endpoint.stale.add("Bearer t1")
    client = client_of({"oauth2": OAUTH2}, endpoint)
    outcomes = [await send(client), await send(client)]
    await client.aclose()

    assert [type(outcome) for outcome in outcomes] == [Misconfigured, Accepted]


async def test_a_token_of_no_life_serves_one_request() -> None:
    endpoint = Endpoint(expires_in=0)
    client = client_of({"oauth2": OAUTH2}, endpoint)
    await send(client)
    await send(client)
    await client.aclose()

    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (401, {"error": "invalid_client"}, Misconfigured),
        (400, {"error": "unauthorized_client"}, Misconfigured),
        (400, {"error": "invalid_scope"}, Retry),
        (503, {"error_description": f"no {SENTINEL}\n"}, Retry),
        (200, {"access_token": "a\nb"}, Retry),
        (200, {"access_token": 5}, Retry),
        (200, {"access_token": "x" * 70_000}, Retry),
        (302, {}, Retry),
    ],
)
async def test_a_token_endpoint_that_fails_is_named_without_the_secret(
    status: int, answer: dict[str, object], kind: type[Outcome]
) -> None:
    client = client_of({"oauth2": OAUTH2}, Endpoint(status, **answer))
    found = await send(client)
    await client.aclose()

    assert isinstance(found, kind)
    assert isinstance(found, Retry | Misconfigured)
    assert found.reason.startswith(f"no token from {TOKEN_URL}: ")
    assert SENTINEL not in found.reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proxy_url": "socks5://h:1"}, "use an http:// or https:// proxy"),
        ({"proxy_auth": {"username": "u"}}, "does nothing without proxy_url"),
        ({"proxy_url": "http://h:1", "tls": {"server_name": "x"}}, "cannot be used through a proxy"),
        ({"tls": {"key_file": "k"}}, "does nothing without cert_file"),
        ({"tls": {"server_name": "x"}}, "tls.server_name does nothing without https:// in url"),
        ({"tls": {"cert_file": "c"}}, "tls.cert_file does nothing without https:// in url or oauth2.token_url"),
        ({"tls": {"cert_file": "c"}, "proxy_url": "https://h:1"}, "tls.cert_file does nothing"),
        ({"tls": {"ca_file": "c"}}, "tls.ca_file does nothing without https:// in url, oauth2.token_url or proxy_url"),
        ({"tls": {"min_version": "1.3"}, "proxy_url": "http://h:1"}, "tls.min_version does nothing"),
        ({"tls": {"insecure_skip_verify": True}}, "tls.insecure_skip_verify does nothing"),
        ({"oauth2": OAUTH2, "bearer_token": "t"}, "keep one"),
        ({"oauth2": OAUTH2 | {"client_secret_file": "f"}}, "set one of"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        TransportOptions.model_validate({"url": "http://h/w", **options})

    assert words in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"proxy_url": "https://h:1", "tls": {"ca_file": "c", "min_version": "1.3"}},
        {"oauth2": OAUTH2 | {"token_url": "https://login.test/"}, "tls": {"ca_file": "c", "cert_file": "c"}},
        {"url": "HTTPS://h/w", "tls": {"ca_file": "c", "cert_file": "c", "server_name": "x", "insecure_skip_verify": True}},
    ],
)
def test_tls_options_are_taken_where_tls_is_spoken(options: dict[str, Any]) -> None:
    assert TransportOptions.model_validate({"url": "http://h/w", **options}).tls.ca_file == "c"


def test_a_proxys_user_info_leaves_its_address() -> None:
    options = TransportOptions.model_validate(
        {"url": "http://h/w", "proxy_url": f"http://u:{SENTINEL.replace('/', '%2F')}@p:3128"}
    )

    assert options.proxy_url == "http://p:3128"
    assert SENTINEL not in repr(options)
    assert options.proxy_auth is not None
    assert options.proxy_auth.password.reveal() == SENTINEL


@asynccontextmanager
async def proxy(answer: bytes, heard: list[bytes]) -> AsyncIterator[str]:
    """Says `answer` to everybody."""

    async def serve_one(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            heard.append(await stream.receive())
            await stream.send(answer)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve_one)
        yield f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_other_credentials_loses_nothing(scheme: str) -> None:
    heard: list[bytes] = []
    async with proxy(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", heard) as address:
        client = client_of({"url": f"{scheme}://vm.test/w", "proxy_url": f"http://u:password@{address}"})
        found = await send(client)
        await client.aclose()

    assert isinstance(found, Misconfigured)
    assert found.reason == f"the proxy http://{address} refuses: 407{' No' if scheme == 'https' else ''}; check proxy_auth"
    assert b"roxy-Authorization: Basic dTpwYXNzd29yZA==" in heard[0]
    assert client.direct_address is None


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair, Pair, Pair]:
    """An authority, a server's and a client's certificate of it, a stranger."""
    folder: Path = tmp_path_factory.mktemp("tls")
    ca = self_signed(folder, "ca")
    return ca, signed(folder, "server", ca), signed(folder, "client", ca), self_signed(folder, "stranger")


@needs_openssl
async def test_a_certificate_replaced_under_way_is_shown_on_the_next_connection(
    papers: tuple[Pair, Pair, Pair, Pair], tmp_path: Path
) -> None:
    ca, server, client_pair, stranger = papers
    cert, key = tmp_path / "c.pem", tmp_path / "c.key"
    shutil.copy(stranger.cert, cert)
    shutil.copy(stranger.key, key)
    tls = {"ca_file": ca.cert, "cert_file": str(cert), "key_file": str(key)}
    async with serving(Hello(), tls_cert_file=server.cert, tls_key_file=server.key, client_ca_file=ca.cert) as served:
        client = client_of({"url": f"https://{served.address}/", "tls": tls})
        before = await send(client)
        shutil.copy(client_pair.cert, cert)
        between = await send(client)
        shutil.copy(client_pair.key, key)
        after = await send(client)
        await client.aclose()

    assert [type(outcome) for outcome in (before, between)] == [Retry, Retry]
    assert isinstance(after, Accepted)


@needs_openssl
@pytest.mark.parametrize("fault", ["authority", "name"])
async def test_a_certificate_that_cannot_be_trusted_is_a_retry_with_a_next_step(
    papers: tuple[Pair, Pair, Pair, Pair], fault: str
) -> None:
    ca, server, _, stranger = papers
    tls = {"ca_file": stranger.cert} if fault == "authority" else {"ca_file": ca.cert, "server_name": "other.test"}
    async with serving(Hello(), tls_cert_file=server.cert, tls_key_file=server.key) as served:
        client = client_of({"url": f"https://{served.address}/", "tls": tls})
        found = await send(client)
        await client.aclose()

    assert isinstance(found, Retry)
    assert found.code == "tls"
    assert found.reason.endswith("check the peer's certificate, tls.ca_file and the host in url")


@pytest.mark.parametrize(("scheme", "is_said"), [("http", True), ("https", False)])
@pytest.mark.parametrize(
    "error",
    [
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ReadError("[Errno 104] Connection reset by peer"),
    ],
)
def test_who_hangs_up_on_plain_http_may_speak_tls(scheme: str, is_said: bool, error: httpx.TransportError) -> None:
    error.request = httpx.Request("GET", f"{scheme}://h")

    assert failure(error)[1].endswith("; if it never answers: should url begin with https://?") == is_said


async def test_https_to_what_speaks_no_tls_is_said_so() -> None:
    async with serving(Hello()) as served:
        client = client_of({"url": f"https://{served.address}/"})
        found = await send(client)
        await client.aclose()

    assert isinstance(found, Retry)
    assert found.reason.endswith("what answers there speaks no TLS: should url (or proxy_url) begin with http://?")


@needs_openssl
def test_a_key_with_a_passphrase_is_refused_without_asking(papers: tuple[Pair, Pair, Pair, Pair], tmp_path: Path) -> None:
    key = tmp_path / "locked.key"
    openssl(tmp_path, "ec", "-in", papers[2].key, "-aes256", "-passout", "pass:a passphrase", "-out", str(key))

    with pytest.raises(ConfigError, match=r"sinks\.vm\.tls\.cert_file: cannot use .* the key unencrypted"):
        client_of({"url": "https://vm.test/w", "tls": {"cert_file": papers[2].cert, "key_file": str(key)}})


def test_the_oldest_version_of_tls_can_be_raised() -> None:
    from agent.net.options import Tls
    from agent.net.tls import Papers

    assert Papers("x", Tls(min_version="1.3")).context().minimum_version == ssl.TLSVersion.TLSv1_3
