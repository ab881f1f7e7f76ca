"""Rules for tests of the store, each beside what it should do in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.relabel.options import Action, Selector
from agent.relabel.rules import LabelLimits, Rules, Step
from agent.store.encode import LabelRules

Named = tuple[str, dict[str, str]]
"""(metric name, labels)."""


def rules(
    drop: Sequence[Mapping[str, Any]] = (),
    keep: Sequence[Mapping[str, Any]] = (),
    relabel: Sequence[Mapping[str, Any]] = (),
) -> Rules:
    """Rules as they are configured."""
    drops, keeps = (tuple(Selector.model_validate(item).compiled() for item in items) for items in (drop, keep))
    return Rules(drops, keeps, tuple(step(item) for item in relabel))


def step(item: Mapping[str, Any]) -> Step:
    """One action as it is configured."""
    return Action.model_validate(item).compiled()


@dataclass(frozen=True)
class Ruled:
    """A view's rules, and the same as a function; None = not sent."""

    rules: LabelRules
    expected: Callable[[str, dict[str, str]], Named | None]


def _plain(name: str, labels: dict[str, str]) -> Named | None:
    return name, labels


def _dropped(name: str, labels: dict[str, str]) -> Named | None:
    return None if labels["x"] in "ab" or name.removeprefix("p_") == "t" else (name, labels)


def _merged(name: str, labels: dict[str, str]) -> Named | None:
    return name.removeprefix("p_"), {key: value for key, value in labels.items() if key != "y"}


def _rewritten(name: str, labels: dict[str, str]) -> Named | None:
    if labels["x"] == "e":
        return None
    return name, {**{key: value for key, value in labels.items() if key != "x"}, "z": "same" if labels["x"] in "ab" else "other"}


EXTERNAL = {"job": "j"}
RULED = (
    Ruled(LabelRules(EXTERNAL), _plain),
    Ruled(LabelRules(EXTERNAL, own=rules(drop=[{"labels": {"x": "[ab]"}}, {"name": "(p_)?t"}])), _dropped),
    Ruled(
        LabelRules(
            EXTERNAL,
            shared=rules(relabel=[{"drop_labels": "y"}]),
            own=rules(relabel=[{"replace": {"label": "__name__", "regex": "p_(.*)", "replacement": "$1"}}]),
        ),
        _merged,
    ),
    Ruled(
        LabelRules(
            EXTERNAL,
            own=rules(
                keep=[{"labels": {"x": "[a-d]"}}],
                relabel=[
                    {"replace": {"label": "x", "regex": "[ab]", "replacement": "same"}},
                    {"replace": {"label": "x", "regex": "[cd]", "replacement": "other"}},
                    {"rename": {"x": "z"}},
                ],
            ),
            limits=LabelLimits(max_labels=6),
        ),
        _rewritten,
    ),
)
