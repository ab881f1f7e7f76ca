"""Queues and slots: order, bounds, what is taken and given back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.model import Block, Encoding, Protocol, Snapshot
from agent.spool.base import Spool
from agent.spool.entry import Stats
from agent.spool.latest import LatestSlot
from agent.spool.memory import MemoryQueue
from tests.lanes import snapshot
from tests.spooling import Spooling

ROOM = 100


def sized(size: int, samples: int = 1, created: float = 0.0) -> Block:
    return Block(bytes(size), Protocol.REMOTE_WRITE, Encoding.SNAPPY, samples, 0, created)


def numbered(number: int, size: int, samples: int, events: bool) -> Block:
    """A block of that size whose payload tells which it is, as far as it has room."""
    payload = (b"%d:" % number + bytes(size))[:size]
    return Block(payload, Protocol.REMOTE_WRITE, Encoding.SNAPPY, samples, 0, 5.0, events=events)


def drained(queue: Spool[Block]) -> list[Block]:
    """Everything that can still be taken, in order."""
    found = []
    while (entry := queue.take()) is not None:
        found.append(entry.item)
        queue.ack(entry.sequence)
    return found


def test_blocks_come_out_in_the_order_they_went_in() -> None:
    queue, given = MemoryQueue(ROOM), [sized(i + 1) for i in range(5)]
    for block in given:
        queue.put(block)

    assert drained(queue) == given


def test_a_requeued_block_keeps_its_place() -> None:
    queue, given = MemoryQueue(ROOM), [sized(1), sized(2), sized(3)]
    for block in given:
        queue.put(block)
    entry = queue.take()
    assert entry is not None

    queue.requeue(entry.sequence)

    assert drained(queue) == given


def test_several_blocks_may_be_taken_at_once() -> None:
    queue = MemoryQueue(ROOM)
    queue.put(sized(1))
    queue.put(sized(2))
    first, second = queue.take(), queue.take()

    assert first is not None
    assert second is not None
    assert (len(first.item.payload), len(second.item.payload), queue.take()) == (1, 2, None)


def test_the_oldest_leaves_a_full_queue_and_its_samples_are_counted() -> None:
    queue = MemoryQueue(ROOM)
    queue.put(sized(60, samples=7))
    queue.put(sized(40, samples=3))

    queue.put(sized(50, samples=5))

    assert (dict(queue.losses()), [len(block.payload) for block in drained(queue)]) == ({"queue_full": 7}, [40, 50])


def test_a_block_on_its_way_is_not_dropped() -> None:
    queue = MemoryQueue(ROOM)
    queue.put(sized(60, samples=7))
    queue.put(sized(40, samples=3))
    entry = queue.take()
    assert entry is not None

    queue.put(sized(30, samples=5))
    queue.requeue(entry.sequence)

    assert (dict(queue.losses()), [len(block.payload) for block in drained(queue)]) == ({"queue_full": 3}, [60, 30])


def test_a_block_larger_than_the_queue_is_dropped_alone() -> None:
    queue = MemoryQueue(ROOM)

    queue.put(sized(ROOM + 1, samples=9))

    assert (dict(queue.losses()), queue.take()) == ({"queue_full": 9}, None)


def test_what_is_taken_is_still_pending() -> None:
    queue = MemoryQueue(ROOM)
    queue.put(sized(10, samples=2, created=5.0))
    queue.put(sized(20, samples=3, created=6.0))
    queue.take()

    found = queue.stats()
    assert (found.blocks, found.bytes, found.samples, found.oldest_created) == (2, 30, 5, 5.0)


def test_events_leave_a_full_queue_last() -> None:
    queue = MemoryQueue(ROOM)
    queue.put(replace(sized(40, samples=1), events=True))
    queue.put(sized(40, samples=2))
    queue.put(sized(40, samples=3))

    assert (dict(queue.losses()), [block.samples for block in drained(queue)]) == ({"queue_full": 2}, [1, 3])


def test_what_is_above_a_mark_is_handed_out_first() -> None:
    queue = MemoryQueue(ROOM)
    for samples in (1, 2, 3, 4):
        queue.put(sized(1, samples))

    taken = [entry.item.samples for mark in (2, 2, 2, 0, 0) if (entry := queue.take(mark)) is not None]

    assert taken == [3, 4, 1, 2]


def test_only_a_taken_block_can_be_acknowledged() -> None:
    queue = MemoryQueue(ROOM)
    queue.put(sized(10))

    with pytest.raises(KeyError):
        queue.ack(1)


class QueueMachine(RuleBasedStateMachine):
    """A queue beside a plain list of (sequence, block, taken)."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Spool[Block] = self.opened()
        self.model: list[tuple[int, Block, bool]] = []
        self.last = 0
        self.lost = 0
        self.told = 0

    def opened(self) -> Spool[Block]:
        """The queue under test."""
        return MemoryQueue(ROOM)

    @rule(size=st.integers(0, ROOM + 10), samples=st.integers(1, 9), events=st.booleans())
    def put(self, size: int, samples: int, events: bool) -> None:
        self.last += 1
        block = numbered(self.last, size, samples, events)
        self.model.append((self.last, block, False))
        self.queue.put(block)
        while sum(len(block.payload) for _, block, _ in self.model) > ROOM:
            free = sorted((entry for entry in self.model if not entry[2]), key=lambda entry: entry[1].events)
            if not free:
                break
            self.model.remove(free[0])
            self.lost += free[0][1].samples

    @rule(after=st.integers(0, 20))
    def take(self, after: int) -> None:
        free = [entry for entry in self.model if not entry[2] and entry[0] > after]
        entry = self.queue.take(after)
        assert (entry and (entry.sequence, entry.item.payload)) == (
            free[0] and (free[0][0], free[0][1].payload) if free else None
        )
        if entry:
            at = self.model.index(free[0])
            self.model[at] = (*free[0][:2], True)

    @precondition(lambda self: any(taken for _, _, taken in self.model))
    @rule(data=st.data(), again=st.booleans())
    def finish(self, data: st.DataObject, again: bool) -> None:
        entry = data.draw(st.sampled_from([entry for entry in self.model if entry[2]]))
        at = self.model.index(entry)
        if again:
            self.queue.requeue(entry[0])
            self.model[at] = (*entry[:2], False)
        else:
            self.queue.ack(entry[0])
            del self.model[at]

    @invariant()
    def stats_agree(self) -> None:
        blocks = [block for _, block, _ in self.model]
        found = self.queue.stats()
        assert (found.blocks, found.bytes, found.samples) == (
            len(blocks),
            sum(len(block.payload) for block in blocks),
            sum(block.samples for block in blocks),
        )
        assert self.queue.last == self.last
        self.told += sum(self.queue.losses().values())
        assert self.told == self.lost


class DiskMachine(QueueMachine):
    """The same of a queue on disk, which is written, stopped and killed in between."""

    def opened(self) -> Spool[Block]:
        self.spooling = Spooling(max_bytes=ROOM)
        return self.spooling.queue

    @rule(seconds=st.sampled_from([0.1, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.spooling.pass_time(seconds)

    @rule()
    def restart(self) -> None:
        for sequence, _, taken in self.model:
            if taken:
                self.queue.requeue(sequence)
        self.spooling.restart()
        self.queue = self.spooling.queue
        self.told += sum(self.spooling.lost.values())
        self.spooling.lost.clear()
        self.model = [(sequence, block, False) for sequence, block, _ in self.model]
        # The number of what was dropped before it was ever written may be given again.
        assert max([sequence for sequence, _, _ in self.model], default=0) <= self.queue.last <= self.last
        self.last = self.queue.last


TestQueueMachine = QueueMachine.TestCase
TestDiskMachine = DiskMachine.TestCase


def taken(slot: LatestSlot) -> Snapshot | None:
    entry = slot.take()
    return entry.item if entry else None


def test_a_slot_hands_out_the_newest_only() -> None:
    slot = LatestSlot()
    slot.put(snapshot(1))
    slot.put(snapshot(2))

    assert taken(slot) == snapshot(2)


def test_a_slot_hands_out_nothing_while_one_is_on_its_way() -> None:
    slot = LatestSlot()
    slot.put(snapshot(1))
    slot.take()
    slot.put(snapshot(2))

    assert slot.take() is None


def test_an_acknowledged_snapshot_makes_way_for_the_newer() -> None:
    slot = LatestSlot()
    slot.put(snapshot(1))
    entry = slot.take()
    assert entry is not None
    slot.put(snapshot(2))

    slot.ack(entry.sequence)

    assert taken(slot) == snapshot(2)


@pytest.mark.parametrize(("newer", "next_one"), [((), snapshot(1)), ((snapshot(2), snapshot(3)), snapshot(3))])
def test_a_requeued_snapshot_waits_again_unless_there_is_a_newer(newer: tuple[Snapshot, ...], next_one: Snapshot) -> None:
    slot = LatestSlot()
    slot.put(snapshot(1))
    entry = slot.take()
    assert entry is not None
    for later in newer:
        slot.put(later)

    slot.requeue(entry.sequence)

    assert taken(slot) == next_one


def test_a_slot_counts_what_waits_and_what_is_on_its_way() -> None:
    slot = LatestSlot()
    slot.put(snapshot(1))
    slot.take()
    slot.put(snapshot(2))

    assert slot.stats() == Stats(2, 8, 2, snapshot(1).created)


def test_an_empty_slot_is_empty() -> None:
    assert (LatestSlot().take(), LatestSlot().stats()) == (None, Stats())


def test_only_the_taken_snapshot_can_be_acknowledged() -> None:
    slot = LatestSlot()
    slot.put(snapshot(1))

    with pytest.raises(KeyError):
        slot.ack(1)
