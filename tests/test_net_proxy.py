"""Requests that reach their peer through a proxy of the test's own."""

from __future__ import annotations

import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agent.model import Accepted, Misconfigured, Outcome
from agent.net.client import Client, TransportOptions
from agent.net.push import Request, Rules, push
from tests.listening import Hello, serving
from tests.test_net_tls import papers, pump
from tests.test_web_tls import Pair

__all__ = ["papers"]

pytestmark = pytest.mark.anyio


class Proxy:
    """Forwards requests of http, opens tunnels for https; `password`: whoever does not give it is refused."""

    def __init__(self, password: str = "") -> None:
        self.password = password
        self.asked: list[str] = []
        self.address = ""

    async def serve_one(self, stream: anyio.abc.SocketStream) -> None:
        """One connection, to its end."""
        async with stream:
            head = await stream.receive()
            line, *_ = head.decode("latin-1").split("\r\n")
            self.asked.append(line)
            wanted = b64encode(f"me:{self.password}".encode())
            if self.password and b"Basic " + wanted + b"\r\n" not in head:
                await stream.send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            tunnel = line.startswith("CONNECT ")
            host, _, port = line.split()[1].removeprefix("http://").partition("/")[0].rpartition(":")
            async with await anyio.connect_tcp(host, int(port)) as peer, anyio.create_task_group() as tasks:
                await (stream.send(b"HTTP/1.1 200 OK\r\n\r\n") if tunnel else peer.send(head))
                tasks.start_soon(pump, stream, peer)
                tasks.start_soon(pump, peer, stream)


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[Proxy]:
    """The proxy serves while the block runs."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, proxy.serve_one)
        proxy.address = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        yield proxy
        tasks.cancel_scope.cancel()


async def send(client: Client) -> Outcome:
    return await push(client, Request("POST", client.url, {}, b"x"), lambda: 0.0, Rules.CAREFUL)


async def test_a_plain_request_is_forwarded_by_the_proxy() -> None:
    async with serving(Hello()) as served, running(Proxy()) as proxy:
        client = Client(
            "sinks.vm", TransportOptions.model_validate({"url": f"{served.url}/w", "proxy_url": proxy.address}), "cipush/test"
        )
        found = await send(client)
        await client.aclose()

    assert isinstance(found, Accepted)
    assert proxy.asked == [f"POST {served.url}/w HTTP/1.1"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates with")
async def test_an_https_request_goes_through_a_tunnel(papers: tuple[Pair, Pair, Pair, Pair]) -> None:
    ca, server, _, _ = papers
    async with serving(Hello(), tls_cert_file=server.cert, tls_key_file=server.key) as served, running(Proxy()) as proxy:
        given = {"url": f"https://{served.address}/w", "proxy_url": proxy.address, "tls": {"ca_file": ca.cert}}
        client = Client("sinks.vm", TransportOptions.model_validate(given), "cipush/test")
        found = await send(client)
        await client.aclose()

    assert isinstance(found, Accepted)
    assert proxy.asked == [f"CONNECT {served.address} HTTP/1.1"]


async def test_a_password_file_of_the_proxy_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("the old password")
    async with serving(Hello()) as served, running(Proxy("the new one")) as proxy:
        auth = {"username": "me", "password_file": str(file)}
        given = {"url": f"{served.url}/w", "proxy_url": proxy.address, "proxy_auth": auth}
        client = Client("sinks.vm", TransportOptions.model_validate(given), "cipush/test")
        before = await send(client)
        file.write_text("the new one\n")
        after = await send(client)
        await client.aclose()

    assert isinstance(before, Misconfigured)
    assert isinstance(after, Accepted)
