"""Disk queues on a disk of the tests' own, with a clock that tests move."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from agent.model import Block, Encoding, Protocol
from agent.plugin import Fsync
from agent.selfmon import SelfMonitor
from agent.spool.base import Spool
from agent.spool.disk import DiskQueue
from agent.spool.recover import recover
from agent.spool.report import QueueReport
from agent.spool.writer import Done, Writer
from tests.power import FakeDisk

FOLDER = Path("/queue")
ROOM = 1_000_000


class Spooling:
    """One folder and the queue on it, through several lives."""

    def __init__(self, *, fsync: Fsync = Fsync.INTERVAL, max_bytes: int = ROOM) -> None:
        self.disk = FakeDisk()
        self.fsync = fsync
        self.max_bytes = max_bytes
        self.now = 0.0
        self.monitor = SelfMonitor()
        self.queue = self.opened()
        self.lost: Counter[str] = Counter()

    def opened(self) -> DiskQueue:
        """A queue on what is there."""
        found = recover(self.disk, FOLDER)
        report = QueueReport("vm", self.monitor)
        return DiskQueue(
            self.disk,
            FOLDER,
            found,
            report,
            0,
            max_bytes=self.max_bytes,
            fsync=self.fsync,
            fsync_interval_seconds=1.0,
            monotonic=lambda: self.now,
        )

    def perform(self) -> Done:
        """What the queue's own loop does when something is due."""
        order = self.queue.plan(self.now)
        done = self.writer.perform(order)
        self.queue.note(order, done)
        return done

    @property
    def writer(self) -> Writer:
        """The queue's end of the log."""
        return self.queue.writer

    def pass_time(self, seconds: float) -> None:
        """Let time pass; what is due is done at its end."""
        self.now += seconds
        self.perform()

    def restart(self) -> None:
        """Stop in order, and start again."""
        self.queue.close()
        self.lost += Counter(self.queue.losses())
        self.queue = self.opened()

    def die(self) -> None:
        """Be killed, and start again: the kernel still writes what it was given."""
        self.lost += Counter(self.queue.losses())
        self.queue = self.opened()


def block(number: int, size: int = 10, samples: int = 1, *, events: bool = False) -> Block:
    """A block whose payload tells which it is; `size` is that of what follows the number."""
    return Block(
        b"%d:" % number + bytes(size), Protocol.REMOTE_WRITE, Encoding.SNAPPY, samples, 1_700_000_000_000, 5.0, events=events
    )


def number_of(found: Block) -> int:
    """Which block it is."""
    return int(found.payload.partition(b":")[0])


def drained(queue: Spool[Block]) -> list[Block]:
    """Everything that can still be taken, in order."""
    found = []
    while (entry := queue.take()) is not None:
        found.append(entry.item)
        queue.ack(entry.sequence)
    return found
