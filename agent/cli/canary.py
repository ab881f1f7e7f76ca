"""A sample sent to a sink on purpose, and read back where the receiver can be asked."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import anyio
import httpx

from agent import plugin
from agent.model import Accepted, Block, Encoding, Form, Outcome, Protocol, Snapshot, Unsupported
from agent.net.client import Client, shown
from agent.sinks import SINKS
from agent.wire import compress, remote_write, vm_import
from agent.wire.transcode import recoded

NAME = "cipush_check_canary"
JOB = "cipush_check"
SEND_SECONDS = 15.0
READ_SECONDS = 15.0
"""VictoriaMetrics shows a new sample to queries after one to two seconds, Prometheus at once."""
MAX_ANSWER_BYTES = 16 << 20


async def try_sink(name: str, options: Any, context: plugin.Context) -> tuple[bool, str]:
    """(whether it works, in words) for one sink."""
    module = plugin.load(SINKS, options.type)
    url = getattr(options, "url", "")
    if not url:
        return True, "writes to standard output, nothing to reach"
    token, at = secrets.token_hex(6), context.clock()
    sink = module.build(name, options, context)
    try:
        with anyio.fail_after(SEND_SECONDS):
            item = _canary(module.PROTOCOL, module.ENCODING, token, at)
            outcome, form = await _sent(sink, item, module.policy(options).forms)
        if not isinstance(outcome, Accepted):
            return False, f"{shown(url)}: {outcome.code}: {outcome.reason}"
        found = await _read_back(name, options, context, token, at)
        if module.STATE:
            with anyio.fail_after(SEND_SECONDS):
                await sink.send(Snapshot((), 0, round(at * 1000), at))
    except TimeoutError:
        return False, f"{shown(url)}: no answer in {SEND_SECONDS:g} s"
    finally:
        # Without a state directory it knows of no group but the canary's, so that it can delete none that matters.
        await sink.aclose()
    return found is not False, f"{shown(url)}{form}: " + {
        True: "took a canary sample and gave it back",
        False: f"took a canary sample, but did not give it back within {READ_SECONDS:g} s",
        None: "took a canary sample; it cannot be queried there, so look for " + f'{NAME}{{instance="{token}"}}',
    }[found]


async def _sent(sink: Any, item: Any, forms: Sequence[Form]) -> tuple[Outcome, str]:
    """What became of it in the best form that is understood, and which form that was where there is a choice."""
    outcome: Outcome | None = None
    for form in forms[:-1]:
        outcome = await sink.send(recoded(item, form))
        if not isinstance(outcome, Unsupported):
            return outcome, f" ({form.protocol.value}, {form.encoding.value})"
    plain = forms[-1] if outcome is not None else None
    words = f" (falls back to {plain.protocol.value}, {plain.encoding.value})" if plain is not None else ""
    return await sink.send(item), words


def _canary(protocol: Protocol, encoding: Encoding, token: str, at: float) -> Any:
    ms = round(at * 1000)
    labels = [("__name__", NAME), ("instance", token), ("job", JOB)]
    if protocol is Protocol.TEXT:
        return Snapshot((((JOB, token), f"# TYPE {NAME} gauge\n{NAME} 1\n".encode()),), 1, ms, at)
    if protocol is Protocol.IMPORT:
        body = vm_import.line(vm_import.prefix(labels), 1.0, ms)
    else:
        record = bytearray(
            remote_write.record(b"".join(remote_write.label(remote_write.label_head(key), value) for key, value in labels))
        )
        remote_write.pack_value(record, len(record) - remote_write.VALUE_TO_END, 1.0, remote_write.tail(ms))
        body = bytes(record)
    return Block(compress.compress(body, encoding), protocol, encoding, 1, ms, at)


async def _read_back(name: str, options: Any, context: plugin.Context, token: str, at: float) -> bool | None:
    """True when it came back, False when it did not in time, None where nothing there answers queries."""
    client = Client(f"sinks.{name}", options, context.user_agent)
    selector = f'{NAME}{{instance="{token}"}}'
    try:
        with anyio.move_on_after(READ_SECONDS):
            while True:
                answers = [await _get(client, path) for path in _questions(options.url, selector, at)]
                if any(token in answer for answer in answers if answer is not None):
                    return True
                if all(answer is None for answer in answers):
                    return None
                await anyio.sleep(0.5)
        return False
    finally:
        await client.aclose()


def _questions(url: str, selector: str, at: float) -> list[str]:
    """Export (VictoriaMetrics, whose instant queries hide the newest 30 s), instant query (Prometheus), page (Pushgateway)."""
    parts = urlsplit(url)
    cuts = [parts.path.index(path) for path in ("/api/v1/", "/metrics/job") if path in parts.path]
    prefix = (parts.path[: min(cuts)] if cuts else parts.path).rstrip("/")
    start = math.floor(at) - 1
    questions = (
        ("/api/v1/export", {"match[]": selector, "start": str(start)}),
        ("/api/v1/query", {"query": selector}),
    )
    made = [urlunsplit((parts.scheme, parts.netloc, prefix + path, urlencode(query), "")) for path, query in questions]
    return [*made, urlunsplit((parts.scheme, parts.netloc, prefix + "/metrics", "", ""))]


async def _get(client: Client, url: str) -> str | None:
    """The text of an answer that is one; None for anything else."""
    body = b""
    try:
        async with client.stream("GET", url, {}) as answer:
            if answer.status_code != 200:
                return None
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    break
    except httpx.HTTPError:
        return None
    text = body.decode("utf-8", "replace")
    return text if NAME in text or _is_query_answer(text) else None


def _is_query_answer(text: str) -> bool:
    """Whether this is an empty answer to a query rather than some page."""
    if not text.strip():
        return True
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("status") == "success"
