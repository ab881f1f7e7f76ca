"""What the core asks of a ledger. Several agents may share one: who holds the newest lease may write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from agent.ledger.batch import Batch, Committed, Outgoing, Standing, Total


class Ledger(Protocol):
    """Durable when a call returns. Every method may block on a disk or a network; `commit` is called from a thread.

    Each raises LedgerError when the storage does not answer, and FencedError once somebody else holds the lease.
    """

    @property
    def path(self) -> Path | None:
        """Where it is; None = in memory."""
        ...

    @property
    def last_flush_ms(self) -> int:
        """What the newest commit said of that; 0 = none did."""
        ...

    def lease(self) -> int:
        """Become the one who writes; the epoch to show from now on. Whoever held an earlier one is fenced off."""
        ...

    def load(self, source: str, since: float) -> Sequence[Total]:
        """The totals of a source that were added to at `since`, seconds since the epoch, or later."""
        ...

    def notes(self, source: str) -> Mapping[str, str]:
        """The notes of a source."""
        ...

    def cursor(self, source: str, poller: str) -> str | None:
        """Where a poller has come to; None = nowhere yet."""
        ...

    def commit(self, batch: Batch, epoch: int) -> Committed:
        """Take a batch: all of it, but for items that are refused alone."""
        ...

    def settle_sinks(self, names: Iterable[str], epoch: int) -> Standing:
        """These are the history sinks now: new ones are owed later rows only, those that are gone are owed nothing."""
        ...

    def outbox(self, after: int, limit: int) -> Sequence[Outgoing]:
        """Rows with higher numbers than `after`, in order."""
        ...

    def acknowledge(self, standing: Mapping[str, int], epoch: int) -> None:
        """These sinks have everything up to these numbers; what all have is deleted."""
        ...

    def prune(self, now: float, epoch: int) -> bool:
        """Forget what is too old, a piece at a time; whether there may be more."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
