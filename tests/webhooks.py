"""Webhooks around a source whose answers a test chooses; no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import anyio
import httpx
from starlette.types import Message

from agent.errors import DeliveryError
from agent.model import Collected, Delivery, Note
from agent.net.networks import Networks
from agent.selfmon import SelfMonitor
from agent.web.webhook import LIMITS, REQUESTS, Hook, Limits, Webhooks

NOW = 1_790_000_000.0


class Scripted:
    """A source: what it admits and what becomes of a delivery."""

    def __init__(self) -> None:
        self.admitted = True
        self.not_yet = False
        self.problem: Exception | None = None
        self.asked: list[str] = []
        self.deliveries: list[Delivery] = []

    def admits(self, address: str) -> bool:
        self.asked.append(address)
        if self.not_yet:
            raise DeliveryError(503, "not known yet")
        return self.admitted

    def receive(self, delivery: Delivery) -> Collected:
        self.deliveries.append(delivery)
        if self.problem is not None:
            raise self.problem
        return Collected(notes=[Note("body", delivery.body.decode("latin-1"))])


class Ledger:
    """What was committed, and for whom; `gate` set = commits wait for it."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Collected]] = []
        self.problem: Exception | None = None
        self.gate: anyio.Event | None = None
        self.entered = anyio.Event()

    async def commit(self, hook: Hook, collected: Collected) -> None:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        self.kept.append((hook.name, collected))


class Entrance:
    """Webhooks for one source, `ci`, which needs no name either."""

    def __init__(self, limits: Limits = LIMITS, *, trusted: tuple[str, ...] = (), per_second: float = 0.0) -> None:
        self.source = Scripted()
        self.ledger = Ledger()
        self.monitor = SelfMonitor()
        self.not_now: DeliveryError | None = None
        self.hook: Hook | None = Hook("ci", self.source, Networks(trusted), per_second)
        self.app = Webhooks(self._find, self.ledger.commit, self.monitor, lambda: NOW, limits)

    def _find(self, name: str) -> Hook | None:
        if self.not_now is not None:
            raise self.not_now
        return self.hook if name in ("", "ci") else None

    def counted(self, code: int, source: str = "ci") -> float:
        """Requests answered so."""
        return self.monitor.value(REQUESTS, (source, str(code)))

    async def ask(
        self,
        method: str = "POST",
        path: str = "/webhook/ci",
        content: bytes | AsyncIterator[bytes] = b"{}",
        headers: Mapping[str, str] | None = None,
        peer: str = "192.0.2.1",
    ) -> httpx.Response:
        """The answer to one request."""
        transport = httpx.ASGITransport(self.app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, f"http://x{path}", content=content, headers=headers)

    async def in_parts(self, *parts: bytes, pause: float = 0.0, announced: bytes = b"") -> int:
        """The status of a POST whose body comes in parts, so many seconds before each."""
        waiting, statuses = list(parts), list[int]()

        async def receive() -> Message:
            await anyio.sleep(pause)
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message: Message) -> None:
            if "status" in message:
                statuses.append(message["status"])

        headers = [(b"content-length", announced) if announced else (b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "method": "POST", "path": "/webhook/ci", "headers": headers, "client": ("192.0.2.1", 1)}
        await self.app(scope, receive, send)
        return statuses[0]
