"""The log of the organisation's hook: every try to deliver, and how it went.

Shapes and rules: https://docs.github.com/en/rest/orgs/webhooks#list-deliveries-for-an-organization-webhook; deliveries are
kept for three days (https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/viewing-webhook-deliveries).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.sim.github.faults import OK, Shipment
from agent.sim.github.objects import Json, moment

RETENTION_SECONDS = 3 * 86_400.0
FIRST_ID = 230_000_000_000


@dataclass(slots=True)
class Entry:
    """One try, as the log has it."""

    id: int
    at: float
    """When it was delivered, or given up; seconds since the epoch."""
    shipment: Shipment
    status_code: int
    status: str
    seconds: float = 0.08


class Log:
    """All tries so far, in the order in which they were made."""

    def __init__(self, shipments: Iterable[Shipment] = ()) -> None:
        self._entries: list[Entry] = []
        self._times: list[float] = []
        for shipment in shipments:
            self.add(shipment)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, shipment: Shipment) -> Entry:
        """Log a try with the result that it is to have; what became of it really may be put in the entry afterwards.

        Tries of an earlier time than the last are logged at its time, for ids and times rise together.
        """
        code, status = shipment.failure or OK
        at = max(shipment.at, self._times[-1]) if self._times else shipment.at
        entry = Entry(FIRST_ID + 3 * len(self._entries), at, shipment, code, status)
        self._entries.append(entry)
        self._times.append(at)
        return entry

    def seen(self, now: float) -> Iterator[Entry]:
        """What the log shows, newest first."""
        oldest = bisect_left(self._times, now - RETENTION_SECONDS)
        for place in range(bisect_right(self._times, now) - 1, oldest - 1, -1):
            yield self._entries[place]

    def before(self, identity: int, now: float) -> Iterator[Entry]:
        """What it shows that is older than the entry of that id."""
        place = min((identity - FIRST_ID + 2) // 3, bisect_right(self._times, now))
        oldest = bisect_left(self._times, now - RETENTION_SECONDS)
        for older in range(place - 1, oldest - 1, -1):
            yield self._entries[older]

    def entry(self, identity: int, now: float) -> Entry | None:
        """The entry of that id while it is shown."""
        place, rest = divmod(identity - FIRST_ID, 3)
        if rest or not 0 <= place < len(self._entries):
            return None
        found = self._entries[place]
        return found if now - RETENTION_SECONDS <= found.at <= now else None


def item(entry: Entry) -> Json:
    """An entry as the list shows it."""
    shipment = entry.shipment
    announcement = shipment.announcement
    return {
        "id": entry.id,
        "guid": announcement.guid,
        "delivered_at": _exact(entry.at),
        "redelivery": shipment.redelivery,
        "duration": entry.seconds,
        "status": entry.status,
        "status_code": entry.status_code,
        "event": announcement.event,
        "action": announcement.action,
        "installation_id": None,
        "repository_id": announcement.run.repository.id,
        "throttled_at": _exact(shipment.throttled_at) if shipment.throttled_at else None,
    }


def _exact(at: float) -> str:
    """Times in the log have milliseconds."""
    return f"{moment(at)[:-1]}.{int(at % 1 * 1000):03}Z"
