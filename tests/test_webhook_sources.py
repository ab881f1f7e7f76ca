"""Webhooks of a running agent: which source a path is for, before and after a reload."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from tests.agents import Agent
from tests.bench.github_payloads import PER_RUN, deliveries
from tests.conftest import StartAgent
from tests.hooking import OTHER, SECRET, headers, sign
from tests.servers import free_port

PING = b'{"zen": "Keep it logically awesome."}'


def config(**sources: str) -> dict[str, Any]:
    """GitHub sources by name, with their secrets."""
    return {"sources": {name: {"type": "github", "webhook": {"secret": secret}} for name, secret in sources.items()}}


def deliver(agent: Agent, path: str, secret: str = SECRET, url: str = "") -> int:
    """The status of one signed ping."""
    sent = headers(PING, x_github_event="ping", x_hub_signature_256=sign(PING, secret))
    return httpx.post((url or agent.url) + path, content=PING, headers=sent, timeout=10.0).status_code


def reload(agent: Agent, changed: dict[str, Any]) -> None:
    """Have it take over another configuration."""
    agent.write(changed)
    assert httpx.post(agent.url + "/-/reload", timeout=10.0).status_code == 200


def test_every_source_has_its_own_path_and_the_only_one_needs_no_name(start_agent: StartAgent) -> None:
    agent = start_agent(config(acme=SECRET))
    alone = [deliver(agent, path) for path in ("/webhook/acme", "/webhook", "/webhook/other")]
    reload(agent, config(acme=SECRET, other=OTHER))
    together = [deliver(agent, path) for path in ("/webhook/acme", "/webhook", "/webhook/other")]

    assert alone == [202, 202, 404]
    assert together == [202, 404, 401]
    assert deliver(agent, "/webhook/other", OTHER) == 202


def test_a_reload_exchanges_the_secret(start_agent: StartAgent) -> None:
    agent = start_agent(config(acme=SECRET))
    before = deliver(agent, "/webhook/acme"), deliver(agent, "/webhook/acme", OTHER)
    reload(agent, config(acme=OTHER))
    after = deliver(agent, "/webhook/acme"), deliver(agent, "/webhook/acme", OTHER)

    assert (before, after) == ((202, 401), (401, 202))


def test_a_source_that_is_gone_takes_no_deliveries(start_agent: StartAgent) -> None:
    agent = start_agent(config(acme=SECRET))
    deliver(agent, "/webhook/acme")
    reload(agent, config(other=SECRET))

    assert (deliver(agent, "/webhook/acme"), deliver(agent, "/webhook/other")) == (404, 202)


def test_a_listener_of_their_own_takes_them_from_the_main_one(start_agent: StartAgent) -> None:
    address = f"127.0.0.1:{free_port()}"
    agent = start_agent({**config(acme=SECRET), "server": {"webhook_listen_address": address}})

    assert deliver(agent, "/webhook/acme") == 404
    assert deliver(agent, "/webhook/acme", url=f"http://{address}") == 202


def test_webhooks_alone_ask_github_for_nothing(start_agent: StartAgent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as github:
        url = f"http://127.0.0.1:{github.getsockname()[1]}"
        agent = start_agent({"sources": {"acme": {"type": "github", "url": url, "webhook": {"secret": SECRET}}}})
        for sent in deliveries(PER_RUN):
            signed = headers(sent.body, x_github_event=sent.event, x_github_delivery=sent.guid)
            assert httpx.post(agent.url + "/webhook", content=sent.body, headers=signed).status_code == 202
        assert "github_job_run_total{" in agent.metrics()
        assert agent.process.terminate() == 0
        github.setblocking(False)

        with pytest.raises(BlockingIOError):
            github.accept()
