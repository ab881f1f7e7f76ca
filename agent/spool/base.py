"""What a lane asks of the place where its blocks wait."""

from __future__ import annotations

from typing import Protocol

from agent.spool.entry import Entry, Item, Stats


class Spool(Protocol[Item]):
    """Hands items out in the order they came; one leaves only when it is acknowledged or dropped.

    Not for two tasks at once: a lane puts, takes and acknowledges from one event loop.
    """

    def put(self, item: Item) -> int:
        """Add the newest item. Returns how many samples had to be dropped, oldest first, to stay in bounds.

        An item that is taken is never dropped: it is on its way.
        """
        ...

    def take(self) -> Entry[Item] | None:
        """The oldest item that is not taken, now taken; None when there is none."""
        ...

    def ack(self, sequence: int) -> None:
        """A taken item is finished, whatever came of it: forget it."""
        ...

    def requeue(self, sequence: int) -> None:
        """A taken item is to be sent again: it takes its old place in the order."""
        ...

    def stats(self) -> Stats:
        """What is pending right now."""
        ...
