"""No secret of a peer's options is printed, whatever goes wrong and however the peer quotes it."""

from __future__ import annotations

import json
import logging
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
from pydantic import BaseModel

from agent.errors import CollectError
from agent.log import JsonFormatter
from agent.plugin import Context
from agent.secret import Changing, Secret, redact
from agent.sinks import pushgateway, remote_write, vm_import
from agent.sources import scrape
from tests.conftest import StartAgent
from tests.lanes import block, snapshot
from tests.scraping import Stream
from tests.servers import eventually

pytestmark = pytest.mark.anyio

CORE = "Zq7sentinelword"
SENTINEL = f'{CORE} +/&"end'
"""Every way to write it in a URL, in JSON or in HTML has CORE in it."""
TOKEN = "Xw3fetchedtokenword"
TOKEN_URL = "http://login.test/token"


def needles(core: str) -> list[str]:
    """`core`, and what base64 makes of it wherever it stands."""
    middles = (b64encode(("." * shift + core).encode()).decode() for shift in range(3))
    return [core, *(middle[4:-4] for middle in middles)]


def leaks(text: str) -> list[str]:
    return [needle for needle in (*needles(CORE), *needles(TOKEN)) if needle in text]


def oauth2(**more: Any) -> dict[str, Any]:
    return {"oauth2": {"client_id": "me", "token_url": TOKEN_URL, **more}}


Options = Callable[[str], dict[str, Any]]
CREDENTIALS: dict[str, Options] = {
    "header": lambda file: {"headers": {"X-Key": SENTINEL}},
    "authorization header": lambda file: {"headers": {"Authorization": f"Custom {SENTINEL}"}},
    "basic_auth": lambda file: {"basic_auth": {"username": "me", "password": SENTINEL}},
    "basic_auth file": lambda file: {"basic_auth": {"username": "me", "password_file": file}},
    "bearer": lambda file: {"bearer_token": SENTINEL},
    "bearer file": lambda file: {"bearer_token_file": file},
    "oauth2": lambda file: oauth2(client_secret=SENTINEL),
    "oauth2 file": lambda file: oauth2(client_secret_file=file),
    "oauth2 parameter": lambda file: oauth2(client_secret="other secret", endpoint_params={"key": SENTINEL}),
    "url": lambda file: {"url": f"http://me:{quote(SENTINEL, safe='')}@vm.test/w"},
    "proxy_url": lambda file: {"proxy_url": f"http://me:{quote(SENTINEL, safe='')}@proxy.test:1"},
    "proxy_auth": lambda file: {"proxy_url": "http://proxy.test:1", "proxy_auth": {"username": "me", "password": SENTINEL}},
}


def all_of(request: httpx.Request) -> str:
    """Everything that was sent, as a careless peer or library would quote it."""
    wanted = {name: value for name, value in request.headers.items() if name in ("authorization", "x-key")}
    body = request.content.decode("utf-8", "replace") if b"grant_type" in request.content else ""
    return f"{body} {wanted} {request.url}"  # what matters first: it will be cut


def refused(status: int) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        echo = all_of(request)
        said = json.dumps({"error": echo, "error_description": echo}) if request.url.host == "login.test" else echo
        return httpx.Response(status, stream=Stream(said.encode()))

    return answer


def away(request: httpx.Request) -> httpx.Response:
    user_info = f"me:{quote(SENTINEL, safe='')}"
    place = f"http://{user_info}@else.test/{quote(SENTINEL)}?token={quote(SENTINEL)}#{SENTINEL}"
    return httpx.Response(307, headers={"Location": place}, stream=Stream(place.encode()))


def raising(
    kind: type[httpx.TransportError], cause: Callable[[str], Exception] = OSError
) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        raise kind(f"in {all_of(request)}") from cause(f"below {all_of(request)}")

    return answer


FAULTS: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "401": refused(401),
    "400": refused(400),
    "503": refused(503),
    "407": refused(407),
    "redirect": away,
    "proxy": lambda request: raising(httpx.ProxyError)(request),
    "dns": raising(httpx.ConnectError, lambda text: socket.gaierror(-2, text)),
    "tls": raising(httpx.ConnectError, lambda text: ssl.SSLError(1, text)),
    "timeout": raising(httpx.ReadTimeout),
    "protocol": raising(httpx.RemoteProtocolError),
}


def faulty(fault: str, *, at_login: bool) -> httpx.MockTransport:
    """A network on which this fails: the token endpoint, or the peer behind it."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "login.test" and not at_login:
            return httpx.Response(200, stream=Stream(b'{"access_token": "%s", "expires_in": 0}' % TOKEN.encode()))
        return FAULTS[fault](request)

    return httpx.MockTransport(answer)


def sink_of(module: Any, options: BaseModel, network: httpx.MockTransport) -> Any:
    return module.build("it", options, Context(lambda: 1000.0, "cipush", "here", "cipush/test"), network)


async def words_of(module: Any, given: dict[str, Any], network: httpx.MockTransport, log: logging.Logger) -> str:
    """All that one sink or source says and shows, and what it raised, as the agent logs that."""
    address = {"url": "http://vm.test/w", **given}
    if module is scrape:
        options = scrape.Options.model_validate({"interval_seconds": 15, "targets": [address]})
        source = sink_of(scrape, options, network)
        found: object = None
        for poller in source.pollers():
            try:
                found = await poller.collect(None)
            except CollectError as error:
                found = error
                log.exception("scrape failed")
        await source.aclose()
        return f"{options!r} {options} {source!r} {found!r} {found} {options.model_dump_json()}"
    options = module.Options.model_validate(address)
    sink = sink_of(module, options, network)
    outcome = await sink.send(snapshot(1) if module is pushgateway else block(1))
    text = f"{options!r} {options} {options.model_dump_json()} {sink!r} {vars(sink)} {sink.url} {outcome!r}"
    await sink.aclose()
    return text


@pytest.mark.parametrize("module", [remote_write, vm_import, pushgateway, scrape], ids=lambda module: module.__name__)
@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_a_secret_is_in_nothing_that_a_failing_peer_makes_us_say(
    module: Any, credential: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secret"
    file.write_text(SENTINEL + "\n")
    given = CREDENTIALS[credential](str(file))
    caplog.set_level(logging.DEBUG)
    said = {}
    for fault in FAULTS:
        for at_login in (False, True) if "oauth2" in given else (False,):
            network = faulty(fault, at_login=at_login)
            said[fault, at_login] = await words_of(module, given, network, logging.getLogger("agent.test"))
    logged = "\n".join(JsonFormatter().format(record) for record in caplog.records)

    assert {case: leaks(text) for case, text in said.items() if leaks(text)} == {}
    assert leaks(logged) == []


async def test_what_a_peer_echoes_is_shown_without_the_secret() -> None:
    text = await words_of(remote_write, {"bearer_token": SENTINEL}, faulty("401", at_login=False), logging.getLogger())

    assert "Bearer ****" in text


@pytest.mark.parametrize("key", ["url", "proxy_url"])
@pytest.mark.parametrize("address", ["http://me:{}@h:99999999/", "ftp://me:{}@h/", "http://me:{}@[h/", "http://me:{}@h/#x"])
def test_an_address_that_is_refused_is_not_quoted_with_its_password(key: str, address: str, tmp_path: Path) -> None:
    from agent.config import load
    from agent.errors import ConfigError

    sets = {"sinks.vm.type": "remote_write", "sinks.vm.url": "http://h/w", f"sinks.vm.{key}": address.format(CORE)}
    with pytest.raises(ConfigError) as caught:
        load((), {}, tuple(sets.items()))

    assert leaks(f"{caught.value} {caught.value!r}") == []


async def test_a_proxy_that_echoes_its_password_is_shown_without_it() -> None:
    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            head = (await stream.receive()).partition(b"\r\n\r\n")[0].replace(b"\r\n", b" ")
            await stream.send(b"HTTP/1.1 407 %s\r\nContent-Length: 0\r\n\r\n" % head)

    found = []
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        for scheme in ("http", "https"):
            given = {"url": f"{scheme}://vm.test/w", "proxy_url": f"http://me:{quote(SENTINEL, safe='')}@127.0.0.1:{port}"}
            options = remote_write.Options.model_validate(given)
            sink = remote_write.build("it", options, Context(lambda: 1000.0, "cipush", "here", "cipush/test"))
            found.append(repr(await sink.send(block(1))))
            await sink.aclose()
        tasks.cancel_scope.cancel()

    assert ["check proxy_auth" in text for text in found] == [True, True]
    assert [leaks(text) for text in found] == [[], []]


def test_of_a_secret_that_changes_the_last_four_are_redacted() -> None:
    changing = Changing()
    for number in range(10):
        changing.renew(f"changing-{number}")

    assert redact(" ".join(f"changing-{number}" for number in range(10))).split()[5:] == ["changing-5"] + ["****"] * 4


def test_a_secret_that_somebody_else_has_too_is_not_forgotten() -> None:
    held = Secret("held-by-others")
    changing = Changing()
    for value in ("held-by-others", *(f"held-later-{number}" for number in range(4))):
        changing.renew(value)

    assert redact(held.reveal()) == "****"


class Echo(BaseHTTPRequestHandler):
    """Refuses everything, and says in its answer what it was given."""

    def do_POST(self) -> None:
        words = f"who is {dict(self.headers.items())}?".encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    do_GET = do_PUT = do_POST  # noqa: N815  # the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def echoing() -> Iterator[str]:
    """Its address, while the block runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_running_agent_shows_no_secret_anywhere(start_agent: StartAgent, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SENTINEL)
    with echoing() as address:
        url = f"http://{address}/w"
        login = {"oauth2": {"client_id": "me", "token_url": f"http://{address}/t", "client_secret": SENTINEL}}
        sinks: dict[str, dict[str, Any]] = {
            "basic": {"type": "remote_write", **CREDENTIALS["basic_auth"](str(file)), "url": url},
            "file": {"type": "vm_import", **CREDENTIALS["bearer file"](str(file)), "url": url},
            "gate": {"type": "pushgateway", **CREDENTIALS["header"](str(file)), "url": url},
            "login": {"type": "remote_write", "url": url, **login},
            "user": {"type": "remote_write", "url": f"http://me:{quote(SENTINEL, safe='')}@{address}/w?token={CORE}"},
            "proxy": {"type": "remote_write", "url": url, "proxy_url": f"http://me:{quote(SENTINEL, safe='')}@{address}"},
        }
        target = {"url": url, "bearer_token": SENTINEL}
        sources = {"scrape": {"interval_seconds": 1, "targets": [target]}}
        agent = start_agent(
            {"sources": sources, "sinks": sinks, "agent": {"flush_interval_seconds": 1, "shutdown_grace_seconds": 0.5}}
        )

        def tried() -> bool:
            found = agent.get("/api/status").json()["sinks"]
            return len(found) == len(sinks) and all(sink["last_error"] for sink in found)

        eventually(tried, "every sink was refused")
        pages = ("/", "/config", "/ready", "/metrics", "/api/status", "/api/series", "/api/explain?name=up", "/api/queue")
        said = {page: agent.get(page).text for page in pages}
        said["log"] = agent.process.output()

    assert "****" in said["/config"]
    assert {where: leaks(text) for where, text in said.items() if leaks(text)} == {}
