"""Deliveries as they come in: with the secret token or refused, read, and handed to the engine.

How GitLab sends them: https://docs.gitlab.com/user/project/integrations/webhooks/. It asks nothing of the answer but that it
is 2xx, and stops sending for a while to an endpoint that refuses four times in a row.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.errors import DeliveryError
from agent.model import Collected, Delivery
from agent.sources.delivered import json_object
from agent.sources.gitlab import payload
from agent.sources.gitlab.engine import Digest, Hint
from agent.sources.gitlab.options import WebhookOptions

log = logging.getLogger(__name__)

TOKEN, EVENT = "x-gitlab-token", "x-gitlab-event"
JSON = "application/json"
OTHER = "other"
"""How events are counted that say nothing here."""

_LABELS = {event: event.removesuffix(" Hook").lower().replace(" ", "_") for event in payload.EVENTS}


class Engine(Protocol):
    """What is asked of the engine here."""

    def webhook(self, event: str, body: Mapping[str, Any], received: float) -> tuple[Digest, Hint | None]:
        """Read one body. Raises DeliveryError for one that is not what its event says."""
        ...


class GitlabHook:
    """The webhook of one source. It keeps nothing of a delivery but its count."""

    def __init__(self, options: WebhookOptions, engine: Engine) -> None:
        self._closed = "it has no webhook.secret_token" if options.enabled else "webhook.enabled is false"
        self._tokens = tuple(token.reveal().encode() for token in options.all_tokens) if options.is_on else ()
        self._engine = engine
        self.deliveries: dict[tuple[str, str], int] = {}
        """How many since the agent's start, by event and outcome."""

    def admits(self, _address: str) -> bool:
        """Whether deliveries may come from this IP address: the token decides. Raises DeliveryError, 404, without one."""
        self._must_be_open()
        return True

    def receive(self, delivery: Delivery) -> tuple[Collected, Hint | None]:
        """What a delivery brings, and where there is more to be had by asking.

        Raises DeliveryError: 404 while no token is configured, 401 for one without a token of this source, 400 for what
        cannot be read.
        """
        self._must_be_open()
        headers = delivery.headers
        if not has_token(headers.get(TOKEN, ""), self._tokens):
            self._count("", "unsigned")  # whatever its headers say: they are anybody's
            raise DeliveryError(401, _refusal(headers))
        event = headers.get(EVENT, "")
        label = _LABELS.get(event, OTHER)
        try:
            if not event:
                raise DeliveryError(400, "the header X-Gitlab-Event is missing")
            found, hint = self._engine.webhook(event, body_of(delivery), delivery.received)
        except DeliveryError:
            self._count(label, "malformed")
            raise
        self._count(label, found.outcome)
        log.debug("event %r: %s", label, found.outcome)
        return Collected(observations=found.observations, notes=found.notes), hint

    def _must_be_open(self) -> None:
        if not self._tokens:
            raise DeliveryError(404, f"this source takes no deliveries: {self._closed}")

    def _count(self, event: str, outcome: str) -> None:
        self.deliveries[event, outcome] = self.deliveries.get((event, outcome), 0) + 1


def has_token(given: str, tokens: Sequence[bytes]) -> bool:
    """Whether a header's value is one of the tokens. It takes the same time whichever it is, and however much of it is right."""
    raw, is_right = given.encode("latin-1", "replace"), False
    for token in tokens:
        is_right |= hmac.compare_digest(token, raw)
    return is_right


def body_of(delivery: Delivery) -> dict[str, Any]:
    """The JSON object in a delivery. Raises DeliveryError, 400, for what is none or nested too deep."""
    media_type = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (JSON, ""):
        raise DeliveryError(400, f"a delivery is {JSON}, not {media_type[:80]!r}")
    return json_object(delivery.body)


def _refusal(headers: Mapping[str, str]) -> str:
    if TOKEN in headers:
        return "X-Gitlab-Token is no token of this source; compare the webhook's secret token with webhook.secret_token"
    return "the header X-Gitlab-Token is missing; set a secret token on GitLab's side, the same as webhook.secret_token here"
