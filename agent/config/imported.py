"""Turns the configuration of amazing-gitlab-exporter, a file and `AGE_*` variables, into one of cipush.

Most of its keys have the same names and meanings here, below `sources.gitlab`; the others are moved, changed or told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from agent.config import env, keys
from agent.config.files import FileError, read_foreign
from agent.config.keys import Path
from agent.config.model import LogSection, ServerSection
from agent.config.problems import Problems, dotted, suggest
from agent.config.tree import Tree
from agent.errors import ConfigError
from agent.sources.gitlab.options import NOT_BUILT, CollectorsOptions, Options

PREFIX = "AGE_"
SOURCE = ("sources", "gitlab")
PLACEHOLDER = "put-the-token-here"
"""Stands where a token has to be, so that the configuration is one."""
DEFAULTS: tuple[tuple[Path, object], ...] = (
    (("log", "format"), "text"),
    (("server", "listen_address"), ":8080"),
)
"""What it does where nothing is said, and cipush does not."""
HEADER = "# Made by `cipush config import` from a configuration of amazing-gitlab-exporter.\n"

_PLACES: Mapping[Path, tuple[Path, Any]] = {
    ("log",): (("log",), LogSection),
    ("server", "listen_address"): (("server", "listen_address"), ServerSection.model_fields["listen_address"].annotation),
    ("server", "webhook"): ((*SOURCE, "webhook"), Options.model_fields["webhook"].annotation),
    ("gitlab",): (SOURCE, Options),
    **{
        (name,): ((*SOURCE, name), Options.model_fields[name].annotation)
        for name in ("collectors", "project_defaults", "projects", "wildcards")
    },
}
"""Where keys were -> where they are, and the type there."""
_GONE: Mapping[Path, str] = {
    ("redis",): "agents share nothing; what has to outlive one is kept in agent.state_dir",
    ("server", "enable_pprof"): "there are no profiling endpoints; a profiler such as py-spy attaches from outside",
}
"""Keys that have no counterpart, and why."""
_MOVED = frozenset({"collectors", "project_defaults", "projects", "wildcards", "webhook"})
"""Keys of the source that were elsewhere."""


class Imported(NamedTuple):
    """A configuration of cipush."""

    text: str
    """YAML."""
    notes: tuple[str, ...]
    """What could not be taken over, or has to be done by hand, one line each."""


def imported(file: File | None, environ: Mapping[str, str]) -> Imported:
    """The configuration that `file` and the variables make; variables win. Raises ConfigError for a file that is none."""
    tree, notes = Tree(), list[str]()
    for path, value in DEFAULTS:
        tree.assign(path, value, "")
    for path, value in _leaves(_read(file)):
        _take(path, value, tree, notes)
    _variables(environ, tree, notes)
    _adapt(tree, notes)
    ordered = {section: tree.data[section] for section in ("log", "server", "sources") if section in tree.data}
    text = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return Imported(HEADER + text, tuple(notes))


def _read(file: File | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        return read_foreign(file)
    except FileError as problem:
        where = f"{file}:{problem.line}" if problem.line else str(file)
        raise ConfigError([f"{where}: {problem}"]) from problem


def _leaves(value: Mapping[Any, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every key that says something; lists are one value."""
    for key, inner in value.items():
        here = (*path, str(key))
        if isinstance(inner, Mapping):
            yield from _leaves(inner, here)
        elif inner is not None:
            yield here, inner


def _take(path: Path, value: Any, tree: Tree, notes: list[str]) -> None:
    """One key of the file."""
    reason = next((why for gone, why in _GONE.items() if path[: len(gone)] == gone), "")
    if reason:
        notes.append(f"{dotted(path)}: has no counterpart: {reason}")
        return
    for place, (target, kind) in _PLACES.items():
        rest = path[len(place) :]
        if path[: len(place)] == place and not (place == ("gitlab",) and rest[:1] and rest[0] in _MOVED):
            known = keys.follow(kind, rest)
            if known is None:
                near = keys.fields(keys.follow(kind, rest[:-1])) if rest else {}
                notes.append(f"{dotted(path)}: is left out, there is no such key; {suggest(str(path[-1]), near)}")
            elif keys.fields(known):
                notes.append(f"{dotted(path)}: is left out, it must be a mapping (key: value lines below it)")
            else:
                tree.assign((*target, *rest), _known(value, known, path, notes), "")
            return
    notes.append(f"{dotted(path)}: is left out, there is no such key")


def _known(value: Any, kind: Any, path: Path, notes: list[str]) -> Any:
    """`value` without keys that sections in lists do not have."""
    if isinstance(value, list):
        return [_known(item, keys.step(kind, at), (*path, at), notes) for at, item in enumerate(value)]
    if not isinstance(value, Mapping) or not keys.fields(kind):
        return value
    kept = {}
    for key, inner in value.items():
        here, below = (*path, str(key)), keys.step(kind, key)
        if below is None:
            notes.append(f"{dotted(here)}: is left out, there is no such key; {suggest(str(key), keys.fields(kind))}")
        elif inner is not None:
            kept[str(key)] = _known(inner, below, here, notes)
    return kept


# -- variables -------------------------------------------------------------------------------------------


def _variables(environ: Mapping[str, str], tree: Tree, notes: list[str]) -> None:
    known = dict(_names())
    gone = {_name(path): why for path, why in _GONE.items()}
    problems = Problems({})
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        reason = next((why for head, why in gone.items() if name == head or name.startswith(f"{head}_")), "")
        if reason:
            notes.append(f"{name}: has no counterpart: {reason}")
        elif name not in known:
            notes.append(f"{name}: is left out, there is no such setting")
        else:
            path, kind = known[name]
            tree.assign(path, _typed(env.understood(environ[name], kind, path, name, problems), kind), "")
    notes += problems.lines


def _names() -> Iterator[tuple[str, tuple[Path, Any]]]:
    """Every variable with the key that it means here, and the type of that."""
    for place, (target, kind) in _PLACES.items():
        if not keys.fields(kind):
            yield _name(place), (target, kind)
        for leaf, inner in keys.leaves(kind):
            if place != ("gitlab",) or leaf[0] not in _MOVED:
                yield _name((*place, *leaf)), ((*target, *leaf), inner)


def _name(path: Path) -> str:
    return PREFIX + "_".join(str(part).upper() for part in path)


def _typed(value: object, kind: Any) -> object:
    """Numbers and words for yes and no as such, not as text."""
    if not isinstance(value, str) or keys.unwrap(kind) not in (bool, int, float):
        return value
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return found if isinstance(found, bool | int | float) else value


# -- what means something else here ----------------------------------------------------------------------


def _adapt(tree: Tree, notes: list[str]) -> None:
    """Keys with the same name that are not quite the same."""
    level = tree.get(("log", "level"))
    if level is not None:
        try:
            tree.assign(("log", "level"), LogSection.model_validate({"level": level}).level, "")
        except ValidationError:
            notes.append("log.level: is no level; use debug, info, warning, error or critical")
    _adapt_connection(tree, notes)
    _adapt_webhook(tree, notes)
    for name in NOT_BUILT:
        if _is_on(tree, name):
            notes.append(f"collectors.{name}: is taken over, but this version of cipush does not collect it yet")


def _is_on(tree: Tree, collector: str) -> bool:
    """Whether a collector that the input names is asked for."""
    given = tree.get((*SOURCE, "collectors", collector))
    if not isinstance(given, dict):
        return False
    default = keys.step(CollectorsOptions, collector).model_fields["enabled"].default
    return given.get("enabled", default) not in (False, "false")


def _adapt_connection(tree: Tree, notes: list[str]) -> None:
    given = tree.get(SOURCE) or {}
    if (given.get("projects") or given.get("wildcards")) and not (given.get("token") or given.get("token_file")):
        variable = env.name_of((*SOURCE, "token"))
        tree.assign((*SOURCE, "token"), PLACEHOLDER, "")
        notes.append(f"gitlab.token: is empty; replace {PLACEHOLDER}, or set token_file instead, or {variable}")
    if str(given.get("url", "")).startswith("http://"):
        for key, nothing in (("enable_tls_verify", True), ("ca_cert_path", "")):
            if given.get(key, nothing) != nothing:
                del tree.data["sources"]["gitlab"][key]
                notes.append(f"gitlab.{key}: is left out, it does nothing without https:// in gitlab.url")


def _adapt_webhook(tree: Tree, notes: list[str]) -> None:
    webhook = tree.get((*SOURCE, "webhook"))
    if not isinstance(webhook, dict):
        return
    webhook.setdefault("enabled", False)
    if webhook["enabled"] not in (False, "false"):
        notes.append("server.webhook: GitLab has to send to /webhook/gitlab")
        if not webhook.get("secret_token"):
            notes.append("server.webhook.secret_token: is empty; without one no deliveries are taken, set the same in GitLab")
