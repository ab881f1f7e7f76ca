"""What makes a module a source or a sink, and how the core finds it.

A plugin is a module named in `SOURCES` or `SINKS` that defines

- `Options`: the keys its configuration section takes, a subclass of `SourceOptions` or `SinkOptions`;
- `build(name, options, context)`: makes the plugin; offline, raises ConfigError only;
- `FAMILIES`: for a source, every family it may set;
- `PROTOCOL`, `ENCODING`, `STATE` and `policy(options)`: for a sink, what it speaks, whether it keeps only the
  present state, and how the core delivers to it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from agent.model import Family, Form
from agent.relabel.options import Action, RuleList, Selector, SinkLimits
from agent.secret import Secret


def _to_secret(value: object) -> object:
    if isinstance(value, str):
        return Secret(value)
    if isinstance(value, Secret):
        return value
    raise ValueError("must be text (quote it)")


SecretText = Annotated[
    Secret,
    BeforeValidator(_to_secret),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "writeOnly": True}),
]
"""A configuration value that is never printed."""


def _label_name(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__") or name == "le":
        raise ValueError(f"{name!r} is no name for a label; use letters, digits and _, not le and not __ at its beginning")
    return name


LabelName = Annotated[str, AfterValidator(_label_name)]
"""A label that a configuration may name."""


class Section(BaseModel):
    """A section of the configuration: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class SourceOptions(Section):
    """The keys every source takes."""

    type: str = Field("", description="which kind of source; may be left out where it equals the name")
    metric_prefix: str = Field(
        "", description="put in front of every metric name of this source", pattern=r"^([a-zA-Z_:][a-zA-Z0-9_:]*)?$"
    )
    custom_labels: dict[LabelName, str] = Field(default_factory=dict, description="labels added to every series of this source")
    max_series: int = Field(0, ge=0, description="most live series of this source; 0 = only the store's limit")


MAX_CUSTOM_LABELS = 16
"""Of a source that counts: the ledger keeps them with every series."""


class CountingOptions(SourceOptions):
    """The keys of a source that counts what happens in projects."""

    custom_labels: dict[LabelName, str] = Field(
        default_factory=dict, max_length=MAX_CUSTOM_LABELS, description="labels added to every series of this source"
    )
    max_series_per_project: int = Field(
        0,
        ge=0,
        description="most live series of one project that name refs, jobs, environments and the like; 0 = no limit; beyond it "
        "counts are under `overflow`, and gauges are left out",
    )


def alike(one: str, its: SourceOptions, other: str, others: SourceOptions) -> str:
    """What two sources of these names and options get in each other's way with; "" = nothing."""
    if not isinstance(its, CountingOptions) or not isinstance(others, CountingOptions) or its.type != others.type:
        return ""
    if _address(its) == _address(others):
        return f"sources {one} and {other} read the same instance: what both of them see counts in one of them only"
    if (its.metric_prefix, its.custom_labels) == (others.metric_prefix, others.custom_labels):
        words = "what they say of themselves, and of two projects of the same name, is sent of one of them only"
        return f"sources {one} and {other} name their series alike: {words}; give one of them custom_labels"
    return ""


def _address(options: CountingOptions) -> str:
    """Where a source asks, however it is written."""
    return str(getattr(options, "url", "")).rstrip("/").lower()


def _network(text: str) -> str:
    return str(ip_network(text))  # its ValueError says what is wrong


Network = Annotated[str, AfterValidator(_network)]
"""An IP network such as 192.0.2.0/24."""


class WebhookOptions(Section):
    """What every source that takes deliveries is told about who sends them."""

    trusted_proxies: list[Network] = Field(
        default_factory=list, description="networks of reverse proxies whose X-Forwarded-For is believed"
    )
    max_per_second: float = Field(
        default=0.0, ge=0, description="requests a second, signed or not, on average; 0 = no limit; name the allowed networks too"
    )


class SinkOptions(Section):
    """The keys every sink takes."""

    type: str = Field("", description="which kind of sink; may be left out where it equals the name")
    extra_labels: dict[str, str] = Field(default_factory=dict, description="labels added to every series sent to this sink")
    drop: RuleList[Selector] = Field(default=(), description="series that are not sent to this sink")
    keep: RuleList[Selector] = Field(default=(), description="the only series that are sent to this sink; empty = all")
    relabel: RuleList[Action] = Field(
        default=(), description="changes of labels, one after the other, when a series is first sent; after drop and keep"
    )
    limits: SinkLimits = Field(
        default_factory=SinkLimits, description="what the labels of a series may be; one beyond is not sent, and counted"
    )


Samples = Callable[[], Iterable[tuple[Family, tuple[str, ...], float | list[float]]]]
"""Everything the agent knows about itself: (family, label values, a value or the live cells of a histogram)."""


def no_samples() -> Iterable[tuple[Family, tuple[str, ...], float | list[float]]]:
    """Of an agent that measures nothing about itself: a check, a dry build."""
    return ()


def no_notes(_source: str) -> Mapping[str, str]:
    """Of an agent without a ledger."""
    return {}


@dataclass(frozen=True, slots=True)
class Context:
    """What a plugin may use of the agent around it."""

    clock: Callable[[], float]
    """Seconds since the epoch."""
    job: str
    instance: str
    user_agent: str
    samples: Samples = no_samples
    """What the `internal` source publishes: `SelfMonitor.samples`."""
    recall: Callable[[str], Mapping[str, str]] = no_notes
    """The notes of the source of that name, as they are in the ledger; for a source that has begun to run."""
    state_dir: Path | None = None
    """Where a plugin may keep files, below a folder of its own; None = in memory only."""


class Fsync(Enum):
    """When a waiting block is put on disk, safe from a crash of the machine."""

    INTERVAL = "interval"
    """Once it has waited for `fsync_interval_seconds`."""
    ALWAYS = "always"
    """Before it is first sent."""
    NEVER = "never"
    """It is written after the same time, and the kernel decides when that reaches the disk."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How the core delivers to one sink."""

    timeout_seconds: float = 30.0
    """Longest time for one send."""
    max_sample_age_seconds: float = 0.0
    """A block whose newest sample is older is dropped instead of sent; 0 = no limit."""
    max_retry_age_seconds: float = 0.0
    """A block rendered longer ago is dropped instead of sent; 0 = no limit."""
    max_in_flight: int = 1
    """Requests at one time. Only a receiver that takes samples in any order may have more than one."""
    fresh_first: bool = False
    """Whether what is new goes before a backlog that drains."""
    forms: tuple[Form, ...] = ()
    """How blocks may be written for it, the best first; the lane falls back to the next when one is not understood."""
    native_histograms: bool = False
    """Whether histogram rows are sent as native histograms, in a form that has them."""
    strict_spec: bool = False
    """A refused block is dropped whole, as the remote-write specifications ask."""
    rate_limit_bytes_per_second: float = 0.0
    """Bodies sent, on average; 0 = no limit."""
    queue_max_bytes: int = 1 << 30
    """What may wait; beyond it the oldest leaves. A state sink's slot holds one snapshot whatever its size."""
    fsync: Fsync = Fsync.INTERVAL
    fsync_interval_seconds: float = 1.0


def load(registry: Mapping[str, str], kind: str) -> ModuleType:
    """The module registered as `kind`; imported on first use, so that unused plugins cost nothing.

    Raises KeyError for an unregistered kind.
    """
    return importlib.import_module(registry[kind])


def options_of(registry: Mapping[str, str], kind: str) -> type[Any]:
    """The `Options` model of a registered kind."""
    options: type[Any] = load(registry, kind).Options
    return options
