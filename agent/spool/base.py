"""What a lane asks of the place where its blocks wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from agent.spool.entry import Entry, Item, Stats


class Spool(Protocol[Item]):
    """Hands items out in the order they came; one leaves only when it is acknowledged or given up.

    Not for two tasks at once: a lane puts, takes and acknowledges from one event loop.
    """

    @property
    def last(self) -> int:
        """The newest sequence given to an item; 0 = none yet. Sequences only grow, over restarts too for what was written."""
        ...

    def put(self, item: Item) -> None:
        """Add the newest item. What must leave to stay in bounds, oldest first, is told by `losses`.

        An item that is taken never leaves: it is on its way.
        """
        ...

    def take(self, after: int = 0) -> Entry[Item] | None:
        """The oldest item that is not taken and whose sequence is above `after`, now taken; None when there is none."""
        ...

    def ack(self, sequence: int) -> None:
        """A taken item is finished, whatever came of it: forget it. Raises KeyError when it was not taken."""
        ...

    def requeue(self, sequence: int) -> None:
        """A taken item is to be sent again: it takes its old place. Raises KeyError when it was not taken."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something may be taken that could not be before, other than by `put` or `requeue`."""
        ...

    def losses(self) -> Mapping[str, int]:
        """Samples given up since this was last asked, by reason: `queue_full`, `corrupt`, `disk`, `too_large`, `by_hand`."""
        ...

    def stats(self) -> Stats:
        """What is pending right now."""
        ...
