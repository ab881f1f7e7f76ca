"""`cipush status` and `explain`: asks a running agent and says it in words for whoever was woken up by it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from agent.config.files import FileError, read_bounded
from agent.config.model import split_address
from agent.errors import CipushError, ConfigError
from agent.secret import Secret

if TYPE_CHECKING:
    from agent.cli.verbs import Said
    from agent.config.model import ServerSection

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 16 << 20
MAX_TOKEN_BYTES = 65536
_SINK_HEAD = ("SINK", "TYPE", "STATE", "SENT", "DROPPED", "QUEUED", "ON DISK", "OLDEST", "OUTLOOK", "LAST ERROR")
_SOURCE_HEAD = ("SOURCE", "POLLER", "STATE", "SERIES", "LAST SUCCESS", "LAST ERROR")
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class NoAgentError(CipushError):
    """Nothing answers where the agent was expected."""


def ask(
    said: Said, url: str | None, token_file: Path | None, path: str, query: Mapping[str, str], method: str = "GET"
) -> dict[str, Any]:
    """The JSON object at `path` of the agent at `url`, else of the one the configuration describes.

    The configured token is sent to the configured address only. Raises CipushError saying what to do, NoAgentError where
    nothing answers.
    """
    token, verify = Secret(""), ssl.create_default_context() if (url or "").startswith("https") else None
    if url is None:
        server = said.loader()[0]().config.server
        url, token, verify = _address(server), server.auth_token, _trusting(server)
    elif not url.startswith(("http://", "https://")):
        raise CipushError("--url: must begin with http:// or https://, such as http://127.0.0.1:9817")
    if token_file is not None:
        try:
            token = Secret(read_bounded(token_file, MAX_TOKEN_BYTES).strip())
        except FileError as error:
            raise ConfigError([f"--token-file: {token_file} {error}"]) from None
    return _object(_call(method, url.rstrip("/") + path, query, token, verify), url)


def _address(server: ServerSection) -> str:
    host, port = split_address(server.listen_address)
    host = _ANYWHERE.get(host, host)
    return f"{'https' if server.tls_cert_file else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _trusting(server: ServerSection) -> ssl.SSLContext | None:
    """Trusts the agent's own certificate, whatever name it was made for: it is read from the agent's configuration."""
    if not server.tls_cert_file:
        return None
    context = ssl.create_default_context(cafile=server.tls_cert_file)
    context.check_hostname = False
    return context


def _call(method: str, url: str, query: Mapping[str, str], token: Secret, verify: ssl.SSLContext | None) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    plain = verify or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        with (
            httpx.Client(verify=plain, trust_env=False, timeout=TIMEOUT_SECONDS) as client,
            client.stream(method, url, params=dict(query), headers=headers) as answer,
        ):
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise CipushError(f"{url} answers with more than {MAX_ANSWER_BYTES} bytes: that is not cipush; check --url")
            return answer.status_code, body
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        reason = str(error) or type(error).__name__
        raise NoAgentError(
            f"no agent answers at {url} ({reason}). Is it running (`cipush run`, `systemctl status cipush`)? "
            "Does it listen elsewhere? Then say where with --url."
        ) from None


def _object(answer: tuple[int, bytes], url: str) -> dict[str, Any]:
    status, body = answer
    if status in (401, 403):
        raise CipushError(f"the agent at {url} wants its token ({status}): give the one of server.auth_token with --token-file")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if status != 200 or not isinstance(found, dict):
        words = clean(body[:200].decode("utf-8", "replace")).strip()
        if status == 404 and words.startswith("there is no"):
            raise CipushError(words)
        raise CipushError(f"what answers at {url} is not a cipush of this version (HTTP {status}: {words}); check --url")
    return found


def as_json(answer: Mapping[str, Any]) -> str:
    """The answer, indented."""
    return json.dumps(answer, indent=2, ensure_ascii=False)


def clean(text: str) -> str:
    """Without control characters: receivers' words end up on terminals."""
    return "".join(char if char.isprintable() else " " for char in text)


def status_text(answer: Mapping[str, Any]) -> str:
    """Verdict first, then what is wrong, then tables."""
    troubles = [clean(str(trouble)) for trouble in answer.get("degraded") or ()]
    verdict = "NOT READY" if not answer.get("ready") else "degraded" if troubles else "ok"
    store, flush = answer.get("store") or {}, answer.get("flush") or {}
    uptime = _duration(answer.get("uptime_seconds"))
    limits = ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in store.items() if _is_plain(value))
    lines = [
        f"{verdict}  cipush {answer.get('version')}, instance {answer.get('instance')}, up {uptime}",
        *(f"  ! {trouble}" for trouble in troubles),
        f"flush   every {_duration(flush.get('interval_seconds'))}, last {flush.get('last') or 'never'}",
        f"store   {limits}",
        "",
        *_table(_SINK_HEAD, map(_sink, answer.get("sinks") or ())),
        "",
        *_table(_SOURCE_HEAD, _pollers(answer.get("sources") or ())),
        *_remarks(answer.get("sources") or ()),
    ]
    return "\n".join(line.rstrip() for line in lines)


def explain_text(name: str, answer: Mapping[str, Any]) -> str:
    """The answer as an indented outline."""
    return "\n".join([name, *_outline(answer, "  ")])


def _sink(sink: Mapping[str, Any]) -> Sequence[str]:
    age = sink.get("oldest_pending_age_seconds")
    return (
        str(sink.get("name")),
        str(sink.get("type")),
        str(sink.get("state")),
        _number(sink.get("samples_sent")),
        _number(sink.get("samples_dropped")),
        _number(sink.get("queue_samples")),
        _number(sink.get("queue_disk_bytes", 0)),
        _duration(age) if age else "-",
        _outlook(sink),
        clean(str(sink.get("last_error") or "-"))[:100],
    )


def _outlook(sink: Mapping[str, Any]) -> str:
    """When its queue will be empty, or else full."""
    if not sink.get("queue_samples"):
        return "-"
    drain, hours = sink.get("drain_seconds"), sink.get("queue_hours_left")
    if isinstance(drain, int | float):
        return f"empty in {_duration(drain)}"
    return f"full in {_duration(hours * 3600)}" if isinstance(hours, int | float) else "-"


def _pollers(sources: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    for source in sources:
        for poller in source.get("pollers") or ():
            age, is_up, error = (poller.get(key) for key in ("last_success_age_seconds", "up", "last_error"))
            yield (
                str(source.get("name")),
                str(poller.get("name")),
                ("PROBLEM" if error else "up") if is_up else ("FAILING" if error else "waiting"),
                _number(source.get("series")),
                f"{_duration(age)} ago" if age is not None else "never",
                clean(str(error or "-"))[:100],
            )


def _remarks(sources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for source in sources:
        for remark in source.get("remarks") or ():
            yield f"  {source.get('name')}: {clean(str(remark))}"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | map[Sequence[str]]) -> Iterator[str]:
    found = [head, *rows]
    if len(found) == 1:
        yield f"no {head[0].lower()} is configured"
        return
    widths = [max(len(row[column]) for row in found) for column in range(len(head))]
    for row in found:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _outline(value: Any, indent: str) -> Iterator[str]:
    pairs = value.items() if isinstance(value, Mapping) else (("-", item) for item in value)
    for key, item in pairs:
        label = clean(str(key)).replace("_", " ")
        if isinstance(item, (Mapping, list)) and item:
            yield f"{indent}{label}"
            yield from _outline(item, indent + "  ")
        else:
            shown = "none" if item in (None, "", [], {}) else _number(item)
            yield f"{indent}{label}{' ' if key == '-' else ': '}{shown}"


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float, str))


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return clean(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


def _duration(seconds: object) -> str:
    if not isinstance(seconds, (int, float)):
        return "?"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}" if size == 1 else f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} d"
