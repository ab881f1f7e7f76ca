"""The source: which of its parts are on, and what each brings."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import anyio
import httpx

from agent.errors import CollectError
from agent.model import Collected, Delivery, Family, Poller, Update
from agent.plugin import Context
from agent.sources.gitlab.absent import absent
from agent.sources.gitlab.api import Gitlab, connect
from agent.sources.gitlab.cases import Cases
from agent.sources.gitlab.discover import Discovery
from agent.sources.gitlab.engine import Engine
from agent.sources.gitlab.environments import Environments, Watched
from agent.sources.gitlab.families import families
from agent.sources.gitlab.graphql import GraphqlReader
from agent.sources.gitlab.hook import GitlabHook
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.own import SCOPE, Stopwatch, requests
from agent.sources.gitlab.present import Present
from agent.sources.gitlab.readers import Either
from agent.sources.gitlab.reports import CaseReader
from agent.sources.gitlab.rest import RestReader
from agent.sources.gitlab.rounds import longest
from agent.sources.gitlab.survey import Survey
from agent.sources.gitlab.sync import Sync, skewed
from agent.sources.gitlab.tiers import Tiers

log = logging.getLogger(__name__)

FAMILIES = tuple(families(Options.model_construct()))
"""As they are named where the configuration says nothing else, without the prefix."""

PRESENT_SECONDS = 15.0
"""How often what has not ended is counted anew."""
FIRST_SECONDS = 10.0
"""How long that waits for the first poll."""
TIERS_SECONDS = 300.0
"""How often it is looked whether a namespace has to be asked for its tier."""
ASKING_SECONDS = 120.0
"""Longest time for one collect from the API,"""
PIECES = 5
"""but that of pipelines: so many times as long as the longest piece of a look may take, for the list of projects is one too."""
PATIENCE_SECONDS = 60.0
"""How long the first look at environments waits until it is known which projects there are."""
PIPELINES, ENVIRONMENTS = "pipelines", "environments"
"""The pollers that deliveries bring forward."""


@dataclass
class _Asking:
    """What asks the API."""

    api: Gitlab
    either: Either | None
    """None = REST alone."""
    discovery: Discovery
    rest: RestReader
    survey: Survey
    sync: Sync
    environments: Environments
    tiers: Tiers
    cases: Cases | None
    """None = single test cases are not wanted."""


class GitlabSource:
    """One GitLab instance. Without a token it makes no request at all. `transport` replaces the network in tests."""

    def __init__(self, name: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._name = name
        self._options = options
        self._context = context
        self._families = families(options)
        self._host = host_of(options.url)
        self._engine = Engine(self._host, options, self._families)
        self._hook = GitlabHook(options.webhook, self._engine)
        self._watch = Stopwatch()
        self._asking = self._connected(transport) if options.token or options.token_file else None
        confirmed = {} if self._asking is None else self._asking.survey.confirmed
        self._present = Present(self._engine, confirmed, options.collectors.pipelines.interval_seconds)

    def families(self) -> tuple[Family, ...]:
        """What the ledger feeds."""
        return self._families.counted

    def pollers(self) -> tuple[Poller, ...]:
        """What is on; what an earlier life noted is taken up here."""
        self._engine.restore(self._context.recall(self._name), self._context.clock())
        return (*self._asking_pollers(), Poller("present", PRESENT_SECONDS, self._collect_present))

    def admits(self, address: str) -> bool:
        """Whether deliveries may come from there. Raises DeliveryError where none are taken."""
        return self._hook.admits(address)

    def receive(self, delivery: Delivery) -> Collected:
        """What a delivery brings; where there is more to be had by asking, that is brought forward. Raises DeliveryError."""
        collected, hint = self._hook.receive(delivery)
        if hint is None or self._asking is None:
            return collected
        if hint.is_deployment:
            self._asking.survey.active[hint.project_id] = self._context.clock()
            return replace(collected, wake=(ENVIRONMENTS,))
        self._asking.sync.hint(hint.project_id)
        return replace(collected, wake=(PIPELINES,))

    def remarks(self) -> tuple[str, ...]:
        """Which collectors are off and why, and what GitLab says of itself."""
        if self._asking is None:
            return ("nothing is asked of GitLab: set token or token_file, and projects or wildcards",)
        said = self._asking.tiers.remarks()
        if self._asking.survey.begun.is_set():
            barren = (
                f"{title}: no project; check the name, and what the token may see" for title in self._asking.discovery.barren
            )
            count = len(self._asking.survey.projects)
            said = (f"{count} project{' is' if count == 1 else 's are'} read", *barren, *said)
        if self._asking.either is not None and self._asking.either.remark:
            said = (self._asking.either.remark, *said)
        away = (each.away.remark(self._asking.survey.paths) for each in (self._asking.survey, self._asking.environments))
        said = (*said, *filter(None, away))
        if self._asking.survey.is_skewed:
            said = (skewed(self._asking.survey.skew), *said)
        if not (self._options.projects or self._options.wildcards):
            return (*said, "no project is read; set projects or wildcards")
        return said

    def absent(self, name: str) -> str:
        """Why there are no series of that name, and which key changes that; "" = nothing that is configured."""
        return absent(name, f"sources.{self._name}", self._options)

    async def aclose(self) -> None:
        """Close connections."""
        if self._asking is not None:
            await self._asking.api.aclose()

    def _connected(self, transport: httpx.AsyncBaseTransport | None) -> _Asking:
        """Raises ConfigError."""
        options, clock = self._options, self._context.clock
        api = connect(f"sources.{self._name}", options, self._context, transport)
        discovery, rest = Discovery(api, options, clock, name=self._name, token=api.token), RestReader(api, options)
        either = Either(self._name, GraphqlReader(api, options, clock), rest, clock) if options.use_graphql else None
        reader = either or rest
        survey = Survey(reader, discovery, self._engine, options)
        reports, cases = options.collectors.test_reports, None
        if reports.enabled and reports.include_test_cases:
            cases = Cases(CaseReader(api), self._host, options, self._families, self._engine)
        sync = Sync(self._name, reader, survey, self._engine, options, self._context, cases)
        environments = Environments(api, self._host, options, self._families, self._watched, clock)
        tiers = Tiers(api, options, clock)
        return _Asking(api, either, discovery, rest, survey, sync, environments, tiers, cases)

    def _watched(self) -> list[Watched]:
        """The projects whose environments are read."""
        if self._asking is None:
            return []
        survey, since = self._asking.survey, self._asking.sync.since
        found = ((number, project, rules) for number, (project, rules) in survey.projects.items() if number in since)
        return [Watched(project, rules, since[number], survey.active.get(number, 0.0)) for number, project, rules in found]

    def _asking_pollers(self) -> Iterator[Poller]:
        asking, collectors = self._asking, self._options.collectors
        if asking is None or not (self._options.projects or self._options.wildcards):
            return
        if self._is_polled:
            collect, limit = self._watch.timed(PIPELINES, asking.sync.collect), longest(self._options.max_requests_per_second)
            yield Poller(PIPELINES, collectors.pipelines.interval_seconds, collect, PIECES * limit, durable=True)
        if collectors.pipelines.enabled and asking.cases is not None:
            yield Poller("test_cases", collectors.test_reports.interval_seconds, self._collect_cases)
        if collectors.environments.enabled and collectors.pipelines.enabled:
            collect = self._watch.timed(ENVIRONMENTS, self._collect_environments)
            yield Poller(ENVIRONMENTS, collectors.environments.interval_seconds, collect, ASKING_SECONDS, durable=True)
        yield Poller("tiers", TIERS_SECONDS, self._watch.timed("tiers", self._collect_tiers), ASKING_SECONDS)

    @property
    def _is_polled(self) -> bool:
        """Whether pipelines are asked for at all."""
        options = self._options
        return self._asking is not None and bool(options.projects or options.wildcards) and options.collectors.pipelines.enabled

    async def _collect_environments(self, cursor: object) -> Collected:
        assert self._asking is not None, "it is no poller without"
        await self._asking.discovery.projects()  # where there are none, it says why
        with anyio.move_on_after(PATIENCE_SECONDS):
            await self._asking.survey.begun.wait()
        if not self._asking.survey.begun.is_set():
            raise CollectError("timeout", "it is not known yet which projects there are; see the poller pipelines")
        found = await self._asking.environments.collect(cursor)
        for line in self._asking.environments.away.news(self._asking.survey.paths):
            log.warning("source %s: %s", self._name, line)
        return found

    async def _collect_cases(self, cursor: object) -> Collected:
        """What single test cases came to last."""
        assert self._asking is not None, "it is no poller without"
        cases, known = self._asking.cases, self._asking.survey.projects
        return Collected() if cases is None else cases.present(cursor, known, self._context.clock())

    async def _collect_tiers(self, _cursor: object) -> Collected:
        """Tiers of namespaces, and which collectors are on."""
        assert self._asking is not None, "it is no poller without"
        tiers, now = self._asking.tiers, self._context.clock()
        listed = await self._asking.discovery.projects()
        await tiers.refresh(project for project, _ in listed.projects.values())
        families = self._families
        updates = [Update(families.gitlab_tier, (name,), tier, now, "tiers") for name, tier in tiers.tiers.items()]
        for name, standing in tiers.collectors().items():
            updates.append(Update(families.collector_enabled, (name,), float(standing.is_on), now, "tiers"))
        return Collected(updates, complete=("tiers",), problem=tiers.problem, again=not tiers.is_whole)

    async def _collect_present(self, cursor: object) -> Collected:
        if self._asking is not None and self._is_polled:
            with anyio.move_on_after(FIRST_SECONDS):  # before the first poll there is nothing to be seen
                await self._asking.sync.looked.wait()
        now = self._context.clock()
        return self._present.collected(cursor, now, self._own(now), SCOPE)

    def _own(self, now: float) -> Iterator[Update]:
        """What the source measures of itself."""
        families = self._families
        malformed = Counter(self._engine.malformed)
        if self._asking is not None:
            api, survey = self._asking.api, self._asking.survey
            asking = self._asking
            for found in (
                api.malformed,
                asking.discovery.malformed,
                asking.rest.malformed,
                asking.environments.malformed,
                asking.cases.malformed if asking.cases else {},
            ):
                malformed.update(found)
            yield from requests(api.calls, families, now)
            yield Update(families.projects_tracked, (), len(survey.projects), now, SCOPE)
        yield from self._watch.updates(families, now)
        for labels, count in self._errors().items():
            yield Update(families.scrape_errors_total, labels, count, now, SCOPE)
        yield Update(families.pipelines_abandoned_total, (), self._engine.abandoned, now, SCOPE)
        for labels, count in self._hook.deliveries.items():
            yield Update(families.webhook_deliveries_total, labels, count, now, SCOPE)
        for reason, count in self._engine.ignored.items():
            yield Update(families.events_ignored_total, (reason,), count, now, SCOPE)
        for kind, count in malformed.items():
            yield Update(families.malformed_objects_total, (kind,), count, now, SCOPE)

    def _errors(self) -> Counter[tuple[str, str]]:
        """What could not be read, by collector and kind: whole collects, and single projects and pipelines within them."""
        found, asking = Counter(self._watch.errors), self._asking
        if asking is not None:
            for counted in (asking.discovery, asking.survey, asking.sync, asking.environments):
                found.update(counted.errors)
            found.update(asking.cases.errors if asking.cases else {})
        return found


def host_of(url: str) -> str:
    """The name of an instance as keys have it: several may share a host, each below a path of its own."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower() + parts.path.rstrip("/")


def build(name: str, options: Options, context: Context) -> GitlabSource:
    """The source called `name`, at rest. Raises ConfigError for names and files that there are not."""
    return GitlabSource(name, options, context)
