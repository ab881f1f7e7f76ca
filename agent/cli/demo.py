"""`cipush demo` and `cipush receive`: the agent and the embedded receiver on one machine, with no account."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence

import anyio
import httpx
from anyio.abc import TaskStatus

from agent import log, process
from agent.config import load, process_environ
from agent.config.model import Loaded
from agent.sim import demo as watching
from agent.sim.receiver import Receiver
from agent.web import server

MAX_PUSH_BYTES = 64 << 20
"""Larger than any request of ours: a page is 2 MiB before compression."""
_HASTE = (
    ("agent.flush_interval_seconds", "2"),
    ("agent.heartbeat_seconds", "4"),
    ("agent.state_dir", "none"),
    ("sources.host.interval_seconds", "2"),
)
"""A demo is watched: seconds, not quarters of a minute."""
_OWN_VARIABLES = ("CIPUSH_SERVER", "CIPUSH_LOG", "CIPUSH_AGENT")
"""Sinks and sources of the environment belong to the real agent; a demo must not push to them."""

Say = Callable[[str], None]


def demo(pushes: Sequence[str], listen: str | None, say: Say) -> None:
    """Run an agent for this host until stopped, and say what its receiver holds.

    Raises ConfigError, StartError.
    """
    environ = {name: text for name, text in process_environ().items() if _for_demo(name)}
    anyio.run(_demo, tuple(pushes), listen, environ, say)


def receive(listen: str, say: Say) -> None:
    """Serve the embedded receiver until stopped. Raises StartError."""
    anyio.run(_receive, listen, say)


def _for_demo(name: str) -> bool:
    return not name.startswith("CIPUSH_") or name.startswith(_OWN_VARIABLES)


async def _demo(pushes: Sequence[str], listen: str | None, environ: Mapping[str, str], say: Say) -> None:
    async with anyio.create_task_group() as tasks:
        if not pushes:
            address = await tasks.start(_serve_receiver, "127.0.0.1:0")
            say(f"receiver:    http://{address}/")
            pushes = (f"http://{address}/api/v1/write",)
        loaded = _demo_config(pushes, listen, environ)
        log.configure(loaded.config.log.level, loaded.config.log.format)
        page = f"http://{await tasks.start(_agent, loaded, environ, tasks.cancel_scope)}/"
        say(f"status page: {page}\nmetrics:     {page}metrics\nCtrl-C ends the demo.\n")
        async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
            await watching.watch(pushes[0], say, clock=time.time, client=client, pages=(page,))


def _demo_config(pushes: Sequence[str], listen: str | None, environ: Mapping[str, str]) -> Loaded:
    """Listens on a free port unless told otherwise, and is quiet: the real agent may run beside it."""
    overrides = list(_HASTE)
    if listen is None and not any(name.startswith("CIPUSH_SERVER") for name in environ):
        listen = "127.0.0.1:0"
    if not any(name.startswith("CIPUSH_LOG") for name in environ):
        overrides += [("log.level", "warning"), ("log.format", "text")]
    return load((), environ, overrides, pushes, listen)


async def _agent(
    loaded: Loaded, environ: Mapping[str, str], all_of_it: anyio.CancelScope, *, task_status: TaskStatus[str]
) -> None:
    """The agent; when it has been stopped, after its last flush, everything ends."""
    await process.run_async(loaded, environ, lambda: loaded, task_status=task_status)
    all_of_it.cancel()


async def _serve_receiver(address: str, *, task_status: TaskStatus[str]) -> None:
    await server.serve(Receiver(clock=time.time), address, max_body_bytes=MAX_PUSH_BYTES, task_status=task_status)


async def _receive(listen: str, say: Say) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal, tasks.cancel_scope)
        address = await tasks.start(_serve_receiver, listen)
        say(
            f"receiver on http://{address}/: shows what was pushed to\n"
            f"  http://{address}/api/v1/write    remote-write 1.0 and 2.0\n"
            f"  http://{address}/api/v1/import   VictoriaMetrics JSON lines\n"
            f"  http://{address}/metrics/job/... Pushgateway"
        )


async def _until_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
