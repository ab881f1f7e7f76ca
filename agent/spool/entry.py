"""What goes into a spool and comes out of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from agent.model import Block, Snapshot

Item = TypeVar("Item", Block, Snapshot)


@dataclass(frozen=True, slots=True)
class Entry(Generic[Item]):
    """One taken item, and the number to acknowledge it by."""

    sequence: int
    item: Item


@dataclass(frozen=True, slots=True)
class Stats:
    """What is pending: everything neither acknowledged nor dropped, taken or not."""

    blocks: int = 0
    bytes: int = 0
    samples: int = 0
    oldest_created: float | None = None
    """When the oldest of it was rendered, seconds since the epoch; None = nothing is pending."""
    disk_bytes: int = 0
    """Of `bytes`, what stands on disk."""
    accepted_flush: int | None = None
    """Everything of flushes up to this number has left; None = everything that was ever put has."""
    spooled_flush: int | None = None
    """Everything up to this one has left or is written to disk; a `kill -9` of the agent cannot lose it."""
    synced_flush: int | None = None
    """Everything up to this one has left or is synced to disk; a power cut cannot lose it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A waiting block without its payload."""

    sequence: int
    created: float
    timestamp_ms: int
    protocol: str
    encoding: str
    samples: int
    bytes: int

    @classmethod
    def of(cls, sequence: int, block: Block) -> Head:
        """What is shown of a block."""
        size = len(block.payload)
        return cls(sequence, block.created, block.timestamp_ms, block.protocol.value, block.encoding.value, block.samples, size)

    def as_json(self) -> dict[str, object]:
        """For answers."""
        return asdict(self)


def size_of(item: Block | Snapshot) -> int:
    """The bytes an item holds, before a sink compresses a snapshot."""
    if isinstance(item, Block):
        return len(item.payload)
    return sum(len(body) for _, body in item.bodies)
