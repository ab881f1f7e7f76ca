"""The state directory: one agent's memory across restarts, and the lock that keeps it one agent's.

`state.json` holds the instance label and the time of the last flush; both must not go backwards or change
by accident, because receivers hold them too.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from agent.errors import ConfigError, TemporaryError

log = logging.getLogger(__name__)

MAX_STATE_CHARACTERS = 1 << 16
"""A longer file was not written by us, and what is cut is not JSON."""


@dataclass
class State:
    """What is remembered."""

    instance: str = ""
    last_flush_ms: int = 0


class StateDir:
    """An open state directory; `path` None keeps everything in memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.state = State()
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Create, lock and read it.

        Raises ConfigError when it cannot be written, TemporaryError when another agent holds it.
        """
        if self.path is None:
            log.warning("state_dir is none: the instance label and the time of the last flush are forgotten when the agent stops")
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._take_lock(self.path / "lock")
            self._read(self.path / "state.json")
        except OSError as error:
            self.close()
            raise ConfigError(
                [
                    f"agent.state_dir: {self.path} cannot be used ({error.strerror or error}); "
                    "make it writable, or set another directory or none"
                ]
            ) from error

    def _take_lock(self, file: Path) -> None:
        self._lock = open(file, "a+", encoding="ascii", errors="replace")  # noqa: SIM115  held until close()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read(32).strip() or "unknown"
            self.close()
            raise TemporaryError(
                f"state directory {self.path} is in use by process {holder}; stop it, or give this agent another agent.state_dir"
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def settle_instance(self, configured: str) -> str:
        """The instance label: as configured, else as remembered, else this host's name."""
        instance = configured or self.state.instance or socket.gethostname() or "unknown"
        if self.state.instance and instance != self.state.instance:
            log.warning(
                "the instance label changes from %r to %r: receivers see new series and totals start again",
                self.state.instance,
                instance,
            )
        if instance != self.state.instance:
            self.state.instance = instance
            self.save(self.state.last_flush_ms)  # now: a host name may be another one after the next boot
        return instance

    def save(self, last_flush_ms: int) -> None:
        """Write the state, atomically; a disk that refuses is logged, not raised."""
        self.state.last_flush_ms = max(self.state.last_flush_ms, last_flush_ms)
        if self.path is None:
            return
        new = self.path / "state.json.new"
        try:
            with open(new, "w", encoding="utf-8") as file:
                json.dump(asdict(self.state), file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path / "state.json")
        except OSError as error:
            log.error("state could not be saved in %s: %s", self.path, error.strerror)

    def close(self) -> None:
        """Give up the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _read(self, file: Path) -> None:
        try:
            with open(file, encoding="utf-8") as opened:
                found = json.loads(opened.read(MAX_STATE_CHARACTERS))
            self.state = State(_label_text(found["instance"]), int(found["last_flush_ms"]))
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            aside = file.with_suffix(".broken")
            log.error("%s is not readable (%s): set aside as %s, starting without it", file, error, aside.name)
            file.replace(aside)


def _label_text(value: object) -> str:
    """A label value as it can be sent. Raises ValueError for what is none."""
    if not isinstance(value, str):
        raise ValueError("instance is not text")
    value.encode()  # half a surrogate pair cannot be sent
    return value
