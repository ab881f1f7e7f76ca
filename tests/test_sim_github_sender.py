"""The simulated webhooks: signed as GitHub signs them, with the troubles asked for, and a log that tells what happened."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.sim.github.api import TOKEN
from agent.sim.github.deliveries import Announcement, announcements, payload
from agent.sim.github.faults import ROUGH, Shipment, shipments
from agent.sim.github.sender import FORM, HOOK_ID, JSON, PATIENCE_SECONDS, Sender, paced
from agent.sim.github.world import World, build
from agent.sim.weather import CALM, Weather

SECRET = "not a secret"
HOOK = "http://hooks.test/webhook"

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """A virtual clock: what waits takes no time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    """A day with some thousand deliveries."""
    return build(3, repositories=10, jobs=900, seconds=86_400)


@pytest.fixture(scope="module")
def told(world: World) -> list[Announcement]:
    """All that there is to tell."""
    return announcements(world)


class Hook:
    """Takes deliveries; answers as told, and 202 when it has been told nothing more."""

    def __init__(self, *answers: int | float) -> None:
        self.answers = list(answers)
        self.heard: list[httpx.Request] = []
        self.times: list[float] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """One delivery: a status to answer with, seconds to think, or 0 to hang up."""
        self.heard.append(request)
        self.times.append(anyio.current_time())
        answer = self.answers.pop(0) if self.answers else 202
        if not answer:
            raise httpx.ConnectError("nobody there")
        if isinstance(answer, float):
            await anyio.sleep(answer)
            answer = 202
        return httpx.Response(answer)

    def client(self) -> httpx.AsyncClient:
        """A client whose every request ends here."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def of_each(planned: list[Shipment]) -> dict[str, list[Shipment]]:
    """The tries by what they tell."""
    found: dict[str, list[Shipment]] = {}
    for shipment in planned:
        found.setdefault(shipment.announcement.guid, []).append(shipment)
    return found


@pytest.mark.parametrize("form", [JSON, FORM])
def test_a_delivery_is_signed_over_the_bytes_of_its_body(world: World, told: list[Announcement], form: str) -> None:
    sent = Sender(world, SECRET, form=form).request(Shipment(told[0].at, told[0]))

    digest = hmac.new(SECRET.encode(), sent.body, hashlib.sha256).hexdigest()
    assert sent.headers["x-hub-signature-256"] == f"sha256={digest}"
    text = sent.body.decode() if form == JSON else parse_qs(sent.body.decode())["payload"][0]
    assert json.loads(text) == payload(world, told[0])
    assert (sent.headers["content-type"], sent.headers["x-github-delivery"]) == (form, told[0].guid)


def test_without_a_secret_nothing_is_signed(world: World, told: list[Announcement]) -> None:
    sent = Sender(world).request(Shipment(told[0].at, told[0]))

    assert not [name for name in sent.headers if "signature" in name]


def test_in_calm_weather_everything_arrives_once_and_in_order(told: list[Announcement]) -> None:
    planned = shipments(told, CALM)

    assert [shipment.announcement for shipment in planned] == told
    assert not any(shipment.failure or shipment.redelivery for shipment in planned)


def test_the_same_seed_brings_the_same_weather(told: list[Announcement]) -> None:
    assert shipments(told, ROUGH, 5) == shipments(told, ROUGH, 5)
    assert shipments(told, ROUGH, 5) != shipments(told, ROUGH, 6)


def test_rough_weather_has_the_shares_it_was_given(told: list[Announcement]) -> None:
    found = of_each(shipments(told, ROUGH))
    fates: Counter[str] = Counter()
    for tries in found.values():
        fates["lost"] += all(shipment.failure for shipment in tries)
        fates["redelivered"] += len(tries) == 2 and bool(tries[0].failure)
        fates["duplicated"] += len(tries) == 2 and not tries[0].failure
        fates["throttled"] += bool(tries[0].throttled_at)
    fates["silent"] = len(told) - len(found)

    for fate in fates:
        assert fates[fate] / len(told) == pytest.approx(getattr(ROUGH, fate), rel=0.4, abs=0.002), fate


def test_a_fifth_is_overtaken_when_a_fifth_is_to_be(told: list[Announcement]) -> None:
    planned = shipments(told, Weather(reordered=0.2))
    late = [shipment for shipment in planned if shipment.at > shipment.announcement.at + 0.2]

    assert len(late) / len(told) == pytest.approx(0.2, rel=0.2)
    assert [shipment.announcement for shipment in planned] != told


def test_what_is_late_comes_within_its_time(told: list[Announcement]) -> None:
    delays = [shipment.at - shipment.announcement.at for shipment in shipments(told, Weather(late=0.5, late_seconds=60.0))]

    assert max(delays) <= 60.2
    assert sum(1 for delay in delays if delay > 1) > len(told) / 3


def test_without_a_network_everything_but_what_is_lost_is_handed_out_and_logged(world: World, told: list[Announcement]) -> None:
    sender = Sender(world, SECRET)
    planned = shipments(told[:500], Weather(lost=0.2))
    handed = list(sender.requests(planned))

    assert [shipment for shipment, _, _ in handed] == planned
    assert all((sent is None) == bool(shipment.failure) for shipment, _, sent in handed)
    assert [entry.status == "OK" for _, entry, _ in handed] == [not shipment.failure for shipment in planned]
    assert len(sender.log) == len(planned)


async def test_the_log_tells_what_was_answered(world: World, told: list[Announcement]) -> None:
    hook, sender = Hook(202, 503, 0, PATIENCE_SECONDS + 1), Sender(world, SECRET)
    async with hook.client() as client:
        await sender.post(client, HOOK, shipments(told[:5]))

    logged = [(entry.status_code, entry.status) for entry in reversed(list(sender.log.seen(world.end)))]
    assert logged == [
        (202, "OK"),
        (503, "Service Unavailable"),
        (0, "failed to connect to host"),
        (0, "timed out"),
        (202, "OK"),
    ]


async def test_what_is_lost_is_logged_and_never_posted(world: World, told: list[Announcement]) -> None:
    hook, sender = Hook(), Sender(world, SECRET)
    planned = shipments(told[:200], Weather(lost=0.5))
    async with hook.client() as client:
        await sender.post(client, HOOK, planned, connections=4)

    lost = {shipment.announcement.guid for shipment in planned if shipment.failure}
    assert {request.headers["x-github-delivery"] for request in hook.heard}.isdisjoint(lost)
    assert len(hook.heard) + len(lost) == len(sender.log) == 200


async def test_paced_deliveries_come_at_their_times(world: World, told: list[Announcement]) -> None:
    hook, sender = Hook(), Sender(world, SECRET)
    planned = shipments(told[:20])
    begun = anyio.current_time()
    async with hook.client() as client:
        await sender.post(client, HOOK, planned, paced(lambda: planned[0].at + (anyio.current_time() - begun) * 10, 10.0))

    expected = [(shipment.at - planned[0].at) / 10 for shipment in planned]
    assert [at - begun for at in hook.times] == pytest.approx(expected, abs=1e-3)


@contextmanager
def program(*words: str) -> Iterator[str]:
    """The program with these arguments; its address."""
    command = [sys.executable, "-m", "agent.sim.github", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip()
        finally:
            running.terminate()


class Heard:
    """What a hook on a socket was told."""

    def __init__(self, wanted: int) -> None:
        self.ids: list[str] = []
        self.enough = threading.Event()
        self._wanted = wanted

    def take(self, delivery: str) -> None:
        """One delivery."""
        self.ids.append(delivery)
        if len(self.ids) >= self._wanted:
            self.enough.set()


@contextmanager
def listening(heard: Heard) -> Iterator[str]:
    """A hook on a socket; its address."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
            heard.take(self.headers["X-GitHub-Delivery"])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/webhook"
        finally:
            server.shutdown()
            thread.join()


def test_the_program_prints_its_address_and_tells_the_truth() -> None:
    with program("--jobs", "60", "--repositories", "3", "--seed", "9") as address:
        found = httpx.get(f"{address}/_truth", params={"way": "api"}, trust_env=False).json()

    world = build(9, repositories=3, jobs=60)
    assert found["jobs"] == sum(len(attempt.jobs) for _, attempt in world.attempts())


def test_the_program_delivers_what_happens_and_logs_it() -> None:
    short = build(9, repositories=2, jobs=20, seconds=60, haste=60.0)
    told = announcements(short)
    heard = Heard(len(told))
    words = ["--jobs=20", "--repositories=2", "--seed=9", "--seconds=60", "--haste=60", f"--now={short.start}", "--speed=1000"]
    with listening(heard) as hook, program(*words, "--deliver-to", hook, "--secret", SECRET) as address:
        assert heard.enough.wait(20)
        path = f"{address}/orgs/{short.owner}/hooks/{HOOK_ID}/deliveries?per_page=100"
        logged = httpx.get(path, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False).json()

    assert heard.ids == [each.guid for each in told]
    assert {each["guid"] for each in logged} <= set(heard.ids)
    assert len(logged) == min(100, len(told))
