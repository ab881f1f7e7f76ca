"""Receivers and blocks that a lane must not stumble over."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import anyio
import pytest
import snappy
from trio.testing import MockClock

from agent.deliver import report
from agent.model import Accepted, Block, Encoding, Outcome, Protocol, Retry, Unsupported
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.sinks.remote_write import PLAIN, V2, ZSTD
from agent.wire.convert import to_2
from agent.wire.remote_write_pb2 import WriteRequest
from tests.lanes import ScriptedSink, block, deliver, history_lane, running, values_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_a_block_that_nobody_can_read_is_dropped_when_the_receiver_cannot_either() -> None:
    junk = replace(block(1.0), payload=b"what a disk gave back", encoding=Encoding.ZSTD)
    sink: ScriptedSink[Block] = ScriptedSink(Unsupported("400", "400: cannot decode"))
    monitor = SelfMonitor()

    await deliver(history_lane(sink, policy=Policy(forms=(ZSTD, PLAIN)), monitor=monitor), junk, block(2.0))

    assert monitor.value(report.DROPPED, ("vm", "corrupt")) == 1
    assert monitor.value(report.SENT, ("vm",)) == 1


async def test_metadata_that_is_accepted_does_not_prove_that_samples_are() -> None:
    """A receiver of 1.0 whose storage fails: what fell back from 2.0 carries its metadata behind the series."""

    class NoStorage(ScriptedSink[Block]):
        async def send(self, item: Block) -> Outcome:
            await super().send(item)
            if item.protocol is Protocol.REMOTE_WRITE_2:
                return Unsupported("204", "stored nothing")
            return Retry("500", "no space left on device") if item.samples else Accepted("204")

    made = block(1.0, 2.0, 3.0, 4.0)
    request = WriteRequest.FromString(snappy.uncompress(made.payload))
    request.metadata.add(metric_family_name="m", help="help", type=2)
    body, _ = to_2(request.SerializeToString())
    lane = history_lane(NoStorage(), policy=Policy(forms=(V2, PLAIN)))

    async with running(lane):
        lane.offer(replace(made, payload=snappy.compress(body), protocol=Protocol.REMOTE_WRITE_2))
        await anyio.sleep(3600)

    assert lane.status()["samples_dropped"] == 0
    assert lane.status()["queue_samples"] == 4


async def test_what_is_accepted_beside_it_does_not_cut_a_retry_after_short() -> None:
    class OneSlow(ScriptedSink[Block]):
        async def send(self, item: Block) -> Outcome:
            await anyio.sleep(0.02)
            await super().send(item)
            limited = values_of(item) == [0.0] and anyio.current_time() < 60
            return Retry("429", "429 Too Many Requests", 30.0) if limited else Accepted("204")

    sink = OneSlow()
    lane = history_lane(sink, policy=Policy(max_in_flight=4))

    async with running(lane):
        for number in range(8):
            lane.offer(replace(block(float(number)), group=number))
        await lane.drained()

    tries = [at for at, sent in zip(sink.times, sink.sent, strict=True) if values_of(sent) == [0.0]]
    assert len(tries) >= 2
    assert all(later - earlier >= 30 for earlier, later in pairwise(tries))
