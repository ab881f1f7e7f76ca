"""The configuration once it is valid: typed, immutable, with every default and description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agent.plugin import SecretText, Section, SinkOptions, SourceOptions
from agent.relabel.options import Action, AgentLimits, RuleList, Selector
from agent.secret import Secret

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEVELS = {"trace": "debug", "warn": "warning", "fatal": "critical", "panic": "critical"}


def _known_level(value: object) -> object:
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    return _LEVELS.get(word, word)


def _external_labels(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
            raise ValueError(f"{name!r} is not a label name; use letters, digits and _, and do not begin with a digit or __")
        if name in ("job", "instance"):
            raise ValueError(f"{name!r} has a key of its own; set agent.{name}")
    return labels


def _address(value: str) -> str:
    split_address(value)
    return value


def _address_or_none(value: str) -> str:
    return value and _address(value)


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of `host:port`, `[::1]:port` or `:port` (every interface, host ""). Raises ValueError with what to write."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and not bracketed):
        raise ValueError("must be host:port, such as 127.0.0.1:9817 or [::1]:9817")
    return host[1:-1] if bracketed else host, int(port)


class AgentSection(Section):
    """What is sent, how often, and what is kept."""

    job: str = Field(default="cipush", min_length=1, description="the `job` label of every series that has none")
    instance: str = Field(
        default="", description='the `instance` label of every series that has none; "" = host name, kept in the state directory'
    )
    labels: Annotated[dict[str, str], AfterValidator(_external_labels)] = Field(
        default_factory=dict, description="labels for every series that does not have them", examples=[{"site": "berlin"}]
    )
    drop: RuleList[Selector] = Field(
        default=(),
        description="series that are sent to no sink; the rules of `agent` come before each sink's own, and /metrics shows "
        "everything as it was before them",
        examples=[[{"name": "go_.*"}]],
    )
    keep: RuleList[Selector] = Field(default=(), description="the only series that are sent to any sink; empty = all")
    relabel: RuleList[Action] = Field(
        default=(),
        description="changes of labels for every sink, one after the other; after drop and keep",
        examples=[
            [
                {"replace": {"label": "instance", "regex": "(.*):[0-9]+", "replacement": "$1"}},
                {"drop_labels": "pod_.*", "where": {"name": "kube_.*"}},
            ]
        ],
    )
    limits: AgentLimits = Field(
        default_factory=AgentLimits, description="what the labels of a series may be; one beyond is not sent, and counted"
    )
    flush_interval_seconds: float = Field(default=15.0, ge=0.05, le=86400, description="time between two pushes to the sinks")
    heartbeat_seconds: float = Field(
        default=60.0, ge=0, le=86400, description="a series that does not change is sent again after this long"
    )
    max_future_seconds: float = Field(
        default=300.0, ge=0, le=31536000, description="samples further ahead of the clock than this are refused"
    )
    flush_on_event: bool = Field(
        default=False, description="push soon after something was counted, such as a job that ended, not on the interval alone"
    )
    shutdown_grace_seconds: float = Field(
        default=10.0, ge=0, le=3600, description="how long a stop waits for the sinks to take what is left"
    )
    state_dir: str = Field(
        default="auto",
        min_length=1,
        description="where state is kept: a directory, `auto` ($STATE_DIRECTORY, else $XDG_STATE_HOME/cipush) or `none`",
    )


class LogSection(Section):
    """What is logged, and how; always to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_known_level)] = Field(
        default="info", description="least severe level that is logged; `trace` means debug, `fatal` and `panic` mean critical"
    )
    format: Literal["text", "json"] = Field(default="json", description="one JSON object or one line of text per record")


class ServerSection(Section):
    """The agent's own web server."""

    listen_address: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:9817", description="host:port of /metrics, /health and the status page; port 0 takes a free one"
    )
    webhook_listen_address: Annotated[str, AfterValidator(_address_or_none)] = Field(
        default="",
        description="host:port of a listener for webhooks and /health alone, with the same certificates; listen_address then "
        'answers 404 for webhooks; "" = they come in at listen_address',
    )
    tls_cert_file: str = Field(default="", description='PEM certificate chain; with it the server speaks https; "" = http')
    tls_key_file: str = Field(default="", description="PEM private key of tls_cert_file")
    client_ca_file: str = Field(
        default="", description='PEM authorities; clients must show a certificate of one of them; "" = none asked'
    )
    auth_token: SecretText = Field(
        default=Secret(""), description='bearer token asked for everything but /health and the bare state of /ready; "" = none'
    )

    @model_validator(mode="after")
    def _tls_complete(self) -> ServerSection:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("tls_cert_file and tls_key_file belong together; set both or neither")
        if self.client_ca_file and not self.tls_cert_file:
            raise ValueError("client_ca_file needs tls_cert_file and tls_key_file")
        return self


class StoreSection(Section):
    """The limits of what is held in memory."""

    max_series: int = Field(default=1_000_000, ge=1, description="most live series; a full store evicts, then refuses")
    max_bytes: int = Field(default=536_870_912, ge=1_048_576, description="most bytes the store may take")
    max_rss_bytes: int = Field(
        default=0, ge=0, description="resident memory of the process above which max_bytes is lowered; 0 = not looked at"
    )
    default_ttl_seconds: float = Field(
        default=300.0, gt=0, description="silence after which a series ends, where its family says nothing else"
    )


class Core(Section):
    """The sections that are always there."""

    agent: AgentSection = Field(default_factory=AgentSection, description="what is sent, how often, and what is kept")
    log: LogSection = Field(default_factory=LogSection, description="what is logged, and how")
    server: ServerSection = Field(default_factory=ServerSection, description="the agent's own web server")
    store: StoreSection = Field(default_factory=StoreSection, description="the limits of what is held in memory")


@dataclass(frozen=True)
class Config:
    """One valid configuration. Compare sections to see what a reload changes."""

    agent: AgentSection
    log: LogSection
    server: ServerSection
    store: StoreSection
    sinks: Mapping[str, SinkOptions]
    """Name -> the `Options` of the sink's module; `type` is always filled in."""
    sources: Mapping[str, SourceOptions]
    """Name -> the `Options` of the source's module; `type` is always filled in."""


@dataclass(frozen=True)
class Loaded:
    """A configuration and where it came from."""

    config: Config
    origins: Mapping[str, str]
    """Dotted key -> `file:line`, a variable's name or a flag; keys at their default are not in it."""
    files: tuple[Path, ...]
    """Every file that was read, secrets' files too: when one changes, load again."""
