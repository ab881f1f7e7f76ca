"""Remote-write 2.0 pages: records that refer to a table of symbols, which a page keeps with them."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat

from agent.model import STALE_NAN_BITS, Exemplar
from agent.store.body import Body, Spans
from agent.store.encode2 import Record2
from agent.wire import remote_write, remote_write2
from agent.wire.remote_write2 import About, Symbols

_SYMBOL_BYTES = 80
"""A dictionary's entry and the reference it holds; the string itself is the store's."""


class RecordBody2:
    """Finished records in one buffer. Records are counted in cells: a native histogram is one, of several cells."""

    __slots__ = ("_abouts", "_known", "_metadata", "_natives", "_symbols", "buffer", "ends", "exemplars", "offsets")

    def __init__(self, symbols: Symbols | None = None) -> None:
        self.buffer = bytearray()
        self.offsets = array("I")
        """Of each cell: where the value is; of a native histogram: where its labels end."""
        self.ends = array("I")
        self.exemplars: dict[int, Exemplar] = {}
        """Of which cells, in order; sent once, with the next request."""
        self._natives: dict[int, tuple[About, int]] = {}
        """First cell of each native histogram -> what it is, and when it started."""
        self._symbols = Symbols() if symbols is None else symbols
        self._known = 0
        """Records that the symbols were collected from; most of them may be gone."""
        self._metadata: dict[About, bytes] = {}
        self._abouts: dict[bytes, About] = {}

    @property
    def size(self) -> int:
        """Bytes held."""
        symbols = len(self._symbols.encoded) + _SYMBOL_BYTES * len(self._symbols)
        return len(self.buffer) + 8 * len(self.ends) + symbols

    def extend(self, records: Sequence[Record2], started_ms: int = 0) -> None:
        """Append records; `started_ms`: since when counts count, 0 = not known."""
        for about, texts in records:
            self._append(about, texts, about.started(started_ms))

    def _append(self, about: About, texts: Iterable[str], started_ms: int) -> None:
        labels = remote_write2.references(texts, self._symbols)
        metadata = self._metadata.get(about)
        if metadata is None:
            metadata = self._metadata[about] = about.metadata(self._symbols)
            if not about.bounds:
                self._abouts[metadata] = about
        self._known += 1
        if about.bounds:
            cells = len(about.bounds) + 3
            self._natives[len(self.ends)] = (about, started_ms)
            self.buffer += labels
            self.offsets.extend([len(self.buffer)] * cells)
            self.buffer += metadata
            self.ends.extend([len(self.buffer)] * cells)
            return
        record, rest = remote_write2.record(labels, started_ms, metadata)
        self.buffer += record
        self.ends.append(len(self.buffer))
        self.offsets.append(len(self.buffer) - rest)

    def join(self, other: Body) -> None:
        """Append all of another body of this form."""
        assert isinstance(other, RecordBody2)
        for about, texts, started_ms in other._read([(0, len(other.ends))]):
            self._append(about, texts, started_ms)

    def select(self, spans: Spans) -> RecordBody2:
        """These records in this order, in a body of its own; of a native histogram any cell stands for the whole."""
        chosen = sum(end - first for first, end in spans)
        if self._natives or 2 * chosen < self._known:
            body = RecordBody2()
            for about, texts, started_ms in self._read(spans):
                body._append(about, texts, started_ms)
            return body
        # As they are, with a copy of the symbols: those of records that are gone cost less than to read all others.
        body = RecordBody2(_copy(self._symbols))
        body._known, body._metadata, body._abouts = self._known, self._metadata.copy(), self._abouts.copy()
        for first, end in spans:
            start = self._start(first)
            shift = len(body.buffer) - start
            body.buffer += self.buffer[start : self.ends[end - 1]]
            body.offsets.extend([offset + shift for offset in self.offsets[first:end]])
            body.ends.extend([place + shift for place in self.ends[first:end]])
        return body

    def render(self, parts: Iterable[tuple[int, array[float]]], timestamp_ms: int) -> tuple[bytes, int]:
        """Values and time put in place; the request and its samples and histograms."""
        return self.stamped((first, values, timestamp_ms) for first, values in parts)

    def stamped(self, parts: Iterable[tuple[int, array[float], int]]) -> tuple[bytes, int]:
        """Values and times put in place; the request and its samples and histograms."""
        pieces: list[bytes | bytearray] = []
        written = 0
        whole = not self._natives and not self.exemplars
        extra = remote_write2.MoreSymbols(self._symbols)
        for first, values, timestamp_ms in parts:
            end = first + len(values)
            if first in self._natives:
                found = [piece for piece in self._written(first, values, timestamp_ms) if piece]
                pieces += found
                written += len(found)
                continue
            tail = remote_write.tail(timestamp_ms)
            # one call in C per sample, none in Python: this line is the flush
            deque(map(remote_write.pack_value, repeat(self.buffer), self.offsets[first:end], values, repeat(tail)), 0)
            written += len(values)
            if not whole:
                pieces += self._spliced(first, end, extra)
        self.exemplars = {}
        return b"".join((self._symbols.encoded, extra.encoded, *([self.buffer] if whole else pieces))), written

    def _spliced(self, first: int, end: int, symbols: Mapping[str, bytes]) -> Iterator[bytes | bytearray]:
        """The records of these cells, with the exemplars they have."""
        start = self._start(first)
        for cell, exemplar in self.exemplars.items():
            if not first <= cell < end:
                continue
            at = self._start(cell)
            yield self.buffer[start:at]
            start = self.ends[cell]
            inner, _ = remote_write2.length(self.buffer, at + 1)
            place = self._after_sample(cell)
            found = remote_write2.exemplar(exemplar, symbols)
            yield remote_write.field(b"\x2a", b"".join((self.buffer[inner:place], found, self.buffer[place:start])))
        yield self.buffer[start : self.ends[end - 1]]

    def _after_sample(self, cell: int) -> int:
        value = self.offsets[cell]
        started = self.buffer[value - 2] > 0x10  # the sample is longer by its start time
        return value + remote_write.VALUE_TO_END + started * remote_write2.START_BYTES

    def markers(self, timestamp_ms: int) -> tuple[bytes, int]:
        """Every record as a staleness marker."""
        tail = remote_write.tail(timestamp_ms)
        pieces: list[bytes | bytearray] = [self._symbols.encoded]
        written = cell = 0
        while cell < len(self.ends):
            native = self._natives.get(cell)
            if native is not None:
                pieces.append(self._native(cell, remote_write2.native_stale(native[0], timestamp_ms, native[1])))
                cell += len(native[0].bounds) + 3
            else:
                remote_write.pack_stale(self.buffer, self.offsets[cell], STALE_NAN_BITS, tail)
                pieces.append(self.buffer[self._start(cell) : self.ends[cell]])
                cell += 1
            written += 1
        return b"".join(pieces), written

    def _start(self, cell: int) -> int:
        return self.ends[cell - 1] if cell else 0

    def _written(self, first: int, values: array[float], timestamp_ms: int) -> Iterator[bytes]:
        """The native histograms of one run; nothing for a row that is none."""
        cell, end = first, first + len(values)
        while cell < end:
            about, started_ms = self._natives[cell]
            after = cell + len(about.bounds) + 3
            histogram = remote_write2.native(about, values[cell - first : after - first], timestamp_ms, started_ms)
            yield self._native(cell, histogram) if histogram else b""
            cell = after

    def _native(self, cell: int, histogram: bytes) -> bytes:
        labels, end = self.offsets[cell], self.ends[cell]
        record = b"".join((self.buffer[self._start(cell) : labels], histogram, self.buffer[labels:end]))
        return remote_write.field(b"\x2a", record)

    def _read(self, spans: Spans) -> Iterator[tuple[About, list[str], int]]:
        """What the records of these cells were made of."""
        texts = list(self._symbols)
        starts = {
            cell: first for first, (about, _) in self._natives.items() for cell in range(first, first + len(about.bounds) + 3)
        }
        done: set[int] = set()
        for first, end in spans:
            for cell in range(first, end):
                own = starts.get(cell, cell)
                if own in done:
                    continue
                if starts:
                    done.add(own)
                about, references, started_ms = self._record(own)
                yield about, [texts[reference] for reference in references], started_ms

    def _record(self, cell: int) -> tuple[About, list[int], int]:
        start, value = self._start(cell), self.offsets[cell]
        native = self._natives.get(cell)
        if native is not None:
            return native[0], _references(self.buffer, start), native[1]
        plain, after, started_ms = value + remote_write.VALUE_TO_END, self._after_sample(cell), 0
        if after > plain:
            (started_ms,) = remote_write2.numbers(self.buffer[plain + 1 : after])
        inner, _ = remote_write2.length(self.buffer, start + 1)
        return self._abouts[bytes(self.buffer[after : self.ends[cell]])], _references(self.buffer, inner), started_ms


def _references(buffer: bytearray, at: int) -> list[int]:
    """The references of a `labels_refs` field that begins here."""
    inner, size = remote_write2.length(buffer, at + 1)
    return remote_write2.numbers(buffer[inner : inner + size])


def _copy(symbols: Symbols) -> Symbols:
    copy = Symbols()
    copy.update(symbols)
    copy.encoded = symbols.encoded[:]
    return copy
