"""The running sources and lanes: started, replaced and stopped by name.

The runtime owns the task group; whatever is started here runs in it, inside a cancel scope of its own, so
that a reload can end one part and leave the rest alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup

from agent import plugin
from agent.backoff import Hosts
from agent.deliver import Lane
from agent.flush import Flusher
from agent.model import Encoding, Protocol
from agent.plugin import Context, SinkOptions, SourceOptions
from agent.poll import PollLoop
from agent.selfmon import SelfMonitor
from agent.sinks import SINKS
from agent.sources import SOURCES
from agent.sources.base import Source
from agent.spool.latest import LatestSlot
from agent.spool.memory import MemoryQueue
from agent.store.encode import LabelRules
from agent.store.store import Store
from agent.store.table import Feed


@dataclass
class RunningSource:
    """A source between start and stop."""

    options: SourceOptions
    source: Source
    feed: Feed
    loops: list[PollLoop]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        """All its poll loops, until cancelled."""
        try:
            with self.scope:
                async with anyio.create_task_group() as group:
                    for loop in self.loops:
                        group.start_soon(loop.run, name=f"poll {loop.poller.name}")
        finally:
            self.ended.set()


class Sources:
    """Sources by name."""

    def __init__(self, store: Store, flusher: Flusher, monitor: SelfMonitor, context: Context) -> None:
        self._store = store
        self._flusher = flusher
        self._monitor = monitor
        self._context = context
        self.running: dict[str, RunningSource] = {}

    def build(self, name: str, options: SourceOptions) -> RunningSource:
        """Make a source and its feed; offline. Raises ConfigError."""
        source: Source = plugin.load(SOURCES, options.type).build(name, options, self._context)
        feed = self._store.add_feed(name, options.metric_prefix, tuple(options.custom_labels.items()), options.max_series)
        clock = self._context.clock
        loops = [PollLoop(self._store, feed, poller, self._flusher, self._monitor, clock) for poller in source.pollers()]
        running = self.running[name] = RunningSource(options, source, feed, loops)
        return running

    def start(self, name: str, options: SourceOptions, tasks: TaskGroup) -> None:
        """Build it and let it run in `tasks`."""
        tasks.start_soon(self.build(name, options).run, name=f"source {name}")

    async def stop(self, name: str) -> None:
        """End its tasks, then its series; their markers leave at the next flush."""
        running = self.running[name]
        running.scope.cancel()
        await running.ended.wait()
        await self.close(name)
        groups = {group for _, group in running.feed.tables}
        self._store.remove_feed(running.feed)
        await self._flusher.end_groups(groups)
        self._monitor.forget("source", name)
        del self.running[name]

    async def cancel_all(self) -> None:
        """End every poll loop and let go of connections; series stay: a restart is not a disappearance."""
        for running in self.running.values():
            running.scope.cancel()
        for name, running in self.running.items():
            await running.ended.wait()
            await self.close(name)

    async def close(self, name: str) -> None:
        """Let one source go of its connections."""
        with anyio.move_on_after(5, shield=True):
            await self.running[name].source.aclose()


@dataclass
class RunningLane:
    """A sink's lane between start and stop."""

    options: SinkOptions
    sink: Any
    lane: Lane[Any]
    protocol: Protocol
    encoding: Encoding
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            with self.scope:
                await self.lane.run()
        finally:
            self.ended.set()


class Lanes:
    """Lanes by sink name."""

    def __init__(self, flusher: Flusher, monitor: SelfMonitor, context: Context, external: Mapping[str, str]) -> None:
        self._flusher = flusher
        self._monitor = monitor
        self._context = context
        self._external = external
        self._hosts = Hosts()
        self.running: dict[str, RunningLane] = {}

    def build(self, name: str, options: SinkOptions) -> RunningLane:
        """Make a sink and its lane, attached to the flusher. Raises ConfigError."""
        module = plugin.load(SINKS, options.type)
        sink = module.build(name, options, self._context)
        policy = module.policy(options)
        queue: Any = LatestSlot() if module.STATE else MemoryQueue(policy.queue_max_bytes)
        lane: Lane[Any] = Lane(name, sink, queue, policy, self._monitor, self._context.clock, random.Random(), self._hosts)
        running = self.running[name] = RunningLane(options, sink, lane, module.PROTOCOL, module.ENCODING)
        self._attach(running)
        return running

    def start(self, name: str, options: SinkOptions, tasks: TaskGroup) -> None:
        """Build it and let it run in `tasks`."""
        tasks.start_soon(self.build(name, options).run, name=f"sink {name}")

    def relabel(self, external: Mapping[str, str]) -> None:
        """New external labels: every view is made anew."""
        self._external = external
        for running in self.running.values():
            self._flusher.detach(running.lane)
        for running in self.running.values():
            self._attach(running)

    async def stop(self, name: str) -> None:
        """End the lane and let the sink go; what it still held is dropped and counted."""
        running = self.running.pop(name)
        self._flusher.detach(running.lane)
        running.scope.cancel()
        await running.ended.wait()
        await self._close(running)
        self._monitor.forget("sink", name)

    async def drain(self, grace_seconds: float) -> bool:
        """Wait until nothing waits to be sent, at most so long; whether that was reached."""
        with anyio.move_on_after(grace_seconds):
            for running in self.running.values():
                await running.lane.drained()
        return not any(running.lane.status()["queue_blocks"] for running in self.running.values())

    def failures(self) -> list[str]:
        """One line for each sink that did not take everything it was given."""
        lines = []
        for status in (running.lane.status() for running in self.running.values()):
            if status["queue_blocks"] or status["samples_dropped"]:
                lines.append(f"sink {status['name']} ({status['url']}): {status['last_error'] or 'no answer yet'}")
        return lines

    async def close_all(self) -> None:
        """End every lane and close the sinks."""
        for running in self.running.values():
            running.scope.cancel()
        for running in self.running.values():
            await running.ended.wait()
            await self._close(running)

    def refresh(self) -> None:
        """Bring gauges that age up to date; called before every flush."""
        now = self._context.clock()
        for running in self.running.values():
            running.lane.refresh(now)

    async def _close(self, running: RunningLane) -> None:
        with anyio.move_on_after(10, shield=True):
            await running.sink.aclose()

    def _attach(self, running: RunningLane) -> None:
        self._flusher.attach(
            running.lane, running.protocol, running.encoding, LabelRules(self._external, running.options.extra_labels)
        )
