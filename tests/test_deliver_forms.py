"""Falling back to a form that the receiver understands, and finding out when it has learnt more."""

from __future__ import annotations

import logging

import anyio
import pytest
from trio.testing import MockClock

from agent.deliver import report
from agent.deliver.forms import PROBE_SECONDS
from agent.model import Accepted, Block, Encoding, Form, Outcome, Protocol, Rejected, Retry, Unsupported
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.wire.transcode import recoded
from tests.lanes import ScriptedSink, block, deliver, history_lane, running, values_of

pytestmark = pytest.mark.anyio

PLAIN = Form(Protocol.REMOTE_WRITE, Encoding.SNAPPY)
ZSTD = Form(Protocol.REMOTE_WRITE, Encoding.ZSTD)
V2 = Form(Protocol.REMOTE_WRITE_2, Encoding.SNAPPY)
VICTORIA = Policy(forms=(ZSTD, PLAIN))
UNSUPPORTED = Unsupported("400", "400 Bad Request: cannot decompress")
REFUSED = Rejected("400", "400 Bad Request: out of order sample")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Knowing(ScriptedSink[Block]):
    """Understands some forms; what it stored is kept as it came."""

    def __init__(self, *forms: Form, bad: float | None = None) -> None:
        super().__init__()
        self.forms = set(forms)
        self.bad = bad
        self.stored: list[float] = []

    async def send(self, item: Block) -> Outcome:
        await super().send(item)
        if form_of(item) not in self.forms:
            return UNSUPPORTED
        found = values_of(recoded(item, PLAIN))
        if self.bad in found:
            return REFUSED
        self.stored += found
        return Accepted("204")


def form_of(item: Block) -> Form:
    return Form(item.protocol, item.encoding)


def zstd(*values: float) -> Block:
    return recoded(block(*values), ZSTD)


async def test_what_is_not_understood_is_sent_again_in_the_simpler_form() -> None:
    sink = Knowing(PLAIN)

    await deliver(history_lane(sink, policy=VICTORIA), zstd(1, 2))

    assert [form_of(sent) for sent in sink.sent] == [ZSTD, PLAIN]
    assert sink.stored == [1, 2]


async def test_the_simpler_form_is_remembered() -> None:
    sink = Knowing(PLAIN)

    await deliver(history_lane(sink, policy=VICTORIA), zstd(1), zstd(2), zstd(3))

    assert [form_of(sent) for sent in sink.sent] == [ZSTD, PLAIN, PLAIN, PLAIN]


async def test_2_0_falls_back_to_1_0() -> None:
    sink = Knowing(PLAIN)

    await deliver(history_lane(sink, policy=Policy(forms=(V2, PLAIN))), recoded(block(1, 2), V2), recoded(block(3), V2))

    assert [form_of(sent) for sent in sink.sent] == [V2, PLAIN, PLAIN]
    assert sink.stored == [1, 2, 3]


async def test_new_blocks_are_asked_for_in_the_form_that_is_understood() -> None:
    asked: list[Form] = []
    lane = history_lane(Knowing(PLAIN), policy=VICTORIA, on_form=asked.append)

    await deliver(lane, zstd(1), zstd(2))

    assert asked == [PLAIN]
    assert lane.status()["form"] == "remote_write, snappy"


async def test_the_better_form_is_tried_again_once_a_day() -> None:
    sink = Knowing(PLAIN)
    lane = history_lane(sink, policy=VICTORIA)

    async with running(lane):
        for _ in range(5):
            lane.offer(block(1))
            await anyio.sleep(PROBE_SECONDS / 2)

    assert [form_of(sent) for sent in sink.sent] == [ZSTD, PLAIN, PLAIN, ZSTD, PLAIN, PLAIN, ZSTD, PLAIN]


async def test_a_receiver_that_has_learnt_more_is_sent_the_better_form() -> None:
    sink, asked = Knowing(PLAIN), list[Form]()
    lane = history_lane(sink, policy=VICTORIA, on_form=asked.append)

    async with running(lane):
        lane.offer(zstd(1))
        await lane.drained()
        sink.forms.add(ZSTD)
        await anyio.sleep(PROBE_SECONDS)
        lane.offer(block(2))
        lane.offer(block(3))
        await lane.drained()

    assert [form_of(sent) for sent in sink.sent] == [ZSTD, PLAIN, ZSTD, ZSTD]
    assert asked == [PLAIN, ZSTD]
    assert sink.stored == [1, 2, 3]


async def test_bad_data_is_not_taken_for_a_form_that_is_not_understood() -> None:
    class Misleading(Knowing):
        async def send(self, item: Block) -> Outcome:
            found = await super().send(item)
            return UNSUPPORTED if found is REFUSED and form_of(item) == ZSTD else found

    sink, asked = Misleading(PLAIN, ZSTD, bad=13.0), list[Form]()
    lane = history_lane(sink, policy=VICTORIA, on_form=asked.append)

    await deliver(lane, zstd(12, 13, 14), zstd(15))

    assert sink.stored == [12, 14, 15]
    assert asked == []
    assert form_of(sink.sent[-1]) == ZSTD


async def test_the_simplest_form_not_understood_parks_the_lane_and_loses_nothing() -> None:
    sink = Knowing()
    lane = history_lane(sink, policy=VICTORIA)

    async with running(lane):
        lane.offer(zstd(1))
        await anyio.sleep(200)
        found = lane.status()
        sink.forms.add(PLAIN)
        await lane.drained()

    assert (found["state"], found["queue_samples"], found["samples_dropped"]) == ("parked", 1, 0)
    assert sink.stored == [1]


async def test_a_retry_in_the_simpler_form_is_byte_identical() -> None:
    class Busy(Knowing):
        async def send(self, item: Block) -> Outcome:
            found = await super().send(item)
            return Retry("503", "busy") if 2 <= len(self.sent) <= 4 else found

    sink = Busy(PLAIN)

    await deliver(history_lane(sink, policy=VICTORIA), zstd(1, 2))

    assert len({sent.payload for sent in sink.sent[1:]}) == 1


@pytest.mark.parametrize(
    ("best", "level", "said"),
    [
        (ZSTD, "INFO", "takes no zstd: sending snappy, asking again daily"),
        (V2, "WARNING", "takes no remote-write 2.0: sending 1.0, without start times and native histograms, asking again daily"),
    ],
    ids=["zstd", "2.0"],
)
async def test_a_fall_back_is_logged_once_and_measured_and_a_warning_where_something_is_lost(
    caplog: pytest.LogCaptureFixture, best: Form, level: str, said: str
) -> None:
    monitor, policy = SelfMonitor(), Policy(forms=(best, PLAIN))

    with caplog.at_level(logging.INFO, "agent.deliver.forms"):
        await deliver(history_lane(Knowing(PLAIN), policy=policy, monitor=monitor), *(recoded(block(1), best) for _ in range(2)))

    told = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "agent.deliver.forms"]
    assert told == [(level, f"sink vm (http://127.0.0.1:8428/api/v1/write) {said}")]
    assert monitor.value(report.FALLEN_BACK, ("vm",)) == 1


async def test_a_block_that_is_none_of_ours_is_dropped_alone() -> None:
    sink, monitor = Knowing(PLAIN), SelfMonitor()
    broken = Block(b"\xff" * 20, Protocol.REMOTE_WRITE, Encoding.ZSTD, 7, 1, 1.0)

    await deliver(history_lane(sink, policy=VICTORIA, monitor=monitor), zstd(1), broken, zstd(2))

    assert sink.stored == [1, 2]
    assert monitor.value(report.DROPPED, ("vm", "corrupt")) == 7


@pytest.mark.parametrize("configured", [Policy(forms=(PLAIN,)), VICTORIA, Policy(forms=(V2, PLAIN))])
@pytest.mark.parametrize("waited", [PLAIN, ZSTD, V2])
async def test_what_waited_in_another_form_is_sent_in_the_configured_one(configured: Policy, waited: Form) -> None:
    sink = Knowing(*configured.forms)

    await deliver(history_lane(sink, policy=configured), recoded(block(1, 2), waited))

    assert [form_of(sent) for sent in sink.sent] == [configured.forms[0]]
    assert sink.stored == [1, 2]


async def test_a_receiver_that_was_rolled_back_is_sent_the_simpler_form() -> None:
    sink = Knowing(PLAIN, ZSTD)
    lane = history_lane(sink, policy=VICTORIA)

    async with running(lane):
        lane.offer(zstd(1))
        await lane.drained()
        sink.forms.remove(ZSTD)
        lane.offer(zstd(2))
        lane.offer(zstd(3))
        await lane.drained()

    assert [form_of(sent) for sent in sink.sent] == [ZSTD, ZSTD, PLAIN, PLAIN]
    assert sink.stored == [1, 2, 3]
