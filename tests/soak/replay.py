"""What a week counted, once more through real agents that are killed, to a real VictoriaMetrics.

Beside being the module of a source: in `SOURCES` it brings again what another source brought, batch by batch.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from agent import config, plugin, process
from agent.model import Collected, Family, Observation, Poller
from agent.sources import SOURCES
from tests import servers
from tests.agents import with_listener
from tests.github_proof import Bounds, Totals, proven

KIND = "replay"
EACH = 1_000
"""Observations of one collect."""
PAUSE_SECONDS = 0.2
FLUSH_SECONDS = 5.0
MAX_SERIES, MAX_BYTES = 2_000_000, 2 << 30
TAKEN_SECONDS = 600.0
"""Longest for all of it, and for the last flush."""
VICTORIA_FLAGS = ("-memory.allowedBytes=6GiB", "-search.maxUniqueTimeseries=5000000", "-search.maxQueryDuration=5m")
"""For a question about a million series."""
FAMILIES: tuple[Family, ...] = ()

_FORK = multiprocessing.get_context("fork")  # the observations need not be written down to reach the agent
_PLACE = _FORK.Value("q")
"""How many observations the ledger has; -1 = the agent has not asked it yet."""
_OBSERVED: list[Observation] = []
"""Of the process that is the agent."""


class Options(plugin.CountingOptions):
    """Keys of the section."""


class Replay:
    """The source."""

    def families(self) -> tuple[Family, ...]:
        """All that there was something of."""
        return tuple(dict.fromkeys(one.family for found in _OBSERVED for one in found.increments))

    def pollers(self) -> tuple[Poller, ...]:
        """One, whose cursor says how many were counted."""
        return (Poller("replay", PAUSE_SECONDS, self._collect, timeout_seconds=60.0, durable=True),)

    async def aclose(self) -> None:
        """There is nothing to let go of."""

    async def _collect(self, cursor: object) -> Collected:
        place = int(str(cursor or 0))
        _PLACE.value = place
        batch = _OBSERVED[place : place + EACH]
        return Collected(observations=batch, cursor=str(place + len(batch)))


def build(name: str, options: Options, context: plugin.Context) -> Replay:
    """Make the source."""
    del name, options, context
    return Replay()


def replayed(
    folder: Path, observed: Sequence[Observation], true: Totals, bounds: Bounds, others: str, prefix: str, kills: int, seed: int
) -> list[str]:
    """Count what was `observed`, in that order, by agents of which so many are killed; what VictoriaMetrics says otherwise.

    `others`: a regular expression for metrics of the source that observations do not feed.
    """
    (folder / "home").mkdir()
    with servers.victoria_metrics(folder, 0, *VICTORIA_FLAGS) as receiver:
        file = folder / "home" / "cipush.json"
        file.write_text(json.dumps(_configured(receiver, folder / "state", prefix)))
        random = Random(seed)
        for moment in [*sorted(random.randrange(len(observed)) for _ in range(kills)), len(observed)]:
            _lived(file, observed, moment)
        return proven(receiver, true, bounds, prefix, others)


def _lived(file: Path, observed: Sequence[Observation], moment: int) -> None:
    """An agent until so many are counted; then it is killed, or after the last stops in order."""
    is_last, _PLACE.value = moment == len(observed), -1
    agent = _FORK.Process(target=_agent, args=(file, observed))
    agent.start()
    deadline = time.monotonic() + TAKEN_SECONDS
    while _PLACE.value < moment:
        if not agent.is_alive() or time.monotonic() > deadline:
            agent.kill()
            raise AssertionError(f"{_PLACE.value} of {moment} observations counted; the agent's end: {agent.exitcode}")
        time.sleep(0.01)
    (agent.terminate if is_last else agent.kill)()
    agent.join(TAKEN_SECONDS)
    if agent.is_alive() or (is_last and agent.exitcode):
        agent.kill()
        raise AssertionError(f"the agent did not stop in order: {agent.exitcode}")


def _agent(file: Path, observed: Sequence[Observation]) -> None:
    """`cipush run` in a process that knows this source. Each life of the other one had families of its own: the first serve."""
    families: dict[str, Family] = {}
    for one in observed:
        own = [each._replace(family=families.setdefault(each.family.name, each.family)) for each in one.increments]
        _OBSERVED.append(one._replace(increments=tuple(own)))
    SOURCES[KIND] = __name__
    environ: Mapping[str, str] = {}
    process.run(config.load((file,), environ), environ, lambda: config.load((file,), environ))


def _configured(receiver: servers.VictoriaMetrics, state: Path, prefix: str) -> dict[str, Any]:
    agent = {
        "job": "ci",
        "instance": "one",
        "flush_interval_seconds": FLUSH_SECONDS,
        "state_dir": str(state),
        "shutdown_grace_seconds": 120,
    }
    sink = {"type": "remote_write", "url": f"{receiver.url}/api/v1/write", "receiver": "victoriametrics"}
    whole = {
        "agent": agent,
        "store": {"max_series": MAX_SERIES, "max_bytes": MAX_BYTES},
        "sinks": {"vm": sink},
        "sources": {KIND: {"type": KIND, "metric_prefix": prefix}},
        "log": {"format": "text", "level": "warning"},
    }
    return with_listener(whole, f"127.0.0.1:{servers.free_port()}")
