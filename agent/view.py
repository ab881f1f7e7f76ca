"""What the agent shows of itself: the answers behind the status page, `/metrics` and the JSON endpoints."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Literal

from anyio.lowlevel import checkpoint

from agent import __version__
from agent.config import effective
from agent.model import SKEW_SECONDS, Protocol
from agent.sources.anklet_view import lines as anklet_lines
from agent.sources.base import Explaining, Remarking
from agent.store.explain import explain_view
from agent.store.inspect import explain, series, stats
from agent.store.pages import View
from agent.store.text import render

if TYPE_CHECKING:
    from agent.parts import RunningLane
    from agent.runtime import Runtime


class AgentView:
    """The running agent, read only but for `reload`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def exposition(self, openmetrics: bool, source: str | None) -> AsyncIterator[bytes]:
        """The text of every live series, or of one source's, in chunks; others run in between."""
        for chunk in render(self._runtime.store, openmetrics=openmetrics, source=source):
            yield chunk
            await checkpoint()

    def source_state(self, name: str) -> Literal["ok", "empty", "failed", "unknown"]:
        """What `/metrics?source=` answers with: text, nothing yet, an error, or no such source."""
        running = self._runtime.sources.running.get(name)
        if running is None:
            return "unknown"
        if any(loop.last_success is not None for loop in running.loops):
            return "ok" if running.feed.series else "empty"
        return "failed" if any(loop.last_error for loop in running.loops) else "empty"

    def anklet_lines(self) -> str:
        """The host's values as Anklet prints them."""
        values = {}
        for running in self._runtime.sources.running.values():
            if running.options.type == "host":
                for (family, _), table in running.feed.tables.items():
                    if not family.labels and table.index:
                        values[family.name] = table.values[table.index[()]]
        return anklet_lines(values)

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether deliveries can be accepted, and what is degraded."""
        runtime = self._runtime
        now = runtime.clock()
        degraded = []
        for running_name, running in runtime.sources.running.items():
            degraded += [
                f"source {running_name}, poller {loop.poller.name}: {loop.last_error}"
                for loop in running.loops
                if loop.last_error
            ]
        for lane in runtime.lanes.running.values():
            status = lane.lane.status()
            if status["state"] not in ("ok", "new"):
                degraded.append(f"sink {status['name']}: {status['state']}: {status['last_error']}")
            if problem := lane.queue.problem():
                degraded.append(f"queue of sink {status['name']}: {problem}; make room, what waits is in memory only")
            if (skew := status["clock_skew_seconds"]) is not None and abs(skew) > SKEW_SECONDS:
                degraded.append(f"sink {status['name']}: its clock is {skew:+.0f} s off ours; check both clocks")
        if runtime.flusher.held:
            degraded.append(f"flushes are held: {runtime.flusher.held}; check the system clock")
        if runtime.reloader.problem:
            degraded.append(f"configuration: the last reload was refused: {runtime.reloader.problem}")
        if problem := runtime.ledger.problem:
            degraded.append(f"ledger: {problem}; totals began anew, and nothing is made up for from before")
        if refused := runtime.committer.refused:
            degraded.append(
                f"{refused} series are counted, but not sent: raise max_series of their source or of the store, "
                "or give a source custom_labels that names its series as another one does (`cipush check` tells)"
            )
        stopping, broken = runtime.stopping.is_set(), runtime.committer.problem
        if broken:
            degraded.append(f"ledger: {broken}")
        body: dict[str, object] = {
            "status": "stopping" if stopping else "blocked" if broken else "degraded" if degraded else "ready",
            "degraded": degraded,
            "uptime_seconds": round(now - runtime.started, 3),
        }
        return not (stopping or broken), body

    def status(self) -> dict[str, object]:
        """Everything for the status page and `cipush status`; JSON-ready."""
        runtime = self._runtime
        now = runtime.clock()
        ready, body = self.ready()
        numbers = runtime.flusher.numbers
        return {
            "version": __version__,
            "pid": os.getpid(),
            "instance": runtime.instance,
            "started": _iso(runtime.started),
            "uptime_seconds": round(now - runtime.started, 3),
            "ready": ready,
            "degraded": body["degraded"],
            "listen_address": runtime.address,
            "state_dir": str(runtime.state.path or "none"),
            "files": [str(file) for file in runtime.loaded.files],
            "sources": [
                {
                    "name": name,
                    "type": running.options.type,
                    "series": running.feed.series,
                    "pollers": [loop.status(now) for loop in running.loops],
                    "remarks": [
                        *(running.source.remarks() if isinstance(running.source, Remarking) else ()),
                        *running.feed.caps.remarks(now),
                    ],
                }
                for name, running in runtime.sources.running.items()
            ],
            "sinks": [self._sink(running) for running in runtime.lanes.running.values()],
            "store": stats(runtime.store),
            "ledger": runtime.committer.status(),
            "flush": {
                "sequence": numbers.complete,
                "recent": [list(flushed) for flushed in numbers.recent],
                "interval_seconds": runtime.config.agent.flush_interval_seconds,
                "last": _iso(runtime.flusher.last_ms / 1000) if runtime.flusher.last_ms else None,
                "held": runtime.flusher.held,
            },
        }

    def _sink(self, running: RunningLane) -> dict[str, object]:
        status, complete = running.lane.status(), self._runtime.flusher.numbers.complete
        sink: dict[str, object] = {"type": running.options.type, **status, "queue_problem": running.queue.problem()}
        for mark in ("accepted_flush", "spooled_flush", "synced_flush"):
            # Of a flush that is still handing over blocks nobody can say that it is done.
            sink[mark] = complete if (done := status[mark]) is None else max(0, min(done, complete))
        return sink

    def queues(self) -> list[dict[str, object]]:
        """What waits for each sink, and for sinks that left the configuration."""
        queues = self._runtime.lanes.queues
        running = {name: lane for name, lane in self._runtime.lanes.running.items() if lane.form.protocol is not Protocol.TEXT}
        found = [queues.info(name, lane.options.type, lane.sink.url, lane.queue.spool) for name, lane in running.items()]
        return [info.as_json() for info in [*found, *queues.departed(running)]]

    def queue_heads(self, name: str, count: int) -> list[dict[str, object]]:
        """The oldest blocks of one queue. Raises KeyError for an unknown name."""
        running = self._runtime.lanes.running.get(name)
        disk = running.queue.disk if running is not None else None
        heads = self._runtime.lanes.queues.heads(name, count) if disk is None else disk.heads(count)
        return [head.as_json() for head in heads]

    def drop_queued(self, name: str, upto: int | None) -> int:
        """Give up what waits in one queue, to sequence `upto` or all; the samples. Raises KeyError for an unknown name."""
        running = self._runtime.lanes.running.get(name)
        if running is not None and running.queue.disk is not None:
            samples = running.queue.disk.drop(upto)
            running.lane.refresh(self._runtime.clock())
            return samples
        return self._runtime.lanes.queues.drop(name, upto)

    def series(self, match: str, limit: int) -> list[dict[str, object]]:
        """Live series that match a name, a glob or `name{label="value"}`. Raises ValueError for anything else."""
        return series(self._runtime.store, match, limit, self._runtime.clock())

    def explain(self, name: str) -> dict[str, object]:
        """Why series of that name are there or not, and which sinks they go to."""
        runtime = self._runtime
        found = explain(runtime.store, name, runtime.clock())
        found["sinks"] = sinks = [self._explained_sink(name, lane) for lane in runtime.lanes.running.values()]
        under_it = [str(sink["name"]) for sink in sinks if isinstance(rules := sink.get("rules"), dict) and rules["sent"]]
        if not found["live"] and (off := list(self._off(name))):
            found["verdict"] = "; ".join(off)
        if not found["live"] and under_it:
            found["verdict"] = f"no source calls a series so, but rules do: see the sinks {', '.join(under_it)}"
        found["external_labels"] = dict(runtime.shared.external)
        return found

    def _off(self, name: str) -> Iterator[str]:
        """Sources that would have series of that name if they were configured otherwise, and how."""
        for source, running in self._runtime.sources.running.items():
            if isinstance(running.source, Explaining) and (why := running.source.absent(name)):
                yield f"source {source}: {why}"

    def _explained_sink(self, name: str, running: RunningLane) -> dict[str, object]:
        sink: dict[str, object] = {
            "name": running.lane.name,
            "protocol": running.form.protocol.value,
            "extra_labels": dict(running.options.extra_labels),
        }
        for output in self._runtime.flusher.outputs:
            if output.rules.relabels and any(lane is running.lane for lane, _ in output.lanes):
                view = output.view if isinstance(output.view, View) else None
                sink["rules"] = explain_view(self._runtime.store, output.rules, name, view)
        return sink

    def effective_config(self) -> str:
        """The configuration in force with the origin of each key, without secrets."""
        return effective(self._runtime.loaded)

    async def reload(self) -> str | None:
        """Reload; None, or why it was refused."""
        return await self._runtime.reloader.reload() or None


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
