"""`kill -9` of the agent at 50 moments of an outage and of the drain after it: what it had promised is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests import servers
from tests.exported import NAME, Held, counting_target
from tests.killed import SERIES, Patient
from tests.relay import Through, relay

AGENTS = 5
LIVES = 10
STILLBORN = 0.2
"""The share of kills while the agent starts."""
SEED = 20261121
TROUBLES = (Through.SHUT, Through.SHUT, Through.CUT, Through.SLOW, Through.OPEN)
"""An outage, its end as the receiver sees it, and the drain."""


def patients(stack: ExitStack, folder: Path, port: int, count: int, seed: int) -> list[Patient]:
    """So many agents, each with a target and a way of its own to the receiver on `port`."""
    found = []
    for number in range(count):
        home = folder / f"agent{number}"
        home.mkdir()
        target = stack.enter_context(counting_target(SERIES))
        way = stack.enter_context(relay(port))
        found.append(Patient(home, target, way, Random(seed + number)))
    return found


def suffer(patient: Patient, lives: int) -> None:
    """That many lives in trouble, then one in peace."""
    for _ in range(lives):
        if patient.random.random() < STILLBORN:
            patient.be_killed_while_it_starts()
        else:
            patient.live_and_be_killed(patient.random.choice(TROUBLES))
    patient.recover()


def assert_kept(patient: Patient, receiver: servers.VictoriaMetrics) -> None:
    """Everything that was promised is there, whole; `Held` sees to it that repeats are identical."""
    held = Held(receiver.export(patient.selector(NAME)), SERIES)
    assert held.missing(sorted(patient.promised)) == {}, f"{patient.home.name}, after {patient.kills} kills"


def test_what_was_on_disk_before_a_kill_arrives(victoria_metrics: servers.VictoriaMetrics, tmp_path: Path) -> None:
    port = int(victoria_metrics.url.rsplit(":", 1)[1])
    with ExitStack() as stack, ThreadPoolExecutor(AGENTS) as pool:
        everyone = patients(stack, tmp_path, port, AGENTS, SEED)
        list(pool.map(lambda patient: suffer(patient, LIVES), everyone))

    for patient in everyone:
        assert_kept(patient, victoria_metrics)
    assert sum(patient.kills for patient in everyone) == AGENTS * LIVES
    assert sum(len(patient.promised) for patient in everyone) > 0
