"""Queues on a disk that fails: what is given up, what is tried again, what is removed, and when the cursor is written."""

from __future__ import annotations

from errno import EIO, EMFILE
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from agent.errors import TemporaryError
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.files import RealFiles
from agent.spool.folder import open_queue
from agent.spool.recover import recover
from tests.power import FakeDisk
from tests.spooling import FOLDER, Spooling, block, drained, number_of

MIB = 1 << 20


class Refuses(FakeDisk):
    """Refuses the operations in `refused` with the errno given there."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, int] = {}

    def _ask(self, operation: str) -> None:
        if operation in self.refused:
            raise OSError(self.refused[operation], f"{operation} refused")

    def fsync(self, handle: int) -> None:
        self._ask("fsync")
        super().fsync(handle)

    def unlink(self, path: Path) -> None:
        self._ask("unlink")
        super().unlink(path)

    def read(self, path: Path, offset: int, size: int) -> bytes:
        self._ask("read")
        return super().read(path, offset, size)


def segments(disk: FakeDisk) -> list[Path]:
    return sorted(path for path in disk.now if path.suffix == ".seg")


def spooling_on(disk: FakeDisk) -> Spooling:
    found = Spooling(max_bytes=1 << 30)
    found.disk = disk
    found.queue = found.opened()
    return found


def test_of_a_block_written_twice_the_later_copy_counts() -> None:
    disk = Refuses()
    spooling = spooling_on(disk)
    spooling.queue.put(block(1, 500))
    spooling.queue.put(block(2, 500))
    disk.refused = {"fsync": EIO, "unlink": EIO}
    spooling.pass_time(2)
    disk.refused = {"unlink": EIO}
    spooling.pass_time(10)
    disk.refused = {}
    assert len(segments(disk)) == 2
    torn = disk.now[segments(disk)[0]].data
    torn[90:390] = b"\xff" * 300  # the pages that the failed sync dropped

    spooling.die()

    assert [number_of(found) for found in drained(spooling.queue)] == [1, 2]


def test_a_full_disk_is_not_littered_with_every_try() -> None:
    spooling = Spooling()
    spooling.disk.free = 0
    spooling.queue.put(block(1, 5000))

    for _ in range(10):
        spooling.pass_time(6)

    assert segments(spooling.disk) == []


def test_on_a_full_disk_finished_segments_make_room() -> None:
    spooling = Spooling(max_bytes=1 << 30)
    for number in range(24):
        spooling.queue.put(block(number, MIB))
        spooling.pass_time(2)
    spooling.disk.free = 0
    spooling.queue.put(block(24, MIB))

    for _ in range(10):
        entry = spooling.queue.take()
        assert entry is not None
        spooling.queue.ack(entry.sequence)
        spooling.pass_time(6)

    assert spooling.queue.is_kept
    assert spooling.queue.problem == ""


def test_a_lack_of_file_descriptors_costs_no_block() -> None:
    disk = Refuses()
    spooling = spooling_on(disk)
    for number in range(3):
        spooling.queue.put(block(number))
    spooling.pass_time(2)
    disk.refused = {"read": EMFILE}
    refused = spooling.queue.take()
    disk.refused = {}

    assert refused is None
    assert [number_of(found) for found in drained(spooling.queue)] == [0, 1, 2]


def test_a_queue_in_use_is_not_set_aside(tmp_path: Path) -> None:
    async def main() -> None:
        held = open_queue(tmp_path, "vm", "remote_write", "http://a", Policy(), SelfMonitor())
        try:
            with pytest.raises(TemporaryError, match="in use by process"):
                open_queue(tmp_path, "vm", "vm_import", "http://a", Policy(), SelfMonitor())
        finally:
            await held.aclose()

    anyio.run(main)


def test_acknowledgements_alone_bring_the_cursor_and_remove_segments(tmp_path: Path) -> None:
    policy = Policy(fsync_interval_seconds=0.02)

    async def main() -> None:
        held = open_queue(tmp_path, "vm", "remote_write", "http://a", policy, SelfMonitor())
        async with anyio.create_task_group() as group:
            group.start_soon(held.queue.run)
            held.queue.put(block(1))
            with anyio.fail_after(5):
                while not held.queue.is_kept:
                    await anyio.lowlevel.checkpoint()
                drained(held.queue)
                while any(path.suffix == ".seg" for path in (tmp_path / "vm").iterdir()):
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    anyio.run(main)
    assert recover(RealFiles(), tmp_path / "vm").index.records == {}


def test_an_acknowledgement_during_a_write_is_in_the_next_cursor() -> None:
    spooling = Spooling()
    for number in range(3):
        spooling.queue.put(block(number))
    spooling.pass_time(2)
    entries = [spooling.queue.take() for _ in range(2)]
    assert entries[0] is not None
    assert entries[1] is not None
    spooling.queue.ack(entries[0].sequence)
    spooling.now += 2
    order = spooling.queue.plan(spooling.now)
    done = spooling.writer.perform(order)
    spooling.queue.ack(entries[1].sequence)
    spooling.queue.note(order, done)

    spooling.pass_time(2)

    assert list(recover(spooling.disk, FOLDER).index.records) == [3]
