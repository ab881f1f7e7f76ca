"""A store with a receiver that decodes what it is sent: what tests of the store share."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from agent.model import STALE_NAN_BITS, Collected, Family, Kind, Protocol, Update
from agent.store.encode import LabelRules
from agent.store.pages import Rendered
from agent.store.store import Limits, Store
from agent.wire import remote_write_pb2

TEMP = Family("room_celsius", Kind.GAUGE, "Heat.", labels=("room",))
TIMES = Family("job_seconds", Kind.HISTOGRAM, "How long.", "seconds", ("job_name",), buckets=(1.0, 5.0))
MS = 1_790_000_000_000
Labels = tuple[tuple[str, str], ...]


class World:
    """A store, one feed and one remote-write view, walked with times that only grow."""

    def __init__(self, limits: Limits | None = None, rules: LabelRules | None = None) -> None:
        self.store = Store(limits or Limits())
        self.view = self.store.add_view(Protocol.REMOTE_WRITE, rules or LabelRules())
        self.feed = self.store.add_feed("src")
        self.ms = MS

    def put(
        self, *rooms: str, value: float = 1.0, at: float = 0.0, now: float = 0.0, scope: str = "s", whole: bool = False
    ) -> None:
        """Report rooms; `whole`: nothing else is left of the scope."""
        updates = [Update(TEMP, (room,), value, at, scope) for room in rooms]
        self.store.apply(self.feed, Collected(updates, complete=[scope] if whole else []), now)

    def expire(self, now: float) -> None:
        for _ in self.store.expiring(now):
            pass

    def walk(self, now: float = 0.0, heartbeat: float = 0.0, group: str = "") -> list[dict[Labels, float | None]]:
        """One dict per request: labels -> value, None for a marker."""
        self.ms += 1000
        return [decoded(bytes(page.payload), self.ms) for page in self.pages(now, heartbeat, group)]

    def pages(self, now: float, heartbeat: float, group: str = "") -> Iterator[Rendered]:
        yield from (page for page in self.store.walk(self.view, group, self.ms, now, heartbeat) if page is not None)

    def rooms(self, now: float = 0.0, heartbeat: float = 0.0) -> dict[str, float | None]:
        """What one walk sends, by room."""
        found: dict[str, float | None] = {}
        for request in self.walk(now, heartbeat):
            for labels, value in request.items():
                room = dict(labels)["room"]
                assert room not in found
                found[room] = value
        return found


def decoded(payload: bytes, ms: int) -> dict[Labels, float | None]:
    request = remote_write_pb2.WriteRequest.FromString(payload)
    found: dict[Labels, float | None] = {}
    for series in request.timeseries:
        labels = tuple((label.name, label.value) for label in series.labels)
        assert [name for name, _ in labels] == sorted(dict(labels), key=str.encode)
        assert all(value for _, value in labels)
        (sample,) = series.samples
        assert sample.timestamp == ms
        assert labels not in found
        stale = struct.pack("<d", sample.value) == struct.pack("<Q", STALE_NAN_BITS)
        found[labels] = None if stale else sample.value
    return found
