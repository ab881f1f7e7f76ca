"""Environment variables and `--set`: finds the key a name means, and the value its text means.

A key `a.b.c` is `CIPUSH_A__B__C` or `CIPUSH_A_B_C`; the first form also creates sinks and sources, since it says where names end.
`..._FILE` takes the value from a file. Values stay text, so that a token of digits is a token; lists and mappings are
JSON, or `a,b` and `k=v,k=v`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from agent.config import keys
from agent.config.files import FileError, read_bounded
from agent.config.keys import Path
from agent.config.problems import Problems, dotted, suggest

PREFIX = "CIPUSH_"
CONFIG_VARIABLE = "CIPUSH_CONFIG"
"""Names configuration files, separated like PATH, where no --config does."""
MAX_SECRET_BYTES = 65536
_INJECTED = re.compile(r"CIPUSH_(.*_)?(SERVICE_(HOST|PORT.*)|PORT(_[0-9]+_(TCP|UDP|SCTP).*)?)")
"""What Kubernetes sets for every service in the namespace, here for one called `cipush...` (kubelet, "service links")."""


@dataclass(frozen=True)
class Setting:
    """One value from outside the files."""

    path: Path
    value: object
    origin: str


@dataclass
class Found:
    """What the environment says."""

    settings: list[Setting] = field(default_factory=list)
    files: list[File] = field(default_factory=list)


class Names:
    """Every variable name that means a key."""

    def __init__(self) -> None:
        self._leaves: dict[str, dict[Path, Any]] = {}
        self._skipped: list[str] = []

    def section(self, path: Path, annotation: Any) -> None:
        """Make known the keys of the section at `path`."""
        for leaf, kind in keys.leaves(annotation):
            parts = [_upper(part) for part in (*path, *leaf)]
            for separator in ("__", "_"):
                self._leaves.setdefault(PREFIX + separator.join(parts), {})[(*path, *leaf)] = kind

    def skip(self, path: Path) -> None:
        """Say nothing about variables below `path`: its section is wrong already."""
        for separator in ("__", "_"):
            self._skipped.append(PREFIX + separator.join(map(_upper, path)) + "_")

    def find(self, name: str) -> Mapping[Path, Any]:
        """The keys `name` may mean, with their types; none, one, or several where names run together."""
        found = self._leaves.get(name)
        if found:
            return found
        head, separator, key = name.rpartition("__")
        return {
            (*path, key.lower()): keys.step(kind, key.lower())
            for path, kind in self._leaves.get(head, {}).items()
            if separator and key and keys.is_mapping(kind)
        }

    def list_around(self, name: str) -> str:
        """The name of the list a variable tries to reach into; "" for none."""
        while "__" in name:
            name = name.rpartition("__")[0]
            if any(keys.is_list(kind) for kind in self._leaves.get(name, {}).values()):
                return name
        return ""

    def skipped(self, name: str) -> bool:
        """Whether `name` lies below a skipped section."""
        return name.startswith(tuple(self._skipped)) if self._skipped else False

    def all(self) -> list[str]:
        """Every name, for suggestions: those in the double form."""
        return [name for name in self._leaves if "__" in name] + [name for name in self._leaves if "__" not in name]


def entries(environ: Mapping[str, str], section: str, existing: Mapping[str, object]) -> dict[str, str]:
    """The sinks or sources that `__` names speak of: name -> the variable's beginning, up to and with the name."""
    begin = f"{PREFIX}{_upper(section)}__"
    known = {_upper(name): name for name in existing}
    found: dict[str, str] = {}
    for variable in sorted(environ):
        word, separator, _ = variable.removeprefix(begin).partition("__")
        if variable.startswith(begin) and word and separator and not _INJECTED.fullmatch(variable):
            found.setdefault(known.get(word, word.lower()), begin + word)
    return found


def kind_of(environ: Mapping[str, str], section: str, name: str) -> tuple[str, str] | None:
    """(type, variable) where the environment gives the type of a sink or source."""
    for separator in ("__", "_"):
        variable = PREFIX + separator.join((_upper(section), _upper(name), "TYPE"))
        if variable in environ:
            return environ[variable], variable
    return None


def resolve(environ: Mapping[str, str], names: Names, problems: Problems) -> Found:
    """Every setting of `environ`; what cannot be one is a problem."""
    found = Found()
    taken: dict[Path, str] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name != CONFIG_VARIABLE):
        paths, text = names.find(variable), environ[variable]
        if not paths and variable.endswith("_FILE"):
            paths = names.find(variable.removesuffix("_FILE"))
            if paths:
                text = _from_file(variable, File(text), found, problems)
        if not paths:
            _unknown(variable, names, problems)
        elif len(paths) > 1:
            means = " or ".join(sorted(map(dotted, paths)))
            clear = sorted({name_of(path) for path in paths})
            problems.add(variable, f"may mean {means}; " + (f"use {' or '.join(clear)}" if len(clear) > 1 else "rename one"))
        else:
            ((path, kind),) = paths.items()
            if path in taken and taken[path] != variable:
                problems.add(variable, f"{dotted(path)} is set by {taken[path]} as well; keep one")
            taken[path] = variable
            found.settings.append(Setting(path, understood(text, kind, path, variable, problems), variable))
    return found


def name_of(path: Path) -> str:
    """The variable that means `path` and nothing else."""
    return PREFIX + "__".join(map(_upper, path))


def understood(text: str, kind: Any, path: Path, origin: str, problems: Problems) -> object:
    """What `text` says for a key of type `kind`: itself, or the list or mapping it spells."""
    if not keys.is_container(kind):
        return text
    if text.strip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            problems.add(origin, f"{dotted(path)}: is not valid JSON; check quotes and brackets")
            return [] if keys.is_list(kind) else {}
    items = [item.strip() for item in text.split(",") if item.strip()]
    if keys.is_list(kind):
        return items
    pairs = [item.partition("=") for item in items]
    if not all(separator for _, separator, _ in pairs):
        problems.add(origin, f"{dotted(path)}: must be JSON, or key=value pairs with commas between them")
        return {}
    return {key.strip(): value.strip() for key, _, value in pairs}


def _from_file(variable: str, file: File, found: Found, problems: Problems) -> str:
    found.files.append(file)
    try:
        text = read_bounded(file, MAX_SECRET_BYTES).strip("\r\n")
    except FileError as problem:
        problems.add(variable, f"{file} {problem}")
        return ""
    if not text:
        problems.add(variable, f"{file} is empty; write the secret into it")
    return text


def _unknown(variable: str, names: Names, problems: Problems) -> None:
    if _INJECTED.fullmatch(variable) or names.skipped(variable):
        return
    around = names.list_around(variable)
    if around:
        problems.add(variable, f"a list is set as a whole: put JSON into {around}")
        return
    hint = suggest(variable, names.all())
    problems.add(
        variable, "unknown setting; " + (hint if hint.startswith("did") else "see `cipush config example` for what there is")
    )


def _upper(part: object) -> str:
    return str(part).replace("-", "_").upper()
