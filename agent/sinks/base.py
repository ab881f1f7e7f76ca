"""What the core asks of a sink."""

from __future__ import annotations

from typing import Protocol

from agent import model


class HistorySink(Protocol):
    """Takes every block once, in order: remote_write, vm_import."""

    @property
    def url(self) -> str:
        """Where it sends, without credentials."""
        ...

    @property
    def direct_address(self) -> tuple[str, int] | None:
        """Host and port it connects to; None where that says nothing, as with a proxy in between."""
        ...

    async def send(self, block: model.Block) -> model.Outcome:
        """One request; never raises for anything the network or the receiver does."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class StateSink(Protocol):
    """Keeps only the newest snapshot: pushgateway, stdout."""

    @property
    def url(self) -> str:
        """Where it sends, without credentials."""
        ...

    @property
    def direct_address(self) -> tuple[str, int] | None:
        """Host and port it connects to; None where that says nothing, as with a proxy in between."""
        ...

    async def send(self, snapshot: model.Snapshot) -> model.Outcome:
        """Replace what the receiver holds by `snapshot`; safe to repeat."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; removes pushed state where the configuration says so."""
        ...
