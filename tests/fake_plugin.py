"""A source for tests of the configuration, with a key of every shape."""

from __future__ import annotations

from pydantic import Field

from agent.plugin import SecretText, Section, SourceOptions
from agent.secret import Secret


class Target(Section):
    url: str = Field(description="where")
    token: SecretText = Field(default=Secret(""), description="secret")


class Options(SourceOptions):
    targets: tuple[Target, ...] = Field(default=(), description="what to ask")
    ratio: float = Field(default=1.0, description="any number")
    words: list[str] = Field(default_factory=list, description="some words")
    nested: Target | None = Field(default=None, description="one of them")
