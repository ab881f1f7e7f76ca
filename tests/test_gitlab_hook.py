"""The webhook of a GitLab source: who may deliver, and what is made of what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeliveryError
from agent.model import Delivery
from agent.secret import Secret
from agent.sources.gitlab import payload
from agent.sources.gitlab.engine import Hint
from agent.sources.gitlab.hook import GitlabHook, has_token
from agent.sources.gitlab.options import WebhookOptions
from tests.gitlab_engine import ROCKET, START, Life
from tests.test_gitlab_payload import BODY, BUILD

TOKEN, OTHER = "open-sesame", "older-sesame"
PROJECT = {"id": ROCKET.id}


class Doorstep:
    """A hook and the engine behind it."""

    def __init__(self, options: WebhookOptions | None = None) -> None:
        self.life = Life()
        given = WebhookOptions(secret_token=Secret(TOKEN), secret_tokens=[Secret(OTHER)])
        self.hook = GitlabHook(options or given, self.life.engine)

    def send(
        self, body: object, event: str = payload.PIPELINE, *, token: str | None = TOKEN, **headers: str
    ) -> tuple[int, Hint | None]:
        """(how many observations, hint) of one delivery."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", "x-gitlab-event": event}
        if token is not None:
            sent["x-gitlab-token"] = token
        collected, hint = self.hook.receive(
            Delivery(sent | {key.replace("_", "-"): text for key, text in headers.items()}, raw, START)
        )
        return len(collected.observations), hint

    def refusal(self, body: object, event: str = payload.PIPELINE, *, token: str | None = TOKEN, **headers: str) -> DeliveryError:
        """How one delivery is refused."""
        with pytest.raises(DeliveryError) as caught:
            self.send(body, event, token=token, **headers)
        return caught.value

    def status(self, body: bytes, event: str, **headers: str) -> int:
        """How one delivery is answered."""
        try:
            self.send(body, event, **headers)
        except DeliveryError as refused:
            return refused.status
        return 202


@pytest.fixture
def door() -> Doorstep:
    return Doorstep()


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_each_of_the_tokens_opens(door: Doorstep, token: str) -> None:
    assert door.send(BODY, token=token) == (3, None)
    assert door.hook.deliveries == {("pipeline", "counted"): 1}


@pytest.mark.parametrize("token", ["", "open-sesam", "open-sesame ", "OPEN-SESAME", "ö", "\ud800"])
def test_another_token_is_refused_before_anything_is_read(door: Doorstep, token: str) -> None:
    refused = door.refusal(b"\xff not even text", token=token)

    assert refused.status == 401
    assert "is no token of this source" in str(refused)
    assert door.hook.deliveries == {("", "unsigned"): 1}


def test_a_delivery_without_a_token_is_told_what_to_set(door: Doorstep) -> None:
    refused = door.refusal(BODY, token=None)

    assert refused.status == 401
    assert "X-Gitlab-Token is missing" in str(refused)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (WebhookOptions(), "it has no webhook.secret_token"),
        (WebhookOptions(enabled=False, secret_token=Secret(TOKEN)), "webhook.enabled is false"),
    ],
)
def test_without_a_token_to_compare_there_is_no_endpoint(options: WebhookOptions, why: str) -> None:
    door = Doorstep(options)

    assert door.refusal(BODY).status == 404
    assert door.refusal(BODY, token="").status == 404
    with pytest.raises(DeliveryError, match=f"takes no deliveries: {why}$"):
        door.hook.admits("192.0.2.1")


def test_from_where_a_delivery_comes_does_not_matter(door: Doorstep) -> None:
    assert door.hook.admits("192.0.2.1")


def test_a_token_beyond_ascii_is_the_bytes_that_are_sent() -> None:
    assert has_token("schlüssel".encode().decode("latin-1"), ["schlüssel".encode()])


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"", {}, "not JSON"),
        (b"{", {}, "not JSON"),
        (b"[]", {}, "a list where an object is expected"),
        (b"\xff", {}, "not UTF-8"),
        (b'{"a": NaN}', {}, "NaN is no JSON"),
        (b"[" * 100_000, {}, "nested too deep"),
        (b'{"a":' * 100_000, {}, "nested too deep"),
        (b'{"a":' + b"9" * 5000 + b"}", {}, "a number of more digits than are read"),
        (BODY, {"content_type": "text/xml"}, "not 'text/xml'"),
        (BODY, {"x_gitlab_event": ""}, "X-Gitlab-Event is missing"),
        ({}, {}, "project_id is not a whole number"),
        ({"project": PROJECT}, {}, "object_attributes is not an object"),
    ],
)
def test_what_cannot_be_read_is_refused_and_said(door: Doorstep, body: object, headers: Mapping[str, str], said: str) -> None:
    refused = door.refusal(body, **headers)

    assert refused.status == 400
    assert said in str(refused)
    assert next(iter(door.hook.deliveries))[1] == "malformed"


HINTS: list[tuple[str, dict[str, Any], Hint]] = [
    (payload.JOB, {"project_id": 501, "build_id": 5}, Hint(501)),
    (payload.DEPLOYMENT, {"project": PROJECT, "status": "success"}, Hint(501, is_deployment=True)),
    (payload.MERGE_REQUEST_HOOK, {"project": PROJECT, "object_attributes": {"iid": 3, "state": "opened"}}, Hint(501)),
    (payload.PUSH, {"project_id": 501, "ref": "refs/heads/main", "after": "ab" * 20}, Hint(501)),
    (payload.TAG_PUSH, {"project_id": 501, "ref": "refs/tags/v1", "after": "0" * 40}, Hint(501)),
    (payload.PIPELINE, {**BODY, "object_attributes": {**BODY["object_attributes"], "status": "running"}}, Hint(501)),
    (payload.PIPELINE, {**BODY, "source_pipeline": {"pipeline_id": 3}}, Hint(501)),
]


@pytest.mark.parametrize(("event", "body", "hint"), HINTS)
def test_what_does_not_tell_all_pulls_the_poll_forward(door: Doorstep, event: str, body: dict[str, Any], hint: Hint) -> None:
    assert door.send(body, event) == (0, hint)
    assert [outcome for _, outcome in door.hook.deliveries] == ["hinted"]


@pytest.mark.parametrize("event", ["System Hook", "Note Hook", "Emoji Hook", "pipeline hook", "x" * 5000])
def test_other_events_are_accepted_and_ignored(door: Doorstep, event: str) -> None:
    assert door.send(BODY, event) == (0, None)
    assert door.hook.deliveries == {("other", "ignored"): 1}
    assert door.life.engine.ignored == {"event": 1}


def test_events_of_other_projects_are_accepted_and_ignored(door: Doorstep) -> None:
    assert door.send({**BODY, "project": {"id": 77}}) == (0, None)
    assert door.life.engine.ignored == {"project": 1}


def test_a_malformed_build_is_lost_alone_and_asked_for(door: Doorstep) -> None:
    found = door.send({**BODY, "builds": [BUILD, {**BUILD, "id": "?"}]})

    assert found == (2, Hint(501))  # the pipeline and a job; how long its stages took is not known
    assert door.life.engine.malformed == {"build": 1}


def test_the_same_delivery_again_brings_the_same(door: Doorstep) -> None:
    assert door.send(BODY) == door.send(BODY)


TEXT = st.text(alphabet=st.characters(max_codepoint=255), max_size=40)
RAW = json.dumps(BODY).encode()
BODIES = st.binary(max_size=200) | st.sampled_from([RAW, b"{}", b"[" * 10_000, b'{"project":{"id":501}}'])
EVENTS = st.sampled_from([*sorted(payload.EVENTS), "System Hook", ""]) | TEXT
CHANGES = st.tuples(st.integers(0, len(RAW) - 1), st.integers(0, 30), st.binary(max_size=20))


@given(TEXT, EVENTS, BODIES)
def test_a_stranger_is_refused_whatever_he_sends(token: str, event: str, body: bytes) -> None:
    door = Doorstep()

    assert door.refusal(body, event, token=token).status == 401
    assert not door.life.kept


@given(EVENTS, TEXT, BODIES)
def test_whatever_comes_with_the_token_is_taken_or_refused_as_malformed(event: str, content_type: str, body: bytes) -> None:
    door = Doorstep()

    assert door.status(body, event, content_type=content_type) in (202, 400)
    assert sum(door.hook.deliveries.values()) == 1


@given(CHANGES, st.sampled_from(sorted(payload.EVENTS)))
def test_a_body_that_is_garbled_is_taken_or_refused_as_malformed(change: tuple[int, int, bytes], event: str) -> None:
    at, length, instead = change
    door = Doorstep()

    assert door.status(RAW[:at] + instead + RAW[at + length :], event) in (202, 400)
    assert sum(door.hook.deliveries.values()) == 1
