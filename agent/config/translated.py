"""Values of amazing-gitlab-exporter as cipush writes them, where it is certain what was meant."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic import ValidationError

from agent.config import keys
from agent.config.draft import Draft
from agent.config.gopattern import python_pattern
from agent.config.keys import Path
from agent.config.model import LogSection
from agent.config.problems import shown
from agent.secret import Secret

_API = re.compile(r"/api(/v4)?/*$")
_REFERENCE = re.compile(r"\$(\{\w+\}|[A-Z_][A-Z0-9_]*$)")


def translated(draft: Draft, value: Any, kind: Any, path: Path) -> Any:
    """`value`, of a key of type `kind`, in cipush's words; what it is in the draft's notes, where it was another."""
    if keys.is_list(kind):
        return _listed(draft, value, path)
    if isinstance(value, int) and not isinstance(value, bool) and keys.unwrap(kind) is Secret:
        draft.note(path, "is a number there, and is taken over as the text that it makes; check it")
        return str(value)
    if not isinstance(value, str):
        return value
    if path == ("log", "level"):
        return _level(value)
    if path[-1] == "regexp":
        return _pattern(draft, value, path)
    if path == ("gitlab", "url"):
        return _url(draft, value, path)
    if _REFERENCE.match(value):
        draft.note(path, "looks like a reference to a variable, which cipush does not fill in; put the value there")
    return value


def _listed(draft: Draft, value: Any, path: Path) -> Any:
    """One value where a list has to be is a list of it; the last of a histogram's buckets is not named."""
    if not isinstance(value, list):
        draft.note(path, "must be a list, and is taken over as a list of what it is")
        value = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else [value]
    if path[-1] == "histogram_buckets" and value and isinstance(value[-1], float) and value[-1] == math.inf:
        return value[:-1]
    return value


def _level(value: str) -> str:
    try:
        return LogSection.model_validate({"level": value}).level
    except ValidationError:
        return value


def _pattern(draft: Draft, value: str, path: Path) -> Any:
    try:
        found = python_pattern(value)
    except ValueError as error:
        draft.note(path, f"is left out: {error}; write it anew")
        return None
    if found != value:
        draft.note(path, f"is a regular expression of Go, and is taken over as {shown(found) or 'one of Python'}")
    return found


def _url(draft: Draft, value: str, path: Path) -> Any:
    if not value.strip():
        return None
    found = _API.sub("", value.strip())
    if found != value:
        draft.note(path, "is taken over without what stands behind the instance's address; cipush adds /api/v4 itself")
    return found
