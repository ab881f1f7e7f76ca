"""Files, environment and flags become one typed, immutable configuration; nothing else reads the environment.

Later beats earlier: defaults, files in their order, environment, flags. Every problem is found before any is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path as File
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from agent.config import env, keys
from agent.config import push as config_push
from agent.config.files import SECTIONS, UNKNOWN_SECTION, FileError, read_file
from agent.config.keys import Path
from agent.config.model import Config, Core, Loaded
from agent.config.problems import Problems, dotted, suggest
from agent.config.show import effective
from agent.config.tree import Tree, finite, tidy, walk
from agent.errors import ConfigError
from agent.plugin import options_of
from agent.sinks import SINKS
from agent.sources import SOURCES

__all__ = ["Config", "Loaded", "effective", "find_files", "load", "process_environ", "resolve_state_dir", "validated"]

_REGISTRIES: Mapping[str, Mapping[str, str]] = {"sinks": SINKS, "sources": SOURCES}
_CORE = tuple(Core.model_fields)
_NAME = re.compile(r"[a-z0-9_-]+")
_SINGULAR = {"sinks": "sink", "sources": "source"}


def process_environ() -> dict[str, str]:
    """A copy of this process's environment, to hand to everything that wants one."""
    return dict(os.environ)


def find_files(environ: Mapping[str, str]) -> tuple[File, ...]:
    """The files to read when none is named: those of CIPUSH_CONFIG, else the first that exists of the usual places."""
    named = environ.get(env.CONFIG_VARIABLE, "")
    if named:
        return tuple(File(name) for name in named.split(os.pathsep) if name)
    home = environ.get("HOME", "")
    user = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    places = [File("cipush.yml"), *([File(user, "cipush", "cipush.yml")] if user else []), File("/etc/cipush/cipush.yml")]
    return tuple(place for place in places if place.exists())[:1]


def resolve_state_dir(config: Config, environ: Mapping[str, str]) -> File | None:
    """The directory of what is remembered across restarts, which need not exist yet; None = remember nothing.

    `auto` is the first of $STATE_DIRECTORY (systemd sets it), below $XDG_STATE_HOME, below ~/.local/state.
    """
    named = config.agent.state_dir
    if named == "none":
        return None
    if named != "auto":
        return File(named).expanduser()
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return File(given)
    base = environ.get("XDG_STATE_HOME")
    return File(base, "cipush") if base else File(environ.get("HOME") or File.home(), ".local", "state", "cipush")


def load(
    files: Sequence[File],
    environ: Mapping[str, str],
    overrides: Sequence[tuple[str, str]] = (),
    pushes: Sequence[str] = (),
    listen: str | None = None,
    log_level: str | None = None,
) -> Loaded:
    """One valid configuration from everything that was said.

    `overrides` are `--set` pairs of dotted key and text, `pushes` the URLs of `--push`. Raises ConfigError with every problem.
    """
    tree = Tree()
    problems = Problems(tree.origins)
    _read(files, tree, problems)
    _push(pushes, tree, problems)
    _create(environ, overrides, tree, problems)
    models = _models(environ, overrides, tree, problems)
    found = _environment(environ, models, tree, problems)
    flags = [(key, text, f"--set {key}") for key, text in overrides]
    flags += [("server.listen_address", listen, "--listen")] if listen is not None else []
    flags += [("log.level", log_level, "--log-level")] if log_level is not None else []
    _flags(flags, models, tree, problems)
    sections = validated(models, tree, problems)
    if problems.lines:
        raise ConfigError(problems.in_order())
    named = {kind: MappingProxyType({path[1]: sections[path] for path in sections if path[0] == kind}) for kind in _REGISTRIES}
    agent, log, server, store = (sections[(name,)] for name in _CORE)
    named["sources"] = MappingProxyType({name: _paced(options, agent) for name, options in named["sources"].items()})
    config = Config(agent, log, server, store, named["sinks"], named["sources"])
    origins = MappingProxyType({dotted(path): origin for path, origin in tree.origins.items()})
    return Loaded(config, origins, tuple(dict.fromkeys((*files, *found))))


def _paced(options: Any, agent: Any) -> Any:
    """The agent's own numbers are read as often as they are sent, unless told otherwise."""
    if options.type != "internal" or "interval_seconds" in options.model_fields_set:
        return options
    return options.model_copy(update={"interval_seconds": agent.flush_interval_seconds})


def _read(files: Sequence[File], tree: Tree, problems: Problems) -> None:
    for file in files:
        try:
            data = read_file(file)
        except FileError as problem:
            problems.add(f"{file}:{problem.line}" if problem.line else str(file), str(problem))
            continue
        for path, line, text in data.problems:
            what = f"{text}; {suggest(str(path[0]), SECTIONS)}" if text == UNKNOWN_SECTION else text
            problems.add(f"{file}:{line}", f"{dotted(path)}: {what}")
        tree.merge(data.tree, lambda path, file=file, lines=data.lines: _origin(file, lines, path))  # type: ignore[misc]


def _origin(file: File, lines: Mapping[Path, int], path: Path) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return f"{file}:{lines[path[:length]]}"
    return str(file)


def _push(urls: Sequence[str], tree: Tree, problems: Problems) -> None:
    for url in urls:
        try:
            name, section = config_push.sink(url)
        except ValueError as error:
            # Without a scheme nothing else would know that what stands before the @ is a secret.
            problems.add("--push", f"{url.rpartition('@')[2]!r} {error}")
            continue
        tree.merge({"sinks": {name: section}}, lambda _path: "--push")


def _create(environ: Mapping[str, str], overrides: Sequence[tuple[str, str]], tree: Tree, problems: Problems) -> None:
    """The sinks and sources that exist because a variable or flag names them, and those that exist by default."""
    for section in SECTIONS:
        value = tree.get((section,))
        if value is None:
            tree.data.pop(section, None)
        elif not isinstance(value, dict):
            problems.at((section,), "must be a mapping (key: value lines below it)")
            tree.data[section] = {}
    for section in _REGISTRIES:
        named = env.entries(environ, section, tree.data.get(section, {}))
        named |= {parts[1]: f"--set {key}" for key, _ in overrides if (parts := key.split("."))[0] == section and len(parts) > 2}
        for name, origin in named.items():
            if not isinstance(tree.get((section, name)), dict):
                tree.assign((section, name), {}, origin)
        tree.data.setdefault(section, {"host": {}} if section == "sources" else {})


def _models(environ: Mapping[str, str], overrides: Sequence[tuple[str, str]], tree: Tree, problems: Problems) -> dict[Path, Any]:
    """Section -> the type it must have. Sections of no known type are told, and missing here."""
    models: dict[Path, Any] = {(section,): Core.model_fields[section].annotation for section in _CORE}
    said = dict(overrides)
    for section, registry in _REGISTRIES.items():
        for name, value in tree.data[section].items():
            path = (section, name)
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                problems.at(path, "is not a name; use lower-case letters, digits, _ and -")
            elif value is None:
                tree.data[section][name] = {}
            elif not isinstance(value, dict):
                problems.at(path, "must be a mapping (key: value lines below it)")
                continue
            from_environ = env.kind_of(environ, section, str(name))
            given = said.get(f"{section}.{name}.type") or (from_environ or (None,))[0] or (value or {}).get("type")
            kind = str(name) if given is None else given
            if not isinstance(kind, str) or kind not in registry:
                where = (*path, "type") if given is not None else path
                what = f"there is no {_SINGULAR[section]} type {kind!r}" if given is not None else "has no type; add `type`"
                problems.at(where, f"{what}; {suggest(str(kind), registry)}")
                continue
            if (value or {}).get("type") != kind:
                tree.assign((*path, "type"), kind, "name of the section" if given is None else tree.origins.get(path, ""))
            models[path] = options_of(registry, kind)
    if not any(section.get("type") == "internal" for section in tree.data["sources"].values() if isinstance(section, dict)):
        if ("sources", "internal") in models:
            problems.at(("sources", "internal"), "is the name of the agent's own numbers; give this source another")
        tree.assign(("sources", "internal", "type"), "internal", "default")
        models["sources", "internal"] = options_of(SOURCES, "internal")
    return models


def _environment(environ: Mapping[str, str], models: Mapping[Path, Any], tree: Tree, problems: Problems) -> Sequence[File]:
    names = env.Names()
    for path, model in models.items():
        names.section(path, model)
    for section in _REGISTRIES:
        for name in tree.data[section]:
            if (section, name) not in models:
                names.skip((section, name))
    found = env.resolve(environ, names, problems)
    for setting in found.settings:
        tree.assign(setting.path, setting.value, setting.origin)
    return found.files


def _flags(flags: Sequence[tuple[str, str, str]], models: Mapping[Path, Any], tree: Tree, problems: Problems) -> None:
    for key, text, origin in flags:
        path = tuple(key.split("."))
        at = path[:2] if path[0] in _REGISTRIES else path[:1]
        if path[0] in _REGISTRIES and len(path) < 3:
            problems.add(origin, f"names no key of a {_SINGULAR[path[0]]}; write {path[0]}.<name>.<key>=<value>")
        elif at not in models:
            if path[0] not in _REGISTRIES:
                problems.add(origin, f"{UNKNOWN_SECTION}; {suggest(path[0], SECTIONS)}")
        else:
            kind = keys.follow(models[at], path[len(at) :])
            if kind is None or len(path) == len(at):
                known = keys.fields(keys.follow(models[at], path[len(at) : -1]))
                problems.add(origin, f"unknown key; {suggest(path[-1], known)}")
            else:
                tree.assign(path, env.understood(text, kind, path, origin, problems), origin)


def validated(models: Mapping[Path, Any], tree: Tree, problems: Problems) -> dict[Path, Any]:
    """Section -> the valid section; those that are not are told, and missing."""
    sections: dict[Path, Any] = {}
    for path, model in models.items():
        try:
            value = model.model_validate(tidy(tree.get(path) or {}, model, path, problems))
        except ValidationError as error:
            problems.invalid(error, path, model)
        else:
            _look_around(value, path, problems)
            sections[path] = value
    return sections


def _look_around(section: Any, path: Path, problems: Problems) -> None:
    """What no type can say: numbers that are none, and files that cannot be read."""
    for at, value in walk(section, path):
        if not finite(value):
            problems.at(at, f"must be a finite number (got {value})")
        elif str(at[-1]).endswith("_file") and isinstance(value, (str, File)) and str(value):
            try:
                with open(value, "rb") as file:
                    file.read(1)
            except OSError as error:
                problems.at(at, f"{value} cannot be read: {error.strerror or error}; check the path and its permissions")
