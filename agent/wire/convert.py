"""Remote-write requests taken apart and put together again: from 1.0 to 2.0, back, and 2.0 in parts.

By the generated classes: only what a receiver does not understand as it was made comes here.
Every function raises ValueError for bytes that are no such request.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import DecodeError as ProtobufError

from agent.model import STALE_NAN_BITS
from agent.wire import exposition
from agent.wire.compress import MAX_BODY_BYTES
from agent.wire.remote_write2 import CUSTOM_BUCKETS
from agent.wire.remote_write2_pb2 import Histogram, Metadata, Request
from agent.wire.remote_write2_pb2 import TimeSeries as TimeSeries2
from agent.wire.remote_write_pb2 import Histogram as Histogram1
from agent.wire.remote_write_pb2 import TimeSeries, WriteRequest

_STALE = struct.pack("<Q", STALE_NAN_BITS)
NAME = "__name__"
BOUND = "le"
_SUFFIXES = {
    Metadata.METRIC_TYPE_HISTOGRAM: ("_bucket", "_sum", "_count"),
    Metadata.METRIC_TYPE_SUMMARY: ("_sum", "_count"),
    Metadata.METRIC_TYPE_GAUGEHISTOGRAM: ("_bucket", "_gsum", "_gcount"),
}
_STEMS = ("", *dict.fromkeys(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes))

Pairs = list[tuple[str, str]]
"""Names and values of labels, in their order."""


def parsed2(body: bytes) -> Request:
    """A 2.0 request whose references all point to a symbol."""
    try:
        request = Request.FromString(body)
    except ProtobufError as error:
        raise ValueError("not a remote-write 2.0 request") from error
    size = len(request.symbols)
    if not size or request.symbols[0]:
        raise ValueError("the first symbol is not the empty one")
    for series in request.timeseries:
        references = [series.metadata.help_ref, series.metadata.unit_ref, *series.labels_refs]
        lengths = len(series.labels_refs)
        for exemplar in series.exemplars:
            references += exemplar.labels_refs
            lengths |= len(exemplar.labels_refs)
        if max(references) >= size or lengths % 2:
            raise ValueError("a reference points outside the symbols, or labels are not pairs")
    return request


def points(series: TimeSeries | TimeSeries2) -> int:
    """Samples and histograms of a series."""
    return len(series.samples) + len(series.histograms)


class Builder2:
    """A 2.0 request in the making, with a table of symbols of its own."""

    def __init__(self) -> None:
        self._references = {"": 0}
        self.request = Request()
        self.points = 0

    def refer(self, texts: Iterable[str]) -> list[int]:
        """The references of some texts."""
        return [self._references.setdefault(text, len(self._references)) for text in texts]

    def copy(self, series: TimeSeries2, symbols: Sequence[str]) -> None:
        """Add a series of another request."""
        copied = self.request.timeseries.add()
        copied.CopyFrom(series)
        copied.labels_refs[:] = self.refer(symbols[reference] for reference in series.labels_refs)
        for exemplar in copied.exemplars:
            exemplar.labels_refs[:] = self.refer(symbols[reference] for reference in exemplar.labels_refs)
        if series.HasField("metadata"):
            told = [symbols[series.metadata.help_ref], symbols[series.metadata.unit_ref]]
            copied.metadata.help_ref, copied.metadata.unit_ref = self.refer(told)
        self.points += points(series)

    def body(self) -> bytes:
        """The finished request."""
        self.request.symbols[:] = list(self._references)
        return self.request.SerializeToString()


def part2(request: Request, first: int, end: int) -> tuple[bytes, int]:
    """The series `first` to `end` of a 2.0 request as one of their own, and their samples and histograms."""
    builder = Builder2()
    symbols = list(request.symbols)
    for series in request.timeseries[first:end]:
        builder.copy(series, symbols)
    return builder.body(), builder.points


def to_2(body: bytes) -> tuple[bytes, int]:
    """A 1.0 request as 2.0, and its samples and histograms. Metadata of families without a series has no place there."""
    try:
        request = WriteRequest.FromString(body)
    except ProtobufError as error:
        raise ValueError("not a remote-write 1.0 request") from error
    families = {entry.metric_family_name: entry for entry in request.metadata}
    builder = Builder2()
    for old in request.timeseries:
        series = builder.request.timeseries.add()
        for label in old.labels:
            series.labels_refs.extend(builder.refer((label.name, label.value)))
        for sample in old.samples:
            series.samples.add(value=sample.value, timestamp=sample.timestamp)
        for histogram in old.histograms:
            series.histograms.add().MergeFromString(histogram.SerializeToString())
        for exemplar in old.exemplars:
            pairs = builder.refer(text for label in exemplar.labels for text in (label.name, label.value))
            series.exemplars.add(labels_refs=pairs, value=exemplar.value, timestamp=exemplar.timestamp)
        name = next((label.value for label in old.labels if label.name == NAME), "")
        found = next((families[stem] for stem in _families_of(name) if stem in families), None)
        if found is not None:
            series.metadata.MergeFromString(Metadata(type=found.type).SerializeToString())  # type: ignore[arg-type]
            series.metadata.help_ref, series.metadata.unit_ref = builder.refer((found.help, found.unit))
        builder.points += points(series)
    return builder.body(), builder.points


def to_1(body: bytes) -> tuple[bytes, int]:
    """A 2.0 request as 1.0, and its samples and histograms.

    Start times go, custom-bucket histograms become the series of classic ones: no 1.0 receiver knows them.
    """
    old = parsed2(body)
    symbols = list(old.symbols)
    request = WriteRequest()
    described: dict[str, Metadata] = {}
    size = 0
    for series in old.timeseries:
        texts = [symbols[reference] for reference in series.labels_refs]
        labels = list(zip(texts[::2], texts[1::2], strict=True))
        for made in _series(series, labels, symbols):
            size += sum(len(name) + len(value) for name, value in labels) + 40
            if size > MAX_BODY_BYTES:
                raise ValueError("histograms of more series than fit into any request of ours")
            request.timeseries.append(made)
        if series.HasField("metadata"):
            described.setdefault(family_of(dict(labels).get(NAME, ""), series.metadata.type), series.metadata)
    for name, said in described.items():
        entry = request.metadata.add(metric_family_name=name, help=symbols[said.help_ref], unit=symbols[said.unit_ref])
        entry.type = said.type  # type: ignore[assignment]  # the same numbers
    return request.SerializeToString(), sum(map(points, request.timeseries))


def _series(series: TimeSeries2, labels: Pairs, symbols: Sequence[str]) -> Iterator[TimeSeries]:
    custom = [histogram for histogram in series.histograms if histogram.schema == CUSTOM_BUCKETS]
    if len(custom) < len(series.histograms) or not custom:
        made = _labelled(labels)
        for sample in series.samples:
            made.samples.add(value=sample.value, timestamp=sample.timestamp)
        for histogram in series.histograms:
            if histogram.schema != CUSTOM_BUCKETS:
                made.histograms.append(_histogram1(histogram))
        for exemplar in series.exemplars:
            texts = [symbols[reference] for reference in exemplar.labels_refs]
            new = made.exemplars.add(value=exemplar.value, timestamp=exemplar.timestamp)
            for name, value in zip(texts[::2], texts[1::2], strict=True):
                new.labels.add(name=name, value=value)
        yield made
    for histogram in custom:
        yield from classic(histogram, labels)


def _histogram1(histogram: Histogram) -> Histogram1:
    copy = Histogram()
    copy.CopyFrom(histogram)
    copy.start_timestamp = 0
    return Histogram1.FromString(copy.SerializeToString())


def classic(histogram: Histogram, labels: Pairs) -> Iterator[TimeSeries]:
    """The series of a histogram with custom buckets, in the order of a histogram row."""
    bounds = [*map(exposition.format_bound, histogram.custom_values), "+Inf"]
    stale = struct.pack("<d", histogram.sum) == _STALE
    counts = [histogram.sum] * len(bounds) if stale else _cumulative(histogram, len(bounds))
    total = histogram.count_float if histogram.HasField("count_float") else float(histogram.count_int)
    name = dict(labels).get(NAME, "")
    values = zip([(f"{name}_bucket", bound) for bound in bounds], counts, strict=True)
    rest = [((f"{name}_sum", ""), histogram.sum), ((f"{name}_count", ""), histogram.sum if stale else total)]
    for (sample, bound), value in [*values, *rest]:
        made = dict(labels) | {NAME: sample} | ({BOUND: bound} if bound else {})
        series = _labelled(sorted(made.items(), key=lambda pair: pair[0].encode()))
        series.samples.add(value=value, timestamp=histogram.timestamp)
        yield series


def _cumulative(histogram: Histogram, buckets: int) -> list[float]:
    counts: list[float] = [0] * buckets  # whole numbers, as exact as they came
    is_float = histogram.HasField("count_float")
    steps = iter(histogram.positive_counts if is_float else histogram.positive_deltas)
    count: float = 0
    place = 0
    for span in histogram.positive_spans:
        place += span.offset
        if not 0 <= place <= place + span.length <= buckets:
            raise ValueError("a histogram has counts outside its buckets")
        for _ in range(span.length):
            step = next(steps, None)
            if step is None:
                raise ValueError("a histogram has fewer counts than buckets")
            count = step if is_float else count + step
            counts[place] = count
            place += 1
    for number in range(1, buckets):
        counts[number] += counts[number - 1]
    return counts


def _labelled(labels: Pairs) -> TimeSeries:
    series = TimeSeries()
    for name, value in labels:
        series.labels.add(name=name, value=value)
    return series


def family_of(name: str, kind: int) -> str:
    """The family of a sample called `name`, from its metadata's type."""
    for suffix in _SUFFIXES.get(kind, ()):  # type: ignore[call-overload]
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _families_of(name: str) -> Iterator[str]:
    """What the family of a sample may be called, the likeliest first."""
    for suffix in _STEMS:
        if name.endswith(suffix):
            yield name.removesuffix(suffix) if suffix else name
