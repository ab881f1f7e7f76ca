"""GitLab's side of a webhook: events posted in order of time, with the hook's secret token in a header.

https://docs.gitlab.com/user/project/integrations/webhooks/#delivery-headers. Within 10 s the receiver has to answer; what
fails is not sent again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import anyio
import httpx

from agent.sim.github.sender import Wait
from agent.sim.gitlab.faults import Shipment
from agent.sim.gitlab.payloads import payload
from agent.sim.gitlab.places import World

PATIENCE_SECONDS = 10.0
"""How long GitLab waits for an answer."""


class Request(NamedTuple):
    """A delivery as it goes over the wire."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Sender:
    """Sends shipments to a hook. What a test wants to see of it is in `answered`."""

    def __init__(self, world: World, token: str = "") -> None:
        self._world = world
        self._token = token
        self.answered: Counter[str] = Counter()
        """How many got which answer: a status, or `timed out` or `failed`."""

    def request(self, shipment: Shipment) -> Request:
        """One shipment as it goes over the wire."""
        told = shipment.announcement
        headers = {
            "content-type": "application/json",
            "user-agent": "GitLab/18.4.2-ee",
            "x-gitlab-event": told.event,
            "x-gitlab-event-uuid": told.guid,
            "x-gitlab-webhook-uuid": "6fd1e1f2-3ad4-4c0f-9f6f-0a8f6c1d2e3b",
            "x-gitlab-instance": self._world.url,
            "idempotency-key": told.guid,
        }
        if self._token:
            headers["x-gitlab-token"] = self._token
        content = json.dumps(payload(self._world, told), separators=(",", ":"), ensure_ascii=False)
        return Request(headers, content.encode())

    async def post(
        self,
        client: httpx.AsyncClient,
        url: str,
        shipments: Iterable[Shipment],
        wait: Wait | None = None,
        *,
        connections: int = 1,
    ) -> None:
        """Post them to `url`, so many at a time; `wait(time)` paces them, without one they go as fast as they are answered."""
        left = iter(shipments)

        async def work() -> None:
            for shipment in left:
                if wait:
                    await wait(shipment.at)
                await self._post(client, url, self.request(shipment))

        async with anyio.create_task_group() as tasks:
            for _ in range(connections):
                tasks.start_soon(work)

    async def _post(self, client: httpx.AsyncClient, url: str, sent: Request) -> None:
        try:
            with anyio.fail_after(PATIENCE_SECONDS):
                answer = await client.post(url, content=sent.body, headers=dict(sent.headers))
            self.answered[str(answer.status_code)] += 1
        except TimeoutError:
            self.answered["timed out"] += 1
        except httpx.HTTPError:
            self.answered["failed"] += 1
