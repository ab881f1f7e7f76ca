"""Reads configuration files with dynaconf, each on its own, past everything dynaconf would do beside reading.

dynaconf gets the text and not the file's name: so no `.local` neighbour, include, hook module or `.env` is picked up. Its
environment switches are hidden while it works, casting is off, and dotted keys are not split. What it answers about
keys (upper case, `__` as nesting) is told from a second, plain reading, which also knows the line of each key.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any, BinaryIO

import yaml

from agent.config.keys import Path

MAX_BYTES = 1 << 20
MAX_NODES = 200_000
"""Values in one file, with aliases written out: a few lines of aliases can mean billions."""
MAX_DEPTH = 50
UNKNOWN_SECTION = "unknown section"
SECTIONS = ("agent", "log", "server", "store", "sinks", "sources")
_KINDS = {".yml": "yaml", ".yaml": "yaml", ".json": "json", ".toml": "toml", "": "yaml"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_A_MAPPING = f"must be a mapping with the sections {', '.join(SECTIONS)}"
_TOML_TABLE = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]")
_TOML_KEY = re.compile(r"\s*([A-Za-z0-9_\-.\"' ]+?)\s*=")

Lines = dict[Path, int]
Wrong = list[tuple[Path, int, str]]
"""(key, line, what is wrong) for keys that can be told to be wrong without knowing what they mean."""


class FileError(Exception):
    """The file cannot be used. `line` is 0 where it is about the whole file."""

    def __init__(self, text: str, line: int = 0) -> None:
        self.line = line
        super().__init__(text)


@dataclass(frozen=True)
class FileData:
    """What one file says."""

    tree: dict[str, Any]
    lines: Lines
    """The line of every key and list item that has one, counted from 1."""
    problems: Wrong = field(default_factory=list)


def read_bounded(file: File, limit: int, opened: BinaryIO | None = None) -> str:
    """The text of `file`, or of what is open in its place.

    Raises FileError where it cannot be read, is not UTF-8 or is larger than `limit` bytes.
    """
    try:
        with nullcontext(opened) if opened is not None else file.open("rb") as stream:
            raw = stream.read(limit + 1)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror or error}; check the path and its permissions") from None
    if len(raw) > limit:
        raise FileError(f"is larger than {limit} bytes; make it smaller")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileError("is not UTF-8 text; save it as UTF-8") from None


def read_file(file: File) -> FileData:
    """Everything `file` says. Raises FileError where it says nothing that can be used."""
    kind = _KINDS.get(file.suffix.lower())
    if kind is None:
        raise FileError(f"has the ending {file.suffix}; name it .yml, .toml or .json")
    text = read_bounded(file, MAX_BYTES)
    lines, problems = {"yaml": _yaml_lines, "json": _json_lines, "toml": _toml_lines}[kind](text)
    if any(what != UNKNOWN_SECTION for _, _, what in problems):
        return FileData({}, lines, problems)
    return FileData(_ask_dynaconf(text, kind), lines, problems)


def read_foreign(file: File, opened: BinaryIO | None = None) -> FileData:
    """Everything another program's YAML file says, or what is open in its place, within the same bounds.

    Raises FileError where it cannot be used.
    """
    text = read_bounded(file, MAX_BYTES, opened)
    lines, wrong = _yaml_lines(text, "must be a mapping (key: value lines)")
    twice = [found for found in wrong if found[2] != UNKNOWN_SECTION]
    if twice:
        return FileData({}, lines, twice)
    try:
        found = yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError) as error:  # a value that is none, such as a 30th of February
        raise FileError(f"cannot be understood ({type(error).__name__})") from None
    return FileData(found or {}, lines)


def _ask_dynaconf(text: str, kind: str) -> dict[str, Any]:
    with _hidden(os.environ):
        from dynaconf import Dynaconf, loaders  # type: ignore[import-untyped]

        settings = Dynaconf(
            settings_files=[],
            environments=False,
            load_dotenv=False,
            loaders=[],
            core_loaders=[],
            envvar_prefix=False,
            auto_cast=False,
            dotted_lookup=False,
        )
        loader = {"yaml": loaders.yaml_loader, "json": loaders.json_loader, "toml": loaders.toml_loader}[kind]
        try:
            # The line end keeps a text that ends in ".yml" from being taken for a file's name.
            loader.load(settings, env="_envless", filename=[text + "\n"], silent=False)
        except Exception as error:  # whatever its parsers raise is about the text; their words may quote it
            raise FileError(f"cannot be understood ({type(error).__name__})") from None
        read = settings.as_dict()
    return {name: read[name.upper()] for name in SECTIONS if name.upper() in read}


@contextmanager
def _hidden(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Without dynaconf's own switches: `SETTINGS_FILE_FOR_DYNACONF` and its like beat what its constructor is told."""
    taken = {name: environ.pop(name) for name in list(environ) if name.upper().endswith("_DYNACONF")}
    try:
        yield
    finally:
        environ.update(taken)


def _yaml_lines(text: str, expected: str = _NOT_A_MAPPING) -> tuple[Lines, Wrong]:
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FileError(f"is not valid YAML: {error.problem}", mark.line + 1 if mark else 0) from None
    except (yaml.YAMLError, ValueError):
        raise FileError("is not valid YAML: it has characters that are not allowed") from None
    except RecursionError:
        raise FileError(f"is nested deeper than {MAX_DEPTH} levels") from None
    walk = _Walk()
    if node is not None and node.tag != "tag:yaml.org,2002:null":
        if not isinstance(node, yaml.MappingNode):
            raise FileError(expected, node.start_mark.line + 1)
        walk.visit(node, ())
    return walk.lines, walk.problems


def _json_lines(text: str) -> tuple[Lines, Wrong]:
    try:
        top = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"is not valid JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise FileError(f"is nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(top, dict):
        raise FileError(_NOT_A_MAPPING, 1)
    try:
        # JSON is YAML but for tabs; inside its strings they are illegal, so that this changes no value.
        return _yaml_lines(text.replace("\t", " "))
    except yaml.YAMLError:
        return {}, [((name,), 1, UNKNOWN_SECTION) for name in top if name not in SECTIONS]


class _Walk:
    """Visits every node once per place it stands in, within bounds."""

    def __init__(self) -> None:
        self.lines: Lines = {}
        self.problems: Wrong = []
        self._visited = 0

    def visit(self, node: yaml.Node, path: Path) -> None:
        """Note the lines below `node`. Raises FileError where a bound is passed or a tag is not plain data."""
        line = node.start_mark.line + 1
        self._visited += 1
        if self._visited > MAX_NODES or len(path) > MAX_DEPTH:
            raise FileError(f"has more than {MAX_NODES} values or {MAX_DEPTH} levels; make it smaller", line)
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python/"):
            raise FileError("has a YAML tag (!...) that is not plain data; remove it", line)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
                self.visit(item, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            self._mapping(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise FileError("has a key that is not plain text", line)
            name = str(key.value)
            if key.tag == "tag:yaml.org,2002:merge":
                self.visit(value, path)
                continue
            here = (*path, name)
            if name in seen:
                self.problems.append((here, line, f"stands here a second time (first in line {seen[name]}); keep one"))
            seen[name] = line
            self.lines[here] = line
            if not path and name not in SECTIONS:
                self.problems.append((here, line, UNKNOWN_SECTION))
            self.visit(value, here)


def _toml_lines(text: str) -> tuple[Lines, Wrong]:
    """Lines of tables and keys by their look; inline tables and what looks odd count as part of the table around."""
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        words = str(error).partition(" (at ")[0]
        raise FileError(f"is not valid TOML: {words}", int(found[1]) if found else 0) from None
    except RecursionError:
        raise FileError(f"is nested deeper than {MAX_DEPTH} levels") from None
    lines: Lines = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TOML_TABLE.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                index = counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                table = (*table, index)
            lines.setdefault(table, number)
        elif key := _TOML_KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines, [((name,), lines.get((name,), 1), UNKNOWN_SECTION) for name in top if name not in SECTIONS]


def _parts(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
