"""What families are, told beside their samples: remote-write 1.0 has no place for it in a series."""

from __future__ import annotations

from collections.abc import Iterator

from agent.store.encode import RecordEncoder
from agent.store.table import Table
from agent.wire import remote_write

REPEAT_SECONDS = 600.0
"""A receiver keeps metadata in memory: one that was started anew has it again after ten minutes. Told to every one
that often, 1,000 families cost 100 bytes a second."""
REQUEST_FAMILIES = 2_000
"""Most families in one request, as many as Prometheus sends in one (`metadata_config.max_samples_per_send`)."""


class _Group:
    """The tables of one flush group, and when they were told."""

    def __init__(self) -> None:
        self.tables: dict[Table, None] = {}
        self.new: list[Table] = []
        """Those of them that were not told yet."""
        self.told: set[str] = set()
        self.told_at = float("-inf")


class Descriptions:
    """Tells a view's receivers every family when it is new, and all of them again after a while."""

    def __init__(self, encoder: RecordEncoder) -> None:
        self._encoder = encoder
        self._groups: dict[str, _Group] = {}

    def due(self, name: str, now: float) -> Iterator[bytes]:
        """Uncompressed requests without a sample, for the families of a flush group; `now` in seconds."""
        for table in self._encoder.planned:
            self._groups.setdefault(table.group, _Group()).new.append(table)
        self._encoder.planned.clear()
        group = self._groups.get(name)
        if group is None:
            return
        group.tables.update(dict.fromkeys(group.new))
        if not 0 <= now - group.told_at < REPEAT_SECONDS:  # nor may a clock that was set back silence it
            group.tables = {table: None for table in group.tables if self._encoder.knows(table)}
            group.new, group.told, group.told_at = list(group.tables), set(), now
        entries = []
        for table in group.new:
            if table.exposition_name not in group.told:
                group.told.add(table.exposition_name)
                family = table.family
                entries.append(remote_write.metadata(table.exposition_name, family.kind, family.help, family.unit))
        group.new = []
        for first in range(0, len(entries), REQUEST_FAMILIES):
            yield b"".join(entries[first : first + REQUEST_FAMILIES])

    def drop_group(self, name: str) -> None:
        """Forget a flush group that has no series left."""
        self._groups.pop(name, None)
