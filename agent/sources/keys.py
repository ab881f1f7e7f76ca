"""Types of configuration keys that more than one source has."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from agent.plugin import Section


def _ascending(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if not bounds or list(bounds) != sorted(set(bounds)) or not all(0 < bound < float("inf") for bound in bounds):
        raise ValueError("must be finite numbers above 0, each larger than the one before")
    return bounds


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


Bounds = Annotated[tuple[float, ...], AfterValidator(_ascending), Field(max_length=64)]
"""Upper bounds of a histogram's buckets."""
Pattern = Annotated[str, AfterValidator(_pattern), Field(max_length=500)]
"""A regular expression."""


class Rewrite(Section):
    """A regular expression for a whole text, and what replaces it."""

    regex: Pattern = Field(description="what the whole text has to match")
    replacement: str = Field(description="the text instead; \\1 = the first group", max_length=200)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            re.sub(self.regex, self.replacement, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"replacement does not fit regex: {error}") from error
        return self
