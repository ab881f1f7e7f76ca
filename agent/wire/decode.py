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

from agent.model import STALE_NAN_BITS, Encoding
from agent.wire import remote_write2_pb2, remote_write_pb2
from agent.wire.compress import decompress

MAX_BYTES = 32 << 20
"""Most bytes of one request, packed or unpacked: the limit of VictoriaMetrics' -maxInsertRequestSize."""

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)

Labels = tuple[tuple[str, str], ...]
"""(name, value) pairs with `__name__` among them, sorted by the bytes of the names."""


class Sample(NamedTuple):
    """One sample as it was sent; a staleness marker is a `value` that `is_stale`."""

    labels: Labels
    timestamp_ms: int
    value: float


class Request2(NamedTuple):
    """What a remote-write 2.0 request held; the counts answer with the `...-Written` headers."""

    samples: list[Sample]
    exemplars: int
    histograms: int


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
    request = remote_write_pb2.WriteRequest()
    try:
        request.ParseFromString(message)
    except ProtobufError as error:
        raise DecodeError("not a remote-write 1.0 message") from error
    found: list[Sample] = []
    for series in request.timeseries:
        labels = checked([(label.name, label.value) for label in series.labels])
        if not series.samples and not series.histograms:
            raise DecodeError(f"no sample in {_shown(labels)}")
        found += _in_order(labels, [(sample.timestamp, sample.value) for sample in series.samples])
    return found


def remote_write2(message: bytes) -> Request2:
    """The samples of an unpacked remote-write 2.0 `Request`, in its order."""
    request = remote_write2_pb2.Request()
    try:
        request.ParseFromString(message)
    except ProtobufError as error:
        raise DecodeError("not a remote-write 2.0 message") from error
    symbols = list(request.symbols)
    if not symbols or symbols[0] != "":
        raise DecodeError("symbols[0] is not the empty string")
    if len(set(symbols)) != len(symbols):
        raise DecodeError("a symbol occurs twice")
    found: list[Sample] = []
    exemplars = histograms = 0
    for series in request.timeseries:
        labels = checked(_resolved(symbols, list(series.labels_refs)))
        if bool(series.samples) == bool(series.histograms):
            raise DecodeError(f"neither or both of samples and histograms in {_shown(labels)}")
        _resolved(symbols, [series.metadata.help_ref, series.metadata.unit_ref])
        found += _in_order(labels, [(sample.timestamp, sample.value) for sample in series.samples])
        exemplars += len(series.exemplars)
        histograms += len(series.histograms)
    return Request2(found, exemplars, histograms)


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


def _resolved(symbols: list[str], refs: list[int]) -> list[tuple[str, str]]:
    if len(refs) % 2 or any(ref >= len(symbols) for ref in refs):
        raise DecodeError("a reference points outside the symbols, or labels are not pairs")
    return [(symbols[refs[i]], symbols[refs[i + 1]]) for i in range(0, len(refs), 2)]


def _shown(labels: Sequence[tuple[str, str]]) -> str:
    return repr(list(labels))[:200]
