"""A configuration of cipush while it is made of another program's: what is in it, where that was said, what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent.config import keys, validated
from agent.config.files import Lines
from agent.config.keys import Path
from agent.config.model import LogSection, ServerSection
from agent.config.problems import Problems, dotted, shown
from agent.config.tree import Tree
from agent.net.words import escaped
from agent.sources.gitlab.options import Options

SOURCE = ("sources", "gitlab")
DEFAULTS: Mapping[Path, object] = {
    ("log", "format"): "text",
    ("server", "listen_address"): ":8080",
    (*SOURCE, "webhook", "enabled"): False,
}
"""What the other program does where nothing is said, and cipush does not; in sections beyond these only where they are."""
MAX_NOTES = 1000
"""What else there may be to tell is counted."""
_MODELS: Mapping[Path, Any] = {("log",): LogSection, ("server",): ServerSection, SOURCE: Options}
_ROUNDS = 10
"""What is wrong may show only when something else is right: a rule for a whole section comes after those for its keys."""
_ENTRIES = (((*SOURCE, "projects"), ("name",)), ((*SOURCE, "wildcards"), ("owner", "search")))
"""Lists whose entries are left out whole when one of these keys is: they would stand for other projects."""
_KEPT = (*SOURCE, "url")
"""A key that stays though it is wrong: without it another instance would get the token."""


class Draft:
    """A configuration in the making. `file` is the other program's, `lines` the line of each key in it."""

    def __init__(self, file: str, lines: Lines) -> None:
        self.tree = Tree()
        self._file = file
        self._lines = lines
        self._places = {path: at for at, path in enumerate(lines)}
        """Which key of the file each is."""
        self._variable = ""
        """That is read just now."""
        self._said: dict[Path, tuple[str, Path]] = {}
        """Key here -> variable, and key there."""
        self._dropped: set[Path] = set()
        self._kept: dict[Path, list[int]] = {}
        """Which places of a list are left."""
        self._notes: dict[str, tuple[float, str, int, Path]] = {}
        """With where each belongs: the line, without which it comes last; the variable; the key."""
        self._untold = 0

    @contextmanager
    def reading(self, variable: str) -> Iterator[None]:
        """What is put and noted inside comes from this variable."""
        self._variable = variable
        yield
        self._variable = ""

    def put(self, path: Path, value: Any, old: Path) -> None:
        """Take a value over to `path`, which was `old` there; None is nothing."""
        if value is not None:
            self.tree.assign(path, value, "")
            self._said[path] = self._variable, old

    def note(self, old: Path, text: str, variable: str = "") -> None:
        """Something about a key of the other program, or about a variable."""
        name = variable or self._variable
        known = () if name else next((old[:length] for length in range(len(old), 0, -1) if old[:length] in self._lines), ())
        line = self._lines.get(known, 0)
        if name:
            inside = f"{escaped(dotted(old))}: " if any(isinstance(part, int) for part in old) else ""
            told = f"{escaped(name)}: {inside}{text}"
        else:
            told = f"{f'{self._file}:{line}: ' if line else ''}{escaped(dotted(old))}: {text}"
        if len(self._notes) < MAX_NOTES:
            entries = tuple(part for part in old if isinstance(part, int))
            self._notes.setdefault(told, (line or float("inf"), name, self._places.get(known, 0), entries))
        else:
            self._untold += told not in self._notes

    def tell(self, path: Path, text: str) -> None:
        """Something about what was put at a key here."""
        variable, old = self._old(path)
        with self.reading(variable):
            self.note(old, text)

    def in_order(self) -> tuple[str, ...]:
        """The notes, by line and key; those about what is nowhere and about variables come last."""
        more = [f"{self._untold} more of these are not shown"] if self._untold else []
        return (*sorted(self._notes, key=self._notes.__getitem__), *more)

    def settle(self, complete: Callable[[Draft], None]) -> tuple[Mapping[Path, Any], bool]:
        """Leave out what is not valid, and tell it: (the valid sections, whether all that is left is valid).

        `complete` sees what is left before it is looked at, and may change it.
        """
        whole = self.tree
        for _ in range(_ROUNDS):
            self.tree = Tree()
            self.tree.data = self._without(whole.data, ())
            complete(self)
            problems = Problems({})
            sections = validated(_MODELS, self.tree, problems)
            before = len(self._dropped)
            for path, text in problems.found:
                self._leave_out(whole, self._original(path), text)
            if len(self._dropped) == before:
                break
        return sections, not problems.found

    def _without(self, value: Any, path: Path) -> Any:
        """A copy without what is dropped, and without lists and mappings that are empty now."""
        if isinstance(value, dict):
            left = {key: self._without(inner, (*path, key)) for key, inner in value.items() if (*path, key) not in self._dropped}
            return {key: inner for key, inner in left.items() if inner not in ({}, []) or value[key] in ({}, [])}
        if isinstance(value, list):
            self._kept[path] = [at for at in range(len(value)) if (*path, at) not in self._dropped]
            return [self._without(value[at], (*path, at)) for at in self._kept[path]]
        return value

    def _original(self, path: Path) -> Path:
        """Where what is at `path` now was before things were left out."""
        found: Path = ()
        for part in path:
            places = self._kept.get(found)
            is_there = isinstance(part, int) and places is not None and part < len(places)
            found = (*found, places[part] if is_there and places else part)
        return found

    def _leave_out(self, whole: Tree, path: Path, text: str) -> None:
        """Drop a value, or what it cannot be missing from; a whole section is none."""
        at = path
        while at and not _is_there(whole.data, at):
            at = at[:-1]
        for entries, names in _ENTRIES:
            if at[: len(entries)] == entries and len(at) > len(entries) + 1 and at[len(entries) + 1] in names:
                at = at[: len(entries) + 1]
        if len(at) < 2 or at in (SOURCE, _KEPT):
            self.tell(path, text)
        else:
            self._dropped.add(at)
            self.tell(path, f"{text}; {self._consequence(path, at)}")

    def _old(self, path: Path) -> tuple[str, Path]:
        """(variable, key there) of what is at `path` here."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._said:
                variable, old = self._said[path[:length]]
                return variable, (*old, *path[length:])
        return "", ("gitlab", *path[len(SOURCE) :]) if path[: len(SOURCE)] == SOURCE else path

    def _consequence(self, path: Path, dropped: Path) -> str:
        model, rest = next((model, path[len(at) :]) for at, model in _MODELS.items() if path[: len(at)] == at)
        field = keys.fields(keys.follow(model, rest[:-1])).get(rest[-1])
        meaning = f": {field.description}" if field else ""
        if dropped != path:
            return f"{dotted(self._old(dropped)[1])} is left out, it would stand for other projects{meaning}"
        is_everywhere = not any(isinstance(part, int) for part in path)
        default = shown(DEFAULTS.get(path, field.get_default(call_default_factory=True))) if field and is_everywhere else ""
        return f"is left out{f', so that it is {default}' if default else ''}{meaning}"


def _is_there(value: Any, path: Path) -> bool:
    for part in path:
        if isinstance(value, list):
            is_there = isinstance(part, int) and part < len(value)
        else:
            is_there = isinstance(value, dict) and part in value
        if not is_there:
            return False
        value = value[part]
    return True
