"""What `cipush demo` prints: the host's samples as the receiver gives them back, not as the agent sent them.

`watch` knows nothing of the agent: it asks whatever stands behind the push URL, the embedded receiver,
VictoriaMetrics, Prometheus or a Pushgateway, through the query interface each of them has.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, NoReturn, cast
from urllib.parse import urlsplit, urlunsplit

import anyio
import httpx
from prometheus_client.parser import text_string_to_metric_families

from agent.secret import redact
from agent.wire.exposition import format_value, series_text

MAX_BYTES = 8 << 20
"""Most bytes of one answer that are read."""
FIRST_SHOWN = 12
"""How many of the first series are printed, one of each name."""
ASK_SECONDS = 0.5
"""How often the receiver is asked until something has arrived."""
WINDOW_SECONDS = 90.0
"""How far back an export goes: unchanged series are sent once a minute."""
FRESH_SECONDS = 5.0
"""Samples older than that when the watch begins are somebody else's: of an earlier demo, of another agent."""
ANSWER_SECONDS = 10.0
"""How long one round of questions may take."""

_PUSH_PATHS = ("/api/v1/write", "/api/v1/import", "/metrics/job")


class Seen(NamedTuple):
    """The newest sample of one series, as the receiver holds it."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    at: float | None
    """Seconds since the epoch; None where the receiver does not say (Pushgateway)."""


class UnreadableError(Exception):
    """The receiver could not be asked, or its answer was not understood."""


def base_url(push_url: str) -> str:
    """The receiver's own address, path prefix included, without the push path: where queries go."""
    parts = urlsplit(push_url)
    cuts = [parts.path.index(path) for path in _PUSH_PATHS if path in parts.path]
    path = parts.path[: min(cuts)] if cuts else parts.path
    return urlunsplit((parts.scheme, parts.netloc, path.rstrip("/"), "", ""))


async def ask(client: httpx.AsyncClient, push_url: str, prefix: str, now: float) -> list[Seen]:
    """The series whose names begin with `prefix`, from the first interface that has any.

    In this order: export (embedded receiver, VictoriaMetrics, whose instant queries hide the last 30 s),
    instant query (Prometheus), the metrics page (Pushgateway). Raises UnreadableError when none answers.
    """
    base, selector = base_url(push_url), f'{{__name__=~"{prefix}.*"}}'
    questions: tuple[tuple[str, dict[str, str], Callable[[str], Iterable[Seen]]], ...] = (
        ("/api/v1/export", {"match[]": selector, "start": f"{now - WINDOW_SECONDS:.3f}"}, _from_export),
        ("/api/v1/query", {"query": selector}, _from_query),
        ("/metrics", {}, _from_text),
    )
    problems: list[str] = []
    for path, parameters, read in questions:
        try:
            found = [seen for seen in read(await _get(client, base + path, parameters)) if seen.name.startswith(prefix)]
        except UnreadableError as error:
            problems.append(str(error))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            problems.append(f"{path}: answer not understood ({type(error).__name__})")
        else:
            if found:
                # An export may spread a series over several lines.
                newest = {seen[:2]: seen for seen in sorted(found, key=lambda seen: seen.at or 0.0)}
                return sorted(newest.values(), key=lambda seen: seen[:2])
    if len(problems) == len(questions):
        raise UnreadableError(redact(f"{base}: {problems[0]}"))
    return []


async def watch(
    push_url: str,
    out: Callable[[str], None],
    *,
    clock: Callable[[], float],
    client: httpx.AsyncClient,
    pages: Sequence[str] = (),
    prefix: str = "host_",
    every_seconds: float = 5.0,
) -> NoReturn:
    """Print the first series the receiver gives back, then a line every few seconds, until cancelled.

    `out` gets one line at a time without its newline; `pages` are addresses to repeat in every line.
    A receiver that cannot be read is said once, and once more when it can.
    """
    started = clock()
    reader = _Reader(push_url, out, clock, client, prefix)
    found = _since(await reader.read(), started - FRESH_SECONDS)
    while not found:
        await anyio.sleep(ASK_SECONDS)
        found = _since(await reader.read(), started - FRESH_SECONDS)
    out(f"{len(found)} series read back from {redact(base_url(push_url))} after {clock() - started:.1f} s:")
    shown = _one_of_each(found)[:FIRST_SHOWN]
    for seen in shown:
        out(f"  {series_text(seen.name, seen.labels)[:200]} {format_value(seen.value)}")
    if len(found) > len(shown):
        out(f"  ... and {len(found) - len(shown)} more")
    where = "".join(f" | {page}" for page in pages)
    while True:
        await anyio.sleep(every_seconds)
        if found := await reader.read():
            out(f"{len(found)} series in the receiver{_age(found, clock())}{where}")


class _Reader:
    """Asks again and again; tells when the receiver stops or starts answering."""

    def __init__(
        self, push_url: str, out: Callable[[str], None], clock: Callable[[], float], client: httpx.AsyncClient, prefix: str
    ) -> None:
        self._push_url, self._out, self._clock, self._client, self._prefix = push_url, out, clock, client, prefix
        self._failing = False

    async def read(self) -> list[Seen]:
        """What is there now; nothing while the receiver cannot be read."""
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                found = await ask(self._client, self._push_url, self._prefix, self._clock())
        except (UnreadableError, TimeoutError) as error:
            if not self._failing:
                self._out(f"cannot read the receiver, still trying: {error or 'no answer in time'}")
            self._failing = True
            return []
        if self._failing:
            self._out("the receiver answers again")
        self._failing = False
        return found


async def _get(client: httpx.AsyncClient, url: str, parameters: dict[str, str]) -> str:
    parts: list[bytes] = []
    size = 0
    try:
        async with client.stream("GET", url, params=parameters) as answer:
            if answer.status_code != 200:
                raise UnreadableError(f"HTTP {answer.status_code}")
            # Left half-read, the generator would be closed by the garbage collector, with a warning.
            async with aclosing(cast(AsyncGenerator[bytes, None], answer.aiter_bytes())) as stream:
                async for part in stream:
                    size += len(part)
                    if size > MAX_BYTES:
                        raise UnreadableError(f"answer longer than {MAX_BYTES} bytes")
                    parts.append(part)
    except httpx.HTTPError as error:
        raise UnreadableError(f"{type(error).__name__} {error}") from error
    return b"".join(parts).decode("utf-8", "replace")


def _from_export(body: str) -> Iterable[Seen]:
    for line in filter(None, body.split("\n")):
        found = json.loads(line)
        value = found["values"][-1]
        if value is not None:
            yield _seen(found["metric"], float(value), found["timestamps"][-1] / 1000)


def _from_query(body: str) -> Iterable[Seen]:
    for found in json.loads(body)["data"]["result"]:
        at, text = found["value"]
        yield _seen(found["metric"], float(text), float(at))


def _from_text(body: str) -> Iterable[Seen]:
    for family in text_string_to_metric_families(body):
        for sample in family.samples:
            yield _seen({"__name__": sample.name, **sample.labels}, sample.value, None)


def _seen(metric: dict[str, Any], value: float, at: float | None) -> Seen:
    labels = tuple(sorted((str(name), str(text)) for name, text in metric.items() if name != "__name__"))
    return Seen(str(metric["__name__"]), labels, value, at)


def _since(found: list[Seen], first: float) -> list[Seen]:
    return [seen for seen in found if seen.at is None or seen.at >= first]


def _one_of_each(found: list[Seen]) -> list[Seen]:
    names: dict[str, Seen] = {}
    for seen in found:
        names.setdefault(seen.name, seen)
    return list(names.values())


def _age(found: list[Seen], now: float) -> str:
    newest = max((seen.at for seen in found if seen.at is not None), default=-math.inf)
    return f", the newest {max(now - newest, 0.0):.1f} s old" if newest > -math.inf else ""
