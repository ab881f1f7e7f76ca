"""GitHub's side of a webhook: deliveries in order of time, signed and posted as GitHub does, into a log.

Headers and signatures: https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers and
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import anyio
import httpx

from agent.sim.github.deliveries import payload
from agent.sim.github.faults import Shipment
from agent.sim.github.log import Entry, Log
from agent.sim.github.objects import Json, organization
from agent.sim.github.world import World

HOOK_ID = 507_000_001
PATIENCE_SECONDS = 10.0
"""How long GitHub waits for an answer."""
JSON, FORM = "application/json", "application/x-www-form-urlencoded"

Wait = Callable[[float], Awaitable[None]]


class Request(NamedTuple):
    """A delivery as it goes over the wire."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def ping(world: World) -> Json:
    """The payload of the first delivery of all, when a hook is made."""
    return {
        "zen": "Measure twice, cut once.",
        "hook_id": HOOK_ID,
        "hook": hook(world),
        "organization": organization(world.owner, world.owner_id),
    }


def hook(world: World) -> Json:
    """The organisation's hook, as the API lists it."""
    url = f"https://api.github.com/orgs/{world.owner}/hooks/{HOOK_ID}"
    return {
        "type": "Organization",
        "id": HOOK_ID,
        "name": "web",
        "active": True,
        "events": ["workflow_job", "workflow_run"],
        "config": {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": "https://hooks.example.com/webhook"},
        "updated_at": "2026-01-10T10:00:00Z",
        "created_at": "2026-01-10T10:00:00Z",
        "url": url,
        "ping_url": f"{url}/pings",
        "deliveries_url": f"{url}/deliveries",
    }


def headers(world: World, event: str, guid: str) -> dict[str, str]:
    """The headers of a delivery but for its signature and its body's type."""
    return {
        "accept": "*/*",
        "user-agent": "GitHub-Hookshot/5e1ec7d",
        "x-github-delivery": guid,
        "x-github-event": event,
        "x-github-hook-id": str(HOOK_ID),
        "x-github-hook-installation-target-id": str(world.owner_id),
        "x-github-hook-installation-target-type": "organization",
    }


def request(world: World, event: str, guid: str, content: Json, secret: str = "", *, form: str = JSON) -> Request:
    """A delivery, signed where there is a secret: over the bytes of the body, whatever its form."""
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    if form == FORM:
        body = urlencode({"payload": body}).encode()
    named = headers(world, event, guid) | {"content-type": form}
    if secret:
        for name, digest in (("x-hub-signature", hashlib.sha1), ("x-hub-signature-256", hashlib.sha256)):
            named[name] = f"{digest().name}={hmac.new(secret.encode(), body, digest).hexdigest()}"
    return Request(named, body)


class Sender:
    """Sends shipments to a hook and keeps its log. What a test wants to see of it is in `log` and `answered`."""

    def __init__(self, world: World, secret: str = "", *, form: str = JSON, log: Log | None = None) -> None:
        self._world = world
        self._secret = secret
        self._form = form
        self.log = Log() if log is None else log
        self.answered: Counter[str] = Counter()
        """How many got which answer: a status, or `timed out` or `failed to connect to host`."""

    def request(self, shipment: Shipment) -> Request:
        """One shipment as it goes over the wire."""
        announcement = shipment.announcement
        content = payload(self._world, announcement)
        return request(self._world, announcement.event, announcement.guid, content, self._secret, form=self._form)

    def requests(self, shipments: Iterable[Shipment]) -> Iterator[tuple[Shipment, Entry, Request | None]]:
        """Everything in order, without a network: (shipment, its entry in the log, what to deliver or None if it is lost)."""
        for shipment in shipments:
            yield shipment, self.log.add(shipment), None if shipment.failure else self.request(shipment)

    async def post(
        self,
        client: httpx.AsyncClient,
        url: str,
        shipments: Iterable[Shipment],
        wait: Wait | None = None,
        *,
        connections: int = 1,
    ) -> None:
        """Post them to `url`, so many at a time; `wait(time)` paces them, without one they go as fast as they are answered.

        Whatever the hook answers is logged, and nothing is sent twice that `shipments` does not hold twice.
        """
        left = iter(shipments)

        async def work() -> None:
            for shipment in left:
                if wait:
                    await wait(shipment.at)
                entry = self.log.add(shipment)
                if not shipment.failure:
                    await self._post(client, url, entry, self.request(shipment))

        async with anyio.create_task_group() as tasks:
            for _ in range(connections):
                tasks.start_soon(work)

    async def _post(self, client: httpx.AsyncClient, url: str, entry: Entry, sent: Request) -> None:
        began = anyio.current_time()
        try:
            with anyio.fail_after(PATIENCE_SECONDS):
                answer = await client.post(url, content=sent.body, headers=dict(sent.headers))
            entry.status_code = answer.status_code
            entry.status = "OK" if answer.is_success else answer.reason_phrase or "Error"
        except TimeoutError:
            entry.status_code, entry.status = 0, "timed out"
        except httpx.HTTPError:
            entry.status_code, entry.status = 0, "failed to connect to host"
        entry.seconds = round(anyio.current_time() - began, 3)
        self.answered[str(entry.status_code or entry.status)] += 1


def paced(now: Callable[[], float], speed: float = 1.0) -> Wait:
    """Waits until `now()` says that it is time; `speed`: seconds of the world in one of the loop's."""

    async def wait(at: float) -> None:
        left = at - now()
        if left > 0:
            await anyio.sleep(left / speed)

    return wait
