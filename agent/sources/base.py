"""What the core asks of a source."""

from __future__ import annotations

from typing import Protocol

from agent.model import Poller


class Source(Protocol):
    """Returns data when asked; owns no loop, no task and no thread."""

    def pollers(self) -> tuple[Poller, ...]:
        """What the core shall call, and how often. Asked once, when the source is started."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; called once, after the last collect has ended."""
        ...
