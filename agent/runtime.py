"""The agent: built from a configuration, run until told to stop, replaced in part on reload.

The one place that owns a task group for the whole agent, and the order in which it stops: pollers, web
server, last flush, lanes, state.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import anyio
import psutil
from anyio.abc import TaskGroup, TaskStatus

from agent import __version__, log, secret
from agent.config import resolve_state_dir
from agent.config.model import Config, Loaded
from agent.errors import CipushError, ConfigError, TemporaryError
from agent.flush import Flusher
from agent.garbage import Garbage
from agent.parts import Lanes, Sources
from agent.plugin import Context
from agent.selfmon import SelfMonitor, counter, gauge
from agent.state import StateDir
from agent.store.store import Limits, Store
from agent.store.text import render
from agent.view import AgentView
from agent.web import server
from agent.web.app import make_app

logger = logging.getLogger(__name__)

RELOADS = counter("cipush_config_reloads_total", "Reloads of the configuration, by outcome.", "outcome")
RELOAD_OK = gauge("cipush_config_last_reload_successful", "Whether the last reload succeeded; 1 before the first.")
RELOAD_AT = gauge(
    "cipush_config_last_reload_success_timestamp_seconds", "When a configuration was last taken over.", unit="seconds"
)
RSS_LOWERED = counter("cipush_store_max_bytes_lowered_total", "Times the byte limit was lowered because of max_rss_bytes.")
FAMILIES = (RELOADS, RELOAD_OK, RELOAD_AT, RSS_LOWERED)

RELOAD_POLL_SECONDS = 15.0
RSS_POLL_SECONDS = 60.0
WEB_STOP_SECONDS = 5.0

LoadAgain = Callable[[], Loaded]


class Runtime:
    """One agent. `build` raises ConfigError; nothing runs before `run`."""

    def __init__(
        self,
        loaded: Loaded,
        environ: Mapping[str, str],
        load_again: LoadAgain,
        clock: Callable[[], float] = time.time,
        rss: Callable[[], int] = lambda: int(psutil.Process().memory_info().rss),
    ) -> None:
        self.loaded = loaded
        self.clock = clock
        self.started = clock()
        self.monitor = SelfMonitor()
        self._environ = environ
        self._load_again = load_again
        self._rss = rss
        self.state = StateDir(resolve_state_dir(loaded.config, environ))
        self.stopping = anyio.Event()
        self.address = ""
        self._digest = _content(loaded)
        self._reload_lock = anyio.Lock()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.loaded.config

    def build(self) -> None:
        """Open the state directory and make the store, the sinks and the sources, all still at rest.

        Raises ConfigError, or TemporaryError when another agent holds the state directory.
        """
        config = self.config
        self.state.open()
        instance = self.state.settle_instance(config.agent.instance)
        self.store = Store(_limits(config))
        self.flusher = Flusher(
            self.store,
            self.monitor,
            self.clock,
            interval=config.agent.flush_interval_seconds,
            heartbeat=config.agent.heartbeat_seconds,
            max_future=config.agent.max_future_seconds,
            last_ms=self.state.state.last_flush_ms,
            prepare=lambda: self.lanes.refresh(),
        )
        context = Context(
            clock=self.clock,
            job=config.agent.job,
            instance=instance,
            user_agent=f"cipush/{__version__}",
            samples=self.monitor.samples,
            state_dir=self.state.path,
        )
        self.external = _external(config, instance)
        self.lanes = Lanes(self.flusher, self.monitor, context, self.external)
        self.sources = Sources(self.store, self.flusher, self.monitor, context)
        self.view = AgentView(self)
        self.monitor.set(RELOAD_OK, (), 1)
        self.monitor.set(RELOAD_AT, (), self.started)

    async def run(self, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve, poll, flush and deliver until `stopping` is set; reports the listener's address once ready.

        Raises StartError when the listener cannot be had.
        """
        config = self.config
        app = make_app(self.view, self.monitor, config.server.auth_token)
        async with AsyncExitStack() as stack:
            stack.callback(self.state.close)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            web = anyio.CancelScope()
            self.address = await tasks.start(self._serve, app, web)
            for name, sink in config.sinks.items():
                self.lanes.start(name, sink, tasks)
            for name, source in config.sources.items():
                self.sources.start(name, source, tasks)
            self._tasks = tasks
            background = anyio.CancelScope()
            tasks.start_soon(self._background, background)
            garbage = Garbage()
            garbage.install()
            stack.callback(garbage.remove)
            logger.info("ready: listening on %s, %d sinks, %d sources", self.address, len(config.sinks), len(config.sources))
            task_status.started(self.address)
            await self.stopping.wait()
            await self._stop(web, background, tasks)

    async def _serve(self, app: server.App, scope: anyio.CancelScope, *, task_status: TaskStatus[str]) -> None:
        section = self.config.server
        with scope:
            await server.serve(
                app,
                section.listen_address,
                tls_cert_file=section.tls_cert_file,
                tls_key_file=section.tls_key_file,
                client_ca_file=section.client_ca_file,
                task_status=task_status,
            )

    async def _background(self, scope: anyio.CancelScope) -> None:
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self.flusher.run, name="flush")
                group.start_soon(self._watch_files, name="watch files")
                group.start_soon(self._watch_memory, name="watch memory")

    async def _stop(self, web: anyio.CancelScope, background: anyio.CancelScope, tasks: TaskGroup) -> None:
        grace = self.config.agent.shutdown_grace_seconds
        logger.info("stopping: last flush, then up to %g s for the sinks", grace)
        await self.sources.cancel_all()
        web.cancel()
        background.cancel()
        await self.flusher.flush(pace=False)
        drained = await self.lanes.drain(grace)
        if not drained:
            logger.warning("some sinks did not take everything within %g s: what they did not take is lost", grace)
        await self.lanes.close_all()
        self.state.save(self.flusher.last_ms)
        tasks.cancel_scope.cancel()

    async def reload(self) -> str:
        """Take over a changed configuration; "" or why it was refused, in which case nothing changed."""
        async with self._reload_lock:
            try:
                loaded = self._load_again()
                self._digest = _content(loaded)
                self._refuse_fixed(loaded.config)
                await self._replace(loaded)
            except CipushError as error:
                self.monitor.set(RELOAD_OK, (), 0)
                self.monitor.add(RELOADS, ("refused",))
                logger.error("reload refused, the old configuration stays in force: %s", error)
                return secret.redact(str(error))
            self.monitor.set(RELOAD_OK, (), 1)
            self.monitor.set(RELOAD_AT, (), self.clock())
            self.monitor.add(RELOADS, ("taken_over",))
            logger.info("reload: new configuration in force")
            return ""

    def _refuse_fixed(self, new: Config) -> None:
        old = self.config
        fixed = {
            "server": (old.server, new.server),
            "agent.state_dir": (old.agent.state_dir, new.agent.state_dir),
            "agent.instance": (old.agent.instance, new.agent.instance),
        }
        problems = [f"{key}: a change needs a restart of the agent" for key, (was, now) in fixed.items() if was != now]
        if problems:
            raise ConfigError(problems)

    async def _replace(self, loaded: Loaded) -> None:
        old, new = self.config, loaded.config
        for name in [n for n in old.sources if new.sources.get(n) != old.sources[n]]:
            await self.sources.stop(name)
        for name in [n for n in old.sinks if new.sinks.get(n) != old.sinks[n]]:
            await self.lanes.stop(name)
        self.loaded = loaded
        self.store.limits = _limits(new)
        self.store.max_bytes = new.store.max_bytes
        self.flusher.reconfigure(
            interval=new.agent.flush_interval_seconds,
            heartbeat=new.agent.heartbeat_seconds,
            max_future=new.agent.max_future_seconds,
        )
        if new.log != old.log:
            log.configure(new.log.level, new.log.format)
        external = _external(new, self.state.state.instance)
        if external != self.external:
            self.external = external
            self.lanes.relabel(external)
        for name, sink in new.sinks.items():
            if name not in self.lanes.running:
                self.lanes.start(name, sink, self._tasks)
        for name, source in new.sources.items():
            if name not in self.sources.running:
                self.sources.start(name, source, self._tasks)

    async def _watch_files(self) -> None:
        while True:
            await anyio.sleep(RELOAD_POLL_SECONDS)
            if _content(self.loaded) != self._digest:
                logger.info("a configuration file changed")
                await self.reload()

    async def _watch_memory(self) -> None:
        while True:
            await anyio.sleep(RSS_POLL_SECONDS)
            self.check_memory()

    def check_memory(self) -> None:
        """Lower the store's byte limit once when the process is over `max_rss_bytes`."""
        limit = self.config.store.max_rss_bytes
        rss = self._rss()
        if limit and rss > limit:
            self.store.max_bytes = min(self.store.max_bytes, int(self.store.bytes * 0.95))
            self.monitor.add(RSS_LOWERED)
            logger.warning(
                "resident memory %d is over max_rss_bytes %d: store limited to %d bytes", rss, limit, self.store.max_bytes
            )


def _limits(config: Config) -> Limits:
    store = config.store
    return Limits(store.max_series, store.max_bytes, store.default_ttl_seconds, config.agent.flush_interval_seconds)


def _external(config: Config, instance: str) -> dict[str, str]:
    return {**config.agent.labels, "job": config.agent.job, "instance": instance}


def _content(loaded: Loaded) -> tuple[bytes | None, ...]:
    """What the files hold now; a file that cannot be read counts as different from any content."""
    contents: list[bytes | None] = []
    for file in loaded.files:
        try:
            contents.append(file.read_bytes())
        except OSError:
            contents.append(None)
    return tuple(contents)


async def run_async(
    loaded: Loaded,
    environ: Mapping[str, str],
    load_again: LoadAgain,
    *,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Build and run an agent inside the caller's task; cancel it to end it at once, without a last flush."""
    runtime = Runtime(loaded, environ, load_again)
    runtime.build()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_signals, runtime)
        await runtime.run(task_status=task_status)
        tasks.cancel_scope.cancel()


async def _signals(runtime: Runtime) -> None:
    """SIGTERM and SIGINT stop, the second at once; SIGHUP reloads."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                await runtime.reload()
            elif runtime.stopping.is_set():
                logger.warning("stopped at once: what was not sent is lost")
                sys.exit(128 + number)
            else:
                runtime.stopping.set()


def run(loaded: Loaded, environ: Mapping[str, str], load_again: LoadAgain) -> None:
    """`cipush run`: blocks until stopped. Raises ConfigError, StartError, TemporaryError."""
    log.configure(loaded.config.log.level, loaded.config.log.format)
    _run_group(lambda: run_async(loaded, environ, load_again))


def _run_group(main: Callable[[], object]) -> None:
    """anyio.run, with an error of ours taken out of the exception groups of the tasks it passed through."""
    try:
        anyio.run(main)  # type: ignore[arg-type]
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, (CipushError, SystemExit, KeyboardInterrupt)):
            raise error from None
        raise


def once(loaded: Loaded, environ: Mapping[str, str]) -> None:
    """`cipush once`: collect once, push once. Raises TemporaryError when not every sink accepted everything."""
    log.configure(loaded.config.log.level, loaded.config.log.format)
    _run_group(lambda: _once(loaded, environ))


def dry_run(loaded: Loaded, out: Callable[[bytes], object]) -> None:
    """`cipush once --dry-run`: collect once and write the exposition text; no lock, no state, nothing pushed."""
    log.configure(loaded.config.log.level, loaded.config.log.format)
    _run_group(lambda: _dry_run(loaded, out))


async def _once(loaded: Loaded, environ: Mapping[str, str]) -> None:
    runtime = Runtime(loaded, environ, lambda: loaded)
    runtime.build()
    try:
        async with anyio.create_task_group() as tasks:
            for name, options in loaded.config.sinks.items():
                runtime.lanes.start(name, options, tasks)
            await _collect_all(runtime)
            await runtime.flusher.flush(pace=False)
            await runtime.lanes.drain(loaded.config.agent.shutdown_grace_seconds)
            failures = runtime.lanes.failures()
            await runtime.lanes.close_all()
        runtime.state.save(runtime.flusher.last_ms)
    finally:
        runtime.state.close()
    if failures:
        raise TemporaryError("; ".join(failures))


async def _dry_run(loaded: Loaded, out: Callable[[bytes], object]) -> None:
    runtime = Runtime(loaded, {}, lambda: loaded)
    runtime.state = StateDir(None)
    runtime.build()
    await _collect_all(runtime)
    for chunk in render(runtime.store, openmetrics=False):
        out(chunk)


async def _collect_all(runtime: Runtime) -> None:
    for name, options in runtime.config.sources.items():
        runtime.sources.build(name, options)
    async with anyio.create_task_group() as tasks:
        for running in runtime.sources.running.values():
            for loop in running.loops:
                tasks.start_soon(loop.collect)
    for name in runtime.sources.running:
        await runtime.sources.close(name)
