"""The webhook of a GitHub source around an engine that only remembers, and deliveries to it, signed by whom a test wants."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from agent.errors import DeliveryError
from agent.model import Collected, Delivery, Family, Kind, Note, Observation, Update
from agent.sources.github.allow import Allowed
from agent.sources.github.hook import GithubHook
from agent.sources.github.options import WebhookOptions

NOW = 1_790_000_000.0
SECRET = "a secret of some length"
OTHER = "another secret, older"
GUID = "0d9aeb10-c6f0-11f0-8f0a-5a3b0c1d2e3f"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
JOB = json.dumps(
    {"action": "completed", "workflow_job": {"id": 7, "name": "tëst", "labels": ["a b"]}}, ensure_ascii=False
).encode()


COST = Family("job_cost", Kind.GAUGE, "What the last job cost.")


class Digest(NamedTuple):
    """What the engine makes of a payload."""

    observations: tuple[Observation, ...]
    notes: tuple[Note, ...]
    outcome: str
    updates: tuple[Update, ...] = ()


class Remembering:
    """An engine: every payload is one observation, but those of events it does not know."""

    def __init__(self) -> None:
        self.payloads: list[tuple[str, Mapping[str, Any], str, float]] = []

    def webhook(self, event: str, payload: Mapping[str, Any], delivery_id: str, received: float) -> Digest:
        self.payloads.append((event, payload, delivery_id, received))
        if event == "ping":
            return Digest((), (), "ping")
        if event != "workflow_job":
            return Digest((), (), "ignored")
        if not isinstance(payload.get("workflow_job"), dict):
            raise DeliveryError(400, "a workflow_job event without a job")
        return Digest(
            (Observation("github:github.com:job:7", ()),), (Note("now:7", None),), "counted", (Update(COST, (), 0.5, received),)
        )


class Doorstep:
    """A hook with these options, and what it makes of deliveries."""

    def __init__(self, **options: Any) -> None:
        self.engine = Remembering()
        settings = WebhookOptions.model_validate(options)
        self.hook = GithubHook(settings, self.engine, Allowed(settings))

    def deliver(self, body: bytes = JOB, **changed: str | None) -> Collected:
        """What a signed delivery brings; `x_github_event="ping"` is another header, None one that is missing."""
        return self.hook.receive(Delivery(headers(body, **changed), body, NOW))

    def status(self, body: bytes = JOB, **changed: str | None) -> int:
        """The status of its refusal; 202 = it is not refused."""
        try:
            self.deliver(body, **changed)
        except DeliveryError as error:
            return error.status
        return 202


def sign(body: bytes, secret: str = SECRET) -> str:
    """The value of X-Hub-Signature-256."""
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


def headers(body: bytes, **changed: str | None) -> dict[str, str]:
    """Those of a delivery of `body`, with changes."""
    found: dict[str, str | None] = {
        "content-type": JSON,
        "user-agent": "GitHub-Hookshot/0000000",
        "x-github-event": "workflow_job",
        "x-github-delivery": GUID,
        "x-hub-signature-256": sign(body),
    }
    found |= {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in found.items() if value is not None}


def form(payload: bytes) -> bytes:
    """The body that holds `payload` as a form."""
    return b"payload=" + quote_plus(payload).encode()
