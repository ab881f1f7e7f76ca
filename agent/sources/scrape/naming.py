"""What a scraped series is called in cipush: its family, its labels beside the target's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.model import Family, Kind
from agent.sources.scrape import parse

_SUFFIXES = {
    Kind.COUNTER: ("_total",),
    Kind.HISTOGRAM: ("_bucket", "_count", "_sum"),
    Kind.GAUGEHISTOGRAM: ("_bucket", "_gcount", "_gsum"),
    Kind.SUMMARY: ("_count", "_sum"),
    Kind.INFO: ("_info",),
}
_GROUPED = (Kind.HISTOGRAM, Kind.GAUGEHISTOGRAM, Kind.SUMMARY)
_NAMELESS = (Kind.HISTOGRAM, Kind.GAUGEHISTOGRAM)
"""Kinds without a sample called like the family."""
_EXPORTED = "exported_"
MAX_TEXTS = 20_000


@dataclass(slots=True)
class _Announced:
    kind: Kind = Kind.UNKNOWN
    help: str = ""
    unit: str = ""


@dataclass
class Announcements:
    """The comments of one exposition, as far as it was read."""

    families: dict[str, _Announced] = field(default_factory=dict)

    def note(self, line: bytes) -> None:
        """Take in a line beginning with `#`."""
        said = parse.comment(line)
        if said is None:
            return
        about = self.families.setdefault(said.name, _Announced())
        if said.word == "TYPE":
            about.kind = parse.kind(said.text)
        elif said.word == "HELP":
            about.help = said.text
        else:
            about.unit = said.text.strip()

    def family(self, name: str, labels: tuple[str, ...], constants: parse.Pairs) -> Family:
        """The family of a sample called `name` with these label names."""
        own = self.families.get(name)
        if own is not None and own.kind not in _NAMELESS:
            return Family(name, own.kind, own.help, own.unit, labels, constants=constants, exposition_name=name)
        stem, about = self._stem(name)
        if about is None:
            return Family(name, Kind.UNKNOWN, "", "", labels, constants=constants, exposition_name=name)
        # A counter is announced under its sample's own name: the 0.0.4 format knows no other.
        shown = stem if about.kind in _GROUPED else name
        return Family(name, about.kind, about.help, about.unit, labels, constants=constants, exposition_name=shown)

    def _stem(self, name: str) -> tuple[str, _Announced | None]:
        stem, underscore, last = name.rpartition("_")
        about = self.families.get(stem)
        if about is not None and underscore + last in _SUFFIXES.get(about.kind, ()):
            return stem, about
        return name, None


class _Plan(NamedTuple):
    """What a sample's name and label names decide, where no label is empty and none is called like the target's."""

    family: Family
    order: tuple[int, ...]
    """Where the values of the family's labels stand in the sample."""


class Naming:
    """The label rules of one target, and the families it has shown.

    `constants`: the target's labels. Families are kept as they were first announced for as long as they
    have series: another help text or type is no reason to end a series and begin it again.
    """

    def __init__(self, constants: Mapping[str, str], honor_labels: bool) -> None:
        self._constants = dict(constants)
        self._honor = honor_labels
        self._families: dict[tuple[str, tuple[str, ...], parse.Pairs], Family] = {}
        self._texts: dict[str, str] = {}
        """Label values seen lately: most stand in many series, and are kept once."""
        self._plans: dict[tuple[str, tuple[str, ...]], _Plan] = {}

    @property
    def constants(self) -> parse.Pairs:
        """The target's labels."""
        return tuple(self._constants.items())

    def series(self, name: str, scraped: parse.Pairs, announced: Announcements) -> tuple[Family, tuple[str, ...]]:
        """Family and label values of a sample; equal for every way to write the same series."""
        names = tuple([key for key, _ in scraped])
        texts = self._texts
        if len(texts) > MAX_TEXTS:
            texts.clear()
        values = tuple([texts.setdefault(value, value) for _, value in scraped])
        plan = self._plans.get((name, names))
        if plan is not None and all(values):
            return plan.family, tuple([values[place] for place in plan.order])
        constants = self._constants
        labels = dict(scraped)
        collides = not constants.keys().isdisjoint(labels)
        if collides and self._honor:
            # The same value on both sides stays the target's, or `a` and `a{job="ours"}` would be two of a kind.
            constants = {key: value for key, value in constants.items() if labels.get(key, value) == value}
            labels = {key: value for key, value in labels.items() if key not in constants}
        elif collides:
            labels = self._renamed(labels)
        present = sorted([(key, value) for key, value in labels.items() if value])
        family = self._family(name, tuple([key for key, _ in present]), tuple(constants.items()), announced)
        if not collides and all(values):
            self._plans[name, names] = _Plan(family, tuple([names.index(key) for key, _ in present]))
        return family, tuple([value for _, value in present])

    def _family(self, name: str, labels: tuple[str, ...], constants: parse.Pairs, announced: Announcements) -> Family:
        key = (name, labels, constants)
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = announced.family(*key)
        return family

    def keep(self, families: set[Family]) -> None:
        """Forget the families that have no series any more."""
        if len(families) < len(self._families):
            self._families = {key: family for key, family in self._families.items() if family in families}
            self._plans = {key: plan for key, plan in self._plans.items() if plan.family in families}

    def _renamed(self, labels: dict[str, str]) -> dict[str, str]:
        """Scraped labels called like the target's give way: `exported_` is put in front until it is free."""
        taken = labels.keys() | self._constants.keys()
        renamed = {}
        for name, value in labels.items():
            if name in self._constants:
                # an empty label is no label: nothing to keep
                if not value:
                    continue
                while name in taken:
                    name = _EXPORTED + name
                taken.add(name)
            renamed[name] = value
        return renamed
