"""A slot for the present state: a new snapshot replaces the one before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.model import Snapshot
from agent.spool.entry import Entry, Stats, size_of


class LatestSlot:
    """Holds the newest snapshot, and besides it the one being sent. What is replaced is not lost, only superseded."""

    def __init__(self) -> None:
        self._waiting: Entry[Snapshot] | None = None
        self._taken: Entry[Snapshot] | None = None
        self.last = 0

    def put(self, item: Snapshot) -> None:
        """Replace what waits; nobody needs the old one any more."""
        self.last += 1
        self._waiting = Entry(self.last, item)

    def take(self, after: int = 0) -> Entry[Snapshot] | None:  # noqa: ARG002  there is only one
        """The waiting snapshot, unless another one is still taken: two sends at once could end in either order."""
        if self._taken is not None:
            return None
        self._taken, self._waiting = self._waiting, None
        return self._taken

    def ack(self, sequence: int) -> None:
        """The taken snapshot is finished. Raises KeyError when it is not the taken one."""
        self._release(sequence)

    def requeue(self, sequence: int) -> None:
        """The taken snapshot waits again, unless a newer one does. Raises KeyError when it is not the taken one."""
        taken = self._release(sequence)
        if self._waiting is None:
            self._waiting = taken

    def listen(self, wake: Callable[[], None]) -> None:
        """Nothing becomes takeable here but by `put`, `ack` and `requeue`."""

    def losses(self) -> Mapping[str, int]:
        """None, ever: what is replaced is superseded."""
        return {}

    def stats(self) -> Stats:
        """One or two blocks: the waiting snapshot and the taken one."""
        held = [entry.item for entry in (self._taken, self._waiting) if entry is not None]
        return Stats(
            len(held),
            sum(size_of(item) for item in held),
            sum(item.samples for item in held),
            min((item.created for item in held), default=None),
        )

    def _release(self, sequence: int) -> Entry[Snapshot]:
        taken = self._taken
        if taken is None or taken.sequence != sequence:
            raise KeyError(sequence)
        self._taken = None
        return taken
