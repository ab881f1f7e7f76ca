"""The vocabulary every layer shares: what sources return and what sinks are handed.

Everything here is immutable data. Times are seconds since the epoch as floats where a source speaks
(`at`), and integer milliseconds where the wire does (`*_ms`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

STALE_NAN_BITS = 0x7FF0000000000002
"""The staleness marker's exact bits (remote-write 1.0 specification, "Stale Markers")."""


class Kind(Enum):
    """What a family measures; the value is the word used in `# TYPE` lines."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    UNKNOWN = "unknown"
    INFO = "info"
    STATESET = "stateset"
    GAUGEHISTOGRAM = "gaugehistogram"


class Priority(IntEnum):
    """Eviction order: lower values leave a full store first, `PINNED` never leaves."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    PINNED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric family: a name and the label names all its series have.

    Compared and hashed by identity: declare it once, beside the code that sets it. For scraped data a
    family is one sample name with one set of label names, and `exposition_name` is the family that the
    target announced (`http_seconds` for `http_seconds_bucket`).
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    """Labels whose values come from outside and have no end. Where a source or project is over its cap, counters and
    histograms fold over them, and gauges are left out."""
    ttl_seconds: float | None = None
    """Silence after which a series ends; None = the store's default."""
    priority: Priority = Priority.NORMAL
    buckets: tuple[float, ...] = ()
    """Ascending finite upper bounds of a histogram row; () = every row is one scalar sample."""
    constants: tuple[tuple[str, str], ...] = ()
    """(name, value) labels that every series of the family has, such as a scrape target's job."""
    exposition_name: str = ""
    project: str = ""
    """The label that says which project a series is of, for caps on each; "" = of none."""


class Update(NamedTuple):
    """A new value of one series, replacing the old one.

    `value` is a float, or for a histogram row the cumulative counts of each bucket, then the count of
    all observations (the +Inf bucket), then their sum: `len(family.buckets) + 2` floats.
    `labels` holds one value per name in `family.labels`; "" means the label is absent.
    """

    family: Family
    labels: tuple[str, ...]
    value: float | Sequence[float]
    at: float
    """The source's own time, seconds; orders the updates of one series and nothing else."""
    scope: str = ""
    """What this series was reported as a part of: a scrape target, a collector x project."""


class Increment(NamedTuple):
    """What one observation adds to one series: to a counter `value`, to a histogram one observation of `value`."""

    family: Family
    labels: tuple[str, ...]
    """One value per name in `family.labels`, as in an `Update`."""
    value: float


class Event(NamedTuple):
    """One sample with a time of its own, sent once, beside the series of the store: not in `/metrics`."""

    family: Family
    labels: tuple[str, ...]
    value: float
    at: float
    """Seconds since the epoch, by the source's clock."""
    exemplar: tuple[tuple[str, str], ...] = ()
    """Labels of its exemplar, such as the run's id; receivers that know no exemplars get the sample alone."""


class Observation(NamedTuple):
    """Something that happened once, such as a job that ended. It counts once, whoever reports it and how often."""

    key: str
    """Says what it is, for good: `github:github.com:job:123`. One that the ledger has seen is left out whole."""
    increments: tuple[Increment, ...]
    events: tuple[Event, ...] = ()


class Note(NamedTuple):
    """What a source has to know again after a restart, kept beside its observations."""

    key: str
    value: str | None
    """None = forget it."""


class Delivery(NamedTuple):
    """One webhook request, as it came in."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    received: float
    """Seconds since the epoch, by the agent's clock."""


class Exemplar(NamedTuple):
    """One observation behind a counter or a bucket, such as the trace of a request."""

    labels: tuple[tuple[str, str], ...]
    value: float
    timestamp_ms: int


class Exemplified(NamedTuple):
    """A series of a collect, and its newest exemplar."""

    family: Family
    labels: tuple[str, ...]
    exemplar: Exemplar


@dataclass(frozen=True, slots=True)
class Collected:
    """What one collect or one delivery brought."""

    updates: Sequence[Update] = ()
    complete: Sequence[str] = ()
    """Scopes reported whole: their series that are not in `updates` end at the next flush."""
    unchanged: Sequence[str] = ()
    """Scopes confirmed without listing: all their series count as updated now."""
    observations: Sequence[Observation] = ()
    """What happened, kept in the ledger together with `notes` and, of a durable poller, `cursor`: all or nothing."""
    notes: Sequence[Note] = ()
    cursor: object = None
    """Handed to the next collect; a collect that gets None lists everything."""
    group: str = ""
    """"" = flushed on the interval; else the group that is flushed at once when this is applied."""
    group_at: float = 0.0
    """The sample time of that flush, seconds since the epoch (the start of the scrape)."""
    started: float = 0.0
    """Since when its counters and histograms count, seconds since the epoch: when the agent, the machine or the
    target began; 0 = not known. The newest word holds for the whole source and flush group."""
    exemplars: Sequence[Exemplified] = ()
    """Beside the updates, for few series have one. One that the store has already is not new."""
    problem: str = ""
    """What people should know though the collect succeeded, such as why a target is down; status pages show it."""
    again: bool = False
    """There is more to be had at once: the next collect does not wait for its turn."""
    wake: Sequence[str] = ()
    """Of a delivery: names of the source's pollers that should collect soon, for there is something new for them."""


Collect = Callable[[object], Awaitable[Collected]]


@dataclass(frozen=True, slots=True)
class Poller:
    """One thing to call on an interval; the core owns the loop, the timeout and the error handling."""

    name: str
    interval_seconds: float
    collect: Collect
    timeout_seconds: float = 0.0
    """0 = the interval."""
    durable: bool = False
    """Whether its cursor, a text then, outlives the agent. None is handed to its very first collect only, and means
    "from now on"."""


class Encoding(Enum):
    """Content-Encoding of a block's payload."""

    IDENTITY = "identity"
    SNAPPY = "snappy"
    GZIP = "gzip"
    ZSTD = "zstd"


class Protocol(Enum):
    """What a view renders and a sink speaks."""

    REMOTE_WRITE = "remote_write"
    REMOTE_WRITE_2 = "remote_write_2"
    IMPORT = "import"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Block:
    """One finished request body. A retry sends these bytes again, unchanged."""

    payload: bytes
    protocol: Protocol
    encoding: Encoding
    samples: int
    timestamp_ms: int
    """The newest sample time inside."""
    created: float
    """When it was rendered, seconds since the epoch by the agent's clock."""
    flush: int = 0
    """Number of the flush it was rendered in, counted from 1 since the agent started; 0 = in an earlier life of it."""
    group: int = 0
    """CRC-32 of the flush group's name, 0 for the interval's. Two blocks of one group and different times may hold
    the same series; those of one group and one time never do."""
    events: bool = False
    """Whether it holds events: a full queue drops them last."""


class Form(NamedTuple):
    """How a request body is written."""

    protocol: Protocol
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole present state for sinks that keep only that: one text body per (job, instance)."""

    bodies: tuple[tuple[tuple[str, str], bytes], ...]
    """((job, instance), Prometheus text 0.0.4 without timestamps), sorted."""
    samples: int
    timestamp_ms: int
    created: float


SKEW_SECONDS = 600.0
"""A receiver's clock that is further off ours is warned about: it judges by it what is too old or too new."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver has it (2xx)."""

    code: str = "200"
    date: float | None = None
    """The receiver's `Date` header, seconds since the epoch; feeds the skew gauge."""
    requests: int = 1
    written: int | None = None
    """How many samples the receiver says it stored; None = it did not say."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the same bytes again later. `after` is the receiver's Retry-After in seconds."""

    code: str
    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The receiver will never take it as it is: the good part may be saved, the rest is dropped and counted."""

    code: str
    reason: str
    written: int | None = None
    """How many samples the receiver says it stored all the same; None = it did not say, so nothing."""


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Address or rights are wrong: keep everything and probe slowly."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Send it in halves (413)."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The receiver does not understand this form of the block: send it in the next simpler one."""

    code: str
    reason: str


Outcome = Accepted | Retry | Rejected | Misconfigured | TooLarge | Unsupported
"""What a send came to. `code` is the HTTP status, or a word for what happened before one:
`timeout`, `connect`, `dns`, `protocol`, `tls`."""
