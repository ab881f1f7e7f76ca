"""The running sinks' lanes, by name: what they send, from which queue, in which form."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio

from agent import plugin
from agent.backoff import Hosts
from agent.config.model import AgentSection
from agent.deliver import Lane
from agent.deliver.pause import Knock
from agent.flush import Flusher
from agent.model import Form, Protocol
from agent.net.knock import opens
from agent.parts.life import Life, all_of
from agent.parts.queues import Queue, Queues
from agent.plugin import Context, SinkOptions
from agent.relabel.options import AgentLimits, limits_of, rules_of
from agent.relabel.rules import Rules
from agent.selfmon import SelfMonitor
from agent.sinks import SINKS
from agent.sinks.base import HistorySink, StateSink
from agent.store.encode import LabelRules
from agent.store.publish import publish_refused

log = logging.getLogger(__name__)


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
class RunningLane:
    """A sink's lane and what it sends from."""

    options: SinkOptions
    sink: Sink
    queue: Queue
    lane: Lane[Any]
    form: Form
    """What its blocks are made in; the lane may ask for another."""
    native_histograms: bool
    life: Life = field(repr=False)


class Lanes:
    """Lanes by sink name."""

    def __init__(self, flusher: Flusher, monitor: SelfMonitor, context: Context, common: Shared) -> None:
        self._flusher = flusher
        self._monitor = monitor
        self._context = context
        self._common = common
        self._hosts = Hosts()
        self._stopped: set[str] = set()
        self.queues = Queues(context.state_dir, monitor)
        self.running: dict[str, RunningLane] = {}

    def make(self, name: str, options: SinkOptions, job: str) -> Sink:
        """The sink alone, still unknown to the agent. Raises ConfigError."""
        sink: Sink = plugin.load(SINKS, options.type).build(name, options, replace(self._context, job=job))
        return sink

    def adopt(self, name: str, options: SinkOptions, sink: Sink, *, or_in_memory: bool = False) -> RunningLane:
        """Give it a lane, fed by the flusher from now on; what a stopped sink of that name and type still held comes first.

        `or_in_memory`: a queue on disk that cannot be opened is replaced by one in memory, which /ready tells. Otherwise
        raises ConfigError and TemporaryError for it.
        """
        module = plugin.load(SINKS, options.type)
        policy = module.policy(options)
        self._stopped.discard(name)
        open_queue = self.queues.open_or_in_memory if or_in_memory else self.queues.open
        queue = self.queues.slot() if module.STATE else open_queue(name, options.type, sink.url, policy)
        running: RunningLane
        lane: Lane[Any] = Lane(
            name,
            sink,
            queue.spool,
            replace(policy, queue_max_bytes=queue.max_bytes),
            self._monitor,
            self._context.clock,
            random.Random(),
            self._hosts,
            quarantine=queue.quarantine,
            knock=_knock(sink),
            on_form=lambda form: self._switch(running, form),
        )

        async def aclose() -> None:
            try:
                await queue.aclose()  # first: a sink may hang
            finally:
                await sink.aclose()

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(queue.run, name=f"queue {name}")
                await lane.run()

        form = policy.forms[0] if policy.forms else Form(module.PROTOCOL, module.ENCODING)
        running = self.running[name] = RunningLane(
            options, sink, queue, lane, form, policy.native_histograms, Life(f"sink {name}", main, aclose)
        )
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
        """End the lane and let the sink go; what it still holds waits for a sink that takes its place."""
        running = self.running[name]
        self._flusher.detach(running.lane)
        await running.life.end()
        del self.running[name]
        self._stopped.add(name)

    def forget_stopped(self) -> None:
        """Stopped sinks whose place was not taken: their numbers go; what waits for them stays where it is on disk."""
        for name in self._stopped:
            self.queues.leave(name)
            self._monitor.forget("sink", name)
        self._stopped.clear()

    async def drain(self, grace_seconds: float) -> list[str]:
        """Wait until nothing waits to be sent, at most so long; the names of the sinks where something still does.

        What is kept on disk is not waited for once a try has failed: the next start sends it.
        """
        with anyio.move_on_after(grace_seconds):
            await all_of(partial(lane.lane.drained, patient=lane.queue.disk is None) for lane in self.running.values())
        return [name for name, running in self.running.items() if running.lane.status()["queue_blocks"]]

    def failures(self) -> list[str]:
        """One line for each sink that did not take everything it was given."""
        lines = []
        for status in (running.lane.status() for running in self.running.values()):
            if status["queue_blocks"] or status["samples_dropped"]:
                dropped = f"{status['samples_dropped']} samples dropped" if status["samples_dropped"] else "no answer yet"
                lines.append(f"sink {status['name']} ({status['url']}): {status['last_error'] or dropped}")
        return lines

    async def end_all(self) -> None:
        """End every lane and close the sinks."""
        await all_of(running.life.end for running in self.running.values())

    def history(self) -> list[str]:
        """The sinks that take samples with times of their own, by name."""
        return [name for name, running in self.running.items() if running.form.protocol is not Protocol.TEXT]

    def settled(self, name: str) -> int | None:
        """Everything of flushes up to this number is accepted by the sink, or synced to its queue; None = all of it."""
        running = self.running.get(name)
        return 0 if running is None else running.queue.spool.stats().synced_flush

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

    def _switch(self, running: RunningLane, form: Form) -> None:
        running.form = form
        self._flusher.switch(running.lane, form)

    def _attach(self, running: RunningLane) -> None:
        self._flusher.attach(running.lane, *running.form, self._rules(running), native_histograms=running.native_histograms)

    def _rules(self, running: RunningLane) -> LabelRules:
        return self._common.rules_for(running.options)


def _knock(sink: Sink) -> Knock | None:
    """How to find out whether the sink's host is there; None where only a request would tell."""
    address = sink.direct_address
    return None if address is None else partial(opens, *address)
