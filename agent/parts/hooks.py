"""Webhooks and the running sources: which source a delivery is for, and the committer that takes what it brings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, runtime_checkable

from agent.commit import Committer
from agent.errors import DeliveryError
from agent.model import Collected
from agent.net.networks import Networks
from agent.parts.sources import RunningSource, Sources
from agent.plugin import WebhookOptions
from agent.sources.base import Hooked
from agent.web.webhook import Hook

UNNAMED = "github"
"""The kind of source that /webhook alone stands for, where there is one of it."""


@runtime_checkable
class _Configured(Protocol):
    @property
    def webhook(self) -> WebhookOptions: ...


class Hooks:
    """What the web layer asks of the running sources. `configured`: the names of all sources, running or about to."""

    def __init__(self, sources: Sources, committer: Committer, configured: Callable[[], Collection[str]]) -> None:
        self._sources = sources
        self._committer = committer
        self._configured = configured
        self._made: dict[str, tuple[RunningSource, Hook | None]] = {}
        """By source: asking whether it is `Hooked` takes longer than reading a delivery's signature."""

    def find(self, name: str) -> Hook | None:
        """The hook of a source; None = no source of that name takes deliveries. Raises DeliveryError while it is replaced."""
        running = self._sources.running
        if not name:
            unnamed = [own for own, source in running.items() if source.options.type == UNNAMED]
            name = unnamed[0] if len(unnamed) == 1 else ""
        found = running.get(name)
        if found is None:
            if name in self._configured():
                raise DeliveryError(503, "the source is being replaced")
            return None
        made = self._made.get(name)
        if made is None or made[0] is not found:
            made = self._made[name] = (found, _hook(name, found))
        return made[1]

    async def commit(self, hook: Hook, collected: Collected) -> None:
        """Have it counted. Raises LedgerError."""
        found = self._sources.running.get(hook.name)
        if found is None or hook.source is not found.source:  # type: ignore[comparison-overlap]  # two Protocols of one object
            raise DeliveryError(503, "the source was replaced meanwhile")
        await self._committer.commit(found.feed, collected)
        for loop in found.loops:
            if loop.poller.name in collected.wake:
                loop.hasten()


def _hook(name: str, found: RunningSource) -> Hook | None:
    if not isinstance(found.source, Hooked) or not isinstance(found.options, _Configured):
        return None
    options = found.options.webhook
    return Hook(name, found.source, Networks(options.trusted_proxies), options.max_per_second)
