"""Prometheus remote-write 1.0: VictoriaMetrics, Prometheus and everything that speaks the protocol."""

from __future__ import annotations

from enum import Enum

import httpx
from pydantic import Field

from agent import model
from agent.net.client import Client
from agent.net.push import rules
from agent.plugin import Context, Policy
from agent.sinks.history import HistoryOptions, PostSink, delivery

PROTOCOL = model.Protocol.REMOTE_WRITE
ENCODING = model.Encoding.SNAPPY
STATE = False

HEADERS = {"Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
"""Beside Content-Encoding and User-Agent (remote-write 1.0 specification, "Protocol")."""
PROMETHEUS_SAMPLE_AGE_SECONDS = 3600.0
"""Prometheus refuses a new series whose samples are older than about half a block (1 h) behind its newest."""


class Receiver(Enum):
    """What stands behind the address."""

    GENERIC = "generic"
    PROMETHEUS = "prometheus"
    VICTORIAMETRICS = "victoriametrics"


class Options(HistoryOptions):
    """The keys of a remote_write sink."""

    receiver: Receiver = Field(
        default=Receiver.GENERIC,
        description="what stands behind the address: generic, prometheus or victoriametrics; "
        "for prometheus max_sample_age_seconds is 3600 unless set",
    )


def policy(options: Options) -> Policy:
    """How the core delivers to it."""
    return delivery(options, PROMETHEUS_SAMPLE_AGE_SECONDS if options.receiver is Receiver.PROMETHEUS else 0.0)


def build(name: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> PostSink:
    """The sink called `name`; raises ConfigError for a file that cannot be used."""
    client = Client(f"sinks.{name}", options, context.user_agent, transport)
    return PostSink(client, HEADERS, rules(options.strict_spec), context.clock)
