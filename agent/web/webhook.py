"""Webhooks in: who may deliver and how much, and the answer only after the ledger has what a delivery brought.

What is cheap is asked first: nothing of a body is read before its sender is admitted and there is room for it, nothing
in it before the source has checked the signature.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.errors import DeliveryError, TemporaryError
from agent.model import Collected, Delivery
from agent.net.networks import Networks
from agent.selfmon import SelfMonitor, counter, gauge
from agent.sources.base import Hooked
from agent.web.admission import Bucket, Load
from agent.web.forwarded import client_address
from agent.web.incoming import Answer, GoneError, Incoming
from agent.web.journal import Journal

REQUESTS = counter("cipush_webhook_requests_total", "Webhook requests answered.", "source", "code")
IN_PROGRESS = gauge("cipush_webhook_in_progress", "Deliveries being read or committed.")
IN_PROGRESS_BYTES = gauge("cipush_webhook_in_progress_bytes", "Bytes of their bodies.", unit="bytes")
FAMILIES = (REQUESTS, IN_PROGRESS, IN_PROGRESS_BYTES)

PATH = "/webhook"
MAX_BODY_BYTES = 25 << 20
"""GitHub sends no larger ones (https://docs.github.com/en/webhooks/webhook-events-and-payloads)."""
MAX_IN_PROGRESS = 400
"""Less than the server's connections, so that there is room for others to be answered."""
MAX_IN_PROGRESS_BYTES = 64 << 20
BODY_SECONDS = 10.0
"""How long a body may take: GitHub waits that long for the answer to the whole delivery
(https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks)."""
COMMIT_SECONDS = 25.0
"""How long the ledger may take; GitHub Enterprise Server waits 30 seconds for an answer."""
RETRY_SECONDS = 10
"""Retry-After where nobody knows better."""

HEALTHY = Answer(200, "ok")
HEALTH_ALONE = Answer(404, "nothing here but webhooks and /health")
HEALTH_READ = Answer(405, "/health takes GET and HEAD", allow="GET, HEAD")
ACCEPTED = Answer(202, "")
"""No text: it would be sent apart from the head, which is what takes longest of an answer."""
UNKNOWN = Answer(404, "there is no such webhook; the path is /webhook/ and the name of a source that takes deliveries")
NOT_POSTED = Answer(405, "deliveries are POSTed", allow="POST")
NOT_ADMITTED = Answer(403, "deliveries do not come from your address")
BUSY = Answer(503, "too many deliveries at one time", RETRY_SECONDS)
NOT_KEPT = Answer(503, "the agent cannot keep it right now; its log says why", RETRY_SECONDS)
FAILED = Answer(503, "the agent failed at it; its log says why", RETRY_SECONDS)
"""503: the fault is not the sender's, and a later version of the agent may take the same delivery."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A source that takes deliveries, and what its configuration says about who sends them."""

    name: str
    source: Hooked
    """Its `admits` may raise DeliveryError too, where it cannot tell yet or takes no deliveries at all."""
    trusted_proxies: Networks
    """Whose X-Forwarded-For is believed."""
    max_per_second: float
    """Deliveries a second on average; 0 = no limit."""


Find = Callable[[str], Hook | None]
"""The hook of the source of that name; of "" the one that has no need of a name. None = there is none. Raises
DeliveryError where there is one, but not right now."""
Commit = Callable[[Hook, Collected], Awaitable[None]]
"""Returns when the ledger has it; raises TemporaryError when the ledger cannot take it, DeliveryError when the source has
gone meanwhile."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is held at one time, over all sources, and how long things may take."""

    max_body_bytes: int = MAX_BODY_BYTES
    max_in_progress: int = MAX_IN_PROGRESS
    max_in_progress_bytes: int = MAX_IN_PROGRESS_BYTES
    body_seconds: float = BODY_SECONDS
    commit_seconds: float = COMMIT_SECONDS


LIMITS = Limits()


class _RefusedError(Exception):
    """A delivery is not taken."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.text)


def is_webhook(path: str) -> bool:
    """Whether a path belongs to `Webhooks`."""
    return path == PATH or path.startswith(PATH + "/")


def make_webhook_app(webhooks: ASGIApp) -> ASGIApp:
    """The ASGI app of a listener for webhooks alone; of all else it knows /health."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if is_webhook(scope["path"]):
            await webhooks(scope, receive, send)
            return
        request = Incoming(scope)
        health = HEALTHY if request.method in ("GET", "HEAD") else HEALTH_READ
        await request.answer(send, health if request.path == "/health" else HEALTH_ALONE)

    return app


class Webhooks:
    """The ASGI app of /webhook and everything below. `clock` gives seconds since the epoch."""

    def __init__(
        self, find: Find, commit: Commit, monitor: SelfMonitor, clock: Callable[[], float], limits: Limits = LIMITS
    ) -> None:
        self._find = find
        self._commit = commit
        self._monitor = monitor
        self._clock = clock
        self._limits = limits
        self._load = Load(limits.max_in_progress, limits.max_in_progress_bytes)
        self._buckets: dict[str, Bucket] = {}
        self._journal = Journal(anyio.current_time)
        self._show_load()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: 202 once the ledger has the delivery, otherwise what is wrong."""
        request = Incoming(scope, anyio.current_time())
        try:
            await self._take(request, receive)
        except GoneError:
            self._journal.answered(request, 0)
            return
        except _RefusedError as error:
            answer = error.answer
            self._journal.refused(request, answer)
        else:
            answer = ACCEPTED
            self._journal.accepted(request.source)
        self._monitor.add(REQUESTS, (request.source, str(answer.status)))
        await request.answer(send, answer)
        self._journal.answered(request, answer.status)

    async def _take(self, request: Incoming, receive: Receive) -> None:
        """Everything from the first look to the commit. Raises _RefusedError or GoneError."""
        if request.method != "POST":
            raise _RefusedError(NOT_POSTED)
        hook = self._found(request)
        request.source = hook.name
        request.client = client_address(request.client, request.headers.get("x-forwarded-for", ""), hook.trusted_proxies)
        self._admit(hook, request)
        self._load.begin()
        try:
            with anyio.CancelScope(deadline=request.begun + self._limits.body_seconds) as patience:
                body = await self._read(request, receive)
                self._show_load()
                collected = self._received(hook, Delivery(request.headers, body, self._clock()))
                patience.deadline = anyio.current_time() + self._limits.commit_seconds
                await self._committed(hook, collected)
            if patience.cancelled_caught:
                raise _RefusedError(NOT_KEPT if request.is_whole else self._too_slow())
        finally:
            self._load.end(request.held)
            self._show_load()

    def _found(self, request: Incoming) -> Hook:
        try:
            hook = self._find(request.path[len(PATH) + 1 :])
        except DeliveryError as error:
            raise _refused(error) from error
        if hook is None:
            raise _RefusedError(UNKNOWN)
        return hook

    def _admit(self, hook: Hook, request: Incoming) -> None:
        """Refuse before anything of the body is read."""
        try:
            is_admitted = hook.source.admits(request.client)
        except DeliveryError as error:
            raise _refused(error) from error
        except Exception as error:
            raise self._bug(hook, error) from error
        if not is_admitted:
            raise _RefusedError(NOT_ADMITTED)
        bucket = self._buckets.get(hook.name)
        if bucket is None or bucket.per_second != hook.max_per_second:
            bucket = self._buckets[hook.name] = Bucket(hook.max_per_second)
        if wait := bucket.take(request.begun):
            raise _RefusedError(Answer(429, f"more than {hook.max_per_second:g} deliveries a second", ceil(wait)))
        if request.announced > self._limits.max_body_bytes:
            raise _RefusedError(self._too_large())
        if not self._load.has_room(request.announced):
            raise _RefusedError(BUSY)

    async def _read(self, request: Incoming, receive: Receive) -> bytes:
        """The whole body, as far as there is room for it."""
        parts: list[bytes] = []
        while (part := await request.part(receive)) is not None:
            has_room = self._load.grow(len(part))
            if request.held > self._limits.max_body_bytes:
                raise _RefusedError(self._too_large())
            if not has_room:
                raise _RefusedError(BUSY)
            parts.append(part)
        return b"".join(parts)

    def _received(self, hook: Hook, delivery: Delivery) -> Collected:
        try:
            return hook.source.receive(delivery)
        except DeliveryError as error:
            raise _refused(error) from error
        except Exception as error:
            raise self._bug(hook, error) from error

    async def _committed(self, hook: Hook, collected: Collected) -> None:
        try:
            await self._commit(hook, collected)
        except TemporaryError as error:
            raise _RefusedError(NOT_KEPT) from error
        except DeliveryError as error:
            raise _refused(error) from error
        except Exception as error:
            raise self._bug(hook, error) from error

    def _bug(self, hook: Hook, error: Exception) -> _RefusedError:
        self._journal.failed(hook.name, error)
        return _RefusedError(FAILED)

    def _too_large(self) -> Answer:
        return Answer(413, f"the body is over the limit of {self._limits.max_body_bytes} bytes")

    def _too_slow(self) -> Answer:
        return Answer(408, f"the body was not complete within {self._limits.body_seconds:g} s")

    def _show_load(self) -> None:
        self._monitor.set(IN_PROGRESS, (), self._load.deliveries)
        self._monitor.set(IN_PROGRESS_BYTES, (), self._load.bytes)


def _refused(error: DeliveryError) -> _RefusedError:
    """A source's own refusal; a status that is none of a refusal becomes 503."""
    status = error.status if 400 <= error.status < 500 else 503
    return _RefusedError(Answer(status, str(error), RETRY_SECONDS if status in (429, 503) else 0))
