"""A lane, a real sink and a receiver that misbehaves on a real socket: counted, retried, and the task lives."""

from __future__ import annotations

import time
from random import Random

import anyio
import pytest

from agent.backoff import Hosts
from agent.deliver import Lane, report
from agent.model import Block
from agent.plugin import Context, Policy
from agent.selfmon import SelfMonitor
from agent.sinks import remote_write
from agent.sinks.history import PostSink
from agent.spool.memory import MemoryQueue
from tests import loopback
from tests.lanes import block
from tests.loopback import Answer, Then, status
from tests.servers import free_port

pytestmark = pytest.mark.anyio


def lane_to(url: str, monitor: SelfMonitor, seconds: float) -> tuple[Lane[Block], PostSink]:
    options = remote_write.Options.model_validate({"url": f"{url}/api/v1/write"})
    sink = remote_write.build("vm", options, Context(time.time, "job", "me", "cipush/test"))
    policy = Policy(timeout_seconds=seconds)
    return Lane("vm", sink, MemoryQueue(1 << 20), policy, monitor, time.time, Random(1), Hosts()), sink


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(b"garbage\r\n\r\n", Then.CLOSE), "protocol"),
        (Answer(b"HTTP/1.1 204 No", Then.CLOSE), "protocol"),
        (Answer(b"", Then.CLOSE), "protocol"),
        (Answer(b"", Then.HANG), "timeout"),
        (Answer(b"HTTP/1.1 204 No Content\r\n", Then.HANG), "timeout"),
        (Answer(status(500)), "500"),
        (Answer(status(101, "Upgrade: x")), "protocol"),
    ],
)
async def test_a_block_survives_a_receiver_that_misbehaves(answer: Answer, code: str) -> None:
    monitor, given = SelfMonitor(), block(1, 2)

    async with loopback.receiver(answer) as receiver, anyio.create_task_group() as group:
        lane, sink = lane_to(receiver.url, monitor, 0.3 if code == "timeout" else 30.0)
        group.start_soon(lane.run)
        lane.offer(given)
        with anyio.fail_after(30):
            await lane.drained()
        group.cancel_scope.cancel()
    await sink.aclose()

    # On a busy machine a good answer may be too late as well.
    times = int(monitor.value(report.REQUESTS, ("vm", code)))
    assert times == 1 or (code == "timeout" and times > 1)
    assert [request.endswith(b"\r\n\r\n" + given.payload) for request in receiver.requests] == [True] * (times + 1)
    assert monitor.value(report.REQUESTS, ("vm", "204")) == 1
    assert monitor.value(report.SENT, ("vm",)) == 2


async def test_a_receiver_that_is_down_at_the_start_is_retried() -> None:
    monitor = SelfMonitor()
    lane, sink = lane_to(f"http://127.0.0.1:{free_port()}", monitor, 30.0)

    async with anyio.create_task_group() as group:
        group.start_soon(lane.run)
        lane.offer(block(1))
        with anyio.move_on_after(0.5):
            await lane.drained()
        group.cancel_scope.cancel()
    await sink.aclose()

    assert monitor.value(report.REQUESTS, ("vm", "connect")) == 1
    assert lane.status()["queue_blocks"] == 1
