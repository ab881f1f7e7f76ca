"""Turns the configuration of amazing-gitlab-exporter, a file and `AGE_*` variables, into one of cipush.

Most of its keys have the same names and meanings here, below `sources.gitlab`; the others are moved, changed or told.
What comes of it is held against the same models as every configuration; what does not fit is told and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Any, BinaryIO, NamedTuple

import yaml

from agent.config import env, keys
from agent.config.draft import DEFAULTS, SOURCE, Draft
from agent.config.files import FileData, FileError, read_foreign
from agent.config.keys import Path
from agent.config.model import LogSection, ServerSection
from agent.config.problems import Problems, dotted, suggest
from agent.config.translated import translated
from agent.errors import ConfigError
from agent.plugin import Context
from agent.sources.gitlab import build
from agent.sources.gitlab.options import NOT_BUILT, Options

PREFIX = "AGE_"
PLACEHOLDER = "put-the-token-here"
"""Stands where a token has to be, so that the configuration is one."""
HEADER = "# Made by `cipush config import` from a configuration of amazing-gitlab-exporter.\n"

_PLACES: Mapping[Path, tuple[Path, Any]] = {
    ("log",): (("log",), LogSection),
    ("server", "listen_address"): (("server", "listen_address"), ServerSection.model_fields["listen_address"].annotation),
    ("server", "webhook"): ((*SOURCE, "webhook"), Options.model_fields["webhook"].annotation),
    **{
        ("gitlab", name): ((*SOURCE, name), Options.model_fields[name].annotation)
        for name in (
            *("url", "token", "enable_tls_verify", "ca_cert_path", "max_requests_per_second", "burst_requests_per_second"),
            *("use_graphql", "graphql_page_size", "rest_page_size"),
        )
    },
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
_MOVED = {target[-1]: place for place, (target, _) in _PLACES.items() if target[:-1] == SOURCE and place[0] != "gitlab"}
"""Keys of the source that were elsewhere, and where."""


class Imported(NamedTuple):
    """A configuration of cipush."""

    text: str
    """YAML."""
    notes: tuple[str, ...]
    """What could not be taken over, or has to be done by hand, one line each."""
    loads: bool
    """Whether `cipush check` takes it as it is, on this machine."""


def imported(file: File | None, environ: Mapping[str, str], opened: BinaryIO | None = None) -> Imported:
    """The configuration that `file` and the variables make; variables win.

    `opened`: what is read in the place of the file. Raises ConfigError for a file that is none, and variables that are no text.
    """
    data = _read(file, opened)
    draft = Draft(str(file), data.lines)
    _take(draft, (), data.tree)
    _variables(environ, draft)
    sections, is_valid = draft.settle(_complete)
    loads = is_valid and _is_buildable(draft, sections[SOURCE])
    _tell(draft, sections)
    found = draft.tree.data
    ordered = {section: found[section] for section in ("log", "server", "sources") if section in found}
    text = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return Imported(HEADER + text, draft.in_order(), loads)


def _read(file: File | None, opened: BinaryIO | None) -> FileData:
    if file is None:
        return FileData({}, {})
    try:
        found = read_foreign(file, opened)
    except FileError as problem:
        where = f"{file}:{problem.line}" if problem.line else str(file)
        raise ConfigError([f"{where}: {problem}"]) from problem
    if found.problems:
        raise ConfigError([f"{file}:{line}: {dotted(path)}: {what}" for path, line, what in found.problems])
    return found


def _take(draft: Draft, path: Path, value: Any) -> None:
    """One key of the file, with all that is below it."""
    reason = next((why for gone, why in _GONE.items() if path[: len(gone)] == gone), "")
    if value is None:
        return
    if reason:
        for leaf in _leaves(value, path):
            draft.note(leaf, f"has no counterpart: {reason}")
        return
    target, kind = _place(path)
    if kind is not None and not keys.fields(kind):
        draft.put(target, _known(draft, value, kind, path), path)
    elif kind is None and path not in _above():
        draft.note(path, f"is left out, there is no such key; {_hint(path)}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _take(draft, (*path, str(key)), inner)
    else:
        draft.note(path, "is left out, it must be a mapping (key: value lines below it)")


def _leaves(value: Any, path: Path) -> Iterator[Path]:
    """Every key that says something; lists are one value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif value is not None:
        yield path


def _place(path: Path) -> tuple[Path, Any]:
    """Where a key is now, and its type; no type for one that there is not."""
    for place, (target, kind) in _PLACES.items():
        rest = path[len(place) :]
        if path[: len(place)] == place:
            return (*target, *rest), keys.follow(kind, rest)
    return (), None


def _above() -> set[Path]:
    """The sections that keys with a place are in."""
    return {place[:length] for place in (*_PLACES, *_GONE) for length in range(len(place))}


def _hint(path: Path) -> str:
    """Where or what a key without a place may have been meant to be."""
    if path[:-1] == ("gitlab",) and path[-1] in _MOVED:
        return f"write {dotted(_MOVED[path[-1]])}"
    around = len(path) - 1
    known = {place[around] for place in (*_PLACES, *_GONE) if len(place) > around and place[:around] == path[:-1]}
    return suggest(path[-1], known or keys.fields(_place(path[:-1])[1]))


def _known(draft: Draft, value: Any, kind: Any, path: Path) -> Any:
    """`value` as it is said here, without keys that sections in lists do not have."""
    value = translated(draft, value, kind, path)
    if isinstance(value, list):
        return [_known(draft, item, keys.step(kind, at), (*path, at)) for at, item in enumerate(value)]
    if not isinstance(value, Mapping) or not keys.fields(kind):
        return value
    kept = {}
    for key, inner in value.items():
        here, below = (*path, str(key)), keys.step(kind, key)
        if below is None:
            draft.note(here, f"is left out, there is no such key; {suggest(str(key), keys.fields(kind))}")
        elif inner is not None:
            kept[str(key)] = _known(draft, inner, below, here)
    return {key: inner for key, inner in kept.items() if inner is not None}


# -- variables -------------------------------------------------------------------------------------------


def _variables(environ: Mapping[str, str], draft: Draft) -> None:
    """Empty ones say nothing, as there."""
    known = dict(_names())
    gone = {_name(path): why for path, why in _GONE.items()}
    for name in sorted(name for name in environ if name.startswith(PREFIX) and environ[name].strip()):
        reason = next((why for head, why in gone.items() if name == head or name.startswith(f"{head}_")), "")
        if reason:
            draft.note((), f"has no counterpart: {reason}", name)
        elif name not in known:
            near = suggest(name, known)
            draft.note((), f"is left out, there is no such setting{f'; {near}' if near.startswith('did') else ''}", name)
        else:
            _variable(draft, name, environ[name], *known[name])


def _variable(draft: Draft, name: str, text: str, old: Path, kind: Any) -> None:
    if not text.isascii() and text != text.encode(errors="replace").decode():
        raise ConfigError([f"{name}: is not UTF-8 text; set it anew"])
    problems = Problems({})
    value = _typed(env.understood(text, kind, old, name, problems), kind)
    if problems.lines:
        draft.note((), f"{problems.lines[0].removeprefix(f'{name}: {dotted(old)}: ')}; is left out", name)
        return
    with draft.reading(name):
        draft.put(_place(old)[0], _known(draft, value, kind, old), old)


def _names() -> Iterator[tuple[str, tuple[Path, Any]]]:
    """Every variable with the key that it means there, and the type of that."""
    for place, (_, kind) in _PLACES.items():
        if not keys.fields(kind):
            yield _name(place), (place, kind)
        for leaf, inner in keys.leaves(kind):
            yield _name((*place, *leaf)), ((*place, *leaf), inner)


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


def _complete(draft: Draft) -> None:
    """What has to be there, or must not be, for the rest to be valid."""
    given = draft.tree.get(SOURCE) or {}
    if (given.get("projects") or given.get("wildcards")) and not (given.get("token") or given.get("token_file")):
        variable = env.name_of((*SOURCE, "token"))
        draft.tree.assign((*SOURCE, "token"), PLACEHOLDER, "")
        draft.note(
            ("gitlab", "token"),
            f"is empty; put it where the words stand in its place now, or set token_file instead, or {variable}",
        )
    if str(given.get("url", "")).lower().startswith("http://"):
        for key, nothing in (("enable_tls_verify", True), ("ca_cert_path", "")):
            if given.get(key, nothing) != nothing:
                del given[key]
                draft.note(("gitlab", key), "is left out, it does nothing without https:// in gitlab.url")
    for path, value in DEFAULTS.items():
        if draft.tree.get(path) is None and (len(path) == 2 or draft.tree.get(path[:-1])):
            draft.tree.assign(path, value, "")


def _is_buildable(draft: Draft, options: Options) -> bool:
    """Whether the source can be made of it; addresses and files are looked at only then, and stay as they are."""
    try:
        build(SOURCE[-1], options, Context(lambda: 0.0, "", "", ""))
    except ConfigError as error:
        for problem in error.problems:
            key, _, text = problem.partition(": ")
            place = tuple(key.split("."))
            draft.tell((*SOURCE, "ca_cert_path") if place[2:3] == ("tls",) else place, text)
        return False
    return True


def _tell(draft: Draft, sections: Mapping[Path, Any]) -> None:
    """What has to be done elsewhere, or does nothing yet."""
    options, given = sections.get(SOURCE), draft.tree.get(SOURCE) or {}
    if options is None:
        return
    if "webhook" in given and options.webhook.enabled:
        draft.note(("server", "webhook"), "GitLab has to send to /webhook/gitlab")
        if not options.webhook.secret_token:
            draft.note(
                ("server", "webhook", "secret_token"), "is empty; without one no deliveries are taken, set the same in GitLab"
            )
    for name in NOT_BUILT:
        if name in given.get("collectors", {}) and getattr(options.collectors, name).enabled:
            draft.note(("collectors", name), "is taken over, but this version of cipush does not collect it yet")
