"""The running sources, by name."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import anyio

from agent import plugin
from agent.commit import Committer
from agent.flush import Flusher
from agent.parts.life import Life, all_of
from agent.plugin import Context, CountingOptions, SourceOptions
from agent.poll import PollLoop
from agent.selfmon import SelfMonitor
from agent.sources import SOURCES
from agent.sources.base import Counting, Source
from agent.store.store import Store
from agent.store.table import Feed

log = logging.getLogger(__name__)


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

    def __init__(self, store: Store, flusher: Flusher, committer: Committer, monitor: SelfMonitor, context: Context) -> None:
        self._store = store
        self._flusher = flusher
        self._committer = committer
        self._monitor = monitor
        self._context = context
        self.running: dict[str, RunningSource] = {}

    def make(self, name: str, options: SourceOptions, job: str) -> Source:
        """The source alone, still unknown to the agent. Raises ConfigError."""
        source: Source = plugin.load(SOURCES, options.type).build(name, options, replace(self._context, job=job))
        return source

    def adopt(self, name: str, options: SourceOptions, source: Source) -> RunningSource:
        """Give it a feed and poll loops; they run after `start`. What it has counted before goes on."""
        for other, there in self.running.items():
            if words := plugin.alike(other, there.options, name, options):
                log.warning("%s", words)
        labels = tuple(options.custom_labels.items())
        limits = {"max_series": options.max_series}
        if isinstance(options, CountingOptions):
            limits["max_series_per_project"] = options.max_series_per_project
        feed = self._store.add_feed(name, options.metric_prefix, labels, **limits)
        if isinstance(source, Counting):
            self._committer.restore(feed, source.families())
        loops = [
            PollLoop(self._store, feed, poller, self._flusher, self._committer, self._monitor, self._context.clock)
            for poller in source.pollers()
        ]

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
        del self.running[name]  # no delivery comes in any more, and those that did are counted before its families go
        await self._committer.idle()
        groups = {group for _, group in running.feed.tables}
        self._store.remove_feed(running.feed)
        self._committer.forget(running.feed)
        await self._flusher.end_groups(groups)
        self._monitor.forget("source", name)

    async def end_all(self) -> None:
        """End every poll loop and let go of connections; series stay: a restart is not a disappearance."""
        await all_of(running.life.end for running in self.running.values())
