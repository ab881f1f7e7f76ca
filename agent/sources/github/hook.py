"""Deliveries as they come in: signed or refused, read, and handed to the engine."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.errors import DeliveryError
from agent.model import Collected, Delivery, Note, Observation, Update
from agent.sources.github import body, signature
from agent.sources.github.allow import Allowed
from agent.sources.github.options import WebhookOptions

log = logging.getLogger(__name__)

MAX_EVENTS = 100
"""Event names that are counted apart: GitHub has about seventy
(https://docs.github.com/en/webhooks/webhook-events-and-payloads); the others count as `other`."""
MAX_ID = 100
"""Characters of a delivery's id, which has 36."""

_EVENT = re.compile(r"[a-z0-9_]{1,60}")


class Found(Protocol):
    """What the engine makes of one payload."""

    @property
    def observations(self) -> Sequence[Observation]:
        """What happened."""
        ...

    @property
    def notes(self) -> Sequence[Note]:
        """What it has to know again after a restart."""
        ...

    @property
    def updates(self) -> Sequence[Update]:
        """Gauges that go with them."""
        ...

    @property
    def outcome(self) -> str:
        """One word for what became of it."""
        ...


class Engine(Protocol):
    """What is asked of the engine here."""

    def webhook(self, event: str, payload: Mapping[str, Any], delivery_id: str, received: float) -> Found:
        """Read one payload. Raises DeliveryError for one that is not what its event says."""
        ...


class GithubHook:
    """The webhook of one source. It keeps nothing of a delivery but its count."""

    def __init__(self, options: WebhookOptions, engine: Engine, allowed: Allowed) -> None:
        self._secrets = tuple(secret.reveal().encode() for secret in options.all_secrets)
        self._takes_unsigned = options.insecure_no_secret and not self._secrets
        self._engine = engine
        self._allowed = allowed
        self._events: set[str] = set()
        self.deliveries: dict[tuple[str, str], int] = {}
        """How many since the agent's start, by event and outcome."""

    def admits(self, address: str) -> bool:
        """Whether deliveries may come from this IP address.

        Raises DeliveryError: 404 while no secret is configured, 503 while GitHub's own networks are not known yet.
        """
        self._must_be_open()
        return self._allowed.admits(address)

    def receive(self, delivery: Delivery) -> Collected:
        """What a delivery brings.

        Raises DeliveryError: 404 while no secret is configured, 401 for one that is not signed by one of them, 400 for
        what cannot be read.
        """
        self._must_be_open()
        headers = delivery.headers
        if not self._takes_unsigned and not signature.is_signed(delivery.body, headers.get(signature.HEADER, ""), self._secrets):
            self._count("", "unsigned")  # whatever its headers say: they are anybody's
            raise DeliveryError(401, _unsigned(headers))
        event = headers.get("x-github-event", "")
        label = self._label(event)
        delivery_id = headers.get("x-github-delivery", "")[:MAX_ID]
        try:
            if not event:
                raise DeliveryError(400, "the header X-GitHub-Event is missing")
            payload = body.payload(delivery.body, headers.get("content-type", ""))
            found = self._engine.webhook(event, payload, delivery_id, delivery.received)
        except DeliveryError:
            self._count(label, "malformed")
            raise
        self._count(label, found.outcome)
        log.debug("delivery %r, event %r: %s", delivery_id, label, found.outcome)
        return Collected(found.updates, observations=found.observations, notes=found.notes)

    def _must_be_open(self) -> None:
        if not self._secrets and not self._takes_unsigned:
            raise DeliveryError(404, "this source takes no deliveries: it has no webhook.secret")

    def _label(self, event: str) -> str:
        """The event as a label's value."""
        if event in self._events:
            return event
        if len(self._events) >= MAX_EVENTS or not _EVENT.fullmatch(event):
            return "other"
        self._events.add(event)
        return event

    def _count(self, event: str, outcome: str) -> None:
        self.deliveries[event, outcome] = self.deliveries.get((event, outcome), 0) + 1


def _unsigned(headers: Mapping[str, str]) -> str:
    if signature.HEADER in headers:
        return "X-Hub-Signature-256 is not the body's signature by a secret of this source; compare the two secrets"
    return "the header X-Hub-Signature-256 is missing; set a secret on GitHub's side, the same as webhook.secret here"
