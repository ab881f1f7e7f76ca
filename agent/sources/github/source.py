"""The source: which of its parts are on, and what each brings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from agent.model import Collected, Delivery, Family, Poller, Update
from agent.plugin import Context
from agent.sources.github.allow import POLL_SECONDS, Allowed
from agent.sources.github.api import connect
from agent.sources.github.deliveries import Deliveries
from agent.sources.github.discover import Discovery
from agent.sources.github.engine import Engine
from agent.sources.github.families import families
from agent.sources.github.hook import GithubHook
from agent.sources.github.options import Options
from agent.sources.github.runners import Runners
from agent.sources.github.runs import Runs

log = logging.getLogger(__name__)

FAMILIES = tuple(families(Options.model_construct()))
"""As they are named where the configuration says nothing else, without the prefix."""

PRESENT_SECONDS = 15.0
"""How often what has not ended is counted anew."""
PRESENT = "now"
ASKING_SECONDS = 120.0
"""Longest time for one collect from the API; what it has found by then counts, and the next goes on from there."""


class GithubSource:
    """One GitHub host. Without a token or an App it makes no request at all. `transport` replaces the network in tests."""

    def __init__(self, name: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._name = name
        self._options = options
        self._context = context
        self._families = families(options)
        self._engine = Engine(host_of(options.url), options, self._families)
        self._allowed = Allowed(options.webhook)
        self._hook = GithubHook(options.webhook, self._engine, self._allowed)
        self._api = connect(f"sources.{name}", options, context, transport) if options.has_credential else None

    def families(self) -> tuple[Family, ...]:
        """What the ledger feeds."""
        return self._families.counted

    def pollers(self) -> tuple[Poller, ...]:
        """What is on; what an earlier life noted is taken up here."""
        notes = self._context.recall(self._name)
        self._engine.restore(notes, self._context.clock())
        self._allowed.restore(notes)
        asking = tuple(self._asking())
        if not asking and not self._options.webhook.is_on:
            log.warning(
                "source %s: nothing to listen to; set webhook.secret, or a token or an App and deliveries.hooks, repositories, "
                "organizations or users",
                self._name,
            )
        return (Poller("present", PRESENT_SECONDS, self._present), *asking)

    def admits(self, address: str) -> bool:
        """Whether deliveries may come from there. Raises DeliveryError where none are taken, or nobody knows yet."""
        return self._hook.admits(address)

    def receive(self, delivery: Delivery) -> Collected:
        """What a delivery brings. Raises DeliveryError."""
        return self._hook.receive(delivery)

    async def aclose(self) -> None:
        """Close connections."""
        if self._api is not None:
            await self._api.aclose()

    def _asking(self) -> Iterator[Poller]:
        """The pollers that ask the API."""
        options, api, clock = self._options, self._api, self._context.clock
        if api is None:
            return
        if options.webhook.allow_github_networks:
            yield Poller("networks", POLL_SECONDS, self._networks)
        if options.deliveries.hooks:
            alone = not options.webhook.is_on
            log = Deliveries(api, options.deliveries.hooks, self._engine, clock, all_of_them=alone)
            yield Poller("deliveries", options.deliveries.interval_seconds, log.collect, ASKING_SECONDS, durable=True)
        if options.poll.enabled and (options.repositories or options.organizations or options.users or api.is_app):
            discovery = Discovery(api, options, self._engine.wants, clock)
            runs = Runs(api, discovery, self._engine, clock, options.poll.max_gap_seconds)
            yield Poller("runs", options.poll_seconds, runs.collect, ASKING_SECONDS, durable=True)
        if options.runners.enabled:
            runners = Runners(api, options.organizations, options.repositories, self._families, clock)
            yield Poller("runners", options.runners.interval_seconds, runners.collect, ASKING_SECONDS)

    async def _networks(self, _cursor: object) -> Collected:
        """GitHub's own networks, for webhooks."""
        assert self._api is not None, "it is no poller without"
        return await self._allowed.refresh(self._api.get, self._context.clock())

    async def _present(self, cursor: object) -> Collected:
        now = self._context.clock()
        # The cursor comes back once all that went with it is committed.
        digest = self._engine.settle(now, cursor if isinstance(cursor, int) else 0)
        updates = [*digest.updates, *self._engine.gauges(now), *self._numbers(now)]
        return Collected(updates, complete=(PRESENT,), observations=digest.observations, notes=digest.notes, cursor=digest.mark)

    def _numbers(self, now: float) -> Iterator[Update]:
        """What came in, and what was asked, since the agent's start."""
        families = self._families
        for labels, count in self._hook.deliveries.items():
            yield Update(families.webhook_deliveries_total, labels, count, now, PRESENT)
        if self._api is None:
            return
        for labels, count in self._api.calls.requests.items():
            yield Update(families.api_requests_total, labels, count, now, PRESENT)
        for resource, standing in self._api.calls.limits.standings().items():
            yield Update(families.api_rate_limit_remaining, (resource,), standing.remaining, now, PRESENT)
            yield Update(families.api_rate_limit_reset_timestamp_seconds, (resource,), standing.reset, now, PRESENT)


def host_of(url: str) -> str:
    """The name of a GitHub host as keys have it: `github.com` for its API at api.github.com."""
    return (urlsplit(url).hostname or "").removeprefix("api.")


def build(name: str, options: Options, context: Context) -> GithubSource:
    """The source called `name`, at rest. Raises ConfigError for names, prices and files that there are not."""
    return GithubSource(name, options, context)
