"""What the API tells of hooks and of their delivery logs: one log, seen whole or by repository.

https://docs.github.com/en/rest/orgs/webhooks, https://docs.github.com/en/rest/repos/webhooks and
https://docs.github.com/en/rest/apps/webhooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from agent.sim.github.actions import Actions
from agent.sim.github.deliveries import payload
from agent.sim.github.found import Call, Found, RequestError, per_page_of
from agent.sim.github.log import Entry, Log, item
from agent.sim.github.objects import Json
from agent.sim.github.plan import Repository
from agent.sim.github.sender import HOOK_ID, headers, hook
from agent.sim.github.world import World


class Hooks:
    """The organisation's hook, the repositories' hooks and the App's, which all are told the same."""

    def __init__(self, world: World, log: Log, actions: Actions) -> None:
        self._world = world
        self._log = log
        self._actions = actions

    def hooks(self, call: Call) -> Found:
        """GET .../hooks: the one that counts, one that is switched off, and one for other events."""
        own = self._hook(call)
        off = own | {"id": own["id"] + 1_000_000, "active": False}
        other = own | {"id": own["id"] + 2_000_000, "events": ["push"]}
        return Found(("hooks", own["id"]), lambda: [other, off, own])

    def hook(self, call: Call) -> Found:
        """GET .../hooks/{id}."""
        own = self._must_be_own(call)
        return Found(("hook", own["id"]), lambda: own)

    def app_config(self, call: Call) -> Found:
        """GET /app/hook/config."""
        self._must_be_own(call)
        config = hook(self._world)["config"]
        return Found("config", lambda: config)

    def deliveries(self, call: Call) -> Found:
        """GET .../deliveries: newest first; `cursor` is where the page before ended."""
        self._must_be_own(call)
        before = call.query.get("cursor", "")
        if before and not (before.startswith("v1_") and before[3:].isdigit()):
            raise RequestError(422, "Invalid cursor")
        entries = self._log.before(int(before[3:]), call.now) if before else self._log.seen(call.now)
        count = per_page_of(call)
        shown = list(islice(self._chosen(call, entries), count + 1))
        following = {**call.query, "cursor": f"v1_{shown[count - 1].id}"} if len(shown) > count else None
        shown = shown[:count]
        return Found(
            [(entry.id, entry.status_code, entry.status) for entry in shown], lambda: [item(entry) for entry in shown], following
        )

    def delivery(self, call: Call) -> Found:
        """GET .../deliveries/{id}, with all that was sent."""
        self._must_be_own(call)
        entry = self._log.entry(int(call.path["delivery_id"]), call.now)
        if entry is None or not self._is_shown(call, entry):
            raise RequestError(404, "Not Found")
        return Found((entry.id, entry.status_code, entry.status), lambda: self._whole(entry))

    def _whole(self, entry: Entry) -> Json:
        announcement = entry.shipment.announcement
        sent = headers(self._world, announcement.event, announcement.guid) | {"content-type": "application/json"}
        named = {name.title().replace("Github", "GitHub").replace("-Id", "-ID"): value for name, value in sent.items()}
        return {
            **item(entry),
            "url": "https://hooks.example.com/webhook",
            "request": {"headers": named, "payload": payload(self._world, announcement)},
            "response": {"headers": {}, "payload": None},
        }

    def _chosen(self, call: Call, entries: Iterable[Entry]) -> Iterator[Entry]:
        """What the filters let through: `failure` is only what has a code from 400 on."""
        codes = {"success": range(200, 400), "failure": range(400, 600)}.get(call.query.get("status", ""))
        for entry in entries:
            if self._is_shown(call, entry) and (codes is None or entry.status_code in codes):
                yield entry

    def _is_shown(self, call: Call, entry: Entry) -> bool:
        repository = self._repository(call)
        return repository is None or entry.shipment.announcement.run.repository.id == repository.id

    def _repository(self, call: Call) -> Repository | None:
        return self._actions.repository(call) if call.path.keys() & {"repo", "repository_id"} else None

    def _hook(self, call: Call) -> Json:
        if call.path.get("org", self._world.owner).lower() != self._world.owner.lower():
            raise RequestError(404, "Not Found")
        repository = self._repository(call)
        if repository is None:
            return hook(self._world)
        return hook(self._world) | {"type": "Repository", "id": HOOK_ID + repository.id}

    def _must_be_own(self, call: Call) -> Json:
        own = self._hook(call)
        if not call.path.keys() & {"org", "repo", "repository_id"} and call.caller.kind != "app":
            raise RequestError(401, "A JSON web token could not be decoded")
        if int(call.path.get("hook_id", own["id"])) != own["id"]:
            raise RequestError(404, "Not Found")
        return own
