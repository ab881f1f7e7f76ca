"""What rules do to the labels of one series; values that can be compared, so that views with equal rules are shared.

The labels are a mapping that holds the metric name as `__name__`; an absent label reads as "". A histogram
row is one series under its family's name, without `le`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from agent.relabel.pattern import matched

NAME = "__name__"

Labels = dict[str, str]
Note = Callable[[str], object]
"""Told of each step that changed something: `relabel[0]: {...}`."""


class Refusal(NamedTuple):
    """Why a series is not sent."""

    reason: str
    """`drop`, `keep`, `limit`, `invalid` or `collision`."""
    rule: str
    """The rule, by its key and as it stands there, or what is wrong."""


@dataclass(frozen=True, slots=True)
class Match:
    """Matches a series of which every part matches."""

    name: re.Pattern[str] | None = None
    labels: tuple[tuple[str, re.Pattern[str]], ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it does. Raises OverflowError for a value too long to be tried."""
        if self.name is not None and not matched(self.name, labels[NAME]):
            return False
        return all(matched(pattern, labels.get(label, "")) for label, pattern in self.labels)

    def __str__(self) -> str:
        parts = ["name: " + _quoted(self.name.pattern)] if self.name is not None else []
        if self.labels:
            parts.append("labels: " + _flow((label, pattern.pattern) for label, pattern in self.labels))
        return "{" + ", ".join(parts) + "}"


@dataclass(frozen=True, slots=True)
class Add:
    """Gives labels to a series that does not have them."""

    labels: tuple[tuple[str, str], ...]

    def apply(self, labels: Labels) -> None:
        """Change the labels in place."""
        for label, value in self.labels:
            if not labels.get(label):
                labels[label] = value

    def __str__(self) -> str:
        return "add: " + _flow(self.labels)


@dataclass(frozen=True, slots=True)
class Rename:
    """Gives labels other names, all at once; a label that has the new name already gives way."""

    names: tuple[tuple[str, str], ...]

    def apply(self, labels: Labels) -> None:
        """Change the labels in place."""
        moved = [(new, labels.pop(old)) for old, new in self.names if labels.get(old)]
        labels.update(moved)

    def __str__(self) -> str:
        return "rename: " + _flow(self.names)


@dataclass(frozen=True, slots=True)
class DropLabels:
    """Takes away every label whose name matches; the metric name stays."""

    pattern: re.Pattern[str]

    def apply(self, labels: Labels) -> None:
        """Change the labels in place. Raises OverflowError for a name too long to be tried."""
        for label in [label for label in labels if label != NAME and matched(self.pattern, label)]:
            del labels[label]

    def __str__(self) -> str:
        return "drop_labels: " + _quoted(self.pattern.pattern)


@dataclass(frozen=True, slots=True)
class Replace:
    """Writes a label from another's value, where that matches; an empty result takes the label away."""

    source: str
    pattern: re.Pattern[str]
    template: tuple[str | int, ...]
    """Text, and the numbers of groups."""
    target: str
    shown: str
    """The replacement as it was written."""

    def apply(self, labels: Labels) -> None:
        """Change the labels in place. Raises OverflowError for a value too long to be tried."""
        found = matched(self.pattern, labels.get(self.source, ""))
        if found:
            labels[self.target] = "".join(part if isinstance(part, str) else found[part] or "" for part in self.template)

    def __str__(self) -> str:
        own = [("label", self.source), ("regex", self.pattern.pattern), ("replacement", self.shown)]
        return "replace: " + _flow(own if self.target == self.source else [*own, ("to", self.target)])


@dataclass(frozen=True, slots=True)
class Step:
    """One action, for every series or for those that match."""

    action: Add | Rename | DropLabels | Replace
    where: Match | None = None

    def __str__(self) -> str:
        return "{" + str(self.action) + (f", where: {self.where}" if self.where is not None else "") + "}"


@dataclass(frozen=True, slots=True)
class Rules:
    """`drop`, then `keep`, then `relabel` of one place of the configuration."""

    drop: tuple[Match, ...] = ()
    keep: tuple[Match, ...] = ()
    steps: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.drop or self.keep or self.steps)

    @property
    def renames_metrics(self) -> bool:
        """Whether a series may get another metric name."""
        return any(isinstance(step.action, Replace) and step.action.target == NAME for step in self.steps)

    def apply(self, labels: Labels, prefix: str = "", note: Note | None = None) -> Refusal | None:
        """Change the labels in place, or say why the series is not sent. `prefix` stands before keys in texts."""
        section, at = "drop", 0
        try:
            for at, match in enumerate(self.drop):
                if match.matches(labels):
                    return Refusal("drop", f"{prefix}drop[{at}]: {match}")
            section = "keep"
            for at, match in enumerate(self.keep):  # noqa: B007  told when it fails
                if match.matches(labels):
                    break
            else:
                if self.keep:
                    return Refusal("keep", f"{prefix}keep: no entry matches")
            section = "relabel"
            for at, step in enumerate(self.steps):
                if step.where is None or step.where.matches(labels):
                    before = labels.copy() if note is not None else None
                    step.action.apply(labels)
                    if note is not None and labels != before:
                        note(f"{prefix}relabel[{at}]: {step}")
        except OverflowError as error:
            return Refusal("limit", f"{prefix}{section}[{at}]: {error}")
        return None


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """What a receiver takes; a series beyond it is not sent. 0 = no limit. Lengths are bytes of UTF-8."""

    max_labels: int = 0
    max_label_name_length: int = 0
    max_label_value_length: int = 0

    def __bool__(self) -> bool:
        return bool(self.max_labels or self.max_label_name_length or self.max_label_value_length)

    def check(self, labels: Mapping[str, str]) -> Refusal | None:
        """Why a series with these labels, the metric name and `le` included, is not sent."""
        if self.max_labels and len(labels) > self.max_labels:
            return Refusal("limit", f"limits.max_labels: {len(labels)} labels, at most {self.max_labels}")
        for label, value in labels.items():
            if self.max_label_name_length and (size := len(label.encode())) > self.max_label_name_length:
                return Refusal("limit", f"limits.max_label_name_length: {label[:40]} has {size}")
            if self.max_label_value_length and (size := len(value.encode("utf-8", "replace"))) > self.max_label_value_length:
                return Refusal("limit", f"limits.max_label_value_length: the value of {label[:40]} has {size}")
        return None


def _flow(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs) + "}"


def _quoted(text: str) -> str:
    """As YAML writes it without escapes."""
    return "'" + text.replace("'", "''") + "'"
