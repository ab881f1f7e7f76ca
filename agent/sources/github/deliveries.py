"""The webhooks' delivery log: what GitHub sent, whether it arrived or not, with the payloads.

https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/viewing-webhook-deliveries: deliveries of the
last three days can be read. Beside a webhook, those that never arrived are taken from there, and nobody has to ask for
them to be sent again; behind NAT, all are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import anyio

from agent.errors import CollectError, DeliveryError
from agent.model import Collected
from agent.sources.github.api import Api, Json, items
from agent.sources.github.gather import Digest, Gathered, stop_at
from agent.sources.github.options import HookOptions
from agent.sources.github.payload import seconds

log = logging.getLogger(__name__)

KEPT_SECONDS = 3 * 86400.0
"""How long GitHub keeps a delivery."""
OVERLAP_SECONDS = 600.0
"""A delivery may appear in the log so long after it was made."""
EVENTS = ("workflow_run", "workflow_job")
HOOKS_SECONDS = 3600.0
"""How old the list of an owner's webhooks may become."""
GARBLED_SECONDS = 3600.0
"""A payload that is no JSON is asked for again until its delivery is so old: answers get cut on their way."""
MAX_PAGES = 2000
"""Pages of the log that one collect goes back, a hundred deliveries each."""
MAX_PAYLOAD_BYTES = 64 << 20
"""GitHub sends no payload above 25 MB; the log has the headers too, and may escape what the payload did not."""
AT_ONCE = 8
MAX_DONE = 20_000
MAX_AGAIN = 1000
"""Payloads of one webhook that could not be had, and are asked for again."""
FUTURE_SECONDS = 3600.0
_VERSION = 1


class Engine(Protocol):
    """What is asked of the engine here."""

    def webhook(self, event: str, payload: Mapping[str, Any], delivery_id: str, received: float) -> Digest:
        """Read one payload. Raises DeliveryError for one that is not what its event says."""
        ...


class Entry(NamedTuple):
    """One event in the log: the latest attempt to deliver it."""

    id: int
    guid: str
    event: str
    at: float
    """When it was first tried, seconds since the epoch."""
    arrived: bool
    """Whether any attempt was answered well."""


@dataclass
class _Hook:
    """How far one webhook's log is read."""

    start: float
    """Nothing before is counted; seconds since the epoch."""
    mark: float
    """All before it is counted."""
    done: set[int] = field(default_factory=set)
    """Deliveries after it that are."""
    again: dict[int, Entry] = field(default_factory=dict)
    """Deliveries whose payload could not be had yet, by number."""


class Deliveries:
    """A durable poller's collect. `all_of_them`: behind NAT, where none arrive; else those that did not arrive."""

    def __init__(
        self, api: Api, hooks: Sequence[HookOptions], engine: Engine, clock: Callable[[], float], *, all_of_them: bool
    ) -> None:
        self._api = api
        self._hooks = tuple(hooks)
        self._engine = engine
        self._clock = clock
        self._all = all_of_them
        self._found: dict[str, tuple[str, ...]] = {}
        """Where webhooks are listed -> the paths of their logs."""
        self._found_until: dict[str, float] = {}

    async def collect(self, cursor: object) -> Collected:
        """Read what was delivered, or was not, since `cursor`. Raises CollectError where no log can be read."""
        now = self._clock()
        hooks, at, problem = _read_cursor(cursor, now)
        if now - at > KEPT_SECONDS:
            problem = (
                f"nothing was read for {(now - at) / 86400:.1f} days; GitHub keeps deliveries for three: what was before is lost"
            )
        if problem:
            log.warning("deliveries: %s", problem)
        gathered = Gathered(stop_at())
        paths: list[str] = []
        for options in self._hooks:
            try:
                paths += await self._logs(options)
            except CollectError as error:
                gathered.failed(options.repository or options.organization or "the App", error)
        for path in paths:
            hook = hooks.setdefault(path, _Hook(now, now))
            try:
                if not gathered.is_over:
                    await self._read(path, hook, gathered)
            except CollectError as error:
                gathered.failed(path, error)
        if not gathered.problems:
            hooks = {path: hooks[path] for path in paths}
        return gathered.collected(_written(hooks, now if now - at >= HOOKS_SECONDS else at), [problem])

    # -- which logs ------------------------------------------------------------------------------------

    async def _logs(self, options: HookOptions) -> tuple[str, ...]:
        """The paths of the logs that one entry of the configuration stands for."""
        if options.app:
            return ("/app/hook/deliveries",)
        owner = f"/repos/{quote(options.repository)}" if options.repository else f"/orgs/{quote(options.organization)}"
        if options.id:
            return (f"{owner}/hooks/{options.id}/deliveries",)
        now = self._clock()
        if not 0 < self._found_until.get(owner, 0.0) - now <= HOOKS_SECONDS:
            hooks = await self._api.every(f"{owner}/hooks")
            self._found[owner] = tuple(f"{owner}/hooks/{hook['id']}/deliveries" for hook in hooks if _is_ours(hook))
            # One that is made later has to be found soon: its deliveries count from then on.
            self._found_until[owner] = now + HOOKS_SECONDS if self._found[owner] else 0.0
        if not self._found[owner]:
            raise CollectError(
                "missing", "there is no active webhook that sends workflow_run or workflow_job; add one, or its id"
            )
        return self._found[owner]

    # -- one log ---------------------------------------------------------------------------------------

    async def _read(self, path: str, hook: _Hook, gathered: Gathered) -> None:
        entries = await self._entries(path, max(hook.start, hook.mark - OVERLAP_SECONDS))
        gathered.listed += 1
        wanted = [entry for entry in entries if entry.event in EVENTS and (self._all or not entry.arrived)]
        new = [entry for entry in wanted if entry.id not in hook.done]
        todo = sorted([*hook.again.values(), *new], key=lambda entry: (entry.at, entry.id))
        left, failed = await self._take_in(path, todo, gathered)
        again = {entry.id: entry for entry in (*failed, *(entry for entry in left if entry.id in hook.again))}
        left = [entry for entry in left if entry.id not in again]
        done = hook.done | {entry.id for entry in new} - {entry.id for entry in left}
        hook.mark = max([hook.mark, *(entry.at for entry in entries)])
        if left:
            hook.mark = min(entry.at for entry in left)
        late = [entry.id for entry in entries if entry.id in done and entry.at >= hook.mark - OVERLAP_SECONDS]
        hook.done = set(late[:MAX_DONE])
        kept = [entry for entry in sorted(again.values()) if entry.at >= self._clock() - KEPT_SECONDS][-MAX_AGAIN:]
        hook.again = {entry.id: entry for entry in kept}
        if len(kept) < len(again):
            problem = f"{len(again) - len(kept)} payloads could not be had for too long, and are left out"
            gathered.failed(path, CollectError("status", problem))

    async def _entries(self, path: str, since: float) -> list[Entry]:
        """The events delivered at `since` or later, the newest first."""
        found: dict[str, Entry] = {}
        owner = "/app" if path.startswith("/app") else path.split("/")[2]
        asked, params = path, {"per_page": "100"}
        for _ in range(MAX_PAGES):
            answer = await self._api.get(asked, params, owner=owner)
            for item in items(answer.data, ""):
                entry = _entry(item)
                if entry is None or entry.at < since:
                    continue
                known = found.get(entry.guid)
                if known is not None:  # an earlier attempt
                    entry = known._replace(at=min(known.at, entry.at), arrived=known.arrived or entry.arrived)
                found[entry.guid] = entry
            times = [seconds(item.get("delivered_at")) or since for item in items(answer.data, "")]
            if not answer.next or not times or min(times) < since:
                break
            asked, params = answer.next, {}
        return list(found.values())

    async def _take_in(self, path: str, todo: Sequence[Entry], gathered: Gathered) -> tuple[list[Entry], list[Entry]]:
        """Read payloads, in the order of their events; those not come to, and those that could not be had."""
        failed: list[Entry] = []
        for begin in range(0, len(todo), AT_ONCE):
            if gathered.is_over:
                return list(todo[begin:]), failed
            chunk = todo[begin : begin + AT_ONCE]
            payloads: dict[int, Mapping[str, Any] | CollectError] = {}

            async def fetch(entry: Entry, into: dict[int, Mapping[str, Any] | CollectError] = payloads) -> None:
                try:
                    into[entry.id] = await self._payload(path, entry)
                except CollectError as error:
                    into[entry.id] = error

            async with anyio.create_task_group() as group:
                for entry in chunk:
                    group.start_soon(fetch, entry)
            for entry in chunk:
                if not self._ingest(path, entry, payloads[entry.id], gathered):
                    failed.append(entry)
        return [], failed

    async def _payload(self, path: str, entry: Entry) -> Mapping[str, Any]:
        """Raises CollectError."""
        answer = await self._api.get(f"{path}/{entry.id}", max_bytes=MAX_PAYLOAD_BYTES)
        request = answer.data.get("request") if isinstance(answer.data, dict) else None
        payload = request.get("payload") if isinstance(request, dict) else None
        if not isinstance(payload, dict):
            raise CollectError("json", "the log holds no payload")
        return payload

    def _ingest(self, path: str, entry: Entry, payload: Mapping[str, Any] | CollectError, gathered: Gathered) -> bool:
        """Hand one payload on; False where it is to be tried again."""
        where = f"{path}/{entry.id}"
        if isinstance(payload, CollectError):
            gathered.failed(where, payload)
            is_old = self._clock() - entry.at > GARBLED_SECONDS
            return payload.kind in ("missing", "size") or (payload.kind == "json" and is_old)
        try:
            gathered.add(self._engine.webhook(entry.event, payload, entry.guid, entry.at))
        except DeliveryError as error:
            gathered.failed(where, CollectError("json", f"left out: {error}"))
        return True


def _is_ours(hook: Json) -> bool:
    events = hook.get("events")
    sends = isinstance(events, list) and any(event in events for event in (*EVENTS, "*"))
    return bool(hook.get("active")) and sends and isinstance(hook.get("id"), int)


def _entry(item: Json) -> Entry | None:
    number, guid, event, at = item.get("id"), item.get("guid"), item.get("event"), seconds(item.get("delivered_at"))
    if not isinstance(number, int) or not isinstance(guid, str) or not isinstance(event, str) or at is None:
        return None
    code = item.get("status_code")
    # What stands in `status` of a 202 is not documented; what did not arrive has no 2xx.
    arrived = item.get("status") == "OK" or (isinstance(code, int) and 200 <= code < 300)
    return Entry(number, guid[:100], event, at, arrived)


def _read_cursor(cursor: object, now: float) -> tuple[dict[str, _Hook], float, str]:
    """The hooks by path, when they were last read, to the hour, and what is wrong with it."""
    if cursor is None:
        return {}, now, ""
    try:
        found = json.loads(str(cursor))
        if found["v"] != _VERSION:
            raise ValueError("another version")
        hooks = {
            str(path): _Hook(
                _time(start, now),
                _time(mark, now),
                {int(number) for number in done[:MAX_DONE]},
                {int(number): Entry(int(number), str(guid), str(event), float(at), False) for number, guid, event, at in again},
            )
            for path, (start, mark, done, again) in found["hooks"].items()
        }
        return hooks, _time(found["at"], now), ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}, now, "where the last reading ended cannot be made out; deliveries count from now on"


def _time(found: Any, now: float) -> float:
    at = float(found)
    return at if 0 <= at <= now + FUTURE_SECONDS else now


def _written(hooks: Mapping[str, _Hook], at: float) -> str:
    found = {
        path: [
            int(hook.start),
            int(hook.mark),
            sorted(hook.done),
            [[entry.id, entry.guid, entry.event, entry.at] for entry in hook.again.values()],
        ]
        for path, hook in sorted(hooks.items())
    }
    return json.dumps({"v": _VERSION, "at": int(at), "hooks": found}, separators=(",", ":"))
