"""`cipush check`: whether what is configured can be built, and with --online whether it works."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import anyio

from agent import __version__, plugin
from agent.cli import canary
from agent.config import resolve_state_dir
from agent.config.model import Loaded
from agent.errors import CollectError, ConfigError, TemporaryError
from agent.model import Poller
from agent.relabel.options import limits_of, rules_of
from agent.secret import redact
from agent.sinks import SINKS
from agent.sources import SOURCES
from agent.sources.base import Remarking

SOURCE_SECONDS = 30.0
"""Longest time for one source's answers."""

Say = Callable[[str], object]


def context(loaded: Loaded) -> plugin.Context:
    """What plugins get when nothing runs: no state directory, so that nothing is kept."""
    agent = loaded.config.agent
    return plugin.Context(time.time, agent.job, agent.instance or "check", f"cipush/{__version__}")


def offline(loaded: Loaded, environ: Mapping[str, str]) -> str:
    """Build everything without starting it; what sources remark, as YAML comments. Raises ConfigError with every problem."""
    remarks = []
    problems = _state_problems(resolve_state_dir(loaded.config, environ), loaded)
    for section, registry, entries in (("sinks", SINKS, loaded.config.sinks), ("sources", SOURCES, loaded.config.sources)):
        for name, options in entries.items():
            try:
                built = plugin.load(registry, options.type).build(name, options, context(loaded))
                if isinstance(built, Remarking):
                    remarks += [f"# source {name}: {remark}\n" for remark in built.remarks()]
            except ConfigError as error:
                problems += [_placed(loaded, f"{section}.{name}", problem) for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return "".join([*remarks, *(f"# {line}\n" for line in _alike(loaded))])


def _placed(loaded: Loaded, section: str, problem: str) -> str:
    """A problem with the line of the key that it begins with, or else of its section."""
    origin = loaded.origins.get(problem.partition(":")[0]) or loaded.origins.get(section)
    return f"{origin}: {problem}" if origin else problem


def _alike(loaded: Loaded) -> Iterator[str]:
    """Sources that count the same, or whose series cannot be told apart."""
    for one, other in combinations(loaded.config.sources.items(), 2):
        if words := plugin.alike(*one, *other):
            yield words


def _state_problems(path: Path | None, loaded: Loaded) -> list[str]:
    if path is None:
        return []
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return []
    origin = loaded.origins.get("agent.state_dir")
    text = f"agent.state_dir: {path} cannot be written; make {there} writable, or set another directory or none"
    return [f"{origin}: {text}" if origin else text]


def views(loaded: Loaded) -> str:
    """Which sinks share their encoded series, as YAML comments: each group of them costs memory of its own."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, options in loaded.config.sinks.items():
        module = plugin.load(SINKS, options.type)
        policy = module.policy(options)
        protocol = (policy.forms[0].protocol if policy.forms else module.PROTOCOL).value
        protocol += " with native histograms" if policy.native_histograms else ""
        limits = limits_of(loaded.config.agent.limits, options.limits)
        groups.setdefault((protocol, *sorted(options.extra_labels.items()), rules_of(options), limits), []).append(name)
    if not groups:
        return "# no sinks: nothing is pushed, /metrics can be scraped\n"
    count = f"{len(groups)} encoded copies of every series" if len(groups) > 1 else "one encoded copy of every series"
    return f"# {count} in memory: " + "; ".join(f"{key[0]} for {', '.join(names)}" for key, names in groups.items()) + "\n"


def online(loaded: Loaded, say: Say) -> None:
    """Ask every sink and source, and say of each how it went. Raises TemporaryError when one failed."""
    failed: list[str] = []
    anyio.run(_online, loaded, say, failed)
    if failed:
        raise TemporaryError(f"check --online failed for {', '.join(failed)}")


async def _online(loaded: Loaded, say: Say, failed: list[str]) -> None:
    async with anyio.create_task_group() as tasks:
        for name, sink in loaded.config.sinks.items():
            tasks.start_soon(_sink, name, sink, loaded, say, failed)
        for name, source in loaded.config.sources.items():
            tasks.start_soon(_source, name, source, loaded, say, failed)


async def _sink(name: str, options: Any, loaded: Loaded, say: Say, failed: list[str]) -> None:
    works, words = await canary.try_sink(name, options, context(loaded))
    say(f"sink {name}: {'ok' if works else 'FAILED'}: {redact(words)}")
    if not works:
        failed.append(f"sink {name}")


async def _source(name: str, options: Any, loaded: Loaded, say: Say, failed: list[str]) -> None:
    source = plugin.load(SOURCES, options.type).build(name, options, context(loaded))
    try:
        said: dict[str, str] = {}
        for poller in source.pollers():
            works, words = await _collected(poller)
            if not works:
                before = said.setdefault(words, poller.name)
                words = words if before == poller.name else f"as {before}"
            say(f"source {name}, poller {poller.name}: {'ok' if works else 'FAILED'}: {redact(words)}")
        if said:
            failed.append(f"source {name}")
        for remark in source.remarks() if isinstance(source, Remarking) else ():
            say(f"source {name}: {redact(remark)}")
    finally:
        await source.aclose()


async def _collected(poller: Poller) -> tuple[bool, str]:
    try:
        with anyio.fail_after(min(poller.timeout_seconds or poller.interval_seconds, SOURCE_SECONDS)):
            found = await poller.collect(None)
    except TimeoutError:
        return False, "no answer in time"
    except CollectError as error:
        return False, str(error)
    return not found.problem, found.problem or f"{len(found.updates)} series"
