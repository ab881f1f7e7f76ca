"""`cipush once`: everything is collected once and pushed once; or only printed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import anyio

from agent.config import resolve_state_dir
from agent.config.model import Loaded
from agent.errors import TemporaryError
from agent.ledger.sqlite import SqliteLedger
from agent.parts import RunningSource
from agent.poll import PollLoop
from agent.process import blocking, opened_state
from agent.runtime import LEDGER, Runtime
from agent.state import StateDir
from agent.store.text import render

log = logging.getLogger(__name__)

MORE_SECONDS = 300.0
"""For so long a source is collected again while it has more at once."""
READING_SECONDS = 1.0
"""Between the two readings of a host: how busy its processors are is known from the second on."""


def once(loaded: Loaded, environ: Mapping[str, str]) -> None:
    """Collect once, push once. Raises TemporaryError naming each sink that did not accept everything."""
    blocking(loaded, lambda: push(loaded, environ))


def dry_run(loaded: Loaded, environ: Mapping[str, str], out: Callable[[bytes], object]) -> None:
    """Collect once and write the exposition text; no lock, a copy of the ledger, nothing kept and nothing pushed."""
    blocking(loaded, lambda: show(loaded, environ, out))


async def push(loaded: Loaded, environ: Mapping[str, str]) -> None:
    """What `once` does, inside the caller's event loop."""
    with opened_state(loaded, environ) as state:
        runtime = Runtime(loaded, lambda: loaded, state)
        if not runtime.lanes.running:
            log.warning("there are no sinks: nothing is pushed; name one with --push URL or in the configuration")
        async with anyio.create_task_group() as tasks:
            for lane in runtime.lanes.running.values():
                lane.life.start(tasks)
            tasks.start_soon(runtime.committer.run)
            await _collect_all(runtime)
            await runtime.flusher.flush(pace=False)
            state.save(runtime.flusher.last_ms)
            await runtime.lanes.drain(loaded.config.agent.shutdown_grace_seconds)
            failures = runtime.lanes.failures()
            await runtime.lanes.end_all()
            await runtime.committer.settle()
            tasks.cancel_scope.cancel()
    runtime.ledger.close()
    if runtime.flusher.held:
        failures.append(f"nothing was flushed: {runtime.flusher.held}; check the system clock")
    if failures:
        raise TemporaryError("; ".join(failures))


async def show(loaded: Loaded, environ: Mapping[str, str], out: Callable[[bytes], object]) -> None:
    """What `dry_run` does, inside the caller's event loop."""
    loaded = replace(loaded, config=replace(loaded.config, sinks={}))
    state = resolve_state_dir(loaded.config, environ)
    ledger = None if state is None else SqliteLedger(None, copy_of=state / LEDGER)
    runtime = Runtime(loaded, lambda: loaded, StateDir(None), ledger=ledger)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.committer.run)
        await _collect_all(runtime)
        tasks.cancel_scope.cancel()
    runtime.ledger.close()
    for chunk in render(runtime.store, openmetrics=False):
        out(chunk)


async def _collect_all(runtime: Runtime) -> None:
    """Every source; the agent's own numbers last, so that they tell of the others."""
    sources = runtime.sources.running.values()
    async with anyio.create_task_group() as tasks:
        for source in sources:
            if source.options.type != "internal":
                tasks.start_soon(_collect, source)
    for source in sources:
        if source.options.type == "internal":
            await _collect(source)
    await runtime.sources.end_all()


async def _collect(source: RunningSource) -> None:
    """Durable pollers first and one after another: what the others show is what those found."""
    until = anyio.current_time() + MORE_SECONDS
    for loop in source.loops:
        if loop.poller.durable:
            await _collect_whole(loop, source.feed.name, until)
    async with anyio.create_task_group() as tasks:
        for loop in source.loops:
            if not loop.poller.durable:
                tasks.start_soon(_collect_whole, loop, source.feed.name, until)
    if source.options.type == "host":
        await anyio.sleep(READING_SECONDS)
        for loop in source.loops:
            await loop.collect()


async def _collect_whole(loop: PollLoop, source: str, until: float) -> None:
    """Until nothing is left that is to be had at once, or it takes too long; `until` by the event loop's clock."""
    while await loop.collect() and loop.goes_on:
        if anyio.current_time() >= until:
            words = "source %s, poller %s: there is more than can be collected in %g s, and it is left out; `cipush run` goes on"
            log.warning(words, source, loop.poller.name, MORE_SECONDS)
            return
