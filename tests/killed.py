"""`kill -9` of agents at random moments, and what they had promised by then."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests import servers
from tests.agents import COMMAND, clean_env
from tests.exported import NAME, CountingTarget, Held, counting_target
from tests.relay import Relay, Through, relay
from tests.servers import Process, answers, eventually, free_port, running

SERIES = 50
SCRAPE_SECONDS = 0.25
TROUBLES = (Through.SHUT, Through.SHUT, Through.CUT, Through.SLOW, Through.OPEN)
"""An outage, its end as the receiver sees it, and the drain."""
STILLBORN = 0.2
"""The share of kills while the agent starts."""
MOST_SECONDS = 1.5
"""The longest life of an agent once it is ready."""


@dataclass
class Patient:
    """One agent's home, and what it promised in all its lives."""

    home: Path
    target: CountingTarget
    relay: Relay
    random: Random
    promised: set[int] = field(default_factory=set)
    """Times in milliseconds of scrapes that were shown as written or synced, or as having left."""
    kills: int = 0

    def config(self) -> dict[str, Any]:
        """Scrapes the target through the relay; a block that waits is written soon."""
        sink = {
            "type": "remote_write",
            "url": f"{self.relay.url}/api/v1/write",
            "receiver": "victoriametrics",
            "timeout_seconds": 5,
            "queue": {"fsync_interval_seconds": 0.1},
        }
        target = {"url": self.target.url, "job": self.home.name}
        return {
            "agent": {"flush_interval_seconds": 5, "state_dir": str(self.home / "state"), "shutdown_grace_seconds": 20},
            "sinks": {"vm": sink},
            "sources": {"t": {"type": "scrape", "interval_seconds": SCRAPE_SECONDS, "targets": [target]}},
        }

    @contextmanager
    def started(self) -> Iterator[tuple[str, Process]]:
        """One life of the agent: its address and its process."""
        address = f"127.0.0.1:{free_port()}"
        file = self.home / "cipush.json"
        file.write_text(json.dumps({**self.config(), "server": {"listen_address": address}}))
        argv = [*COMMAND, "run", "--config", str(file)]
        url = f"http://{address}"
        with running(argv, self.home / f"life{self.kills}.log", clean_env(self.home), self.home) as process:
            yield url, process

    @contextmanager
    def alive(self) -> Iterator[tuple[str, Process]]:
        """The same, from ready on."""
        with self.started() as (url, process):
            eventually(lambda: answers(process, url + "/ready"), f"cipush is ready on {url}", 60)
            yield url, process

    def live_and_be_killed(self, through: Through) -> None:
        """One life that ends at a random moment, noting until then what the status promises."""
        with self.alive() as (url, process):
            self.relay.through = through
            moment = time.monotonic() + self.random.uniform(0.0, MOST_SECONDS)
            status = self.asked(url)
            while time.monotonic() < moment:
                status = self.asked(url)
            process.popen.kill()
            process.popen.wait()
            self.kills += 1
        self.note(status)

    def be_killed_while_it_starts(self) -> None:
        """A life that may end before it is ready, in the middle of reading what the last one left."""
        with self.started() as (_, process):
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(self.random.uniform(0.2, MOST_SECONDS))
            process.popen.kill()
            process.popen.wait()
            self.kills += 1

    def asked(self, url: str) -> dict[str, Any]:
        """Its status."""
        found: dict[str, Any] = httpx.get(url + "/api/status", timeout=20.0).json()
        return found

    def note(self, status: dict[str, Any]) -> None:
        """Take the status by its word: what it says is written, synced or gone must arrive."""
        (sink,) = status["sinks"]
        safe = [sink[key] for key in ("spooled_flush", "synced_flush", "accepted_flush")]
        # None: everything that was put has left. A flush that is still on says nothing.
        whole = status["flush"]["sequence"]
        upto = max(whole if number is None else min(number, whole) for number in safe)
        self.promised |= {at for number, at, group in status["flush"]["recent"] if group and number <= upto}

    def recover(self) -> None:
        """A last life that sends what waits and ends in peace."""
        self.relay.through = Through.OPEN
        with self.alive() as (url, process):
            eventually(lambda: self.asked(url)["sinks"][0]["queue_blocks"] == 0, "the queue of the dead is sent", 60)
            assert process.terminate(30) == 0, process.output()

    def selector(self, name: str) -> str:
        """Its series in the receiver."""
        return f'{name}{{job="{self.home.name}"}}'


@dataclass(frozen=True)
class Toll:
    """What came of many kills."""

    kills: int
    promised: int
    """Scrapes that were shown as safe."""
    missing: dict[str, dict[int, int]]
    """Of these, what the receiver does not hold: agent -> time -> in how many series."""
    repeats: int
    """Samples that came twice, identically."""

    def __str__(self) -> str:
        return f"{self.kills} kills, {self.promised} scrapes promised, {len(self.missing)} missing, {self.repeats} samples twice"


def suffer(patient: Patient, lives: int) -> None:
    """That many lives in trouble, then one in peace."""
    for _ in range(lives):
        if patient.random.random() < STILLBORN:
            patient.be_killed_while_it_starts()
        else:
            patient.live_and_be_killed(patient.random.choice(TROUBLES))
    patient.recover()


def kill_many(folder: Path, receiver: servers.VictoriaMetrics, *, agents: int, lives: int, seed: int) -> Toll:
    """So many agents at once, each killed so many times; each with a target and a way of its own to the receiver."""
    port = int(receiver.url.rsplit(":", 1)[1])
    everyone = []
    with ExitStack() as stack, ThreadPoolExecutor(agents) as pool:
        for number in range(agents):
            home = folder / f"agent{number}"
            home.mkdir()
            target, way = stack.enter_context(counting_target(SERIES)), stack.enter_context(relay(port))
            everyone.append(Patient(home, target, way, Random(seed + number)))
        list(pool.map(lambda patient: suffer(patient, lives), everyone))
    missing, repeats = {}, 0
    for patient in everyone:
        held = Held(receiver.export(patient.selector(NAME)), SERIES)
        repeats += held.repeats
        if lost := held.missing(sorted(patient.promised)):
            missing[patient.home.name] = lost
    promised = sum(len(patient.promised) for patient in everyone)
    return Toll(sum(patient.kills for patient in everyone), promised, missing, repeats)
