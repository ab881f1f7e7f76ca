"""What an instance and its namespaces have: version, edition, tier, and whether the token may read.

A tier belongs to a top-level namespace, on gitlab.com each has its own, so each is asked, with what only that tier
answers: DORA metrics (https://docs.gitlab.com/api/dora/metrics/, Ultimate) and a group's activity
(https://docs.gitlab.com/api/group_activity_analytics/, Premium). A refusal may also be about the token's role, so
nothing is held against a namespace for longer than until it is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from agent.errors import CollectError
from agent.net.words import escaped
from agent.sources.gitlab.asking import FOR_ALL, Api
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.options import NOT_BUILT, CollectorsOptions, Options

FREE, PREMIUM, ULTIMATE = 0, 1, 2
NAMES = ("free", "premium", "ultimate")
REFRESH_SECONDS = 6 * 3600.0
"""After how long everything is asked again."""
RETRY_SECONDS = 300.0
"""After how long what could not be told is."""
AT_ONCE = 20
"""Namespaces asked in one go."""
SCOPES = frozenset({"api", "read_api"})
"""Of which a token needs one (https://docs.gitlab.com/security/tokens/)."""
MAX_NAMED = 10
"""Namespaces in one line for people."""
_REFUSED = frozenset({"auth", "forbidden", "missing"})
_DORA = {"metric": "deployment_frequency"}


class Instance(NamedTuple):
    """The GitLab that answers."""

    version: str
    """Such as 18.4.1-ee."""
    is_enterprise: bool
    """Whether it is built as EE, which says nothing of a licence."""


class Standing(NamedTuple):
    """Whether something is collected."""

    is_on: bool
    reason: str
    """Why not; "" = it is on."""


class _Probe(NamedTuple):
    """What was found of a namespace."""

    tier: int | None
    """None = could not be told."""
    until: float
    turn: int
    """Which of its projects is asked next."""


class Tiers:
    """Finds it out, a few namespaces at a time. `clock`: seconds since the epoch."""

    def __init__(self, api: Api, options: Options, clock: Callable[[], float]) -> None:
        self._api = api
        self._collectors = options.collectors
        self._clock = clock
        self._fixed = None if options.tier == "auto" else NAMES.index(options.tier)
        self._probes: dict[str, _Probe] = {}
        self._about_until = 0.0
        self._is_whole = False
        self.instance: Instance | None = None
        """None = not known yet."""
        self.problem = ""
        """What is wrong with the token's scopes, and what to do; "" = nothing."""

    @property
    def tiers(self) -> dict[str, int]:
        """By top-level namespace: 0, 1 or 2; those that could not be told are not there."""
        return {namespace: probe.tier for namespace, probe in sorted(self._probes.items()) if probe.tier is not None}

    @property
    def is_whole(self) -> bool:
        """Whether every namespace was asked; else there is more to do at once."""
        return self._is_whole

    def collectors(self) -> dict[str, Standing]:
        """Every collector by name."""
        return {name: self._standing(name) for name in CollectorsOptions.model_fields}

    def remarks(self) -> tuple[str, ...]:
        """For people: what was found, and which collectors are off for which reason."""
        found = []
        if self.instance is not None:
            found.append(f"GitLab {escaped(self.instance.version)}, {'EE' if self.instance.is_enterprise else 'CE'}")
        for tier, name in enumerate(NAMES):
            namespaces = [escaped(namespace) for namespace, has in self.tiers.items() if has == tier]
            more = f" and {len(namespaces) - MAX_NAMED} more" if len(namespaces) > MAX_NAMED else ""
            if namespaces:
                found.append(f"{name}: {', '.join(namespaces[:MAX_NAMED])}{more}")
        off: dict[str, list[str]] = {}
        for name, standing in self.collectors().items():
            if not standing.is_on:
                off.setdefault(standing.reason, []).append(name)
        return (*found, *(f"collectors that are off: {', '.join(names)}: {reason}" for reason, names in off.items()))

    async def refresh(self, projects: Iterable[Project]) -> None:
        """Ask what is due. Raises CollectError where nothing can be asked: `auth`, `connect`, `rate_limit`."""
        now = self._clock()
        if not 0 < self._about_until - now <= REFRESH_SECONDS:
            await self._read_scopes()
            self.instance = await self._read_instance()
            self._about_until = now + REFRESH_SECONDS
        members: dict[str, list[Project]] = {}
        for project in projects:
            members.setdefault(project.path.partition("/")[0], []).append(project)
        self._probes = {namespace: probe for namespace, probe in self._probes.items() if namespace in members}
        due = [namespace for namespace in members if self._is_due(namespace, now)]
        for namespace in due if self._is_told() else due[:AT_ONCE]:
            self._probes[namespace] = await self._probe(namespace, members[namespace])
        self._is_whole = self._is_told() or len(due) <= AT_ONCE

    def _is_due(self, namespace: str, now: float) -> bool:
        probe = self._probes.get(namespace)
        return probe is None or not 0 < probe.until - now <= REFRESH_SECONDS

    def _is_told(self) -> bool:
        """Whether nothing has to be asked of namespaces."""
        return self._fixed is not None or (self.instance is not None and not self.instance.is_enterprise)

    async def _probe(self, namespace: str, projects: Sequence[Project]) -> _Probe:
        before = self._probes.get(namespace, _Probe(None, 0.0, 0))
        now = self._clock()
        if self._is_told():
            return _Probe(FREE if self._fixed is None else self._fixed, now + REFRESH_SECONDS, 0)
        try:
            tier = await self._tier(namespace, projects[before.turn % len(projects)])
        except CollectError as error:
            if error.kind in FOR_ALL:
                raise
            return _Probe(before.tier, now + RETRY_SECONDS, before.turn)
        return _Probe(tier, now + REFRESH_SECONDS, before.turn + 1)

    async def _tier(self, namespace: str, project: Project) -> int:
        """Raises CollectError where it cannot be told."""
        group = quote(namespace, safe="")
        if await self._answers(f"/groups/{group}/dora/metrics", _DORA):
            return ULTIMATE
        # A token may be at home in one project only, and the namespace of a user is no group.
        if await self._answers(f"/projects/{project.id}/dora/metrics", _DORA):
            return ULTIMATE
        activity = await self._answers("/analytics/group_activity/issues_count", {"group_path": namespace})
        return PREMIUM if activity else FREE

    async def _answers(self, path: str, params: Mapping[str, str]) -> bool:
        """Whether it is there for this token. Raises CollectError where that cannot be told."""
        try:
            await self._api.get(path, params)
        except CollectError as error:
            if error.kind not in _REFUSED:
                raise
            if error.kind == "auth":  # about the licence, or about the token? Only the latter is refused this, too
                await self._api.get("/version", {})
            return False
        return True

    async def _read_instance(self) -> Instance | None:
        """Version and edition; None = it does not say. Raises CollectError."""
        try:
            try:
                data = (await self._api.get("/metadata", {})).data
            except CollectError as error:  # it came with 15.2 (https://docs.gitlab.com/api/metadata/)
                if error.kind != "missing":
                    raise
                data = (await self._api.get("/version", {})).data
        except CollectError as error:
            if error.kind in FOR_ALL:
                raise
            return None
        version = data.get("version") if isinstance(data, dict) else None
        if not isinstance(version, str):
            return None
        return Instance(version[:50], data.get("enterprise") is True or "-ee" in version)

    async def _read_scopes(self) -> None:
        """Whether the token's scopes allow to read; some kinds of tokens cannot tell. Raises CollectError."""
        try:
            data = (await self._api.get("/personal_access_tokens/self", {})).data
        except CollectError as error:
            if error.kind in ("connect", "rate_limit"):
                raise
            if error.kind == "forbidden" and "insufficient_scope" in str(error):
                self.problem = "the token may not read the API; make one with the scope read_api"
            return
        scopes = data.get("scopes") if isinstance(data, dict) else None
        if not isinstance(scopes, list):
            return
        has = ", ".join(escaped(str(scope)) for scope in scopes[:20]) or "none"
        enough = SCOPES & {scope for scope in scopes if isinstance(scope, str)}
        self.problem = "" if enough else f"the token's scopes are {has}; make one with the scope read_api"

    def _standing(self, name: str) -> Standing:
        """Whether a collector is on, and why not."""
        if name in NOT_BUILT:
            return Standing(False, "this version does not collect it yet")
        if not getattr(self._collectors, name).enabled:
            return Standing(False, "switched off in the configuration")
        if name in ("jobs", "test_reports", "environments") and not self._collectors.pipelines.enabled:
            return Standing(False, "it takes the collector pipelines, which is switched off in the configuration")
        return Standing(False, self.problem) if self.problem else Standing(True, "")
