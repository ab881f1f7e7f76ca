"""Reading what senders write: remote-write 1.0 and 2.0, import lines and Pushgateway's text.

For the embedded receiver and tests. Strict on purpose: what a real receiver silently mends, reorders or
drops (unsorted labels, an empty value, a bad line) is an error here that says which series or line it is.
Sizes are bounded before anything is unpacked; every function raises `DecodeError` only.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from prometheus_client.parser import text_string_to_metric_families

from agent.model import STALE_NAN_BITS, Encoding, Kind
from agent.wire import convert, remote_write_pb2
from agent.wire.compress import decompress
from agent.wire.remote_write import TYPES
from agent.wire.remote_write2 import CUSTOM_BUCKETS
from agent.wire.remote_write2_pb2 import TimeSeries

MAX_BYTES = 32 << 20
"""Most bytes of one request, packed or unpacked: the limit of VictoriaMetrics' -maxInsertRequestSize."""

MAX_FAMILIES = 10_000
"""Most families of a request, and of a receiver, that are remembered with what they are."""
MAX_TEXT = 1_000
"""Most characters of a help text or a unit that are."""
_MAX_HISTOGRAMS, _MAX_BOUNDS = 100, 200
"""Beyond that a histogram with custom buckets is counted, not shown: its series could fill the memory."""
_WORDS = {number: kind.value for kind, number in TYPES.items()}
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)

Labels = tuple[tuple[str, str], ...]
"""(name, value) pairs with `__name__` among them, sorted by the bytes of the names."""


class Sample(NamedTuple):
    """One sample as it was sent; a staleness marker is a `value` that `is_stale`."""

    labels: Labels
    timestamp_ms: int
    value: float


class Described(NamedTuple):
    """What a sender says a family is."""

    type: str
    """The word of a `# TYPE` line."""
    help: str
    unit: str


class Request(NamedTuple):
    """What a remote-write request held; the counts answer with the `...-Written` headers of 2.0."""

    samples: list[Sample]
    exemplars: int
    histograms: int
    families: dict[str, Described]
    classic: Sequence[Sample] = ()
    """The histograms with custom buckets, as the samples of classic ones."""


class DecodeError(Exception):
    """The body breaks its format's rules; the text says where and how."""


def is_stale(value: float) -> bool:
    """Whether a value is a staleness marker, told by its exact bits."""
    return bool(value != value and struct.pack("<d", value) == struct.pack("<Q", STALE_NAN_BITS))


def unpack(body: bytes, encoding: Encoding, max_bytes: int = MAX_BYTES) -> bytes:
    """A request's body unpacked."""
    try:
        return decompress(body, encoding, max_bytes)
    except ValueError as error:
        raise DecodeError(str(error)) from error


def checked(labels: Sequence[tuple[str, str]]) -> Labels:
    """`labels` if they keep remote-write's rules: sorted, unique, valid names, no empty value, a name."""
    previous = b""
    for name, value in labels:
        key = name.encode()
        if not _LABEL_NAME.fullmatch(name):
            raise DecodeError(f"bad label name {name!r} in {_shown(labels)}")
        if not value:
            raise DecodeError(f"empty value of label {name!r} in {_shown(labels)}")
        if key == previous:
            raise DecodeError(f"label {name!r} twice in {_shown(labels)}")
        if key < previous:
            raise DecodeError(f"label {name!r} is not in the order of bytes in {_shown(labels)}")
        previous = key
    metric = dict(labels).get("__name__", "")
    if not _METRIC_NAME.fullmatch(metric):
        raise DecodeError(f"bad or missing __name__ {metric!r} in {_shown(labels)}")
    return tuple(labels)


def remote_write(message: bytes) -> list[Sample]:
    """The samples of an unpacked remote-write 1.0 `WriteRequest`, in its order."""
    return remote_write1(message).samples


def remote_write1(message: bytes) -> Request:
    """An unpacked remote-write 1.0 `WriteRequest`."""
    request = remote_write_pb2.WriteRequest()
    try:
        request.ParseFromString(message)
    except ProtobufError as error:
        raise DecodeError("not a remote-write 1.0 message") from error
    found: list[Sample] = []
    exemplars = histograms = 0
    for series in request.timeseries:
        labels = checked([(label.name, label.value) for label in series.labels])
        if not series.samples and not series.histograms:
            raise DecodeError(f"no sample in {_shown(labels)}")
        found += _in_order(labels, [(sample.timestamp, sample.value) for sample in series.samples])
        exemplars += len(series.exemplars)
        histograms += len(series.histograms)
    families = {said.metric_family_name: _described(said.type, said.help, said.unit) for said in request.metadata}
    return Request(found, exemplars, histograms, families)


def remote_write2(message: bytes) -> Request:
    """An unpacked remote-write 2.0 `Request`."""
    try:
        request = convert.parsed2(message)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    symbols = list(request.symbols)
    if len(set(symbols)) != len(symbols):
        raise DecodeError("a symbol occurs twice")
    found: list[Sample] = []
    classic: list[Sample] = []
    families: dict[str, Described] = {}
    exemplars = histograms = 0
    for series in request.timeseries:
        texts = [symbols[reference] for reference in series.labels_refs]
        labels = checked(list(zip(texts[::2], texts[1::2], strict=True)))
        if bool(series.samples) == bool(series.histograms):
            raise DecodeError(f"neither or both of samples and histograms in {_shown(labels)}")
        found += _in_order(labels, [(sample.timestamp, sample.value) for sample in series.samples])
        times = [(sample.start_timestamp, sample.timestamp) for sample in series.samples]
        times += [(histogram.start_timestamp, histogram.timestamp) for histogram in series.histograms]
        if any(started > at for started, at in times):
            raise DecodeError(f"a sample that is older than its start in {_shown(labels)}")
        classic += _classic(series, labels)
        exemplars += len(series.exemplars)
        histograms += len(series.histograms)
        if series.HasField("metadata") and len(families) < MAX_FAMILIES:
            said = series.metadata
            family = convert.family_of(dict(labels)["__name__"], said.type)
            families[family] = _described(said.type, symbols[said.help_ref], symbols[said.unit_ref])
    return Request(found, exemplars, histograms, families, classic)


def _classic(series: TimeSeries, labels: Labels) -> list[Sample]:
    try:
        return [
            Sample(tuple((label.name, label.value) for label in made.labels), made.samples[0].timestamp, made.samples[0].value)
            for histogram in series.histograms[:_MAX_HISTOGRAMS]
            if len(histogram.custom_values) <= _MAX_BOUNDS and histogram.schema == CUSTOM_BUCKETS
            for made in convert.classic(histogram, list(labels))
        ]
    except ValueError as error:
        raise DecodeError(f"{error}: {_shown(labels)}") from error


def _described(kind: int, help: str, unit: str) -> Described:
    return Described(_WORDS.get(kind, Kind.UNKNOWN.value), help[:MAX_TEXT], unit[:MAX_TEXT])


def import_lines(body: bytes) -> list[Sample]:
    """The samples of `/api/v1/import` JSON lines; labels may come in any order there."""
    found: list[Sample] = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found += _import_line(line)
        except (ValueError, OverflowError, RecursionError, DecodeError) as error:
            raise DecodeError(f"line {number}: {error}") from error
    return found


def text(body: bytes) -> Iterator[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of every sample of a pushed text body, as Pushgateway demands it: no timestamps."""
    if body and not body.endswith(b"\n"):
        raise DecodeError("the last line does not end in a newline")
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    try:
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                if sample.timestamp is not None:
                    raise DecodeError(f"pushed metrics must not have timestamps: {sample.name}")
                if key in seen:
                    raise DecodeError(f"pushed twice: {sample.name} {sample.labels}")
                seen.add(key)
                yield sample.name, sample.labels, sample.value
    except (ValueError, IndexError, KeyError) as error:
        raise DecodeError(f"not the text format: {error}") from error


def _import_line(line: bytes) -> list[Sample]:
    found = json.loads(line, parse_constant=_refuse_constant)
    if not isinstance(found, dict) or set(found) != {"metric", "values", "timestamps"}:
        raise DecodeError("is not an object of metric, values and timestamps")
    metric, values, times = found["metric"], found["values"], found["timestamps"]
    if not isinstance(metric, dict) or not all(isinstance(value, str) for value in metric.values()):
        raise DecodeError("metric is not an object of texts")
    if not isinstance(values, list) or not isinstance(times, list) or len(values) != len(times) or not values:
        raise DecodeError("values and timestamps are not lists of the same length")
    if any(type(value) not in (int, float) for value in values) or any(type(time) is not int for time in times):
        raise DecodeError("values are not numbers or timestamps are not whole milliseconds")
    if not all(math.isfinite(value) for value in values):
        raise DecodeError("a value is too large for a float")
    # Encoding finds lone surrogates, which JSON can spell and UTF-8 cannot.
    labels = checked(sorted(metric.items(), key=lambda pair: (pair[0].encode(), pair[1].encode())))
    return [Sample(labels, time, float(value)) for time, value in zip(times, values, strict=True)]


def _refuse_constant(name: str) -> float:
    raise DecodeError(f"{name} is no JSON value; VictoriaMetrics drops such a line")


def _in_order(labels: Labels, points: list[tuple[int, float]]) -> list[Sample]:
    if any(earlier[0] >= later[0] for earlier, later in itertools.pairwise(points)):
        raise DecodeError(f"samples not in the order of time in {_shown(labels)}")
    return [Sample(labels, time, value) for time, value in points]


def _shown(labels: Sequence[tuple[str, str]]) -> str:
    return repr(list(labels))[:200]
