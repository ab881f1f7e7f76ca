"""`cipush queue`: what waits for the sinks, of a running agent, or of a stopped one from its state directory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.ask import NoAgentError, ask, clean
from agent.config import resolve_state_dir
from agent.errors import CipushError
from agent.spool import folder

if TYPE_CHECKING:
    from agent.cli.verbs import Said

_QUEUE_HEAD = ("QUEUE", "TYPE", "SINK", "BLOCKS", "SAMPLES", "BYTES", "OLDEST", "NEWEST")
_BLOCK_HEAD = ("SEQUENCE", "CREATED", "SAMPLE TIME", "PROTOCOL", "ENCODING", "SAMPLES", "BYTES")


def listed(said: Said, url: str | None, token_file: Path | None) -> dict[str, Any]:
    """Every queue: `{"queues": [...]}`, oldest facts first. Raises CipushError."""
    try:
        return ask(said, url, token_file, "/api/queue", {})
    except NoAgentError:
        root, current = _folders(said, url)
        return {"queues": [info.as_json() for info in folder.listing(root, current)]}


def heads(said: Said, url: str | None, token_file: Path | None, name: str, count: int) -> dict[str, Any]:
    """The oldest blocks of one queue: `{"name": ..., "blocks": [...]}`. Raises CipushError."""
    try:
        return ask(said, url, token_file, "/api/queue", {"name": name, "count": str(count)})
    except NoAgentError:
        root, _ = _folders(said, url)
        return {"name": name, "blocks": [head.as_json() for head in folder.peek(_folder(root, name), count)]}


def dropped(said: Said, url: str | None, token_file: Path | None, name: str, upto: int | None) -> int:
    """Give up what waits in one queue, up to a sequence or all; the samples. Raises CipushError."""
    query = {"name": name} | ({} if upto is None else {"upto": str(upto)})
    try:
        return int(ask(said, url, token_file, "/api/queue", query, "DELETE")["dropped_samples"])
    except NoAgentError:
        root, _ = _folders(said, url)
        return folder.drop(_folder(root, name), upto)


def _folders(said: Said, url: str | None) -> tuple[Path, Sequence[str]]:
    """The configured agent's queues, and its sinks. Raises NoAgentError again where another agent was asked for."""
    if url is not None:
        raise NoAgentError(f"no agent answers at {url}; leave --url out to look into the configured state directory")
    load, environ = said.loader()
    config = load().config
    state_dir = resolve_state_dir(config, environ)
    if state_dir is None:
        raise CipushError("no agent answers, and with agent.state_dir none nothing is kept when it stops")
    return state_dir / folder.QUEUES, tuple(config.sinks)


def _folder(root: Path, name: str) -> Path:
    if "/" in name or name in ("", ".", "..") or not (root / name).is_dir():
        raise CipushError(f"there is no queue {name!r} in {root}; `cipush queue ls` lists them")
    return root / name


def queues_text(answer: Mapping[str, Any], now: float) -> str:
    """One line for each queue."""
    rows = [
        (
            clean(str(queue["name"])),
            clean(str(queue["type"] or "?")),
            "gone" if queue["departed"] else "configured",
            f"{queue['blocks']:,}",
            f"{queue['samples']:,}",
            f"{queue['bytes']:,}",
            _ago(queue["oldest_created"], now),
            f"cannot be read: {clean(queue['problem'])}" if queue.get("problem") else _ago(queue["newest_created"], now),
        )
        for queue in answer["queues"]
    ]
    return _table(_QUEUE_HEAD, rows) if rows else "no queue: nothing was ever kept for a sink"


def heads_text(answer: Mapping[str, Any]) -> str:
    """One line for each block, the oldest first."""
    rows = [
        (
            str(block["sequence"]),
            _time(block["created"]),
            _time(block["timestamp_ms"] / 1000),
            block["protocol"],
            block["encoding"],
            f"{block['samples']:,}",
            f"{block['bytes']:,}",
        )
        for block in answer["blocks"]
    ]
    return _table(_BLOCK_HEAD, rows) if rows else "nothing waits"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    found = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in found)


def _ago(created: float | None, now: float) -> str:
    if created is None:
        return "-"
    age = max(0, int(now - created))
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if age < limit:
            return f"{age // size} {unit} ago"
    return f"{age // 86400} d ago"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
