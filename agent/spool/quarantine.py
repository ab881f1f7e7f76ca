"""The last few blocks that a receiver refused, kept for a look."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from agent.model import Block
from agent.secret import redact

log = logging.getLogger(__name__)

KEEP = 8
MAX_BYTES = 16 << 20


class Quarantine:
    """Keeps blocks in a folder, each with a JSON file that says why; the oldest leave. `folder` None keeps nothing."""

    def __init__(self, folder: Path | None, keep: int = KEEP, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._keep = keep
        self._max_bytes = max_bytes
        self._failed = False

    def keep(self, block: Block, code: str, reason: str, now: float) -> None:
        """Keep a block that was dropped; a disk that does not take it is logged once."""
        if self._folder is None or len(block.payload) > self._max_bytes:
            return
        about = {
            "dropped_at": now,
            "code": code,
            "reason": redact(reason),
            "protocol": block.protocol.value,
            "encoding": block.encoding.value,
            "samples": block.samples,
            "timestamp_ms": block.timestamp_ms,
            "created": block.created,
        }
        try:
            self._folder.mkdir(exist_ok=True, mode=0o750)
            stem = f"{int(now * 1000):015d}-{self._next():06d}"
            (self._folder / f"{stem}.body").write_bytes(block.payload)
            (self._folder / f"{stem}.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            self._trim()
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("refused blocks cannot be kept in %s: %s", self._folder, error.strerror or error)
            self._failed = True

    def _bodies(self) -> list[Path]:
        assert self._folder is not None
        return sorted(self._folder.glob("*.body"))

    def _next(self) -> int:
        bodies = self._bodies()
        try:
            return int(bodies[-1].stem.rpartition("-")[2]) + 1 if bodies else 0
        except ValueError:
            return 0

    def _trim(self) -> None:
        bodies = self._bodies()
        sizes = {body: body.stat().st_size for body in bodies}
        while bodies and (len(bodies) > self._keep or sum(sizes[body] for body in bodies) > self._max_bytes):
            oldest = bodies.pop(0)
            oldest.unlink()
            oldest.with_suffix(".json").unlink(missing_ok=True)
