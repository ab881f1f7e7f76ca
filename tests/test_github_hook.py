"""Deliveries from GitHub: who has signed them, and what they say."""

from __future__ import annotations

import hmac
import json

import pytest

from agent.errors import DeliveryError
from agent.sources.github.hook import MAX_EVENTS
from agent.sources.github.signature import is_signed
from tests.hooking import FORM, GUID, JOB, NOW, OTHER, SECRET, Doorstep, form, sign


def test_a_signed_delivery_brings_what_the_engine_finds() -> None:
    door = Doorstep(secret=SECRET)
    found = door.deliver()

    assert [observation.key for observation in found.observations] == ["github:github.com:job:7"]
    assert [note.key for note in found.notes] == ["now:7"]
    assert [update.value for update in found.updates] == [0.5]
    assert door.engine.payloads == [("workflow_job", json.loads(JOB), GUID, NOW)]


def test_a_delivery_may_be_a_form() -> None:
    door = Doorstep(secret=SECRET)
    door.deliver(form(JOB), content_type=FORM)

    assert door.engine.payloads[0][1] == json.loads(JOB)


def test_the_example_of_github_s_documentation_is_signed() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert is_signed(b"Hello, World!", signature, [b"It's a Secret to Everybody"])
    assert not is_signed(b"Hello, World", signature, [b"It's a Secret to Everybody"])


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_every_secret_is_accepted_while_one_is_exchanged(secret: str) -> None:
    assert Doorstep(secret=SECRET, secrets=[OTHER]).status(x_hub_signature_256=sign(JOB, secret)) == 202


def test_a_secret_may_have_any_characters() -> None:
    assert Doorstep(secret="gëhéim \N{KEY}").status(x_hub_signature_256=sign(JOB, "gëhéim \N{KEY}")) == 202


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        sign(JOB, OTHER),
        sign(JOB, ""),
        sign(JOB + b" "),
        sign(JOB)[:-1],
        sign(JOB) + "0",
        sign(JOB) + "\n",
        sign(JOB).removeprefix("sha256="),
        sign(JOB).replace("sha256", "sha1"),
        sign(JOB).replace("sha256", "SHA256"),
        sign(JOB) + ", " + sign(JOB, OTHER),
        "sha256=" + "\N{FULLWIDTH DIGIT ZERO}" * 64,
        "sha256=" + "ÿ" * 64,
        "sha256=" + "0" * 64,
        "x" * 60_000,
    ],
)
def test_what_is_not_signed_is_answered_401_and_not_read(signature: str | None) -> None:
    door = Doorstep(secret=SECRET)

    assert door.status(x_hub_signature_256=signature) == 401
    assert not door.engine.payloads
    assert door.hook.deliveries == {("", "unsigned"): 1}


def test_the_old_signature_does_not_suffice() -> None:
    old = "sha1=" + hmac.new(SECRET.encode(), JOB, "sha1").hexdigest()

    assert Doorstep(secret=SECRET).status(x_hub_signature=old, x_hub_signature_256=None) == 401
    assert Doorstep(secret=SECRET).status(x_hub_signature_256=old) == 401


def test_garbage_that_is_not_signed_is_answered_401_too() -> None:
    assert Doorstep(secret=SECRET).status(b"{", x_hub_signature_256=sign(JOB), x_github_event=None) == 401


def test_the_signature_is_that_of_the_form_and_not_of_what_is_in_it() -> None:
    assert Doorstep(secret=SECRET).status(form(JOB), content_type=FORM, x_hub_signature_256=sign(JOB)) == 401


def test_who_is_refused_reads_what_to_look_at() -> None:
    with pytest.raises(DeliveryError, match="compare the two secrets"):
        Doorstep(secret=SECRET).deliver(x_hub_signature_256=sign(JOB, OTHER))
    with pytest.raises(DeliveryError, match="set a secret on GitHub's side"):
        Doorstep(secret=SECRET).deliver(x_hub_signature_256=None)


def test_without_a_secret_there_is_no_webhook() -> None:
    door = Doorstep()

    assert door.status(x_hub_signature_256=sign(JOB, "")) == 404
    with pytest.raises(DeliveryError, match=r"it has no webhook\.secret"):
        door.hook.admits("192.0.2.1")


def test_unsigned_deliveries_are_taken_where_that_is_asked_for() -> None:
    assert Doorstep(insecure_no_secret=True).status(x_hub_signature_256=None) == 202


def test_a_secret_is_asked_for_though_unsigned_ones_would_be_taken() -> None:
    assert Doorstep(insecure_no_secret=True, secret=SECRET).status(x_hub_signature_256=None) == 401


@pytest.mark.parametrize("event", ["ping", "check_run", "an_event_of_tomorrow"])
def test_what_is_not_of_interest_is_accepted_and_counted(event: str) -> None:
    door = Doorstep(secret=SECRET)
    found = door.deliver(b'{"zen": "Design for failure."}', x_github_event=event)

    assert (found.observations, found.notes) == ((), ())
    assert door.hook.deliveries == {(event, "ping" if event == "ping" else "ignored"): 1}


def test_a_delivery_without_an_event_is_answered_400() -> None:
    assert Doorstep(secret=SECRET).status(x_github_event=None) == 400


def test_a_delivery_without_an_id_is_taken() -> None:
    door = Doorstep(secret=SECRET)
    door.deliver(x_github_delivery=None)

    assert door.engine.payloads[0][2] == ""


def test_an_endless_id_is_cut() -> None:
    door = Doorstep(secret=SECRET)
    door.deliver(x_github_delivery="x" * 60_000)

    assert len(door.engine.payloads[0][2]) == 100


def test_what_is_not_what_its_event_says_is_malformed() -> None:
    door = Doorstep(secret=SECRET)

    assert door.status(b"{}") == 400
    assert door.hook.deliveries == {("workflow_job", "malformed"): 1}


def test_events_make_no_more_series_than_a_hundred() -> None:
    door = Doorstep(secret=SECRET)
    for number in range(MAX_EVENTS + 50):
        door.deliver(b"{}", x_github_event=f"event_{number}")

    assert len(door.hook.deliveries) == MAX_EVENTS + 1
    assert door.hook.deliveries["other", "ignored"] == 50


@pytest.mark.parametrize("event", ["Ping", "a b", "x" * 61, "ü", 'a"}', "a\nb"])
def test_an_event_that_is_no_name_counts_as_other(event: str) -> None:
    door = Doorstep(secret=SECRET)
    door.deliver(x_github_event=event)

    assert door.hook.deliveries == {("other", "ignored"): 1}
