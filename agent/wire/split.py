"""Parts of a finished request body: halves for receivers that find it too large (413), single records for probes.

Bodies may come back from a disk, so they are bounded and checked like anything foreign.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol as TypingProtocol

from agent.model import Block, Protocol
from agent.wire.compress import compress, decompress
from agent.wire.remote_write import spans

_SERIES_TAG = 0x0A  # WriteRequest.timeseries, field 1
_POINT_TAGS = (0x12, 0x22)  # TimeSeries.samples and .histograms, fields 2 and 4, length-delimited


class _Parts(TypingProtocol):
    """The records of one unpacked body."""

    def __len__(self) -> int: ...

    def body(self, first: int, end: int) -> tuple[bytes, int]:
        """A request of records `first` to `end`, and how many samples it holds."""
        ...


def halves(block: Block) -> tuple[Block, ...]:
    """Two new blocks with the records of `block`, in order; the block alone when it has just one record.

    Raises ValueError for bytes that are no such body.
    """
    parts = _parts(block)
    if len(parts) < 2:
        return (block,)
    middle = len(parts) // 2
    return _block(block, parts, 0, middle), _block(block, parts, middle, len(parts))


def single(block: Block, index: int) -> Block:
    """A new block with record number `index` of `block` alone, counted from its end where negative.

    Raises ValueError for bytes that are no such body, and IndexError where there is no such record.
    """
    parts = _parts(block)
    first = range(len(parts))[index]
    return _block(block, parts, first, first + 1)


def _parts(block: Block) -> _Parts:
    body = decompress(block.payload, block.encoding)
    if block.protocol is Protocol.REMOTE_WRITE:
        return _Fields([body[start:end] for start, end in spans(body)], _count_samples)
    if block.protocol is Protocol.REMOTE_WRITE_2:
        return _Series2(body)
    return _Fields(body.splitlines(keepends=True), _count_values)


def _block(block: Block, parts: _Parts, first: int, end: int) -> Block:
    # The time stays the whole block's newest: it may be early for one part, never late.
    body, samples = parts.body(first, end)
    return replace(block, payload=compress(body, block.encoding), samples=samples)


class _Fields:
    """Records that mean the same wherever they stand: fields of a 1.0 request, lines of an import."""

    def __init__(self, records: Sequence[bytes], count: Callable[[bytes], int]) -> None:
        self._records = records
        self._count = count

    def __len__(self) -> int:
        return len(self._records)

    def body(self, first: int, end: int) -> tuple[bytes, int]:
        """See `_Parts`."""
        records = self._records[first:end]
        return b"".join(records), sum(map(self._count, records))


class _Series2:
    """The series of a 2.0 request: each part gets a table of symbols of its own."""

    def __init__(self, body: bytes) -> None:
        from agent.wire import convert  # the generated classes take memory, and splitting is rare

        self._request = convert.parsed2(body)
        self._part = convert.part2

    def __len__(self) -> int:
        return len(self._request.timeseries)

    def body(self, first: int, end: int) -> tuple[bytes, int]:
        """See `_Parts`."""
        return self._part(self._request, first, end)


def _count_samples(record: bytes) -> int:
    """The samples and histograms inside one top-level record of a write request."""
    if record[0] != _SERIES_TAG:
        return 0
    at = 1
    while record[at] & 0x80:
        at += 1
    inner = record[at + 1 :]
    return sum(1 for start, _ in spans(inner) if inner[start] in _POINT_TAGS)


def _count_values(line: bytes) -> int:
    try:
        return len(json.loads(line)["values"])
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("not a line of an import") from error
