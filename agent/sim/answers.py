"""What the embedded receiver answers to GET: queries in VictoriaMetrics' shapes, and pages for people."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

import anyio.lowlevel
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse

from agent.sim import selector
from agent.sim.received import LOOKBACK_MS
from agent.wire.decode import Labels, is_stale
from agent.wire.exposition import format_value, series_text

if TYPE_CHECKING:
    from agent.sim.receiver import Receiver

MAX_SERIES = 10_000
"""Most series in one answer."""
SHOWN_SERIES = 100
"""Most series on the page."""
RATE_SECONDS = 30.0
"""The window of the rate on the page."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>cipush receiver</title>
<style>body{{font:14px/1.5 system-ui,sans-serif;margin:2em;max-width:70em}}table{{border-collapse:collapse}}
td,th{{padding:.1em .8em;text-align:left;border-bottom:1px solid #ddd}}td:last-child{{font-family:monospace}}</style>
</head><body><h1>cipush receiver</h1>
<p><b>{series}</b> series, <b>{samples}</b> samples, <b>{rate:.1f}</b> samples a second over the last {window:.0f} s.
{stale} staleness markers, {repeated} repeated, {late} late, {refused} refused for want of room.</p>
<h2>Requests</h2><table><tr><th>time</th><th>request</th><th>bytes</th><th>samples</th><th>status</th><th></th></tr>
{requests}</table><p>More of them: <a href="/requests">/requests</a></p>
<h2>Series</h2><table><tr><th>value</th><th>age</th><th>series</th></tr>
{rows}</table><p>All of them: <a href="/api/v1/export?match[]=%7B__name__!=%22%22%7D">/api/v1/export</a></p></body></html>
"""


def answer(receiver: Receiver, request: Request) -> Response:
    """The answer to one GET."""
    routes: dict[str, Callable[[Receiver, Request], Response]] = {
        "/": _page,
        "/requests": _requests,
        "/health": lambda _receiver, _request: PlainTextResponse("OK\n"),
        "/api/v1/series": _series,
        "/api/v1/query": _query,
        "/api/v1/metadata": _metadata,
        "/api/v1/export": _export,
    }
    found = routes.get(request.url.path)
    if found is None:
        return PlainTextResponse(f"not here; there are {', '.join(routes)}\n", 404)
    try:
        return found(receiver, request)
    except selector.SelectorError as error:
        return JSONResponse({"status": "error", "errorType": "422", "error": str(error)}, 422)


def _series(receiver: Receiver, request: Request) -> Response:
    found = [dict(labels) for labels, _points in _selected(receiver, request.query_params.getlist("match[]"))]
    return JSONResponse({"status": "success", "data": found})


def _metadata(receiver: Receiver, _request: Request) -> Response:
    """What families are, in Prometheus' shape."""
    return JSONResponse(
        {"status": "success", "data": {name: [said._asdict()] for name, said in receiver.received.families.items()}}
    )


def _query(receiver: Receiver, request: Request) -> Response:
    """An instant query of a plain selector: the last sample of each series, unless stale or too old.

    Without `time` a sample from the future counts too: clocks of sender and receiver may differ.
    """
    now_ms = _milliseconds(request, "time", receiver.clock())
    last_ms = now_ms if "time" in request.query_params else math.inf
    found = []
    for labels, points in _selected(receiver, [request.query_params.get("query", "")]):
        last = max((point for point in points if point[0] <= last_ms), default=None, key=lambda point: point[0])
        if last and now_ms - last[0] <= LOOKBACK_MS and not is_stale(last[1]):
            found.append({"metric": dict(labels), "value": [last[0] / 1000, format_value(last[1])]})
    return JSONResponse({"status": "success", "data": {"resultType": "vector", "result": found}})


def _export(receiver: Receiver, request: Request) -> Response:
    """JSON lines of raw samples; what JSON has no number for is null, as in VictoriaMetrics."""
    first = _milliseconds(request, "start", 0.0)
    last = _milliseconds(request, "end", math.inf)
    chosen = list(_selected(receiver, request.query_params.getlist("match[]")))

    async def lines() -> AsyncIterator[str]:
        for labels, points in chosen:
            inside = sorted((point for point in points if first <= point[0] <= last), key=lambda point: point[0])
            await anyio.lowlevel.checkpoint()
            if inside:
                values = [value if math.isfinite(value) else None for _time, value in inside]
                times = [time for time, _value in inside]
                yield json.dumps({"metric": dict(labels), "values": values, "timestamps": times}) + "\n"

    return StreamingResponse(lines(), media_type="application/stream+json")


def _selected(receiver: Receiver, texts: list[str]) -> Iterator[tuple[Labels, list[tuple[int, float]]]]:
    if not texts or not all(texts):
        raise selector.SelectorError("missing the match[] argument (for a query: query)")
    selectors = [selector.parse(text) for text in texts[:10]]
    seen: set[Labels] = set()
    for matchers in selectors:
        for labels, points in receiver.received.select(matchers):
            if labels not in seen and len(seen) < MAX_SERIES:
                seen.add(labels)
                yield labels, points


def _milliseconds(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default * 1000
    try:
        seconds = float(text)
    except ValueError as error:
        raise selector.SelectorError(f"{name} is not a number of seconds: {text[:50]!r}") from error
    return seconds * 1000


def _requests(receiver: Receiver, _request: Request) -> Response:
    return JSONResponse([asdict(entry) for entry in reversed(receiver.requests)])


def _page(receiver: Receiver, _request: Request) -> Response:
    received, now = receiver.received, receiver.clock()
    recent = sum(samples for at, samples in receiver.recent if now - at <= RATE_SECONDS)
    requests = "".join(
        _row(f"{now - entry.at:.0f} s ago", f"{entry.method} {entry.path}", entry.bytes, entry.samples, entry.status, entry.error)
        for entry in islice(reversed(receiver.requests), 10)
    )
    rows = "".join(
        _row(_shown_value(points[-1][1]), f"{now - points[-1][0] / 1000:.1f} s", _shown_series(labels))
        for labels, points in islice(received.series.items(), SHOWN_SERIES)
    )
    return HTMLResponse(
        _PAGE.format(
            series=len(received.series),
            samples=received.samples,
            rate=recent / RATE_SECONDS,
            window=RATE_SECONDS,
            stale=received.stale_markers,
            repeated=received.repeated,
            late=received.late,
            refused=received.refused,
            requests=requests,
            rows=rows,
        )
    )


def _row(*cells: object) -> str:
    return f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>\n"


def _shown_value(value: float) -> str:
    return "ended" if is_stale(value) else format_value(value)


def _shown_series(labels: Labels) -> str:
    names = dict(labels)
    return series_text(names.pop("__name__"), tuple(names.items()))[:500]
