"""Any receiver, any script: every sample is stored in the order of its series, or counted as dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.backoff import Hosts
from agent.deliver import Lane, report
from agent.model import Accepted, Block, Misconfigured, Outcome, Rejected, Retry, TooLarge
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.memory import MemoryQueue
from tests.lanes import NoJitter, ScriptedSink, block, clock, values_of

SERIES = 100
GROUP = 25
"""A value tells where it belongs: number of the block * SERIES + its group * GROUP + number of the series."""
FAILURES: tuple[Outcome, ...] = (
    Retry("503", "503"),
    Retry("429", "429", 7.0),
    Retry("connect", "refused"),
    Retry("timeout", "nothing came"),
    Misconfigured("401", "401"),
)


class Model(ScriptedSink[Block]):
    """Fails by its script, finds blocks of more than `most` samples too large, refuses what holds a bad value."""

    def __init__(self, script: Sequence[Outcome], bad: set[float], most: int) -> None:
        super().__init__(*script)
        self.bad = bad
        self.most = most
        self.stored: list[float] = []
        self.refused: set[float] = set()

    async def send(self, item: Block) -> Outcome:
        await anyio.sleep(0.1)
        values = values_of(item)
        found = await super().send(item)
        if not isinstance(found, Accepted):
            return found
        if len(values) > self.most:
            return TooLarge("413", "413")
        if self.bad & set(values):
            self.refused |= set(values)
            return Rejected("400", "400")
        self.stored += values
        return found


@dataclass
class Case:
    """What is offered, to whom, and when the agent is stopped at once and started again."""

    sizes: list[tuple[int, int]]
    """Of each block: the samples, and the group."""
    script: list[Outcome]
    most: int
    crashes: list[float]
    policy: Policy
    bad: set[float] = field(default_factory=set)

    @property
    def offered(self) -> list[float]:
        return [value for one in self.blocks() for value in values_of(one)]

    def blocks(self) -> list[Block]:
        found = []
        for number, (size, group) in enumerate(self.sizes):
            made = block(*(float(number * SERIES + group * GROUP + i) for i in range(size)))
            found.append(replace(made, timestamp_ms=made.timestamp_ms + number, group=group))
        return found


@st.composite
def cases(draw: st.DrawFn, *, crashing: bool) -> Case:
    """A case; few failures, for a block that meets five server errors in a minute is judged by other rules."""
    in_any_order = draw(st.booleans())
    found = Case(
        sizes=draw(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=8)),
        script=[],
        most=draw(st.integers(1, 25)),
        crashes=draw(st.lists(st.floats(0.05, 3), min_size=1, max_size=4)) if crashing else [],
        policy=Policy(max_in_flight=4 if in_any_order else 1),
    )
    for failure in draw(st.lists(st.sampled_from(FAILURES), max_size=4)):
        found.script += [Accepted("204")] * draw(st.integers(0, 12)) + [failure]
    found.bad = draw(st.sets(st.sampled_from(found.offered), max_size=3))
    return found


def play(case: Case) -> tuple[Model, SelfMonitor]:
    """One lane after the other over one queue until nothing waits."""
    sink, monitor = Model(case.script, case.bad, case.most), SelfMonitor()
    queue = MemoryQueue(1 << 30)

    def lane() -> Lane[Block]:
        return Lane("vm", sink, queue, case.policy, monitor, clock, NoJitter(), Hosts())

    async def main() -> None:
        for one in case.blocks():
            queue.put(one)
        for seconds in case.crashes:
            with anyio.move_on_after(seconds):
                await lane().run()
        last = lane()
        async with anyio.create_task_group() as group:
            group.start_soon(last.run)
            await last.drained()
            group.cancel_scope.cancel()

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return sink, monitor


def first_stored(stored: Sequence[float]) -> list[float]:
    """Without repeats."""
    return list(dict.fromkeys(stored))


def in_order(stored: Sequence[float]) -> bool:
    """Whether the samples of each series came in their order."""
    newest: dict[float, float] = {}
    for value in stored:
        if value < newest.get(value % SERIES, -1):
            return False
        newest[value % SERIES] = value
    return True


@given(cases(crashing=False))
@settings(max_examples=150, deadline=None)
def test_every_sample_is_stored_once_or_counted_as_dropped(case: Case) -> None:
    sink, monitor = play(case)

    dropped = sum(monitor.value(report.DROPPED, ("vm", reason)) for reason in ("rejected", "too_large"))
    assert len(sink.stored) == len(set(sink.stored))
    assert monitor.value(report.SENT, ("vm",)) == len(sink.stored)
    assert len(sink.stored) + dropped == len(case.offered)
    assert in_order(sink.stored)


@given(cases(crashing=True))
@settings(max_examples=150, deadline=None)
def test_after_any_crash_what_was_never_refused_is_stored_in_order(case: Case) -> None:
    sink, _ = play(case)

    assert set(case.offered) - set(sink.stored) <= sink.refused
    assert in_order(first_stored(sink.stored))


@given(cases(crashing=True))
@settings(max_examples=50, deadline=None)
def test_nothing_bad_is_stored_and_nothing_is_made_up(case: Case) -> None:
    sink, _ = play(case)

    assert set(sink.stored) <= set(case.offered) - case.bad
