"""The running sources and lanes: made, started, replaced and stopped by name.

The runtime owns the task group; whatever is started here runs in it, inside a cancel scope of its own, so
that a reload can end one part and leave the rest alone. Making a part is offline and changes nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from agent import plugin
from agent.backoff import Hosts
from agent.config.model import AgentSection
from agent.deliver import Lane
from agent.flush import Flusher
from agent.model import Encoding, Protocol
from agent.plugin import Context, SinkOptions, SourceOptions
from agent.poll import PollLoop
from agent.relabel.options import AgentLimits, limits_of, rules_of
from agent.relabel.rules import Rules
from agent.selfmon import SelfMonitor
from agent.sinks import SINKS
from agent.sinks.base import HistorySink, StateSink
from agent.sources import SOURCES
from agent.sources.base import Source
from agent.spool.base import Spool
from agent.spool.latest import LatestSlot
from agent.spool.memory import MemoryQueue
from agent.store.encode import LabelRules
from agent.store.publish import publish_refused
from agent.store.store import Store
from agent.store.table import Feed

log = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
"""Longest time for a plugin to let go of its connections, and of what it pushed where it is told to."""


class Life:
    """From start to end of a part: its tasks, then once its `aclose`."""

    def __init__(self, what: str, main: Callable[[], Awaitable[None]], aclose: Callable[[], Awaitable[None]]) -> None:
        self._what = what
        self._main = main
        self._aclose = aclose
        self._scope = anyio.CancelScope()
        self._ended: anyio.Event | None = None
        self._closed = False

    def start(self, tasks: TaskGroup) -> None:
        """Let it run in `tasks`."""
        self._ended = anyio.Event()
        tasks.start_soon(self._run, self._ended, name=self._what)

    async def end(self) -> None:
        """Cancel its tasks, wait for them, close it. May be called again after it was cancelled itself."""
        self._scope.cancel()
        if self._ended is not None:
            await self._ended.wait()
        if self._closed:
            return
        self._closed = True
        with anyio.move_on_after(CLOSE_SECONDS, shield=True) as bound:
            try:
                await self._aclose()
            except Exception:  # a plugin: what it raises must not keep the others from ending
                log.exception("%s: a bug while it was closed", self._what)
        if bound.cancelled_caught:
            log.warning("%s: not closed within %g s, left as it is", self._what, CLOSE_SECONDS)

    async def _run(self, ended: anyio.Event) -> None:
        try:
            with self._scope:
                await self._main()
        finally:
            ended.set()


@dataclass(frozen=True)
class Shared:
    """What every sink's series get: the agent's labels and rules."""

    external: Mapping[str, str]
    rules: Rules
    limits: AgentLimits

    def rules_for(self, options: SinkOptions) -> LabelRules:
        """What a view for a sink of these options does to every series."""
        own = rules_of(options)
        return LabelRules(self.external, options.extra_labels, self.rules, own, limits_of(self.limits, options.limits))


def shared(agent: AgentSection, instance: str) -> Shared:
    """Of a valid configuration."""
    return Shared({**agent.labels, "job": agent.job, "instance": instance}, rules_of(agent), agent.limits)


Sink = HistorySink | StateSink
"""Either; a sink module's `STATE` says which."""


@dataclass
class RunningSource:
    """A source and what the core keeps for it."""

    options: SourceOptions
    source: Source
    feed: Feed
    loops: list[PollLoop]
    life: Life


class Sources:
    """Sources by name."""

    def __init__(self, store: Store, flusher: Flusher, monitor: SelfMonitor, context: Context) -> None:
        self._store = store
        self._flusher = flusher
        self._monitor = monitor
        self._context = context
        self.running: dict[str, RunningSource] = {}

    def make(self, name: str, options: SourceOptions, job: str) -> Source:
        """The source alone, still unknown to the agent. Raises ConfigError."""
        source: Source = plugin.load(SOURCES, options.type).build(name, options, replace(self._context, job=job))
        return source

    def adopt(self, name: str, options: SourceOptions, source: Source) -> RunningSource:
        """Give it a feed and poll loops; they run after `start`."""
        feed = self._store.add_feed(name, options.metric_prefix, tuple(options.custom_labels.items()), options.max_series)
        clock = self._context.clock
        loops = [PollLoop(self._store, feed, poller, self._flusher, self._monitor, clock) for poller in source.pollers()]

        async def poll() -> None:
            async with anyio.create_task_group() as group:
                for loop in loops:
                    group.start_soon(loop.run, name=f"poll {loop.poller.name}")

        running = self.running[name] = RunningSource(options, source, feed, loops, Life(f"source {name}", poll, source.aclose))
        return running

    async def stop(self, name: str) -> None:
        """End its tasks, then its series: a scrape target's at once, others at the next flush."""
        running = self.running[name]
        await running.life.end()
        groups = {group for _, group in running.feed.tables}
        self._store.remove_feed(running.feed)
        await self._flusher.end_groups(groups)
        self._monitor.forget("source", name)
        del self.running[name]

    async def end_all(self) -> None:
        """End every poll loop and let go of connections; series stay: a restart is not a disappearance."""
        await _all(running.life.end for running in self.running.values())


@dataclass
class RunningLane:
    """A sink's lane and what it sends from."""

    options: SinkOptions
    sink: Sink
    queue: Spool[Any]
    lane: Lane[Any]
    protocol: Protocol
    encoding: Encoding
    life: Life = field(repr=False)


class Lanes:
    """Lanes by sink name."""

    def __init__(self, flusher: Flusher, monitor: SelfMonitor, context: Context, common: Shared) -> None:
        self._flusher = flusher
        self._monitor = monitor
        self._context = context
        self._common = common
        self._hosts = Hosts()
        self._stopped: dict[str, RunningLane] = {}
        self.running: dict[str, RunningLane] = {}

    def make(self, name: str, options: SinkOptions, job: str) -> Sink:
        """The sink alone, still unknown to the agent. Raises ConfigError."""
        sink: Sink = plugin.load(SINKS, options.type).build(name, options, replace(self._context, job=job))
        return sink

    def adopt(self, name: str, options: SinkOptions, sink: Sink) -> RunningLane:
        """Give it a lane, fed by the flusher from now on; what a stopped sink of that name and type still held comes first."""
        module = plugin.load(SINKS, options.type)
        policy = module.policy(options)
        queue: Any = LatestSlot() if module.STATE else MemoryQueue(policy.queue_max_bytes)
        before = self._stopped.get(name)
        if before is not None and before.options.type != options.type:
            self._lost(name, self._stopped.pop(name))
            before = None
        lane: Lane[Any] = Lane(name, sink, queue, policy, self._monitor, self._context.clock, random.Random(), self._hosts)
        life = Life(f"sink {name}", lane.run, sink.aclose)
        running = self.running[name] = RunningLane(options, sink, queue, lane, module.PROTOCOL, module.ENCODING, life)
        if before is not None:
            del self._stopped[name]
            while (entry := before.queue.take()) is not None:
                lane.offer(entry.item)
        self._attach(running)
        return running

    async def retire_relabelled(self, common: Shared, sinks: Mapping[str, SinkOptions]) -> None:
        """End, at their receivers, the series of all sinks whose labels or rules the new configuration changes."""
        for name, running in self.running.items():
            new = sinks.get(name)
            if new is not None and new.type == running.options.type and self._rules(running) != common.rules_for(new):
                await self._flusher.retire(running.lane)

    def relabel(self, common: Shared) -> None:
        """Other labels or rules of the agent: every view is made anew."""
        self._common = common
        for running in self.running.values():
            self._flusher.detach(running.lane)
        for running in self.running.values():
            self._attach(running)

    async def stop(self, name: str) -> None:
        """End the lane and let the sink go; what it still holds is kept for a sink that takes its place."""
        running = self.running[name]
        self._flusher.detach(running.lane)
        await running.life.end()
        self._stopped[name] = self.running.pop(name)

    def forget_stopped(self) -> None:
        """Stopped sinks whose place was not taken: what they still held is lost, their numbers go."""
        for name in list(self._stopped):
            self._lost(name, self._stopped.pop(name))

    async def drain(self, grace_seconds: float) -> list[str]:
        """Wait until nothing waits to be sent, at most so long; the names of the sinks where something still does."""
        with anyio.move_on_after(grace_seconds):
            await _all(running.lane.drained for running in self.running.values())
        return [name for name, running in self.running.items() if running.lane.status()["queue_blocks"]]

    def failures(self) -> list[str]:
        """One line for each sink that did not take everything it was given."""
        lines = []
        for status in (running.lane.status() for running in self.running.values()):
            if status["queue_blocks"] or status["samples_dropped"]:
                lines.append(f"sink {status['name']} ({status['url']}): {status['last_error'] or 'no answer yet'}")
        return lines

    async def end_all(self) -> None:
        """End every lane and close the sinks."""
        await _all(running.life.end for running in self.running.values())

    def refresh(self) -> None:
        """Bring gauges that age up to date, and count what rules refused."""
        now = self._context.clock()
        names = {id(running.lane): name for name, running in self.running.items()}
        for output in self._flusher.outputs:
            publish_refused(
                output.view.refused, [names[id(lane)] for lane, _ in output.lanes if id(lane) in names], self._monitor
            )
        for running in self.running.values():
            running.lane.refresh(now)

    def _lost(self, name: str, stopped: RunningLane) -> None:
        samples = stopped.queue.stats().samples
        if samples:
            log.warning("sink %s is gone: %d samples that it had not accepted are dropped", name, samples)
        self._monitor.forget("sink", name)

    def _attach(self, running: RunningLane) -> None:
        self._flusher.attach(running.lane, running.protocol, running.encoding, self._rules(running))

    def _rules(self, running: RunningLane) -> LabelRules:
        return self._common.rules_for(running.options)


async def _all(calls: Iterable[Callable[[], Coroutine[Any, Any, object]]]) -> None:
    """Wait for all of them at once."""
    async with anyio.create_task_group() as group:
        for call in list(calls):
            group.start_soon(call)
