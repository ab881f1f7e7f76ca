"""VictoriaMetrics' JSON lines, `/api/v1/import`: for set-ups where remote-write is closed.

It answers 204 to lines that it drops, and cannot end a series: prefer remote_write.
"""

from __future__ import annotations

import httpx

from agent import model
from agent.model import Form
from agent.net.client import Client
from agent.net.push import rules
from agent.plugin import Context, Policy
from agent.sinks.history import HistoryOptions, PostSink, delivery

PROTOCOL = model.Protocol.IMPORT
ENCODING = model.Encoding.GZIP
STATE = False

LINES = Form(PROTOCOL, ENCODING)
HEADERS = {LINES: {"Content-Type": "application/json"}}


class Options(HistoryOptions):
    """The keys of a vm_import sink."""


def policy(options: Options) -> Policy:
    """How the core delivers to it."""
    return delivery(options, (LINES,), in_any_order=True)


def build(name: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> PostSink:
    """The sink called `name`; raises ConfigError for a file that cannot be used."""
    client = Client(f"sinks.{name}", options, context.user_agent, transport)
    return PostSink(client, HEADERS, rules(options.strict_spec), context.clock)
