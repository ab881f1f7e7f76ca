"""The agent in this process: what a reload changes and what it leaves alone, the memory limit, the stop."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from agent import runtime as core
from agent.config import load
from agent.model import Collected, Encoding, Protocol, Update
from agent.runtime import Runtime
from agent.state import StateDir
from agent.store.encode import LabelRules
from agent.store.store import Limits
from agent.view import AgentView
from tests.core import GAUGE, Offered, ended
from tests.loopback import receiver

pytestmark = pytest.mark.anyio

DEAD = "http://127.0.0.1:1"


def import_sink(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "vm_import", "url": f"{url}/api/v1/import", **more}


class Agent:
    """A runtime whose configuration is a file of this test."""

    def __init__(self, folder: Path, config: dict[str, Any], state: Path | None = None) -> None:
        self.rss = 0
        self.file = folder / "cipush.json"
        self.write(config)
        self.now = 1_795_239_000.0
        self.runtime = Runtime(self.load(), self.load, StateDir(state), self.clock, lambda: self.rss)

    def clock(self) -> float:
        """Never the same time twice: two flushes need two."""
        self.now += 0.001
        return self.now

    def write(self, config: dict[str, Any]) -> None:
        agent = {"flush_interval_seconds": 3600, "shutdown_grace_seconds": 0, "state_dir": "none"} | config.get("agent", {})
        self.file.write_text(json.dumps({"server": {"listen_address": "127.0.0.1:0"}, **config, "agent": agent}))

    def load(self) -> Any:
        return load((self.file,), {})

    async def reload(self, config: dict[str, Any]) -> str:
        self.write(config)
        return await self.runtime.reloader.reload()

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://{self.runtime.address}{path}")


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[Agent]:
    """The agent runs while the block does, and is stopped in order after it."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(agent.runtime.run)
        yield agent
        agent.runtime.stopping.set()


def put(agent: Agent, source: str, *names: str) -> None:
    """Series of a running source that it did not report itself."""
    now = agent.runtime.clock()
    feed = agent.runtime.sources.running[source].feed
    agent.runtime.store.apply(feed, Collected([Update(GAUGE, (name,), 1.0, now, "") for name in names]), now)


async def test_a_changed_source_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    sources = {"host": {}, "more": {"type": "host"}}
    async with running(Agent(tmp_path, {"sources": sources})) as agent:
        before = dict(agent.runtime.sources.running)

        assert await agent.reload({"sources": sources | {"more": {"type": "host", "interval_seconds": 7}}}) == ""

        after = agent.runtime.sources.running
        assert {name for name in after if after[name] is before.get(name)} == {"host", "internal"}
        assert after["more"].loops[0].poller.interval_seconds == 7


async def test_a_changed_sink_keeps_what_it_held_and_the_others_go_on(tmp_path: Path) -> None:
    sinks = {"a": import_sink(DEAD), "b": import_sink(DEAD)}
    async with running(Agent(tmp_path, {"sinks": sinks, "sources": {"host": {}}})) as agent:
        put(agent, "host", "x")
        await agent.runtime.flusher.flush()
        before = dict(agent.runtime.lanes.running)
        held = before["a"].lane.status()["queue_samples"]

        assert await agent.reload({"sinks": sinks | {"a": import_sink(DEAD, timeout_seconds=7)}, "sources": {"host": {}}}) == ""

        after = agent.runtime.lanes.running
        assert (after["b"] is before["b"], after["a"] is before["a"]) == (True, False)
        assert 0 < held == after["a"].lane.status()["queue_samples"]


async def test_a_sink_of_another_type_begins_with_nothing(tmp_path: Path) -> None:
    async with running(Agent(tmp_path, {"sinks": {"a": import_sink(DEAD)}})) as agent:
        put(agent, "host", "x")
        await agent.runtime.flusher.flush()

        await agent.reload({"sinks": {"a": {"type": "remote_write", "url": f"{DEAD}/api/v1/write"}}})

        assert agent.runtime.lanes.running["a"].lane.status()["queue_samples"] == 0


async def test_a_queue_that_cannot_be_opened_at_a_reload_costs_its_sink_the_disk_only(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    async with running(Agent(tmp_path, {"sinks": {"a": import_sink(DEAD)}}, state=tmp_path / "state")) as agent:
        (tmp_path / "state" / "queues" / "b").write_text("a file in the way")

        problem = await agent.reload({"sinks": {"a": import_sink(DEAD, timeout_seconds=7), "b": import_sink(DEAD)}})
        put(agent, "host", "x")
        await agent.runtime.flusher.flush()

        lanes = agent.runtime.lanes.running
        assert problem == ""
        assert [lanes[name].lane.status()["queue_samples"] > 0 for name in ("a", "b")] == [True, True]
        assert any("queue of sink b: " in line for line in agent.runtime.view.status()["degraded"])  # type: ignore[attr-defined]


async def test_a_removed_sinks_view_and_numbers_go(tmp_path: Path) -> None:
    async with running(Agent(tmp_path, {"sinks": {"a": import_sink(DEAD)}})) as agent:
        views = len(agent.runtime.store.views)

        await agent.reload({})

        assert (views, len(agent.runtime.store.views), agent.runtime.lanes.running) == (1, 0, {})
        assert not [labels for family, labels, _ in agent.runtime.monitor.samples() if "sink" in family.labels]


async def test_a_removed_sources_series_end_with_markers(tmp_path: Path) -> None:
    lane = Offered()
    sources = {"host": {}, "more": {"type": "host", "metric_prefix": "more_"}}
    async with running(Agent(tmp_path, {"sources": sources})) as agent:
        flusher = agent.runtime.flusher
        flusher.attach(lane, Protocol.REMOTE_WRITE, Encoding.SNAPPY, LabelRules())
        put(agent, "more", "x")
        await flusher.flush()
        lane.items.clear()

        await agent.reload({"sources": {"host": {}}})
        await flusher.flush()

        assert "more" not in agent.runtime.sources.running
        assert "x" in ended(lane.values())


async def test_changed_labels_relabel_every_view(tmp_path: Path) -> None:
    sinks = {"a": import_sink(DEAD), "b": import_sink(DEAD, extra_labels={"x": "y"})}
    async with running(Agent(tmp_path, {"sinks": sinks})) as agent:
        before = dict(agent.runtime.lanes.running)

        await agent.reload({"sinks": sinks, "agent": {"labels": {"site": "b"}}})

        assert [output.rules.external["site"] for output in agent.runtime.flusher.outputs] == ["b", "b"]
        assert len(agent.runtime.store.views) == 2
        assert agent.runtime.lanes.running == before


async def test_a_changed_job_replaces_the_sinks_that_were_made_with_it(tmp_path: Path) -> None:
    sinks = {"a": import_sink(DEAD), "gate": {"type": "pushgateway", "url": DEAD}}
    async with running(Agent(tmp_path, {"sinks": sinks})) as agent:
        before = dict(agent.runtime.lanes.running)

        await agent.reload({"sinks": sinks, "agent": {"job": "other"}})

        after = agent.runtime.lanes.running
        assert {name for name in after if after[name] is before[name]} == {"a"}


async def test_a_part_that_cannot_be_made_leaves_the_old_ones_running(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    sinks = {"a": import_sink(DEAD)}
    async with running(Agent(tmp_path, {"sinks": sinks})) as agent:
        before = dict(agent.runtime.lanes.running), dict(agent.runtime.sources.running)
        bad = import_sink("https://127.0.0.1:1", tls={"ca_file": str(broken)})

        answer = await agent.reload({"sinks": {"a": bad, "c": import_sink(DEAD)}, "sources": {"host": {"interval_seconds": 3}}})

        assert "sinks.a" in answer
        assert f"{agent.file}:" in answer
        assert (agent.runtime.lanes.running, agent.runtime.sources.running) == before
        assert agent.runtime.config.sinks.keys() == {"a"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"server": {"listen_address": "127.0.0.1:9"}}, "server.listen_address"),
        ({"agent": {"state_dir": "/elsewhere"}}, "agent.state_dir"),
        ({"agent": {"instance": "other"}}, "agent.instance"),
    ],
)
async def test_what_needs_a_restart_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    async with running(Agent(tmp_path, {})) as agent:
        answer = await agent.reload(change | {"sources": {"host": {"interval_seconds": 3}}})

        assert answer == f"{named}: a change needs a restart of the agent"
        assert agent.runtime.sources.running["host"].loops[0].poller.interval_seconds == 15


async def test_a_refused_reload_is_shown_as_degraded(tmp_path: Path) -> None:
    async with running(Agent(tmp_path, {})) as agent:
        await agent.reload({"sources": {"host": {"interval": 3}}})
        answer = await agent.get("/ready")

        assert answer.status_code == 200
        assert "last reload was refused" in answer.text


async def test_the_agents_own_numbers_are_read_as_often_as_they_are_sent(tmp_path: Path) -> None:
    async with running(Agent(tmp_path, {"agent": {"flush_interval_seconds": 30}})) as agent:
        interval = agent.runtime.sources.running["internal"].loops[0].poller.interval_seconds
        await agent.reload({"agent": {"flush_interval_seconds": 40}})

        assert (interval, agent.runtime.sources.running["internal"].loops[0].poller.interval_seconds) == (30, 40)


def filled(folder: Path, series: int) -> Agent:
    """An agent at rest with so many series that went silent a while ago."""
    agent = Agent(folder, {"store": {"max_rss_bytes": 1000}})
    put(agent, "host", *map(str, range(series)))
    agent.now += 60
    return agent


async def test_too_much_resident_memory_lowers_the_limit_and_the_next_birth_makes_room(tmp_path: Path) -> None:
    agent = filled(tmp_path, 1000)
    store, agent.rss = agent.runtime.store, 1001
    limit, before = store.max_bytes, store.bytes

    agent.runtime.check_memory()
    lowered = store.max_bytes
    agent.runtime.store.limits = Limits(flush_interval_seconds=1)
    put(agent, "host", "new")

    assert (limit > before, lowered) == (True, int(before * 0.95))
    assert store.bytes <= lowered
    assert store.counts["evicted", "max_bytes", "normal"] > 0
    assert agent.runtime.monitor.value(core.RSS_LOWERED) == 1


async def test_memory_within_the_limit_leaves_the_store_alone(tmp_path: Path) -> None:
    agent = filled(tmp_path, 10)
    store, agent.rss = agent.runtime.store, 1000
    limit = store.max_bytes

    agent.runtime.check_memory()

    assert store.max_bytes == limit


async def test_a_lowered_limit_is_raised_by_a_reload_of_it_alone(tmp_path: Path) -> None:
    config = {"store": {"max_rss_bytes": 1000}}
    async with running(Agent(tmp_path, config)) as agent:
        store, agent.rss = agent.runtime.store, 1001
        limit = store.max_bytes
        agent.runtime.check_memory()
        lowered = store.max_bytes
        agent.rss = 0
        agent.runtime.check_memory()
        await agent.reload(config | {"agent": {"labels": {"a": "b"}}})
        kept = store.max_bytes
        await agent.reload({"store": {"max_rss_bytes": 2000}})

        assert lowered < limit
        assert (kept, store.max_bytes) == (lowered, limit)


async def test_the_stop_answers_what_is_in_flight_before_the_last_flush(tmp_path: Path) -> None:
    asked, answer = anyio.Event(), anyio.Event()

    class SlowView(AgentView):
        async def exposition(self, openmetrics: bool, source: str | None) -> AsyncIterator[bytes]:
            asked.set()
            yield b"begun "
            await answer.wait()
            yield b"ended"

    agent = Agent(tmp_path, {})
    agent.runtime.view = SlowView(agent.runtime)
    bodies: list[str] = []

    async def ask() -> None:
        bodies.append((await agent.get("/metrics")).text)

    async with anyio.create_task_group() as tasks, running(agent):
        tasks.start_soon(ask)
        await asked.wait()
        agent.runtime.stopping.set()
        await anyio.wait_all_tasks_blocked()
        flushed_before = agent.runtime.flusher.numbers.complete
        answer.set()

    assert flushed_before == 0
    assert bodies == ["begun ended"]
    assert agent.runtime.flusher.numbers.complete == 1


async def test_the_last_flush_reaches_the_sinks(tmp_path: Path) -> None:
    async with receiver() as found:
        config = {"sinks": {"a": import_sink(found.url)}, "agent": {"shutdown_grace_seconds": 5}}
        async with running(Agent(tmp_path, config)) as agent:
            put(agent, "host", "x")
        status = agent.runtime.lanes.running["a"].lane.status()

    assert (status["queue_blocks"], status["samples_sent"] > 0, len(found.requests)) == (0, True, 1)


async def test_a_failing_sink_hurries_no_other_out_of_its_last_chance(tmp_path: Path) -> None:
    async with receiver() as found:
        sinks = {"dead": import_sink(DEAD), "late": import_sink(found.url)}
        async with running(Agent(tmp_path, {"sinks": sinks, "agent": {"shutdown_grace_seconds": 0.5}})) as agent:
            put(agent, "host", "x")

    assert agent.runtime.lanes.running["late"].lane.status()["queue_blocks"] == 0
    assert agent.runtime.lanes.running["dead"].lane.status()["queue_blocks"] == 1


async def test_sources_whose_series_cannot_be_told_apart_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = {"type": "gitlab", "url": DEAD, "webhook": {"secret_token": "It is a secret"}}
    Agent(tmp_path, {"sources": {"one": one, "two": one | {"url": "http://127.0.0.1:2"}}})

    assert [line[:45] for line in caplog.messages] == ["sources one and two name their series alike: "]
