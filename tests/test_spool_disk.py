"""When a queue touches the disk, and what becomes of it when the disk does not do as it is told."""

from __future__ import annotations

from errno import EIO, ENOSPC, EROFS
from pathlib import Path

import pytest

from agent.model import Block, Encoding, Protocol
from agent.plugin import Fsync
from agent.spool import report
from agent.spool.disk import MEMORY_MAX_BYTES, STUCK_MAX_BYTES
from agent.spool.writer import SEGMENT_MAX_BYTES
from tests.spooling import Spooling, block, drained, number_of

URL = "http://127.0.0.1:8428/api/v1/write"


def files(spooling: Spooling) -> list[str]:
    return sorted(path.name for path in spooling.disk.now)


def accept(spooling: Spooling, count: int) -> None:
    for _ in range(count):
        entry = spooling.queue.take()
        assert entry is not None
        spooling.queue.ack(entry.sequence)


def test_what_is_accepted_in_time_never_touches_the_disk() -> None:
    spooling = Spooling()

    for number in range(100):
        spooling.queue.put(block(number))
        accept(spooling, 1)
        spooling.pass_time(2.0)

    assert (spooling.disk.operations, files(spooling)) == (0, [])


def test_what_has_waited_for_the_interval_is_synced() -> None:
    spooling = Spooling()
    spooling.queue.put(block(1))

    spooling.pass_time(0.9)
    before = spooling.queue.stats()
    spooling.pass_time(0.2)
    after = spooling.queue.stats()

    assert (before.disk_bytes, before.synced_flush) == (0, -1)
    assert (after.disk_bytes, after.synced_flush) == (12, None)


def test_always_hands_out_only_what_is_synced() -> None:
    spooling, woken = Spooling(fsync=Fsync.ALWAYS), list[bool]()
    spooling.queue.listen(lambda: woken.append(True))
    spooling.queue.put(block(1))
    before = spooling.queue.take()

    spooling.perform()

    assert (before, woken) == (None, [True])
    assert [number_of(one) for one in drained(spooling.queue)] == [1]


def test_never_writes_what_has_waited_and_syncs_nothing() -> None:
    spooling = Spooling(fsync=Fsync.NEVER)
    spooling.queue.put(block(0, 1000))
    spooling.pass_time(0.5)
    before = spooling.disk.operations
    spooling.pass_time(1)

    found = spooling.queue.stats()
    assert (before, found.disk_bytes, found.spooled_flush, found.synced_flush) == (0, 1002, None, -1)
    assert all(inode.safe == b"" for inode in spooling.disk.now.values())


def test_more_than_memory_holds_is_written_at_once() -> None:
    spooling = Spooling(max_bytes=1 << 30)
    for number in range(17):
        spooling.queue.put(block(number, MEMORY_MAX_BYTES // 16))

    spooling.perform()

    assert spooling.queue.stats().disk_bytes > 0


def test_what_is_on_disk_leaves_memory() -> None:
    spooling = Spooling(max_bytes=1 << 30)
    for number in range(50):
        spooling.queue.put(block(number, 100_000))
    spooling.pass_time(2)

    assert spooling.queue.stats().disk_bytes == spooling.queue.stats().bytes
    assert [number_of(one) for one in drained(spooling.queue)] == list(range(50))


def test_a_drained_queue_gives_the_disk_back() -> None:
    spooling = Spooling(max_bytes=1 << 30)
    for number in range(30):
        spooling.queue.put(block(number, 1 << 20))
    for _ in range(6):
        spooling.pass_time(2)
    full = files(spooling)

    accept(spooling, 20)
    spooling.pass_time(2)
    half = files(spooling)
    accept(spooling, 10)
    spooling.pass_time(2)

    assert len([name for name in full if name.endswith(".seg")]) == 30 * (1 << 20) // SEGMENT_MAX_BYTES + 1
    assert len(half) < len(full)
    assert files(spooling) == ["cursor"]


def test_sequences_grow_over_restarts() -> None:
    spooling = Spooling()
    for number in range(3):
        spooling.queue.put(block(number))
    spooling.pass_time(2)
    accept(spooling, 3)
    spooling.restart()

    spooling.queue.put(block(3))

    assert spooling.queue.last == 4


def test_a_stop_puts_everything_on_disk() -> None:
    spooling = Spooling(fsync=Fsync.NEVER)
    for number in range(5):
        spooling.queue.put(block(number))
    taken = spooling.queue.take()
    assert taken is not None
    spooling.queue.requeue(taken.sequence)

    spooling.restart()

    assert [number_of(one) for one in drained(spooling.queue)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("errno", [ENOSPC, EIO, EROFS])
def test_a_disk_that_refuses_is_told_and_tried_again(errno: int) -> None:
    spooling = Spooling()
    spooling.disk.refusal = errno
    spooling.queue.put(block(1, samples=7))
    spooling.pass_time(2)
    problem, up = spooling.queue.problem, spooling.monitor.value(report.UP, ("vm",))
    spooling.disk.refusal = None
    spooling.pass_time(10)

    assert "/queue: " in problem
    assert up == 0.0
    assert (spooling.queue.problem, spooling.monitor.value(report.UP, ("vm",))) == ("", 1.0)
    assert spooling.queue.stats().disk_bytes == spooling.queue.stats().bytes
    assert [number_of(one) for one in drained(spooling.opened())] == [1]


def test_a_full_disk_costs_the_oldest_only_when_memory_is_full_too() -> None:
    spooling = Spooling(max_bytes=1 << 30)
    spooling.disk.free = 0
    size = 1 << 20
    fits = STUCK_MAX_BYTES // size
    for number in range(fits):
        spooling.queue.put(block(number, size - 10))
        spooling.pass_time(2)
    lost_before = dict(spooling.queue.losses())

    for number in range(fits, fits + 5):
        spooling.queue.put(block(number, size - 10))

    assert lost_before == {}
    assert dict(spooling.queue.losses()) == {"disk": 5}
    assert number_of(drained(spooling.queue)[0]) == 5


def test_after_a_failed_sync_nothing_more_goes_into_that_segment() -> None:
    spooling = Spooling()
    spooling.queue.put(block(1))
    original, spooling.disk.fsync = spooling.disk.fsync, refusing  # type: ignore[method-assign]
    spooling.pass_time(2)
    spooling.disk.fsync = original  # type: ignore[method-assign]
    first = files(spooling)

    spooling.pass_time(10)

    assert len(first) == 1
    assert spooling.queue.stats().synced_flush is None
    assert len(files(spooling)) == 2


def refusing(handle: int) -> None:
    raise OSError(EIO, f"handle {handle} cannot be synced")


def test_a_disk_that_stays_full_is_not_filled_with_empty_segments() -> None:
    spooling = Spooling()
    spooling.queue.put(block(1))
    spooling.pass_time(2)
    spooling.disk.free = 0
    for number in range(2, 20):
        spooling.queue.put(block(number))
        spooling.pass_time(10)

    assert len(files(spooling)) == 1


def test_what_a_failed_write_left_is_removed_once_the_disk_works() -> None:
    spooling = Spooling()
    original = spooling.disk.fsync
    spooling.disk.fsync = refusing  # type: ignore[method-assign]
    spooling.queue.put(block(1))
    for _ in range(5):
        spooling.pass_time(10)
    spooling.disk.fsync = original  # type: ignore[method-assign]
    spooling.pass_time(10)
    spooling.pass_time(10)

    assert len([name for name in files(spooling) if name.endswith(".seg")]) == 1


def test_a_read_that_fails_for_a_moment_costs_nothing() -> None:
    spooling = Spooling()
    spooling.queue.put(block(1))
    spooling.pass_time(2)
    original = spooling.disk.read
    spooling.disk.read = unreadable  # type: ignore[method-assign]
    meanwhile = spooling.queue.take()
    spooling.disk.read = original  # type: ignore[method-assign]

    assert meanwhile is None
    assert dict(spooling.queue.losses()) == {}
    assert [number_of(one) for one in drained(spooling.queue)] == [1]


def test_a_segment_that_somebody_removed_is_counted() -> None:
    spooling = Spooling()
    spooling.queue.put(block(1, samples=7))
    spooling.pass_time(2)
    spooling.disk.now.clear()

    assert spooling.queue.take() is None
    assert dict(spooling.queue.losses()) == {"corrupt": 7}


def unreadable(path: Path, offset: int, size: int) -> bytes:
    raise OSError(EIO, f"{size} bytes at {offset} of {path} cannot be read")


def test_a_block_that_no_frame_can_hold_is_given_up_alone() -> None:
    spooling = Spooling()
    spooling.queue.put(Block(b"x", Protocol.IMPORT, Encoding.GZIP, 3, 1, float("nan")))
    spooling.queue.put(block(2))

    assert dict(spooling.queue.losses()) == {"too_large": 3}
    assert [number_of(one) for one in drained(spooling.queue)] == [2]


def test_a_hundred_thousand_blocks_are_as_quick_as_a_hundred() -> None:
    spooling = Spooling(max_bytes=1 << 30)
    one = block(1)
    for _ in range(100_000):
        spooling.queue.put(one)

    steps = 0
    while (entry := spooling.queue.take()) is not None:
        spooling.queue.ack(entry.sequence)
        spooling.queue.stats()
        steps += 1

    assert steps == 100_000
