"""The agent: built from a configuration, run until told to stop, replaced in part on reload.

The one place that owns a task group for the whole agent, and the order in which it stops: pollers, web
server, last flush, lanes, state.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import anyio
import psutil
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint

from agent import __version__, log
from agent.commit import Committer
from agent.config.model import Config, Loaded
from agent.errors import ConfigError, LedgerError
from agent.flush import Flusher
from agent.garbage import Garbage
from agent.ledger.sqlite import SqliteLedger
from agent.model import Family, Protocol
from agent.parts import Lanes, Life, Listeners, Sink, Sources, shared
from agent.parts.hooks import Hooks
from agent.plugin import Context
from agent.reload import LoadAgain, Reloader
from agent.selfmon import SelfMonitor, counter
from agent.sources.base import Counting, Source
from agent.state import StateDir
from agent.store.publish import publish
from agent.store.store import Limits, Store
from agent.view import AgentView
from agent.web.app import make_app
from agent.web.webhook import Webhooks

logger = logging.getLogger(__name__)

RSS_LOWERED = counter("cipush_store_max_bytes_lowered_total", "Times the byte limit was lowered because of max_rss_bytes.")
FAMILIES = (RSS_LOWERED,)

LEDGER = "ledger.sqlite"
"""The ledger's file in the state directory."""
RSS_POLL_SECONDS = 60.0
"""How often resident memory is measured: lowering the limit shows in it only after a while."""
ROOM = 0.95
"""The share of its present bytes that a store in a process over its limit keeps."""


def resident() -> int:
    """Bytes of this process that are in RAM."""
    return int(psutil.Process().memory_info().rss)


class Runtime:
    """One agent, at rest until `run`. `state` is opened and closed by the caller.

    Raises ConfigError, with every problem, for sinks and sources that cannot be made.
    """

    def __init__(
        self,
        loaded: Loaded,
        load_again: LoadAgain,
        state: StateDir,
        clock: Callable[[], float] = time.time,
        rss: Callable[[], int] = resident,
        ledger: SqliteLedger | None = None,
    ) -> None:
        self.loaded = loaded
        self.clock = clock
        self.started = clock()
        self.monitor = SelfMonitor()
        self.state = state
        self.stopping = anyio.Event()
        self.address = ""
        self._rss = rss
        config = loaded.config
        self.instance = state.settle_instance(config.agent.instance)
        self.shared = shared(config.agent, self.instance)
        self.store = Store(_limits(config))
        self.ledger = ledger or SqliteLedger(None if state.path is None else state.path / LEDGER)
        self.committer = self._committer()
        self.flusher = self._flusher(max(state.state.last_flush_ms, self.ledger.last_flush_ms))
        context = Context(
            clock=clock,
            job=config.agent.job,
            instance=self.instance,
            user_agent=f"cipush/{__version__}",
            samples=self._readings,
            recall=self.ledger.notes,
            state_dir=state.path,
        )
        self.lanes = Lanes(self.flusher, self.monitor, context, self.shared)
        self.sources = Sources(self.store, self.flusher, self.committer, self.monitor, context)
        self.reloader = Reloader(loaded, load_again, self._take_over, self.monitor, clock)
        self.view = AgentView(self)
        self.monitor.add(RSS_LOWERED, (), 0)
        self._tasks: TaskGroup | None = None
        sinks, sources = self._made(loaded, config.sinks, config.sources)
        for name, sink in sinks.items():
            self.lanes.adopt(name, config.sinks[name], sink)
        self.committer.outbox.settle_sinks(self.lanes.history())
        for name, source in sources.items():
            self.sources.adopt(name, config.sources[name], source)

    def _committer(self) -> Committer:
        return Committer(
            self.ledger,
            self.store,
            self.monitor,
            self.clock,
            last_flush=lambda: self.flusher.begun_ms,
            interval=lambda: self.config.agent.flush_interval_seconds,
            hasten=self._hasten,
            settled=lambda sink: self.lanes.settled(sink),
        )

    def _flusher(self, last_ms: int) -> Flusher:
        agent = self.config.agent
        flusher = Flusher(
            self.store,
            self.monitor,
            self.clock,
            interval=agent.flush_interval_seconds,
            heartbeat=agent.heartbeat_seconds,
            max_future=agent.max_future_seconds,
            last_ms=last_ms,
        )
        flusher.outbox = self.committer.outbox
        return flusher

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.loaded.config

    async def run(self, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve, poll, flush and deliver until `stopping` is set; reports the listener's address once ready.

        Raises StartError when the listener cannot be had.
        """
        hooks = Hooks(self.sources, self.committer, lambda: self.config.sources)
        webhooks = Webhooks(hooks.find, hooks.commit, self.monitor, self.clock)
        section = self.config.server
        app = make_app(self.view, self.monitor, section.auth_token, None if section.webhook_listen_address else webhooks)
        listeners = Listeners(section, app, webhooks)
        async with anyio.create_task_group() as tasks:
            await listeners.start(tasks)
            self.address = listeners.addresses[0]
            committing = Life("committer", self.committer.run, checkpoint)
            committing.start(tasks)
            self._tasks = tasks
            for lane in self.lanes.running.values():
                lane.life.start(tasks)
            for source in self.sources.running.values():
                source.life.start(tasks)
            loops = Life("loops of the core", self._loops, checkpoint)
            loops.start(tasks)
            with _short_collections():
                logger.info(
                    "ready: listening on %s, %d sinks, %d sources",
                    " and ".join(listeners.addresses),
                    len(self.lanes.running),
                    len(self.sources.running),
                )
                task_status.started(self.address)
                await self.stopping.wait()
                await loops.end()
                await self._stop(listeners, committing)
            tasks.cancel_scope.cancel()

    async def _loops(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.flusher.run, name="flush")
            group.start_soon(self.reloader.run, name="reload")
            group.start_soon(self._watch_memory, name="watch memory")

    async def _stop(self, listeners: Listeners, committing: Life) -> None:
        grace = self.config.agent.shutdown_grace_seconds
        logger.info("stopping: last flush, then up to %g s for the sinks", grace)
        await self.sources.end_all()
        await listeners.end()
        await self.committer.idle()
        await committing.end()
        await self.flusher.flush(pace=False)
        self.state.save(self.flusher.last_ms)
        pending = await self.lanes.drain(grace)
        await self.lanes.end_all()
        await self.committer.settle()
        self.ledger.close()
        kept = [name for name in pending if self.lanes.running[name].queue.keeps()]
        lost = [name for name in pending if name not in kept]
        if kept:
            logger.info("not everything was accepted within %g s, the rest waits on disk: sinks %s", grace, ", ".join(kept))
        if lost:
            logger.warning("not everything was accepted within %g s, the rest is lost: sinks %s", grace, ", ".join(lost))

    async def _take_over(self, loaded: Loaded) -> None:
        """Replace what a new configuration changes; raises ConfigError before anything is changed."""
        old, new = self.config, loaded.config
        _refuse_fixed(old, new)
        assert self._tasks is not None, "reloads are served while running"
        gone_sources = [name for name, options in old.sources.items() if new.sources.get(name) != options]
        gone_sinks = [name for name in old.sinks if self._must_leave(name, new)]
        sinks, sources = self._made(
            loaded,
            [name for name in new.sinks if name in gone_sinks or name not in old.sinks],
            [name for name in new.sources if name in gone_sources or name not in old.sources],
        )
        if any(isinstance(running.source, Counting) for running in self.sources.running.values()):
            # What was counted just now is sent before its series end, or get other labels.
            await self.committer.idle()
            await self.flusher.flush(pace=False)
        self.loaded = loaded
        await self.lanes.retire_relabelled(shared(new.agent, self.instance), new.sinks)
        async with anyio.create_task_group() as stopping:
            for name in gone_sources:
                stopping.start_soon(self.sources.stop, name)
            for name in gone_sinks:
                stopping.start_soon(self.lanes.stop, name)
        self._reconfigure(old, new)
        for name, sink in sinks.items():
            self.lanes.adopt(name, new.sinks[name], sink, or_in_memory=True).life.start(self._tasks)
        self.lanes.forget_stopped()
        await self._count_on()
        for name, source in sources.items():
            self.sources.adopt(name, new.sources[name], source).life.start(self._tasks)

    async def _count_on(self) -> None:
        """What was being committed for sources and sinks as they were is done, before others take their places."""
        await self.committer.idle()
        try:
            self.committer.outbox.settle_sinks(self.lanes.history())
        except LedgerError as error:
            logger.error("%s; sinks that came or went are noted at the next start", error)

    def _hasten(self) -> None:
        if self.config.agent.flush_on_event:
            self.flusher.hasten()

    def _must_leave(self, name: str, new: Config) -> bool:
        """Whether a running sink is replaced: its section changed, or the job that a state sink was made with."""
        if new.sinks.get(name) != self.config.sinks[name]:
            return True
        return new.agent.job != self.config.agent.job and self.lanes.running[name].form.protocol is Protocol.TEXT

    def _made(self, loaded: Loaded, sinks: Iterable[str], sources: Iterable[str]) -> tuple[dict[str, Sink], dict[str, Source]]:
        """The sinks and sources of these names, at rest. Raises ConfigError with the problems of all."""
        config, problems = loaded.config, list[str]()
        made_sinks: dict[str, Sink] = {}
        made_sources: dict[str, Source] = {}
        for name in sinks:
            try:
                made_sinks[name] = self.lanes.make(name, config.sinks[name], config.agent.job)
            except ConfigError as error:
                problems += located(error, loaded, f"sinks.{name}")
        for name in sources:
            try:
                made_sources[name] = self.sources.make(name, config.sources[name], config.agent.job)
            except ConfigError as error:
                problems += located(error, loaded, f"sources.{name}")
        if problems:
            raise ConfigError(problems)  # those that could be made have done nothing yet, and hold nothing
        return made_sinks, made_sources

    def _reconfigure(self, old: Config, new: Config) -> None:
        if (new.store, new.agent.flush_interval_seconds) != (old.store, old.agent.flush_interval_seconds):
            self.store.limits = _limits(new)
            self.store.max_bytes = new.store.max_bytes
        agent = new.agent
        self.flusher.reconfigure(
            interval=agent.flush_interval_seconds, heartbeat=agent.heartbeat_seconds, max_future=agent.max_future_seconds
        )
        if new.log != old.log:
            log.configure(new.log.level, new.log.format)
        common = shared(new.agent, self.instance)
        if common != self.shared:
            self.shared = common
            self.lanes.relabel(common)

    def _readings(self) -> Iterable[tuple[Family, tuple[str, ...], float | list[float]]]:
        """What the internal source publishes, up to date."""
        self.lanes.refresh()
        publish(self.store, self.monitor)
        return self.monitor.samples()

    async def _watch_memory(self) -> None:
        while True:
            await anyio.sleep(RSS_POLL_SECONDS)
            self.check_memory()

    def check_memory(self) -> None:
        """Lower the store's byte limit once when the process is over `max_rss_bytes`; only a reload raises it again."""
        limit = self.config.store.max_rss_bytes
        rss = self._rss()
        if limit and rss > limit:
            self.store.max_bytes = min(self.store.max_bytes, int(self.store.bytes * ROOM))
            self.monitor.add(RSS_LOWERED)
            logger.warning(
                "resident memory %d is over max_rss_bytes %d: store limited to %d bytes", rss, limit, self.store.max_bytes
            )


@contextmanager
def _short_collections() -> Iterator[None]:
    garbage = Garbage()
    garbage.install()
    try:
        yield
    finally:
        garbage.remove()


def _limits(config: Config) -> Limits:
    store = config.store
    return Limits(store.max_series, store.max_bytes, store.default_ttl_seconds, config.agent.flush_interval_seconds)


def _refuse_fixed(old: Config, new: Config) -> None:
    """Raises ConfigError for changes that a running agent cannot take over."""
    keys = [(f"server.{key}", getattr(old.server, key), getattr(new.server, key)) for key in type(new.server).model_fields]
    keys += [(f"agent.{key}", getattr(old.agent, key), getattr(new.agent, key)) for key in ("state_dir", "instance")]
    problems = [f"{key}: a change needs a restart of the agent" for key, was, now in keys if was != now]
    if problems:
        raise ConfigError(problems)


def located(error: ConfigError, loaded: Loaded, key: str) -> list[str]:
    """The problems of `error`, each behind the place where `key` was configured."""
    origin = loaded.origins.get(key)
    return [f"{origin}: {problem}" if origin else problem for problem in error.problems]
