"""Where deliveries may come from: networks of the configuration, and those that GitHub names itself.

GitHub's are the list `hooks` of `GET /meta` (https://docs.github.com/en/rest/meta/meta#get-github-meta-information). They
change now and then; until a newer list was read the last one holds.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_network
from typing import Protocol

from agent.errors import CollectError, DeliveryError
from agent.model import Collected, Note
from agent.net.networks import Networks
from agent.sources.github.options import WebhookOptions

REFRESH_SECONDS = 86400.0
"""How old GitHub's list may become before it is read anew."""
POLL_SECONDS = 300.0
"""For the poller: how soon a reading that failed is tried again."""
NOTE = "allow:hooks"
MAX_NETWORKS = 1000
"""Networks of a list; GitHub's has about ten."""


class Answer(Protocol):
    """What the API answered."""

    @property
    def status(self) -> int:
        """200, or 304 where nothing has changed."""
        ...

    @property
    def data(self) -> object:
        """The JSON."""
        ...


Get = Callable[[str], Awaitable[Answer]]
"""GET of a path of the API; raises CollectError."""


class Allowed:
    """The networks deliveries may come from; none configured at all = any."""

    def __init__(self, options: WebhookOptions) -> None:
        self._own = Networks(options.allowed_networks)
        self._asks_github = options.allow_github_networks
        self._github = Networks()
        self._read_at: float | None = None

    def restore(self, notes: Mapping[str, str]) -> None:
        """Take up GitHub's list as it was when the agent last ran. A broken note is as good as none."""
        if not self._asks_github:
            return
        try:
            networks = _networks(json.loads(notes.get(NOTE, "null")))
        except (ValueError, RecursionError):
            return
        self._github = Networks(networks)

    def admits(self, address: str) -> bool:
        """Whether deliveries may come from this IP address; "" = one that cannot be told.

        Raises DeliveryError, 503, where that depends on GitHub's list and no list was ever read: nobody is let in, nor
        told to stay away for good.
        """
        if not self._own and not self._asks_github:
            return True
        if address in self._own or address in self._github:
            return True
        if self._asks_github and not self._github:
            raise DeliveryError(503, "the networks of GitHub's webhooks are not known yet")
        return False

    async def refresh(self, get: Get, now: float) -> Collected:
        """Read GitHub's list where the last one is a day old; `now` in seconds since the epoch.

        The list is kept as a note. Raises CollectError where it cannot be had: the last one holds.
        """
        if not self._asks_github or (self._read_at is not None and 0 <= now - self._read_at < REFRESH_SECONDS):
            return Collected()
        answer = await get("/meta")
        if answer.status == 304 and self._github:
            self._read_at = now
            return Collected()
        try:
            networks = _networks(answer.data["hooks"] if isinstance(answer.data, Mapping) else None)
        except (KeyError, ValueError) as error:
            message = "/meta names no networks of webhooks; set webhook.allowed_networks instead of allow_github_networks"
            raise CollectError("json", message) from error
        self._github, self._read_at = Networks(networks), now
        return Collected(notes=(Note(NOTE, json.dumps(networks)),))


def _networks(found: object) -> list[str]:
    """The networks of a list, those left out that cannot be read, or are the whole internet. Raises ValueError for none."""
    networks = [text for text in found[:MAX_NETWORKS] if _is_network(text)] if isinstance(found, Sequence) else []
    if not networks:
        raise ValueError("no networks")
    return networks


def _is_network(text: object) -> bool:
    try:
        return isinstance(text, str) and ip_network(text).prefixlen > 0
    except ValueError:
        return False
