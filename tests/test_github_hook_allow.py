"""Where deliveries may come from: one's own networks, GitHub's list, and the time before that is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from agent.errors import CollectError, DeliveryError
from agent.model import Collected
from agent.sources.github.allow import MAX_NETWORKS, NOTE, REFRESH_SECONDS, Allowed
from agent.sources.github.options import WebhookOptions
from tests.hooking import NOW, SECRET, Doorstep

pytestmark = pytest.mark.anyio

HOOKS = ["198.51.100.0/24", "2001:db8::/32"]


class Answer(NamedTuple):
    """What the API answered."""

    status: int
    data: object


class Api:
    """Answers in the order of its script; the last answer again and again."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.asked: list[str] = []

    async def get(self, path: str) -> Answer:
        self.asked.append(path)
        found = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(found, Exception):
            raise found
        return Answer(304, None) if found == 304 else Answer(200, found)


def allowed(**options: Any) -> Allowed:
    """A list with these options."""
    return Allowed(WebhookOptions.model_validate(options))


async def refreshed(found: Allowed, *script: object, now: float = NOW) -> Collected:
    """What one refresh with that answer brings."""
    return await found.refresh(Api(*script).get, now)


@pytest.mark.parametrize("address", ["192.0.2.1", "::1", "", "no address"])
def test_without_a_list_everybody_is_admitted(address: str) -> None:
    assert allowed().admits(address)


@pytest.mark.parametrize(
    ("address", "is_admitted"),
    [
        ("192.0.2.255", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8:7::1", True),
        ("192.0.3.0", False),
        ("2001:db9::1", False),
        ("", False),
        ("192.0.2", False),
        ("3221225985", False),
        ("192.0.2.1\n", False),
        ("x" * 100_000, False),
    ],
)
def test_with_a_list_those_on_it_are_admitted(address: str, is_admitted: bool) -> None:
    assert allowed(allowed_networks=["192.0.2.0/24", "2001:db8::/32"]).admits(address) is is_admitted


def test_a_hook_admits_whom_its_list_admits() -> None:
    hook = Doorstep(secret=SECRET, allowed_networks=["192.0.2.0/24"]).hook

    assert (hook.admits("192.0.2.1"), hook.admits("192.0.3.1")) == (True, False)


def test_before_github_s_list_is_known_nobody_is_admitted_nor_sent_away() -> None:
    with pytest.raises(DeliveryError) as caught:
        allowed(allow_github_networks=True).admits("198.51.100.7")

    assert caught.value.status == 503


def test_one_s_own_networks_do_not_wait_for_github_s() -> None:
    assert allowed(allow_github_networks=True, allowed_networks=["192.0.2.0/24"]).admits("192.0.2.1")


async def test_github_s_list_is_read_and_kept() -> None:
    found = allowed(allow_github_networks=True)
    collected = await refreshed(found, {"hooks": HOOKS, "web": ["192.0.2.0/24"]})

    assert (found.admits("198.51.100.7"), found.admits("2001:db8::1"), found.admits("192.0.2.1")) == (True, True, False)
    assert [(note.key, json.loads(note.value or "")) for note in collected.notes] == [(NOTE, HOOKS)]


async def test_the_list_is_asked_for_once_a_day() -> None:
    found, api = allowed(allow_github_networks=True), Api({"hooks": HOOKS})
    for now in (NOW, NOW + 300, NOW + REFRESH_SECONDS - 1, NOW + REFRESH_SECONDS, NOW + REFRESH_SECONDS + 300):
        await found.refresh(api.get, now)

    assert api.asked == ["/meta"] * 2


async def test_a_clock_that_went_back_does_not_put_it_off() -> None:
    found, api = allowed(allow_github_networks=True), Api({"hooks": HOOKS})
    for now in (NOW, NOW - 10_000):
        await found.refresh(api.get, now)

    assert len(api.asked) == 2


async def test_without_the_option_nothing_is_asked() -> None:
    api = Api({"hooks": HOOKS})

    assert await allowed(allowed_networks=["192.0.2.0/24"]).refresh(api.get, NOW) == Collected()
    assert not api.asked


async def test_a_failure_leaves_the_last_list_and_is_tried_again() -> None:
    found = allowed(allow_github_networks=True)
    await refreshed(found, {"hooks": HOOKS})
    for late in (1, 301):
        with pytest.raises(CollectError, match="down"):
            await refreshed(found, CollectError("connect", "down"), now=NOW + REFRESH_SECONDS + late)

    assert found.admits("198.51.100.7")


async def test_an_unchanged_list_is_fresh_again() -> None:
    found, api = allowed(allow_github_networks=True), Api({"hooks": HOOKS}, 304)
    for now in (NOW, NOW + REFRESH_SECONDS, NOW + REFRESH_SECONDS + 300):
        await found.refresh(api.get, now)

    assert found.admits("198.51.100.7")
    assert len(api.asked) == 2


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"hooks": None}, {"hooks": []}, {"hooks": "192.0.2.0/24"}, {"hooks": {}}, {"hooks": ["x", 7, None]}, 304],
)
async def test_an_answer_without_networks_changes_nothing(data: object) -> None:
    found = allowed(allow_github_networks=True)
    with pytest.raises(CollectError, match="allowed_networks"):
        await refreshed(found, data)

    with pytest.raises(DeliveryError):
        found.admits("192.0.2.1")


async def test_a_list_never_opens_the_door_to_everybody() -> None:
    found = allowed(allow_github_networks=True)
    await refreshed(found, {"hooks": ["0.0.0.0/0", "::/0", "198.51.100.0/24"]})

    assert not found.admits("192.0.2.1")


async def test_an_endless_list_is_cut() -> None:
    found = allowed(allow_github_networks=True)
    collected = await refreshed(found, {"hooks": [f"10.{n // 256}.{n % 256}.0/24" for n in range(MAX_NETWORKS + 5)]})

    assert len(json.loads(collected.notes[0].value or "")) == MAX_NETWORKS


async def test_after_a_restart_the_list_of_before_holds() -> None:
    first, second = allowed(allow_github_networks=True), allowed(allow_github_networks=True)
    note = (await refreshed(first, {"hooks": HOOKS})).notes[0]
    assert note.value is not None
    second.restore({note.key: note.value})

    assert (second.admits("198.51.100.7"), second.admits("192.0.2.1")) == (True, False)


@pytest.mark.parametrize("notes", [{}, {NOTE: "{"}, {NOTE: "[" * 100_000}, {NOTE: "7"}, {NOTE: "[7]"}, {"other": "[]"}])
def test_a_broken_note_is_as_good_as_none(notes: Mapping[str, str]) -> None:
    found = allowed(allow_github_networks=True)
    found.restore(notes)

    with pytest.raises(DeliveryError):
        found.admits("192.0.2.1")


def test_a_note_of_a_list_that_is_no_longer_asked_for_does_not_count() -> None:
    found = allowed(allowed_networks=["192.0.2.0/24"])
    found.restore({NOTE: json.dumps(HOOKS)})

    assert not found.admits("198.51.100.7")
