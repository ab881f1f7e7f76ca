"""Prometheus remote-write 1.0 and 2.0: VictoriaMetrics, Prometheus and everything that speaks the protocol."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Self

import httpx
from pydantic import Field, model_validator

from agent import model
from agent.model import Form
from agent.net.client import Client
from agent.net.push import rules
from agent.plugin import Context, Policy
from agent.sinks.history import HistoryOptions, PostSink, delivery

PROTOCOL = model.Protocol.REMOTE_WRITE
ENCODING = model.Encoding.SNAPPY
STATE = False

PLAIN = Form(model.Protocol.REMOTE_WRITE, model.Encoding.SNAPPY)
ZSTD = Form(model.Protocol.REMOTE_WRITE, model.Encoding.ZSTD)
V2 = Form(model.Protocol.REMOTE_WRITE_2, model.Encoding.SNAPPY)
HEADERS = {
    V2: {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
    ZSTD: {
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
        "X-VictoriaMetrics-Remote-Write-Version": "1",
    },
    PLAIN: {"Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"},
}
"""Beside Content-Encoding and User-Agent (remote-write 1.0 and 2.0 specifications, "Protocol"; VictoriaMetrics'
"VictoriaMetrics remote write protocol"). The last form is the one that everybody understands."""
PROMETHEUS_SAMPLE_AGE_SECONDS = 3600.0
"""Prometheus refuses a new series whose samples are older than about half a block (1 h) behind its newest."""


class Receiver(Enum):
    """What stands behind the address."""

    GENERIC = "generic"
    PROMETHEUS = "prometheus"
    VICTORIAMETRICS = "victoriametrics"


class Version(Enum):
    """Of the protocol."""

    V1 = "v1"
    V2 = "v2"


class Options(HistoryOptions):
    """The keys of a remote_write sink."""

    receiver: Receiver = Field(
        default=Receiver.GENERIC,
        description="what stands behind the address: generic, prometheus (max_sample_age_seconds is 3600 unless set) or "
        "victoriametrics (zstd where it is understood, 4 requests at once, fresh samples before a backlog)",
    )
    protocol: Version = Field(
        default=Version.V1,
        description="v1, or v2: remote-write 2.0, which falls back to 1.0 where the receiver does not understand it",
    )
    native_histograms: bool = Field(
        default=False, description="with protocol v2: send histograms as native ones with custom buckets"
    )

    @model_validator(mode="after")
    def _native_needs_v2(self) -> Self:
        if self.native_histograms and self.protocol is Version.V1:
            raise ValueError("native_histograms needs protocol: v2")
        return self


def policy(options: Options) -> Policy:
    """How the core delivers to it."""
    is_victoria = options.receiver is Receiver.VICTORIAMETRICS
    best = (V2,) if options.protocol is Version.V2 else (ZSTD,) if is_victoria else ()
    age = PROMETHEUS_SAMPLE_AGE_SECONDS if options.receiver is Receiver.PROMETHEUS else 0.0
    found = delivery(options, (*best, PLAIN), max_sample_age_seconds=age, in_any_order=is_victoria)
    return replace(found, native_histograms=options.native_histograms)


def build(name: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> PostSink:
    """The sink called `name`; raises ConfigError for a file that cannot be used."""
    client = Client(f"sinks.{name}", options, context.user_agent, transport)
    return PostSink(client, HEADERS, rules(options.strict_spec), context.clock)
