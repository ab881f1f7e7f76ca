"""The agent as a process: its state directory's lock, its signals, and how it ends."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio
from anyio.abc import TaskStatus

from agent import log
from agent.config import resolve_state_dir
from agent.config.model import Loaded
from agent.errors import CipushError, ConfigError
from agent.reload import LoadAgain
from agent.runtime import Runtime, located
from agent.state import StateDir

logger = logging.getLogger(__name__)


@contextmanager
def opened_state(loaded: Loaded, environ: Mapping[str, str]) -> Iterator[StateDir]:
    """The state directory, locked while the block runs. Raises ConfigError, TemporaryError."""
    state = StateDir(resolve_state_dir(loaded.config, environ))
    try:
        state.open()
    except ConfigError as error:
        raise ConfigError(located(error, loaded, "agent.state_dir")) from error
    try:
        yield state
    finally:
        state.close()


async def run_async(
    loaded: Loaded,
    environ: Mapping[str, str],
    load_again: LoadAgain,
    *,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Build and run an agent inside the caller's task; cancel it to end it at once, without a last flush."""
    with opened_state(loaded, environ) as state:
        runtime = Runtime(loaded, load_again, state)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_signals, runtime)
            await runtime.run(task_status=task_status)
            tasks.cancel_scope.cancel()


async def _signals(runtime: Runtime) -> None:
    """SIGTERM and SIGINT stop, the second at once; SIGHUP reloads."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                runtime.reloader.ask()
            elif runtime.stopping.is_set():
                logger.warning("stopped at once: what was not sent is lost")
                # not sys.exit: that would wait for tasks and threads, which is what has taken too long
                os._exit(128 + number)
            else:
                runtime.stopping.set()


def run(loaded: Loaded, environ: Mapping[str, str], load_again: LoadAgain) -> None:
    """`cipush run`: blocks until stopped. Raises ConfigError, StartError, TemporaryError."""
    blocking(loaded, lambda: run_async(loaded, environ, load_again))


def blocking(loaded: Loaded, main: Callable[[], Awaitable[None]]) -> None:
    """Set up the logs and run `main`; an error of ours is taken out of the groups of the tasks it passed through."""
    log.configure(loaded.config.log.level, loaded.config.log.format)
    try:
        anyio.run(main)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, CipushError):
            raise error from None
        raise
