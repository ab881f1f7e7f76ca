"""From start to end of a part."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import anyio
from anyio.abc import TaskGroup

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


async def all_of(calls: Iterable[Callable[[], Coroutine[Any, Any, object]]]) -> None:
    """Wait for all of them at once."""
    async with anyio.create_task_group() as group:
        for call in list(calls):
            group.start_soon(call)
