"""The configuration keys of the rules, and how they become `Rules`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent.relabel.pattern import pattern
from agent.relabel.rules import NAME, Add, DropLabels, LabelLimits, Match, Rename, Replace, Rules, Step

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<word>\w+)|\{(?P<braced>\w+)\}|(?P<other>.|\Z))", re.ASCII | re.DOTALL)
MAX_ENTRIES = 200
"""Of one list: every birth of a series goes through all of them."""


def _regex(text: str) -> str:
    pattern(text)
    return text


def _label(name: str, *, metric: bool = False) -> str:
    if metric and name == NAME:
        return name
    if not _LABEL.fullmatch(name) or name.startswith("__"):
        named = f", or {NAME} for the metric name" if metric else ""
        raise ValueError(f"{name!r} is not a label name: use letters, digits and _, and do not begin with a digit or __{named}")
    return name


def _labels(pairs: dict[str, str]) -> dict[str, str]:
    for name in pairs:
        _label(name)
    return pairs


def _names(pairs: dict[str, str]) -> dict[str, str]:
    for name in (*pairs, *pairs.values()):
        _label(name)
    if len(set(pairs.values())) < len(pairs):
        raise ValueError("two labels get the same name")
    return pairs


def _patterns(pairs: dict[str, str]) -> dict[str, str]:
    for name, text in pairs.items():
        if name == NAME:
            raise ValueError(f"write `name` in place of {NAME}")
        _label(name)
        try:
            pattern(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return pairs


Regex = Annotated[str, AfterValidator(_regex)]
AnyLabel = Annotated[str, AfterValidator(lambda name: _label(name, metric=True))]


class _Keys(BaseModel):
    """A section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Selector(_Keys):
    """Selects series by name and labels."""

    name: Regex | None = Field(default=None, description="regular expression that the whole metric name matches")
    labels: Annotated[dict[str, str], AfterValidator(_patterns)] = Field(
        default_factory=dict, description='label: regular expression that its whole value matches; an absent label is ""'
    )

    @model_validator(mode="after")
    def _says_something(self) -> Selector:
        if self.name is None and not self.labels:
            raise ValueError("says nothing: give a name, labels or both")
        return self

    def compiled(self) -> Match:
        """As it is applied."""
        name = None if self.name is None else pattern(self.name)
        return Match(name, tuple((label, pattern(text)) for label, text in self.labels.items()))


class Replacement(_Keys):
    """Writes a label from a value that matches."""

    label: AnyLabel = Field(description="label whose value is read; `__name__` is the metric name")
    regex: Regex = Field(description="regular expression that the whole value must match; else nothing happens")
    replacement: str = Field(
        max_length=1024, description="the new value: text with $1, ${1} or ${name} for groups, $$ for a dollar; empty = no label"
    )
    to: AnyLabel | None = Field(default=None, description="label that is written, where it is another one")

    @model_validator(mode="after")
    def _knows_its_groups(self) -> Replacement:
        template(self.replacement, pattern(self.regex))
        return self

    def compiled(self) -> Replace:
        """As it is applied."""
        compiled = pattern(self.regex)
        return Replace(self.label, compiled, template(self.replacement, compiled), self.to or self.label, self.replacement)


class Action(_Keys):
    """One change of labels: exactly one of add, rename, drop_labels and replace."""

    add: Annotated[dict[str, str], AfterValidator(_labels)] | None = Field(
        default=None, description="labels for series that do not have them"
    )
    rename: Annotated[dict[str, str], AfterValidator(_names)] | None = Field(
        default=None, description="old label name: new name; a label of the new name gives way"
    )
    drop_labels: Regex | None = Field(default=None, description="regular expression of label names that are taken away")
    replace: Replacement | None = Field(default=None, description="writes a label from a value that matches")
    where: Selector | None = Field(default=None, description="only for series that match")

    @model_validator(mode="after")
    def _is_one(self) -> Action:
        given = [name for name in ("add", "rename", "drop_labels", "replace") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"must be exactly one of add, rename, drop_labels and replace, not {' and '.join(given) or 'none'}: "
                "write one list entry for each"
            )
        return self

    def compiled(self) -> Step:
        """As it is applied."""
        where = None if self.where is None else self.where.compiled()
        if self.add is not None:
            return Step(Add(tuple((label, value) for label, value in self.add.items() if value)), where)
        if self.rename is not None:
            return Step(Rename(tuple(self.rename.items())), where)
        if self.drop_labels is not None:
            return Step(DropLabels(pattern(self.drop_labels)), where)
        assert self.replace is not None, "validated"
        return Step(self.replace.compiled(), where)


_T = TypeVar("_T")
RuleList = Annotated[tuple[_T, ...], Field(max_length=MAX_ENTRIES)]
"""A list of rules."""


class AgentLimits(_Keys):
    """What the labels of a series may be, wherever it is sent."""

    max_labels: int = Field(default=0, ge=0, description="most labels, `__name__` and `le` included; 0 = any number")
    max_label_name_length: int = Field(default=0, ge=0, description="longest label name, bytes; 0 = any length")
    max_label_value_length: int = Field(
        default=0, ge=0, description="longest label value or metric name, bytes of UTF-8; 0 = any length"
    )


class SinkLimits(_Keys):
    """The same for one sink."""

    max_labels: int | None = Field(
        default=None, ge=0, description="most labels, `__name__` and `le` included; 0 = any number; null = agent.limits"
    )
    max_label_name_length: int | None = Field(
        default=None, ge=0, description="longest label name, bytes; 0 = any length; null = agent.limits"
    )
    max_label_value_length: int | None = Field(
        default=None, ge=0, description="longest label value or metric name, bytes; 0 = any length; null = agent.limits"
    )


class RuleKeys(Protocol):
    """A section that has the keys."""

    @property
    def drop(self) -> Sequence[Selector]:
        """Series that are not sent."""
        ...

    @property
    def keep(self) -> Sequence[Selector]:
        """The only series that are sent."""
        ...

    @property
    def relabel(self) -> Sequence[Action]:
        """Changes of labels."""
        ...


def rules_of(section: RuleKeys) -> Rules:
    """The rules of a valid section."""
    return Rules(
        tuple(selector.compiled() for selector in section.drop),
        tuple(selector.compiled() for selector in section.keep),
        tuple(action.compiled() for action in section.relabel),
    )


def limits_of(shared: AgentLimits, own: SinkLimits) -> LabelLimits:
    """The limits of a sink: its own where it has them."""
    chosen = {name: getattr(own, name) for name in SinkLimits.model_fields}
    return LabelLimits(**{name: getattr(shared, name) if value is None else value for name, value in chosen.items()})


def template(text: str, compiled: re.Pattern[str]) -> tuple[str | int, ...]:
    """A replacement as text and group numbers. Raises ValueError for a group that is not there."""
    parts: list[str | int] = []
    at = 0
    for found in _REFERENCE.finditer(text):
        parts.append(text[at : found.start()])
        at = found.end()
        if found["dollar"]:
            parts.append("$")
            continue
        word = found["word"] or found["braced"]
        if word is None:
            raise ValueError(f"the $ at position {found.start()} stands alone; write $$ for a dollar")
        group = int(word) if word.isdigit() else compiled.groupindex.get(word)
        if group is None or group > compiled.groups:
            digits = re.match(r"\d+", word)
            write = f"; write ${{{digits[0]}}}{word[digits.end() :]}" if digits and not word.isdigit() else ""
            raise ValueError(f"${word} at position {found.start()}: the regular expression has no such group{write}")
        parts.append(group)
    return tuple(part for part in (*parts, text[at:]) if part != "")
