"""What the embedded receiver keeps: the last samples of every series, within hard limits."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agent.model import STALE_NAN_BITS
from agent.sim.selector import Matcher, matches
from agent.wire.decode import MAX_FAMILIES, Described, Labels, Sample, is_stale

STALE: float = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
"""A staleness marker as a float; moved around untouched it keeps its bits."""

LOOKBACK_MS = 300_000
"""How old a sample may be and still count as present: Prometheus' default lookback."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is kept. Past `series` or `label_bytes` new series are refused and counted; past
    `samples` the older half of every series is forgotten."""

    series: int = 100_000
    samples: int = 2_000_000
    label_bytes: int = 64 << 20


class Received:
    """Series by their labels; each a list of (milliseconds, value) in the order of arrival.

    The totals count everything ever accepted, the limits bound what is kept.
    """

    def __init__(self, limits: Limits = Limits()) -> None:
        self.series: dict[Labels, list[tuple[int, float]]] = {}
        self.families: dict[str, Described] = {}
        """What families are, as far as senders said; the first so many."""
        self.samples = 0
        """Samples accepted so far, staleness markers among them."""
        self.stale_markers = 0
        self.repeated = 0
        """Samples whose time the series held already as its newest: a retry, or a bug of the sender."""
        self.late = 0
        """Samples older than the newest of their series."""
        self.refused = 0
        """Samples of new series for which there was no room."""
        self.newest_ms = 0
        self._limits = limits
        self._held = 0
        self._label_bytes = 0
        self._groups: dict[Labels, set[Labels]] = {}

    def add(self, samples: Iterable[Sample]) -> int:
        """Keep the samples; how many were accepted."""
        before = self.samples
        for labels, time, value in samples:
            points = self.series.get(labels)
            if points is None:
                points = self._born(labels)
                if points is None:
                    self.refused += 1
                    continue
            self._append(points, time, value)
        return self.samples - before

    def describe(self, families: Mapping[str, Described]) -> None:
        """Keep what families are; the newest word holds."""
        for name, said in families.items():
            if name in self.families or len(self.families) < MAX_FAMILIES:
                self.families[name] = said

    def select(self, matchers: tuple[Matcher, ...]) -> Iterator[tuple[Labels, list[tuple[int, float]]]]:
        """The series the selector means; no matchers mean all."""
        for labels, points in self.series.items():
            if matches(matchers, dict(labels)):
                yield labels, points

    def put(self, group: Labels, pushed: Mapping[Labels, float], now_ms: int) -> None:
        """Replace a Pushgateway group: what is not in `pushed` any more ends with a staleness marker."""
        self._end(self._groups.get(group, set()) - pushed.keys(), now_ms)
        self._groups[group] = self._push(pushed, now_ms)

    def post(self, group: Labels, pushed: Mapping[Labels, float], now_ms: int) -> None:
        """Replace the metrics of a Pushgateway group that have the same names as the pushed ones."""
        members = self._groups.get(group, set())
        names = {dict(labels)["__name__"] for labels in pushed}
        gone = {labels for labels in members if dict(labels)["__name__"] in names} - pushed.keys()
        self._end(gone, now_ms)
        self._groups[group] = (members - gone) | self._push(pushed, now_ms)

    def delete(self, group: Labels, now_ms: int) -> None:
        """Forget a Pushgateway group; an unknown one is fine."""
        self._end(self._groups.pop(group, set()), now_ms)

    def _push(self, pushed: Mapping[Labels, float], now_ms: int) -> set[Labels]:
        self.add(Sample(labels, self._after_last(labels, now_ms), value) for labels, value in pushed.items())
        return self.series.keys() & pushed.keys()

    def _end(self, gone: Iterable[Labels], now_ms: int) -> None:
        self.add(Sample(labels, self._after_last(labels, now_ms), STALE) for labels in gone if labels in self.series)

    def _after_last(self, labels: Labels, now_ms: int) -> int:
        points = self.series.get(labels)
        return max(now_ms, points[-1][0] + 1) if points else now_ms

    def _born(self, labels: Labels) -> list[tuple[int, float]] | None:
        size = sum(len(name) + len(value) for name, value in labels)
        if len(self.series) >= self._limits.series or self._label_bytes + size > self._limits.label_bytes:
            return None
        self._label_bytes += size
        points: list[tuple[int, float]] = []
        self.series[labels] = points
        return points

    def _append(self, points: list[tuple[int, float]], time: int, value: float) -> None:
        if points and time <= points[-1][0]:
            if time == points[-1][0]:
                self.repeated += 1
            else:
                self.late += 1
        points.append((time, value))
        self.samples += 1
        self.newest_ms = max(self.newest_ms, time)
        if value != value and is_stale(value):
            self.stale_markers += 1
        self._held += 1
        # Twice the series: with one sample each there is no older half, and every append would sweep.
        if self._held > max(self._limits.samples, 2 * len(self.series)):
            self._forget_half()

    def _forget_half(self) -> None:
        for points in self.series.values():
            del points[: len(points) // 2]
        self._held = sum(map(len, self.series.values()))
