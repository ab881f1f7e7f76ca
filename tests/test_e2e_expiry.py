"""A series of which nothing more is heard, from its last update to its end in a real Prometheus."""

from __future__ import annotations

import time
from random import Random

import anyio
import pytest

from agent.backoff import Hosts
from agent.deliver import Lane
from agent.flush import Flusher
from agent.model import Block, Collected, Family, Kind, Update
from agent.plugin import Context
from agent.selfmon import SelfMonitor
from agent.sinks import remote_write
from agent.spool.memory import MemoryQueue
from agent.store.encode import LabelRules
from agent.store.publish import EXPIRED, publish
from agent.store.store import Limits, Store
from tests import servers

pytestmark = pytest.mark.anyio

SILENT = Family("e2e_silent", Kind.GAUGE, "Reported once.", labels=("n",), ttl_seconds=1.0)
STEADY = Family("e2e_steady", Kind.GAUGE, "Reported for ever.", labels=("n",))


async def test_an_expired_series_ends_with_a_staleness_marker_in_prometheus(prometheus: servers.Prometheus) -> None:
    store, monitor = Store(Limits()), SelfMonitor()
    flusher = Flusher(store, monitor, time.time, interval=1, heartbeat=60, max_future=300)
    options = remote_write.Options.model_validate({"url": prometheus.url + "/api/v1/write"})
    sink = remote_write.build("p", options, Context(clock=time.time, job="e2e", instance="i", user_agent="cipush/test"))
    lane: Lane[Block] = Lane(
        "p", sink, MemoryQueue(1 << 20), remote_write.policy(options), monitor, time.time, Random(1), Hosts()
    )
    flusher.attach(lane, remote_write.PROTOCOL, remote_write.ENCODING, LabelRules({"job": "expiry"}))
    now = time.time()
    store.apply(store.add_feed("f"), Collected([Update(SILENT, ("1",), 4.5, now), Update(STEADY, ("1",), 2.0, now)]), now)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lane.run)
        await flusher.flush()
        await lane.drained()
        shown = prometheus.query('e2e_silent{job="expiry"}')

        # Without a marker Prometheus would go on showing the last value for five minutes.
        with anyio.fail_after(20):
            while prometheus.query('e2e_silent{job="expiry"}'):
                await flusher.flush()
                await lane.drained()
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    await sink.aclose()

    publish(store, monitor)
    assert [found["value"][1] for found in shown] == ["4.5"]
    assert monitor.value(EXPIRED) == 1
    assert prometheus.query('e2e_steady{job="expiry"}')
