"""The web application around an agent whose answers a test chooses; no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal

import httpx

from agent.secret import Secret
from agent.selfmon import SelfMonitor
from agent.web.app import make_app

PATHS = (
    "/",
    "/metrics",
    "/metrics/v1",
    "/health",
    "/ready",
    "/config",
    "/api/status",
    "/api/series",
    "/api/explain",
    "/api/queue",
    "/-/reload",
)
TOKEN = "tökén of some length"
"""Of Site(TOKEN): more than ASCII, as a password may be."""
WORDS: Sequence[bytes] = (b"one 1\n", b"", b"two 2\n", b"three 3\n" * 5000)

State = Literal["ok", "empty", "failed", "unknown"]


class FakeAgent:
    """Answers with what a test puts into it; remembers what it was asked."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {"host": "ok", "new": "empty", "gitlab": "failed"}
        self.is_ready = True
        self.problem: str | None = None
        self.asked: list[object] = []
        self.rendered = 0
        self.config = "agent:\n  job: cipush\n"

    async def exposition(self, openmetrics: bool, source: str | None) -> AsyncIterator[bytes]:
        self.asked.append((openmetrics, source))
        for words in WORDS:
            self.rendered += 1
            yield words

    def source_state(self, name: str) -> State:
        return self.states.get(name, "unknown")

    def anklet_lines(self) -> str:
        return "host_cpu_count 4\n"

    def ready(self) -> tuple[bool, dict[str, object]]:
        return self.is_ready, {"status": "ready" if self.is_ready else "stopping", "degraded": ["sink vm: retrying"]}

    def status(self) -> dict[str, object]:
        names = ("version", "instance", "uptime_seconds", "pid", "state_dir")
        return {
            **dict.fromkeys(names, 1),
            "degraded": [],
            "sinks": [],
            "sources": [],
            "store": {},
            "ledger": {},
            "flush": {"held": ""},
        }

    def series(self, match: str, limit: int) -> list[dict[str, object]]:
        if match == "{":
            raise ValueError("not a selector")
        self.asked.append((match, limit))
        return [{"name": "up"}]

    def explain(self, name: str) -> dict[str, object]:
        return {"name": name}

    def effective_config(self) -> str:
        return self.config

    def queues(self) -> list[dict[str, object]]:
        return [{"name": "vm", "blocks": 3}]

    def queue_heads(self, name: str, count: int) -> list[dict[str, object]]:
        if name != "vm":
            raise KeyError(name)
        return [{"sequence": 7 + number} for number in range(min(count, 3))]

    def drop_queued(self, name: str, upto: int | None) -> int:
        if name != "vm":
            raise KeyError(name)
        self.asked.append(("drop", name, upto))
        return 30

    async def reload(self) -> str | None:
        self.asked.append("reload")
        return self.problem


class Site:
    """An agent's web application, without a socket."""

    def __init__(self, token: str = "", agent: FakeAgent | None = None) -> None:
        self.agent = agent or FakeAgent()
        self.monitor = SelfMonitor()
        self.app = make_app(self.agent, self.monitor, Secret(token))

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]] = ()
    ) -> httpx.Response:
        """The answer to one request without default headers."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.send(httpx.Request(method, f"http://x{path}", headers=headers))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """GET; `accept_encoding="gzip"` is a header."""
        return await self.ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})
