"""The status page: plain HTML made on the server, readable on a phone at 3 a.m."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from agent.model import SKEW_SECONDS

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:70rem;padding:0 .8rem;color:#1b1f23;background:#fff}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.4rem 0 .3rem}
div.t{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}
th{font-weight:600;background:#f6f8fa}td.n{text-align:right;font-variant-numeric:tabular-nums}
.ok{color:#116329}.bad{color:#a40e26;font-weight:600}.dim{color:#57606a}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th{background:#161b22}th,td{border-color:#30363d}
.ok{color:#56d364}.bad{color:#ff7b72}.dim{color:#8b949e}a{color:#58a6ff}}
"""


def page(status: Mapping[str, Any]) -> str:
    """The whole page from `/api/status`' content."""
    degraded: Sequence[str] = status["degraded"]
    verdict = '<span class="bad">degraded</span>' if degraded else '<span class="ok">all well</span>'
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="10">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>cipush {_text(status['instance'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>cipush on {_text(status['instance'])}: {verdict}</h1>",
        f'<p class="dim">version {_text(status["version"])}, up {_duration(status["uptime_seconds"])}, '
        f"process {_text(status['pid'])}, state in {_text(status['state_dir'])}</p>",
    ]
    if degraded:
        parts.append("<ul>" + "".join(f'<li class="bad">{_text(line)}</li>' for line in degraded) + "</ul>")
    parts += [_sinks(status["sinks"]), _sources(status["sources"]), _store(status["store"], status["flush"], status["ledger"])]
    parts.append(
        '<p class="dim">more: <a href="/metrics">/metrics</a> <a href="/api/status">/api/status</a> '
        '<a href="/api/series?limit=100">/api/series</a> <a href="/config">/config</a> <a href="/ready">/ready</a></p>'
        "</body></html>"
    )
    return "\n".join(parts)


def _sinks(sinks: Sequence[Mapping[str, Any]]) -> str:
    if not sinks:
        return '<h2>Sinks</h2><p class="dim">None: the series are only on <a href="/metrics">/metrics</a>.</p>'
    rows = (
        [
            _text(sink["name"]),
            _text(sink["type"]),
            _text(sink["url"]),
            _state(sink["state"] in ("ok", "new"), sink["state"]),
            _number(sink["samples_sent"]),
            _number(sink["samples_dropped"]),
            _waiting(sink),
            _outlook(sink),
            _flushes(sink),
            _text(sink["last_error"]) + _skew(sink),
        ]
        for sink in sinks
    )
    return _table(
        "Sinks", ["name", "type", "address", "state", "sent", "dropped", "waiting", "outlook", "flushes", "last error"], rows
    )


def _waiting(sink: Mapping[str, Any]) -> str:
    """Samples, bytes, how many of them on disk, and the age of the oldest; nothing when nothing waits."""
    if not sink["queue_samples"]:
        return ""
    disk = f", {_bytes(sink['queue_disk_bytes'])} on disk" if sink["queue_disk_bytes"] else ""
    oldest = _duration(sink["oldest_pending_age_seconds"])
    return f"{_number(sink['queue_samples'])} ({_bytes(sink['queue_bytes'])}{disk}), oldest {oldest}"


def _outlook(sink: Mapping[str, Any]) -> str:
    """When the queue will be empty, or else full."""
    if sink["drain_seconds"] is not None and sink["queue_samples"]:
        return f"empty in {_duration(sink['drain_seconds'])}"
    if sink["queue_hours_left"] is not None and sink["queue_samples"]:
        return f"full in {_duration(sink['queue_hours_left'] * 3600)}"
    return ""


def _flushes(sink: Mapping[str, Any]) -> str:
    """Up to which flush the receiver, the files and the disk have everything."""
    if sink["accepted_flush"] is None:
        return ""
    if sink["accepted_flush"] == sink["synced_flush"]:
        return f"accepted {_number(sink['accepted_flush'])}"
    return (
        f"accepted {_number(sink['accepted_flush'])}, spooled {_number(sink['spooled_flush'])}, "
        f"synced {_number(sink['synced_flush'])}"
    )


def _skew(sink: Mapping[str, Any]) -> str:
    skew = sink["clock_skew_seconds"]
    if skew is None or abs(skew) < SKEW_SECONDS:
        return ""
    ahead = "ahead of" if skew > 0 else "behind"
    return f' <span class="bad">its clock is {_duration(abs(skew))} {ahead} ours</span>'


def _sources(sources: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        [
            _text(source["name"]),
            _text(poller["name"]),
            _state(poller["up"] and not poller["last_error"], _word(poller["up"], poller["last_error"])),
            _number(source["series"]),
            "never" if poller["last_success_age_seconds"] is None else _duration(poller["last_success_age_seconds"]) + " ago",
            _text(poller["last_error"]),
        ]
        for source in sources
        for poller in source["pollers"]
    )
    remarks = [f"<li>{_text(source['name'])}: {_text(remark)}</li>" for source in sources for remark in source["remarks"]]
    listed = f"<ul>{''.join(remarks)}</ul>" if remarks else ""
    return _table("Sources", ["name", "poller", "state", "series", "last success", "last error"], rows) + listed


def _word(is_up: bool, error: str) -> str:
    """How a poller is."""
    return ("problem" if error else "ok") if is_up else ("failing" if error else "not yet")


def _store(store: Mapping[str, Any], flush: Mapping[str, Any], ledger: Mapping[str, Any]) -> str:
    flush = {key: value for key, value in flush.items() if key != "recent"}  # a hundred lines for programs
    found = [*_flat("", store), *_flat("flush ", flush), *_flat("ledger ", ledger)]
    return _table("Store, flush and ledger", ["what", "now"], [[_text(what), _shown(what, value)] for what, value in found])


def _flat(before: str, values: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    """(what in words, value) of every leaf; a mapping inside adds its key's words in front."""
    for key, value in values.items():
        what = before + str(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(f"{what}: ", value)
        else:
            yield what, value


def _shown(what: str, value: object) -> str:
    """A value as a person reads it, by the unit its name ends with."""
    if value is None or value == "":
        return '<span class="dim">none</span>'
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return _text(", ".join(map(str, value)) if isinstance(value, list | tuple) else value)
    if what.endswith("bytes"):
        return _bytes(value)
    return _duration(value) if what.endswith("seconds") else _number(value)


def _bytes(count: float) -> str:
    """1,536 -> 1.5 KiB."""
    if count < 1024:
        return f"{count:,.0f} bytes"
    power = min(3, (int(count).bit_length() - 1) // 10)
    return f"{count / 1024**power:,.1f} {'KMG'[power - 1]}iB"


def _table(title: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<h2>{escape(title)}</h2><div class="t"><table><tr>{top}</tr>{body}</table></div>'


def _state(good: bool, word: object) -> str:
    return f'<span class="{"ok" if good else "bad"}">{_text(word)}</span>'


def _text(value: object) -> str:
    return escape(str(value))


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h" if whole < 172800 else f"{whole // 86400} d"
