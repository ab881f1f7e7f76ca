"""Any Prometheus or OpenMetrics endpoint, scraped on an interval; every target is a poller of its own."""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlsplit

import httpx
from pydantic import Field, field_validator, model_validator

from agent.model import Poller
from agent.net.client import Client, TransportOptions
from agent.plugin import Context, SourceOptions
from agent.sources.scrape.naming import Naming
from agent.sources.scrape.target import FAMILIES, Target

__all__ = ["FAMILIES", "Options", "Scrape", "TargetOptions", "build"]

_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_PORTS = {"http": 80, "https": 443}
_READING_SECONDS = 60.0
"""Patience of the core beyond a target's own timeout, for reading what has arrived."""


class TargetOptions(TransportOptions):
    """One address to scrape, with the keys of everything that speaks HTTP."""

    job: str = Field("", description="label job of everything scraped here; empty = the name of the source")
    instance: str = Field("", description="label instance; empty = host:port of the url")
    labels: dict[str, str] = Field(default_factory=dict, description="more labels for everything scraped here")
    honor_labels: bool = Field(
        False, description="where a scraped label is called like one of the target's: keep the scraped one, rename nothing"
    )
    timeout_seconds: float = Field(10.0, gt=0, le=3600, description="longest time for one answer; never more than the interval")
    max_bytes: int = Field(64 << 20, gt=0, description="longest answer, unpacked; a longer one fails the scrape")
    max_samples: int = Field(0, ge=0, description="most samples; more fail the scrape; 0 = no limit")

    @field_validator("labels")
    @classmethod
    def _names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not _LABEL_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a label")
            if name in ("job", "instance"):
                raise ValueError(f"set {name} beside labels, not in it")
        return labels

    def identity(self, source: str) -> dict[str, str]:
        """The target's labels; what is empty is left out."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        instance = self.instance or f"{host}:{parts.port or _PORTS[parts.scheme]}"
        labels = {"job": self.job or source, "instance": instance} | self.labels
        return {name: value for name, value in labels.items() if value}


class Options(SourceOptions):
    """Keys of the `scrape` source."""

    interval_seconds: float = Field(15.0, gt=0, description="seconds between two scrapes of a target")
    targets: list[TargetOptions] = Field(min_length=1, description="what to scrape")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: dict[tuple[tuple[str, str], ...], int] = {}
        for number, target in enumerate(self.targets):
            key = tuple(sorted(target.identity("").items()))
            if key in seen:
                raise ValueError(
                    f"targets {seen[key]} and {number} have the same job, instance and labels: "
                    "their series would be the same; give one of them another instance"
                )
            seen[key] = number
        return self


class Scrape:
    """The targets of one source."""

    def __init__(self, targets: dict[str, Target], options: Options) -> None:
        self._targets = targets
        self._options = options

    def pollers(self) -> tuple[Poller, ...]:
        """One per target, so that a slow one delays no other."""
        interval = self._options.interval_seconds
        return tuple(
            Poller(name, interval, target.collect, min(options.timeout_seconds, interval) + _READING_SECONDS)
            for (name, target), options in zip(self._targets.items(), self._options.targets, strict=True)
        )

    async def aclose(self) -> None:
        """Close every connection."""
        for target in self._targets.values():
            await target.aclose()


def build(name: str, options: Options, context: Context, transport: httpx.AsyncBaseTransport | None = None) -> Scrape:
    """Make the source; `transport` replaces the network in tests. Raises ConfigError for unusable files."""
    targets: dict[str, Target] = {}
    for number, target in enumerate(options.targets):
        labels = target.identity(name)
        poller = f"{labels['job']}/{labels['instance']}"
        while poller in targets:
            poller += f"#{number}"
        targets[poller] = Target(
            f"{name}/{poller}",
            Client(f"sources.{name}.targets.{number}", target, context.user_agent, transport),
            Naming(labels, target.honor_labels),
            min(target.timeout_seconds, options.interval_seconds),
            target.max_bytes,
            target.max_samples,
            context.clock,
        )
    return Scrape(targets, options)
