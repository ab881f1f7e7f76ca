"""Reloads: on request and when a configuration file's content changes, one at a time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from agent.config.model import Loaded
from agent.errors import CipushError, ConfigError
from agent.secret import redact
from agent.selfmon import SelfMonitor, counter, gauge

log = logging.getLogger(__name__)

RELOADS = counter("cipush_config_reloads_total", "Reloads of the configuration, by outcome.", "outcome")
RELOAD_OK = gauge("cipush_config_last_reload_successful", "Whether the last reload succeeded; 1 before the first.")
RELOAD_AT = gauge(
    "cipush_config_last_reload_success_timestamp_seconds", "When a configuration was last taken over.", unit="seconds"
)
FAMILIES = (RELOADS, RELOAD_OK, RELOAD_AT)

WATCH_SECONDS = 15.0
"""How often the files are looked at."""
MAX_FILE_BYTES = 16 << 20
"""So much of a file is looked at: no configuration is larger."""

STOPPING = "the agent is stopping"

LoadAgain = Callable[[], Loaded]
TakeOver = Callable[[Loaded], Awaitable[None]]
Digests = tuple[bytes, ...]


@dataclass
class _Attempt:
    """One reload that was asked for and has not begun."""

    problem: str = STOPPING
    done: anyio.Event = field(default_factory=anyio.Event)


class Reloader:
    """Loads again and hands what was loaded to `take_over`, which raises a CipushError to refuse it.

    All of it happens in the task of `run`, so that a request that goes away leaves nothing half done.
    """

    def __init__(
        self, loaded: Loaded, load_again: LoadAgain, take_over: TakeOver, monitor: SelfMonitor, clock: Callable[[], float]
    ) -> None:
        self._files = loaded.files
        self._seen = digests(loaded.files)
        self._load_again = load_again
        self._take_over = take_over
        self._monitor = monitor
        self._clock = clock
        self._next: _Attempt | None = None
        self._asked: anyio.Event | None = None
        self._stopped = False
        self.problem = ""
        """Why the last reload was refused, or ""."""
        monitor.set(RELOAD_OK, (), 1)
        monitor.set(RELOAD_AT, (), clock())

    async def reload(self) -> str:
        """Ask for a reload and wait for it; "" or why it was refused, in which case nothing changed."""
        if self._stopped:
            return STOPPING
        attempt = self.ask()
        await attempt.done.wait()
        return attempt.problem

    def ask(self) -> _Attempt:
        """Ask for a reload, without waiting; requests that come before it begins share it."""
        if self._next is None:
            self._next = _Attempt()
        if self._asked is not None:
            self._asked.set()
        return self._next

    async def run(self) -> None:
        """Serve requests and watch the files, until cancelled."""
        attempt: _Attempt | None = None
        try:
            while True:
                attempt = await self._awaited()
                attempt.problem = await self._attempt()
                attempt.done.set()
        finally:
            self._stopped = True
            for waiting in (attempt, self._next):
                if waiting is not None:
                    waiting.done.set()

    async def _awaited(self) -> _Attempt:
        """The next reload that was asked for or that the files ask for."""
        while self._next is None:
            self._asked = anyio.Event()
            with anyio.move_on_after(WATCH_SECONDS):
                await self._asked.wait()
            if self._next is None and digests(self._files) != self._seen:
                log.info("a configuration file changed")
                self.ask()
        attempt, self._next = self._next, None
        return attempt

    async def _attempt(self) -> str:
        # before the files are read: a change from now on is a change
        self._seen = digests(self._files)
        try:
            _refuse_streams(self._files)
            loaded = self._load_again()
            if loaded.files != self._files:
                self._files, self._seen = loaded.files, digests(loaded.files)
            await self._take_over(loaded)
        except (CipushError, OSError) as error:
            # An OSError is the machine's: no descriptor left to read a file or to import a plugin with.
            self.problem = redact(str(error))
            self._monitor.set(RELOAD_OK, (), 0)
            self._monitor.add(RELOADS, ("refused",))
            log.error("reload refused, the old configuration stays in force: %s", self.problem)
            return self.problem
        self.problem = ""
        self._monitor.set(RELOAD_OK, (), 1)
        self._monitor.set(RELOAD_AT, (), self._clock())
        self._monitor.add(RELOADS, ("taken_over",))
        log.info("reload: new configuration in force")
        return ""


def digests(files: Sequence[Path]) -> Digests:
    """What the files hold now; one that cannot be read counts as different from any content."""
    found = []
    for path in files:
        if not path.is_file():  # to open a pipe would wait for its other end, and everything with it
            found.append(b"")
            continue
        try:
            with path.open("rb") as file:
                found.append(hashlib.blake2b(file.read(MAX_FILE_BYTES)).digest())
        except OSError:
            found.append(b"")
    return tuple(found)


def _refuse_streams(files: Sequence[Path]) -> None:
    """Raises ConfigError for a pipe or device: it was read to its end at the start, and now holds nothing, or blocks."""
    problems = [
        f"{path}: is a pipe or device, which can be read only once; restart the agent instead"
        for path in files
        if path.exists() and not path.is_file() and not path.is_dir()
    ]
    if problems:
        raise ConfigError(problems)
