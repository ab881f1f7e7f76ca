"""What the core asks of a source."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from agent.model import Collected, Delivery, Family, Poller


class Source(Protocol):
    """Returns data when asked; owns no loop, no task and no thread."""

    def pollers(self) -> tuple[Poller, ...]:
        """What the core shall call, and how often. Asked once, when the source is started."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; called once, after the last collect has ended."""
        ...


@runtime_checkable
class Hooked(Protocol):
    """A source that deliveries can come in to, beside its pollers."""

    def admits(self, address: str) -> bool:
        """Whether a client at this IP address may deliver at all. Raises DeliveryError where nobody may, or nobody knows yet."""
        ...

    def receive(self, delivery: Delivery) -> Collected:
        """What a delivery brings; its signature is checked before anything in it is read.

        Raises DeliveryError for one that is refused. Called again with the same delivery, it brings the same.
        """
        ...


@runtime_checkable
class Remarking(Protocol):
    """A source that has something to say of itself though nothing is wrong."""

    def remarks(self) -> tuple[str, ...]:
        """One line each, such as which part of it is off and why; at rest what its configuration alone tells."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """A source parts of which can be off."""

    def absent(self, name: str) -> str:
        """Why it has no series called `name`, and which key changes that; "" = nothing that is configured."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A source with observations: what it counts goes on after a restart."""

    def families(self) -> tuple[Family, ...]:
        """Every family its increments may name, as configured; the totals of others are not taken up again."""
        ...
