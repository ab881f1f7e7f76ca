"""The source: which of its parts are on, and what each brings."""

from __future__ import annotations

from urllib.parse import urlsplit

from agent.model import Collected, Delivery, Family, Poller, Update
from agent.plugin import Context
from agent.sources.github.allow import Allowed
from agent.sources.github.engine import Engine
from agent.sources.github.families import families
from agent.sources.github.hook import GithubHook
from agent.sources.github.options import Options

FAMILIES = tuple(families(Options.model_construct()))
"""As they are named where the configuration says nothing else, without the prefix."""

PRESENT_SECONDS = 15.0
"""How often what has not ended is counted anew."""
PRESENT = "now"


class GithubSource:
    """One GitHub host. Without a token or an App it makes no request at all."""

    def __init__(self, name: str, options: Options, context: Context) -> None:
        self._name = name
        self._context = context
        self._families = families(options)
        self._engine = Engine(host_of(options.url), options, self._families)
        self._allowed = Allowed(options.webhook)
        self._hook = GithubHook(options.webhook, self._engine, self._allowed)

    def families(self) -> tuple[Family, ...]:
        """What the ledger feeds."""
        return self._families.counted

    def pollers(self) -> tuple[Poller, ...]:
        """What is on; what an earlier life noted is taken up here."""
        notes = self._context.recall(self._name)
        self._engine.restore(notes)
        self._allowed.restore(notes)
        return (Poller("present", PRESENT_SECONDS, self._present),)

    def admits(self, address: str) -> bool:
        """Whether deliveries may come from there. Raises DeliveryError where none are taken, or nobody knows yet."""
        return self._hook.admits(address)

    def receive(self, delivery: Delivery) -> Collected:
        """What a delivery brings. Raises DeliveryError."""
        return self._hook.receive(delivery)

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _present(self, cursor: object) -> Collected:
        now = self._context.clock()
        digest = self._engine.settle(now, cursor if isinstance(cursor, int) else 0)
        deliveries = [
            Update(self._families.webhook_deliveries_total, labels, count, now, PRESENT)
            for labels, count in self._hook.deliveries.items()
        ]
        updates = [*digest.updates, *self._engine.gauges(now), *deliveries]
        return Collected(updates, complete=(PRESENT,), observations=digest.observations, notes=digest.notes, cursor=digest.mark)


def host_of(url: str) -> str:
    """The name of a GitHub host as keys have it: `github.com` for its API at api.github.com."""
    return (urlsplit(url).hostname or "").removeprefix("api.")


def build(name: str, options: Options, context: Context) -> GithubSource:
    """The source called `name`, at rest. Raises ConfigError for names and prices that there are not."""
    return GithubSource(name, options, context)
