"""What a queue tells of its disk."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.selfmon import SelfMonitor, counter, gauge
from agent.spool.index import Record
from agent.spool.writer import Done

log = logging.getLogger(__name__)

WRITTEN = counter("cipush_queue_bytes_written_total", "Bytes of frames written to disk, because they had to wait.", "sink")
FSYNCS = counter("cipush_queue_fsyncs_total", "Times the queue's data was synced to disk.", "sink")
ERRORS = counter("cipush_queue_disk_errors_total", "Writes and syncs that the disk refused.", "sink")
CORRUPT = counter("cipush_queue_corrupt_total", "Places on disk that turned out damaged.", "sink")
UP = gauge("cipush_queue_up", "Whether the disk takes what is written to it.", "sink")
FAMILIES = (WRITTEN, FSYNCS, ERRORS, CORRUPT, UP)


class QueueReport:
    """The past-tense side of one queue; failures are logged when they begin and end."""

    def __init__(self, sink: str, monitor: SelfMonitor) -> None:
        self.problem = ""
        """Why the disk takes nothing right now, or ""."""
        self._sink = sink
        self._monitor = monitor
        for family in (WRITTEN, FSYNCS, ERRORS, CORRUPT):
            monitor.add(family, (sink,), 0)
        monitor.set(UP, (sink,), 1.0)

    def opened(self, folder: Path, blocks: int, samples: int, damages: int, lost: int) -> None:
        """An earlier life's queue was read."""
        if blocks:
            log.info("queue of sink %s: %d blocks with %d samples wait in %s", self._sink, blocks, samples, folder)
        if damages:
            self._monitor.add(CORRUPT, (self._sink,), damages)
            log.warning("queue of sink %s: %d damaged places in %s, %d samples are lost", self._sink, damages, folder, lost)

    def performed(self, folder: Path, done: Done) -> None:
        """Files were written, or not."""
        self._monitor.add(WRITTEN, (self._sink,), done.bytes)
        self._monitor.add(FSYNCS, (self._sink,), done.fsyncs)
        if done.error is not None:
            self._monitor.add(ERRORS, (self._sink,))
            problem = f"{folder}: {done.error.strerror or done.error}"
            if not self.problem:
                log.error("queue of sink %s cannot be written: %s; what waits stays in memory while it fits", self._sink, problem)
            self.problem = problem
        elif self.problem:
            log.info("queue of sink %s can be written again", self._sink)
            self.problem = ""
        self._monitor.set(UP, (self._sink,), 0.0 if self.problem else 1.0)

    def corrupt(self, folder: Path, record: Record) -> None:
        """A block's bytes are not what was written."""
        self._monitor.add(CORRUPT, (self._sink,))
        log.warning(
            "queue of sink %s: block %d in segment %x of %s is damaged, %d samples are lost",
            self._sink,
            record.sequence,
            record.segment,
            folder,
            record.samples,
        )

    def unreadable(self, path: Path, error: OSError) -> None:
        """A segment cannot be read at all."""
        log.warning("queue of sink %s: %s: %s", self._sink, path, error.strerror or error)
