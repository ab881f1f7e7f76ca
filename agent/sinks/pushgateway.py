"""Prometheus Pushgateway: the present state, one group per (job, instance), replaced whole on every push.

A gateway never forgets by itself, so the sink remembers its groups and deletes those that vanish.
"""

from __future__ import annotations

import gzip
import logging
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
from pydantic import Field, field_validator

from agent import model
from agent.model import Accepted, Misconfigured, Outcome, Rejected, Retry, Snapshot, TooLarge
from agent.net.client import Client, HttpSinkOptions, shown
from agent.net.push import Request, Rules, push, rules
from agent.plugin import Context, Policy
from agent.sinks.groups import Group, Pushed, path, split_url

log = logging.getLogger(__name__)

PROTOCOL = model.Protocol.TEXT
ENCODING = model.Encoding.IDENTITY
STATE = True

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GZIP_FROM_BYTES = 1024
"""Smaller bodies go as they are. Pushgateway understands gzip since 1.5.0."""
GZIP_LEVEL = 1

_SEVERITY = (Accepted, Rejected, TooLarge, Retry, Misconfigured)


class OnShutdown(Enum):
    """What becomes of the pushed groups when the agent stops."""

    KEEP = "keep"
    DELETE = "delete"


class Options(HttpSinkOptions):
    """The keys of a pushgateway sink."""

    on_shutdown: OnShutdown = Field(
        default=OnShutdown.KEEP, description="what becomes of the pushed groups when the agent stops: keep or delete"
    )

    @field_validator("url")
    @classmethod
    def _path_is_a_group(cls, url: str) -> str:
        if urlsplit(url).query:
            raise ValueError("a Pushgateway address has no query (?...)")
        split_url(urlsplit(url).path)
        return url


def policy(options: Options) -> Policy:
    """How the core delivers to it."""
    return Policy(timeout_seconds=options.timeout_seconds, rate_limit_bytes_per_second=options.rate_limit_bytes_per_second)


def build(name: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> PushgatewaySink:
    """The sink called `name`; raises ConfigError for a file that cannot be used."""
    file = context.state_dir / "sinks" / name / "groups.json" if context.state_dir else None
    client = Client(f"sinks.{name}", options, context.user_agent, transport)
    return PushgatewaySink(options, context, client, file)


class PushgatewaySink:
    """Puts each group of a snapshot, then deletes the groups that are gone.

    A grouping key in the configured address stands for the agent's own (job, instance). `file` keeps the
    memory of pushed groups.
    """

    def __init__(self, options: Options, context: Context, client: Client, file: Path | None) -> None:
        parts = urlsplit(options.url)
        base, self._own_group = split_url(parts.path)
        self._gateway = urlunsplit(parts._replace(path=base))
        self._own = (context.job, context.instance)
        self._client = client
        self._clock = context.clock
        self._rules: Rules = rules(options.strict_spec)
        self._on_shutdown = options.on_shutdown
        self._pushed = Pushed(file, self._gateway)

    @property
    def url(self) -> str:
        """Where it sends, without credentials."""
        return shown(self._client.url)

    @property
    def direct_address(self) -> tuple[str, int] | None:
        """Host and port it connects to."""
        return self._client.direct_address

    async def send(self, snapshot: Snapshot) -> Outcome:
        """One PUT per group; the worst of their outcomes. A group that is refused does not keep back the others."""
        try:
            bodies = self._bodies(snapshot)
        except ValueError as error:
            return Misconfigured("group", str(error))
        # Before the first PUT: one whose answer is lost may have been heard.
        self._pushed.remember(self._pushed.paths | bodies.keys())
        worst: Outcome = Accepted(requests=0)
        for where, body in bodies.items():
            found = await self._request("PUT", where, body)
            worst = _worse(worst, found)
            if isinstance(found, Retry | Misconfigured):
                return worst
        late = await self._delete(self._pushed.paths - bodies.keys())
        return worst if late is None else late

    async def aclose(self) -> None:
        """Delete what was pushed if the configuration says so, then close the connections."""
        try:
            if self._on_shutdown is OnShutdown.DELETE:
                late = await self._delete(self._pushed.paths)
                if late is not None:
                    log.warning("%s: pushed groups could not be deleted: %s", self.url, late.reason)
        finally:
            await self._client.aclose()

    def _bodies(self, snapshot: Snapshot) -> dict[str, bytes]:
        """Path -> body, empty ones left out. Raises ValueError for groups that cannot be told apart or named."""
        bodies: dict[str, bytes] = {}
        for key, body in snapshot.bodies:
            if not body:
                continue
            group: Group = (("job", key[0]), ("instance", key[1]))
            where = path(self._own_group if self._own_group and key == self._own else group)
            if not key[0]:
                raise ValueError("there are series without a job label, and a Pushgateway group needs one")
            if where in bodies:
                raise ValueError(f"two groups would be pushed to {where}; change the job or instance of one")
            bodies[where] = body if body.endswith(b"\n") else body + b"\n"
        return bodies

    async def _delete(self, paths: frozenset[str]) -> Retry | None:
        """Delete groups; what the gateway refuses to delete is given up. The first that needs another try ends it."""
        for where in sorted(paths):
            found = await self._request("DELETE", where, None)
            if isinstance(found, Retry):
                return found
            if not isinstance(found, Accepted):
                log.warning("%s: the group %s stays in the gateway: %s", self.url, where, found.reason)
            self._pushed.remember(self._pushed.paths - {where})
        return None

    async def _request(self, method: str, where: str, body: bytes | None) -> Outcome:
        headers = {"Content-Type": CONTENT_TYPE} if body is not None else {}
        if body is not None and len(body) > GZIP_FROM_BYTES:
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return await push(self._client, Request(method, self._gateway + where, headers, body), self._clock, self._rules)


def _worse(one: Outcome, other: Outcome) -> Outcome:
    if isinstance(one, Accepted) and isinstance(other, Accepted):
        return Accepted(other.code, other.date, one.requests + 1)
    return max(one, other, key=lambda outcome: _SEVERITY.index(type(outcome)))
