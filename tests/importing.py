"""What `cipush config import` makes of a text, and how the agent reads that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agent.config import Loaded, load
from agent.config.imported import Imported, imported


def made(tmp_path: Path, text: str, **variables: str) -> Imported:
    """What comes of a file and variables."""
    file = tmp_path / "old.yml"
    file.write_text(text)
    return imported(file, variables)


def loaded(tmp_path: Path, found: Imported) -> Loaded:
    """The result, as the agent reads it."""
    file = tmp_path / "cipush.yml"
    file.write_text(found.text)
    return load([file], {})


def source(tmp_path: Path, text: str, **variables: str) -> Any:
    """The source that comes of it."""
    return loaded(tmp_path, made(tmp_path, text, **variables)).config.sources["gitlab"]


def keyed(found: Imported) -> list[tuple[str, str]]:
    """(key or variable, what is said of it) of each note."""
    notes = [re.sub(r"^.*old\.yml:\d+: ", "", note).partition(": ") for note in found.notes]
    return [(key, text) for key, _, text in notes]


def told(found: Imported) -> list[str]:
    """The keys and variables that are spoken of."""
    return [key for key, _ in keyed(found)]
