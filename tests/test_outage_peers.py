"""A receiver whose name is not found, or whose certificate is wrong: `cipush run` stays up, says so, and recovers."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import servers
from tests.agents import Agent
from tests.conftest import StartAgent
from tests.servers import eventually
from tests.test_web_tls import Pair, self_signed, signed


def configured(url: str, folder: Path, **sink: Any) -> dict[str, Any]:
    """The agent's own series, every second, into one sink."""
    vm = {"type": "remote_write", "url": f"{url}/api/v1/write", "timeout_seconds": 5, **sink}
    return {
        "agent": {"job": "peers", "flush_interval_seconds": 1, "state_dir": str(folder / "state"), "shutdown_grace_seconds": 1},
        "sinks": {"vm": vm},
        "sources": {"internal": {"interval_seconds": 1}},
    }


def says(agent: Agent, code: str) -> bool:
    """Whether `/ready` and the metrics tell of a trouble of that kind."""
    answer = agent.get("/ready")
    assert answer.status_code == 200
    counted = f'cipush_sink_requests_total{{sink="vm",code="{code}"}}' in agent.metrics()
    return answer.json()["status"] == "degraded" and "sink vm" in answer.text and counted


def well(agent: Agent) -> bool:
    """Whether it is all well again, and nothing waits."""
    status = agent.get("/api/status").json()
    return not status["degraded"] and status["sinks"][0]["queue_blocks"] == 0 and status["sinks"][0]["samples_sent"] > 0


def test_a_name_that_is_not_found_is_told_and_nothing_is_lost_when_it_is_put_right(
    victoria_metrics: servers.VictoriaMetrics, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent(configured("http://receiver.invalid:8428", tmp_path))
    eventually(lambda: says(agent, "dns"), "the agent tells of the name")
    waiting = agent.get("/api/status").json()["sinks"][0]["queue_samples"]

    agent.write(configured(victoria_metrics.url, tmp_path))
    assert httpx.post(agent.url + "/-/reload", timeout=10.0).status_code == 200

    eventually(lambda: well(agent), "everything is sent to the right address")
    assert agent.get("/api/status").json()["sinks"][0]["samples_dropped"] == 0
    assert waiting > 0
    held = victoria_metrics.export('cipush_sink_up{job="peers"}')[0]
    assert held.values[0] == 0.0  # the samples of the time when it was not found


class Sink:
    """An https receiver that takes everything; its certificate can be exchanged while it runs."""

    def __init__(self, pair: Pair) -> None:
        self.taken = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show(pair)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(), bind_and_activate=True)
        self._server.daemon_threads = True
        # Handshakes belong to the threads of the connections: a refused one must not end the accepting.
        self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"https://127.0.0.1:{self._server.server_port}"

    def show(self, pair: Pair) -> None:
        """Use this certificate for connections from now on."""
        self._context.load_cert_chain(pair.cert, pair.key)

    def serve(self) -> None:
        """Answer until `close`."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(sink) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def handle(self) -> None:
                try:
                    super().handle()
                except (ssl.SSLError, OSError):
                    self.close_connection = True  # the other side did not like our certificate

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                sink.taken += 1

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def tls_sink(pair: Pair) -> Iterator[Sink]:
    """Such a receiver, closed when the block ends."""
    found = Sink(pair)
    thread = threading.Thread(target=found.serve)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates with")
def test_a_certificate_that_is_not_trusted_is_told_until_it_is_exchanged(start_agent: StartAgent, tmp_path: Path) -> None:
    stranger, authority = self_signed(tmp_path, "stranger"), self_signed(tmp_path, "authority")
    good = signed(tmp_path, "good", authority)

    with tls_sink(stranger) as sink:
        agent = start_agent(configured(sink.url, tmp_path, tls={"ca_file": authority.cert}))
        eventually(lambda: says(agent, "tls"), "the agent tells of the certificate")
        assert sink.taken == 0

        sink.show(good)

        # Nobody tells the agent: it finds out with its next try.
        eventually(lambda: well(agent), "everything is sent", 60)
        assert sink.taken > 0
        assert agent.get("/api/status").json()["sinks"][0]["samples_dropped"] == 0
