"""Whatever is sent to the webhook of a GitHub source: never a 5xx, and nothing kept that nobody has signed."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from agent.net.networks import Networks
from agent.selfmon import SelfMonitor
from agent.web.webhook import Hook, Webhooks
from tests.hooking import FORM, JOB, JSON, OTHER, SECRET, Doorstep, form, headers, sign
from tests.webhooks import NOW, Ledger

TEXT = st.text(alphabet=st.characters(max_codepoint=255), max_size=40)
NAMES = st.sampled_from(
    ["x-hub-signature-256", "x-hub-signature", "x-github-event", "x-github-delivery", "content-type", "content-length", "expect"]
)
EVENTS = st.sampled_from(["workflow_job", "workflow_run", "ping", "push", ""]) | TEXT
TYPES = st.sampled_from([JSON, FORM, JSON + "; charset=latin-1", "text/plain", ""]) | TEXT
BODIES = st.binary(max_size=200) | st.sampled_from([JOB, form(JOB), b"{}", b"payload=%", b"[" * 10_000, b'{"a":' * 10_000])
MUTATIONS = st.tuples(st.integers(0, len(JOB) - 1), st.sampled_from(["flip", "insert", "delete", "cut"]), st.integers(1, 255))


class House:
    """The webhooks of one agent, with a GitHub source."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        hook = Hook("github", Doorstep(secret=SECRET, secrets=[OTHER]).hook, Networks(["192.0.2.0/24"]), 0.0)
        find = {"": hook, "github": hook}.get
        self.app = Webhooks(find, self.ledger.commit, SelfMonitor(), lambda: NOW)

    def status(self, method: str, path: str, sent: Mapping[str, str], body: bytes) -> int:
        """What one request is answered with."""
        return anyio.run(self._status, method, path, sent, body)

    async def _status(self, method: str, path: str, sent: Mapping[str, str], body: bytes) -> int:
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            messages.append(message)

        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()]
        await self.app(
            {"type": "http", "method": method, "path": path, "headers": raw, "client": ("192.0.2.1", 1)}, receive, send
        )
        status: int = messages[0]["status"]
        return status


def mutated(body: bytes, at: int, how: str, byte: int) -> bytes:
    """`body` with one change."""
    return {
        "flip": body[:at] + bytes([body[at] ^ byte]) + body[at + 1 :],
        "insert": body[:at] + bytes([byte]) + body[at:],
        "delete": body[:at] + body[at + 1 :],
        "cut": body[:at],
    }[how]


@given(
    st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "x"]),
    st.sampled_from(["/webhook", "/webhook/github", "/webhook/other"]) | st.text(max_size=40).map("/webhook/".__add__),
    st.dictionaries(NAMES | TEXT.map(str.lower), TEXT | EVENTS | TYPES, max_size=8),
    BODIES,
)
def test_whatever_a_stranger_sends_is_refused_and_not_kept(method: str, path: str, sent: dict[str, str], body: bytes) -> None:
    house = House()

    assert 400 <= house.status(method, path, sent, body) < 500
    assert not house.ledger.kept


@given(EVENTS, TYPES, BODIES)
def test_whatever_is_signed_is_accepted_or_malformed(event: str, content_type: str, body: bytes) -> None:
    house = House()
    sent = headers(body, x_github_event=event, content_type=content_type)
    status = house.status("POST", "/webhook/github", sent, body)

    assert status in (202, 400)
    assert len(house.ledger.kept) == (status == 202)


@given(MUTATIONS)
def test_a_body_changed_on_its_way_is_not_kept(mutation: tuple[int, str, int]) -> None:
    house = House()

    assert house.status("POST", "/webhook/github", headers(JOB), mutated(JOB, *mutation)) == 401
    assert not house.ledger.kept


@given(MUTATIONS)
def test_a_changed_signature_is_not_one(mutation: tuple[int, str, int]) -> None:
    at, how, byte = mutation
    signature = mutated(sign(JOB).encode(), at % 71, how, byte).decode("latin-1")
    house = House()
    is_same = signature.lower() == sign(JOB) and signature.startswith("sha256=")  # hexadecimal digits in capitals are as good

    assert house.status("POST", "/webhook/github", headers(JOB, x_hub_signature_256=signature), JOB) == (202 if is_same else 401)


@given(MUTATIONS)
def test_a_changed_body_that_is_signed_is_never_a_failure(mutation: tuple[int, str, int]) -> None:
    house, body = House(), mutated(JOB, *mutation)

    assert house.status("POST", "/webhook/github", headers(body), body) in (202, 400)


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_the_house_lets_in_who_has_signed(secret: str) -> None:
    house = House()

    assert house.status("POST", "/webhook", headers(JOB, x_hub_signature_256=sign(JOB, secret)), JOB) == 202
    assert len(house.ledger.kept) == 1
