"""Certificates of peers that expire, are replaced and come from another authority; connections that are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.model import Accepted, Collected, Outcome, Retry
from agent.net.client import Client, TransportOptions
from agent.net.push import Request, Rules, push
from agent.plugin import Context
from agent.sinks import pushgateway
from agent.sources import scrape
from tests.lanes import snapshot
from tests.listening import Hello, serving
from tests.test_web_tls import KEY, Pair, openssl, self_signed, signed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates with"),
]
CONTEXT = Context(lambda: 1000.0, "cipush", "here", "cipush/test")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair, Pair, Pair]:
    """An authority, a server's and a client's certificate of it, another authority."""
    folder = tmp_path_factory.mktemp("tls")
    ca = self_signed(folder, "ca")
    return ca, signed(folder, "server", ca), signed(folder, "client", ca), self_signed(folder, "stranger")


def expired(folder: Path, ca: Pair) -> Pair:
    """A certificate for 127.0.0.1 signed by `ca` that ended yesterday."""
    subject = ("-keyout", "old.key", "-out", "old.csr", "-subj", "/CN=old")
    openssl(folder, "req", "-new", *KEY, "-nodes", *subject)
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    by = ("-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial", "-extfile", "extensions")
    openssl(folder, "x509", "-req", "-in", "old.csr", "-out", "old.pem", "-days", "-1", *by)
    return Pair(str(folder / "old.pem"), str(folder / "old.key"))


def client_at(address: str, **tls: Any) -> Client:
    return Client("sinks.vm", TransportOptions.model_validate({"url": f"https://{address}/", "tls": tls}), "cipush/test")


async def send(client: Client) -> Outcome:
    return await push(client, Request("POST", client.url, {}, b"x"), lambda: 0.0, Rules.CAREFUL)


async def test_an_expired_certificate_is_waited_out(papers: tuple[Pair, Pair, Pair, Pair], tmp_path: Path) -> None:
    ca, server, _, _ = papers
    old = expired(tmp_path, ca)
    async with (
        serving(Hello(), tls_cert_file=old.cert, tls_key_file=old.key) as before,
        serving(Hello(), tls_cert_file=server.cert, tls_key_file=server.key) as after,
    ):
        at = [before.address]

        async def forward(stream: anyio.abc.SocketStream) -> None:
            host, _, port = at[0].rpartition(":")
            async with stream, await anyio.connect_tcp(host, int(port)) as peer, anyio.create_task_group() as tasks:
                tasks.start_soon(pump, stream, peer)
                tasks.start_soon(pump, peer, stream)

        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, forward)
            client = client_at(f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}", ca_file=ca.cert)
            first = await send(client)
            at[0] = after.address
            second = await send(client)
            await client.aclose()
            tasks.cancel_scope.cancel()

    assert isinstance(first, Retry)
    assert (first.code, "certificate has expired" in first.reason) == ("tls", True)
    assert isinstance(second, Accepted)


async def pump(source: anyio.abc.SocketStream, target: anyio.abc.SocketStream) -> None:
    try:
        async for chunk in source:
            await target.send(chunk)
        await target.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        pass  # the other side hung up


async def test_an_authority_that_is_replaced_is_believed_from_the_next_request_on(
    papers: tuple[Pair, Pair, Pair, Pair], tmp_path: Path
) -> None:
    ca, server, _, stranger = papers
    trusted = tmp_path / "ca.pem"
    shutil.copy(stranger.cert, trusted)
    async with serving(Hello(), tls_cert_file=server.cert, tls_key_file=server.key) as served:
        client = client_at(served.address, ca_file=str(trusted))
        found = [await send(client)]
        trusted.write_text("half a fi")
        found.append(await send(client))
        shutil.copy(ca.cert, trusted)
        found.append(await send(client))
        trusted.unlink()
        found.append(await send(client))
        await client.aclose()

    assert [type(outcome) for outcome in found] == [Retry, Retry, Accepted, Accepted]


async def test_two_sends_share_a_connection() -> None:
    opened = []

    async def serve_one(stream: anyio.abc.SocketStream) -> None:
        opened.append(stream)
        async with stream:
            async for _ in stream:
                await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve_one)
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
        client = Client("sinks.vm", TransportOptions.model_validate({"url": url}), "cipush/test")
        found = [await send(client), await send(client)]
        await client.aclose()
        tasks.cancel_scope.cancel()

    assert [type(outcome) for outcome in found] == [Accepted, Accepted]
    assert len(opened) == 1


async def test_a_pushgateway_that_wants_a_certificate_is_shown_one(papers: tuple[Pair, Pair, Pair, Pair]) -> None:
    ca, server, pair, _ = papers
    tls = {"ca_file": ca.cert, "cert_file": pair.cert, "key_file": pair.key}
    async with serving(Hello(), tls_cert_file=server.cert, tls_key_file=server.key, client_ca_file=ca.cert) as served:
        options = pushgateway.Options.model_validate({"url": f"https://{served.address}", "tls": tls})
        sink = pushgateway.build("gate", options, CONTEXT)
        found = await sink.send(snapshot(1))
        await sink.aclose()

    assert isinstance(found, Accepted)


async def test_a_scrape_target_that_wants_a_certificate_is_shown_one(papers: tuple[Pair, Pair, Pair, Pair]) -> None:
    ca, server, pair, _ = papers
    tls = {"ca_file": ca.cert, "cert_file": pair.cert, "key_file": pair.key}
    hello = Hello()
    async with serving(hello, tls_cert_file=server.cert, tls_key_file=server.key, client_ca_file=ca.cert) as served:
        options = scrape.Options.model_validate({"targets": [{"url": f"https://{served.address}/metrics", "tls": tls}]})
        source = scrape.build("node", options, CONTEXT)
        found = await source.pollers()[0].collect(None)
        await source.aclose()

    assert isinstance(found, Collected)
    assert hello.requests == 1
