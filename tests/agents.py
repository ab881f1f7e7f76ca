"""`cipush` as a process, the way a user runs it: a configuration file, signals, exit codes, standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.servers import Process, answers, eventually, free_port, running

COMMAND = (sys.executable, "-m", "agent")


def clean_env(home: Path, **extra: str) -> dict[str, str]:
    """This environment without any CIPUSH_ variable, with state and configuration below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CIPUSH_", "XDG_", "STATE_DIRECTORY"))}
    return {**kept, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config"), **extra}


@dataclass(frozen=True)
class Agent:
    """A running `cipush run`; `url` has no path."""

    url: str
    process: Process
    config: Path

    def get(self, path: str) -> httpx.Response:
        """GET from its own web server, whatever the status."""
        return httpx.get(self.url + path, timeout=10.0)

    def metrics(self) -> str:
        """Its exposition."""
        return self.get("/metrics").text

    def logged(self, text: str) -> bool:
        """Whether `text` stands in what it has logged so far."""
        return text in self.process.output()

    def write(self, config: Mapping[str, Any]) -> None:
        """Replace its configuration file, listening where it listens now."""
        self.config.write_text(json.dumps(with_listener(config, self.url.removeprefix("http://")), indent=1))


def with_listener(config: Mapping[str, Any], address: str) -> dict[str, Any]:
    """`config` with `server.listen_address` set."""
    return {**config, "server": {**config.get("server", {}), "listen_address": address}}


@contextmanager
def agent(home: Path, config: Mapping[str, Any], *flags: str) -> Iterator[Agent]:
    """`cipush run` with `config` in a file below `home`, from ready on; ended when the block ends."""
    address = f"127.0.0.1:{free_port()}"
    file = home / "cipush.json"
    file.write_text(json.dumps(with_listener(config, address), indent=1))
    argv = [*COMMAND, "run", "--config", str(file), *flags]
    url = f"http://{address}"
    with running(argv, home / "cipush.log", clean_env(home), home) as process:
        eventually(lambda: answers(process, url + "/ready"), f"cipush is ready on {url}")
        yield Agent(url, process, file)


def once(home: Path, config: Mapping[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
    """`cipush once` with `config`, run to its end."""
    file = home / "cipush.json"
    file.write_text(json.dumps(config))
    argv = [*COMMAND, "once", "--config", str(file), *flags]
    return subprocess.run(argv, env=clean_env(home), cwd=home, capture_output=True, text=True, timeout=60, check=False)
