"""Pushgateway's grouping keys: their paths, and the memory of those pushed."""

from __future__ import annotations

import json
import logging
import os
import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

log = logging.getLogger(__name__)

Group = tuple[tuple[str, str], ...]
"""(label, value) pairs, `job` first."""

MAX_MEMORY_BYTES = 8 << 20
"""A larger file was not written by us: a group is some hundred bytes."""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRICS = "/metrics/"
_BASE64 = "@base64"


def path(group: Group) -> str:
    """`/metrics/job/...` for a group; values that a path cannot hold as they are go in base64.

    Source: Pushgateway README, "URL"; an empty value is a lone `=`.
    """
    return "/metrics" + "".join(f"/{_component(label, value)}" for label, value in group)


def _component(label: str, value: str) -> str:
    raw = value.encode("utf-8", "replace")
    # "." and ".." are directions in a path, whatever their quoting.
    if value and "/" not in value and value not in {".", ".."}:
        return f"{label}/{quote(raw, safe='')}"
    return f"{label}{_BASE64}/{urlsafe_b64encode(raw).decode().rstrip('=') or '='}"


def split_url(url_path: str) -> tuple[str, Group | None]:
    """(the path of the gateway itself, the group named behind it or None).

    Raises ValueError for a `/metrics/...` path that is no grouping key.
    """
    base, _, rest = url_path.partition(_METRICS)
    if not rest.strip("/"):
        return base.rstrip("/").removesuffix("/metrics"), None
    parts = rest.rstrip("/").split("/") if not rest.endswith(f"{_BASE64}/=") else rest.split("/")
    if len(parts) % 2:
        raise ValueError("the path behind /metrics must be pairs: /job/NAME/LABEL/VALUE")
    group = tuple(_pair(parts[i], parts[i + 1]) for i in range(0, len(parts), 2))
    names = [label for label, _ in group]
    if names[0] != "job" or not group[0][1]:
        raise ValueError("the path behind /metrics must begin with /job/ and a name that is not empty")
    if len(set(names)) < len(names):
        raise ValueError("the path behind /metrics names a label twice")
    return base, group


def _pair(label: str, value: str) -> tuple[str, str]:
    name = label.removesuffix(_BASE64)
    if not _LABEL.fullmatch(name) or name.startswith("__"):
        raise ValueError(f"{name!r} in the path is not a label name")
    if name == label:
        return name, unquote(value)
    try:
        text = value.rstrip("=")
        return name, b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode()
    except (Base64Error, ValueError):
        raise ValueError(f"the value of {name} in the path is not base64") from None


class Pushed:
    """The groups a gateway may hold because of us, kept in a file across restarts if there is one.

    `gateway` is its address without credentials: groups at another address are none of this sink's business.
    """

    def __init__(self, file: Path | None, gateway: str) -> None:
        self._file = file
        self._gateway = gateway
        self.paths: frozenset[str] = self._loaded()

    def remember(self, paths: Iterable[str]) -> None:
        """From now on the gateway may hold exactly these; call it before a push and after a deletion."""
        paths = frozenset(paths)
        if paths != self.paths:
            self.paths = paths
            self._save()

    def _loaded(self) -> frozenset[str]:
        if self._file is None:
            return frozenset()
        try:
            with self._file.open("rb") as file:
                raw = file.read(MAX_MEMORY_BYTES + 1)
            if len(raw) > MAX_MEMORY_BYTES:
                raise ValueError("it is too large")
            found = json.loads(raw)
            gateway, paths = found["gateway"], found["paths"]
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            log.warning("%s cannot be read (%s): groups pushed before will stay in the gateway", self._file, error)
            return frozenset()
        if not isinstance(paths, list) or gateway != self._gateway:
            log.warning("%s is about the gateway %.200r: what was pushed there stays there", self._file, gateway)
            return frozenset()
        return frozenset(path for path in paths if isinstance(path, str) and path.startswith("/metrics/job"))

    def _save(self) -> None:
        if self._file is None:
            return
        text = json.dumps({"gateway": self._gateway, "paths": sorted(self.paths)}, indent=1)
        unfinished = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(text)
            os.replace(unfinished, self._file)
        except OSError as error:
            log.warning("cannot write %s (%s): after a restart vanished groups will stay in the gateway", self._file, error)
