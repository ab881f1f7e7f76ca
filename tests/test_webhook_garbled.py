"""Deliveries garbled on their way, byte by byte, at the real server: no answer is a failure of ours, and nothing is kept."""

from __future__ import annotations

from random import Random

import anyio
import pytest

from agent.net.networks import Networks
from agent.selfmon import SelfMonitor
from agent.web.webhook import Hook, Limits, Webhooks, is_webhook
from tests.hooking import JOB, OTHER, SECRET, Doorstep, headers, sign
from tests.listening import Served, serving
from tests.webhooks import NOW, Ledger

pytestmark = pytest.mark.anyio

AT_ONCE = 50


def request(secret: str) -> bytes:
    """A delivery signed with this secret."""
    sent = headers(JOB, x_hub_signature_256=sign(JOB, secret), content_length=str(len(JOB)), host="x", expect="")
    lines = ["POST /webhook/github HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value), "", ""]
    return "\r\n".join(lines).encode() + JOB


def garbled(data: bytes, random: Random) -> bytes:
    """`data` with up to five bytes changed, left out, put in or doubled, and perhaps cut."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(changed))
        with_what = random.choice([bytes([random.randrange(256)]), b"", b"\r\n", b" ", b":", b"\x00", changed[at : at + 9] * 2])
        changed[at : at + random.randint(0, 1)] = with_what
    return bytes(changed[: random.choice([len(changed)] * 5 + [random.randrange(len(changed))])])


async def replies(served: Served, requests: list[bytes]) -> list[bytes]:
    """Everything that comes back for each, so many at once."""
    found: list[bytes] = []

    async def ask(data: bytes) -> None:
        found.append(await served.ask(data))

    for first in range(0, len(requests), AT_ONCE):
        async with anyio.create_task_group() as tasks:
            for data in requests[first : first + AT_ONCE]:
                tasks.start_soon(ask, data)
    return found


async def outcome(secret: str, seed: int, count: int = 150) -> tuple[set[int], int]:
    """(the statuses of all answers, how many deliveries were kept), of garbled deliveries and one that is not."""
    ledger = Ledger()
    hook = Hook("github", Doorstep(secret=SECRET).hook, Networks(), 0.0)
    app = Webhooks({"github": hook}.get, ledger.commit, SelfMonitor(), lambda: NOW, Limits(body_seconds=0.4))
    random, whole = Random(seed), request(secret)
    async with serving(app, bounds_itself=is_webhook, header_seconds=0.4, body_seconds=0.4, idle_seconds=0) as served:
        found = await replies(served, [whole, *(garbled(whole, random) for _ in range(count))])
    answers = [reply for whole_reply in found for reply in whole_reply.split(b"HTTP/1.1 ")[1:]]
    return {int(answer[:3]) for answer in answers}, len(ledger.kept)


@pytest.mark.parametrize("seed", range(2))
async def test_what_nobody_has_signed_is_refused_however_it_is_garbled(seed: int) -> None:
    statuses, kept = await outcome(OTHER, seed)

    assert kept == 0
    assert statuses <= set(range(400, 500))
    assert {400, 401} <= statuses


@pytest.mark.parametrize("seed", range(2))
async def test_what_is_signed_is_taken_or_refused_however_it_is_garbled(seed: int) -> None:
    statuses, kept = await outcome(SECRET, seed)

    assert kept >= 1
    assert statuses <= {202, *range(400, 500)}
