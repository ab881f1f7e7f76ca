"""Deliveries like GitHub's with anything in the place of anything: signed, so they are read to their end by the real engine."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from agent.errors import DeliveryError
from agent.model import Collected, Delivery
from agent.sources.github.allow import Allowed
from agent.sources.github.engine import Engine
from agent.sources.github.families import families
from agent.sources.github.hook import GithubHook
from agent.sources.github.options import Options
from tests.bench.github_payloads import PER_RUN, deliveries
from tests.hooking import NOW, SECRET, headers

ORIGINALS = [(sent.event, json.loads(sent.body)) for sent in deliveries(PER_RUN)]
Path = tuple[str | int, ...]


def paths(value: object, here: Path = ()) -> Iterator[Path]:
    """Every place in a payload that is not one of a link, which nobody reads."""
    keys: list[str | int] = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for key in keys:
        if not str(key).endswith("_url"):
            yield (*here, key)
            yield from paths(value[key], (*here, key))  # type: ignore[index]  # one of those two


PLACES = [(number, place) for number, (_, payload) in enumerate(ORIGINALS) for place in paths(payload)]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [-1, 0, 2**31, 2**63, 10**400, -(10**400), 0.5, 1e308, 1e400, "", "0", "None", "\x00", "\ud800", "a" * 10_000]
    ),
    st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-09-21", "2026-09-21T00:00:00+25:00", "tomorrow"]),
    st.sampled_from(["completed", "queued", "waiting", "skipped", "cancelled", "self-hosted", "GitHub Actions"]),
    st.text(max_size=20),
    st.integers(),
    st.sampled_from([[], {}, [None], [[]], [{}], {"": None}, ["x"] * 1000, {"name": {}}, {"login": []}]),
)
MUTATIONS = st.lists(st.tuples(st.sampled_from(PLACES), JUNK, st.sampled_from(["set", "drop"])), min_size=1, max_size=6)


def put(payload: dict[str, Any], place: Path, junk: object, how: str) -> None:
    """Change one place, where it is still there."""
    inner: Any = payload
    try:
        for key in place[:-1]:
            inner = inner[key]
        if how == "set":
            inner[place[-1]] = junk
        else:
            del inner[place[-1]]
    except (KeyError, IndexError, TypeError):
        return


def hook() -> GithubHook:
    """The webhook of a source that counts everything, events too."""
    options = Options.model_validate({"webhook": {"secret": SECRET}, "events": True})
    return GithubHook(options.webhook, Engine("github.com", options, families(options)), Allowed(options.webhook))


def taken(receiver: GithubHook, event: str, payload: object) -> Collected | None:
    """What a delivery brings; None = it is malformed."""
    text = json.dumps(payload).replace("Infinity", "1e999")
    sent = headers(text.encode(), x_github_event=event)
    try:
        return receiver.receive(Delivery(sent, text.encode(), NOW))
    except DeliveryError as error:
        if error.status != 400:
            raise
        return None


def is_sound(found: Collected) -> bool:
    """Whether the ledger and the store can take it: finite numbers, text that can be sent."""
    numbers = [increment.value for observation in found.observations for increment in observation.increments]
    numbers += [event.value for observation in found.observations for event in observation.events]
    numbers += [value for update in found.updates if isinstance(value := update.value, float)]
    texts = [label for observation in found.observations for increment in observation.increments for label in increment.labels]
    texts += [observation.key for observation in found.observations]
    texts += [text for note in found.notes for text in (note.key, note.value or "")]
    for text in texts:
        text.encode()
    return all(math.isfinite(number) and number >= 0 for number in numbers)


@given(MUTATIONS)
@example([((0, ("repository",)), None, "set")])
@example([((8, ("workflow_run", "id")), 10**400, "set")])
@example([((4, ("workflow_job", "completed_at")), "0001-01-01T00:00:00Z", "set")])
def test_whatever_stands_in_a_delivery_it_counts_or_is_malformed(mutations: list[tuple[tuple[int, Path], object, str]]) -> None:
    receiver = hook()
    changed = copy.deepcopy([payload for _, payload in ORIGINALS])
    for (number, place), junk, how in mutations:
        put(changed[number], place, junk, how)
    for (event, _), payload in zip(ORIGINALS, changed, strict=True):
        found = taken(receiver, event, payload)

        assert found is None or is_sound(found)


@given(MUTATIONS)
def test_what_ended_is_told_again_when_the_delivery_comes_again(mutations: list[tuple[tuple[int, Path], object, str]]) -> None:
    receiver = hook()
    changed = copy.deepcopy([payload for _, payload in ORIGINALS])
    for (number, place), junk, how in mutations:
        put(changed[number], place, junk, how)
    for (event, original), payload in zip(ORIGINALS, changed, strict=True):
        own = str(original[event]["id"])
        first, second = (own_keys(taken(receiver, event, payload), own) for _ in range(2))

        assert first == second


def own_keys(found: Collected | None, number: str) -> set[str]:
    """The keys of a delivery's own run or job; jobs that waited for word of their run come with that word once."""
    return {observation.key for observation in found.observations if number in observation.key} if found else set()


def test_what_was_not_changed_is_counted() -> None:
    receiver = hook()
    found = [taken(receiver, event, payload) for event, payload in ORIGINALS]

    assert sum(len(one.observations) for one in found if one) == 4  # two jobs, a run and its queue time
