"""When to try again after a failure, and what may bring that forward."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from agent.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from agent.model import Misconfigured, Retry

PARKED_SECONDS = LONGEST_SECONDS
"""A receiver that says address or rights are wrong is asked again this often."""
KNOCK_SECONDS = 4.0
"""How often a host that cannot be reached is knocked at, and how long each knock may take: with it a drain begins
within 5 s of the receiver's return, though the wait may be a minute by then."""
UNREACHABLE = ("connect", "dns", "timeout")
"""Codes of failures after which knocking tells something: nobody was there."""

Knock = Callable[[], Awaitable[bool]]
"""Whether a connection can be opened."""


class Pause:
    """The waits of one lane, on the event loop's clock."""

    def __init__(self, backoff: Backoff, knock: Knock | None) -> None:
        self._backoff = backoff
        self._knock = knock
        self._next_try = 0.0
        self._soonest_try = 0.0
        self._silent = False
        """Nobody was there at the last failure."""
        self._shut = False
        """The last knock, or the failure itself, says that no connection can be opened."""
        self._hurried: anyio.Event | None = None
        self.trouble = False
        """The last send failed: until one succeeds, one at a time is enough."""

    def failed(self, outcome: Retry | Misconfigured) -> float:
        """Note a failure; the seconds until the next try."""
        now = anyio.current_time()
        resting = self._next_try > now
        self.trouble = True
        self._silent = outcome.code in UNREACHABLE
        # A timeout does not tell whether a connection was had: what the knocks found before it still holds.
        self._shut = outcome.code in ("connect", "dns") or (self._silent and self._shut)
        soonest = None
        if isinstance(outcome, Misconfigured):
            wait = self._backoff.jittered(PARKED_SECONDS)
        elif outcome.after is not None:
            # The receiver knows best, but not even it gets a tight loop.
            wait = max(outcome.after, FIRST_SECONDS)
        elif resting:
            return self._next_try - now  # requests that were in flight together fail together: one failure
        else:
            wait, soonest = self._backoff.failed(), now + FIRST_SECONDS
        self._next_try = now + wait
        # Another lane's success says nothing about this one's address, nor about what Retry-After asked for.
        self._soonest_try = soonest or self._next_try
        return wait

    def succeeded(self) -> bool:
        """The receiver answered what was sent; whether that ends a trouble."""
        ended, self.trouble = self.trouble, False
        self._shut = False
        self._backoff.reset()
        # What was in flight beside it may have been told to wait.
        self._next_try = min(self._next_try, self._soonest_try)
        return ended

    def hurry(self) -> None:
        """There is reason to believe that the next try succeeds: back to the shortest wait, where the wait was our own choice."""
        self._backoff.reset()
        self._next_try = min(self._next_try, self._soonest_try)
        if self._hurried is not None:
            self._hurried.set()

    async def rest(self) -> None:
        """Wait until the next try is due; `hurry` may bring it forward, or a knock that is answered."""
        while (left := self._next_try - anyio.current_time()) > 0:
            knock = self._knock if self._silent and left > KNOCK_SECONDS else None
            self._hurried = anyio.Event()
            with anyio.move_on_after(min(left, KNOCK_SECONDS) if knock else left):
                await self._hurried.wait()
                continue
            if knock is not None:
                await self._try(knock)

    async def _try(self, knock: Knock) -> None:
        opens = False
        with anyio.move_on_after(KNOCK_SECONDS):
            opens = await knock()
        # A port that was open all the time says nothing: whoever is behind it does not answer.
        if opens and self._shut:
            self.hurry()
        self._shut = not opens
