"""The agent's own numbers as series: everything the self-monitor holds, and what the process costs.

`pollers()` hooks the garbage collector and `aclose()` unhooks it; nothing else outlives a collect.
"""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Iterator
from importlib import metadata

import psutil
from pydantic import Field

from agent import __version__, plugin
from agent.model import Collected, Family, Kind, Poller, Priority, Update

Reading = tuple[Family, tuple[str, ...], float]


def _own(name: str, kind: Kind, help: str, *labels: str, unit: str = "") -> Family:
    return Family(name, kind, help, unit, labels=labels, priority=Priority.HIGH)


RESIDENT = _own(
    "cipush_process_resident_memory_bytes", Kind.GAUGE, "Memory of the agent that is in RAM, shared pages included.", unit="bytes"
)
CPU = _own("cipush_process_cpu_seconds_total", Kind.COUNTER, "CPU time of the agent, user and system.", unit="seconds")
OPEN_FDS = _own("cipush_process_open_fds", Kind.GAUGE, "File descriptors the agent has open.")
STARTED = _own(
    "cipush_process_start_time_seconds", Kind.GAUGE, "When the agent's process began, seconds since the epoch.", unit="seconds"
)
GC_PAUSE = _own(
    "cipush_gc_pause_seconds_total",
    Kind.COUNTER,
    "Time the agent stood still for garbage collection.",
    "generation",
    unit="seconds",
)
GC_RUNS = _own("cipush_gc_collections_total", Kind.COUNTER, "Garbage collections, by generation.", "generation")
BUILD = _own("cipush_build_info", Kind.GAUGE, "Always 1; what is running.", "version", "python", "protobuf")

FAMILIES = (RESIDENT, CPU, OPEN_FDS, STARTED, GC_PAUSE, GC_RUNS, BUILD)
"""This source's own; it also publishes the `FAMILIES` of every module that reports to the self-monitor."""

_GENERATIONS = 3
"""CPython's garbage generations (gc module documentation)."""


class Options(plugin.SourceOptions):
    """Keys of the `internal` source."""

    interval_seconds: float = Field(
        15.0, gt=0, description="seconds between two readings of the agent's own numbers; left out = agent.flush_interval_seconds"
    )


class GarbagePauses:
    """Counts and times garbage collections while it is among `gc.callbacks`."""

    def __init__(self) -> None:
        self.seconds = [0.0] * _GENERATIONS
        self.runs = [0] * _GENERATIONS
        self._began = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """What the interpreter calls, phase "start" or "stop"; collections never nest."""
        if phase == "start":
            self._began = time.perf_counter()
        elif self._began:
            generation = info["generation"]
            self.seconds[generation] += time.perf_counter() - self._began
            self.runs[generation] += 1
            self._began = 0.0

    def readings(self) -> Iterator[Reading]:
        """Both counters of every generation, zeros too."""
        for generation in range(_GENERATIONS):
            yield GC_PAUSE, (str(generation),), self.seconds[generation]
            yield GC_RUNS, (str(generation),), float(self.runs[generation])


def process_readings(process: psutil.Process) -> Iterator[Reading]:
    """What `process` costs; a number that the system does not give is left out."""
    with process.oneshot():
        for family, read in (
            (RESIDENT, lambda: process.memory_info().rss),
            (CPU, lambda: sum(process.cpu_times()[:2])),
            (OPEN_FDS, lambda: process.num_fds()),
            (STARTED, lambda: process.create_time()),
        ):
            try:
                yield family, (), float(read())
            except (psutil.Error, OSError, AttributeError, NotImplementedError):
                continue


class InternalSource:
    """Publishes `samples` whole at every collect, so that a label set that is gone ends."""

    def __init__(self, name: str, options: Options, context: plugin.Context) -> None:
        self._name = name
        self._interval = options.interval_seconds
        self._context = context
        self._process = psutil.Process()
        self._garbage = GarbagePauses()
        self._build = (__version__, platform.python_version(), metadata.version("protobuf"))

    def pollers(self) -> tuple[Poller, ...]:
        """One poller; garbage collections are counted from here on."""
        if self._garbage not in gc.callbacks:
            gc.callbacks.append(self._garbage)
        return (Poller("internal", self._interval, self.collect),)

    async def collect(self, _cursor: object) -> Collected:
        """Everything, as one complete scope named like the source."""
        at = self._context.clock()
        updates = [
            Update(family, labels, tuple(value) if isinstance(value, list) else value, at, self._name)
            for family, labels, value in self._context.samples()
        ]
        updates += [Update(family, labels, value, at, self._name) for family, labels, value in self._own_readings()]
        return Collected(updates, complete=(self._name,), started=self._process.create_time())

    async def aclose(self) -> None:
        """Unhook the garbage collector."""
        if self._garbage in gc.callbacks:
            gc.callbacks.remove(self._garbage)

    def _own_readings(self) -> Iterator[Reading]:
        yield BUILD, self._build, 1.0
        yield from process_readings(self._process)
        yield from self._garbage.readings()


def build(name: str, options: Options, context: plugin.Context) -> InternalSource:
    """Make the source; nothing is read before the first collect."""
    return InternalSource(name, options, context)
