"""Logs: one line a record on stderr, JSON or text, without secrets; failures on transition, not on every try."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Hashable
from typing import Literal, TextIO

from agent.secret import redact

MAX_FIELD = 16_384
"""Characters of one field of a line; of a longer one the middle is left out."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = {
    # INFO lines with URLs, tokens in queries included
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    # a warning for every request that a port scanner garbles
    "uvicorn": logging.ERROR,
    "uvicorn.error": logging.ERROR,
    "uvicorn.access": logging.ERROR,
}
"""Libraries that say too much, and the level from which on they are heard."""


class _Formatter(logging.Formatter):
    """Redacts every part of a record before anything quotes it: message, arguments, extras and traceback alike."""

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """What one record says, in the order of printing."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "ts": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": _clean(_message(record)),
        }
        for key, value in vars(record).items():
            if key not in _STANDARD and key not in fields:
                fields[key] = _clean(_text(value))
        if record.exc_info:
            fields["traceback"] = _clean(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = _clean(record.stack_info)
        return fields


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return "".join(_json_char(char) for char in json.dumps(self.fields(record), ensure_ascii=False))


class TextFormatter(_Formatter):
    """`time level logger: message key=value`, control characters escaped, the traceback too: one line a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = self.fields(record)
        head = f"{fields.pop('ts')} {fields.pop('level'):<8} {fields.pop('logger')}: {fields.pop('msg')}"
        line = " ".join([head, *(f"{key}={_quoted(value)}" for key, value in fields.items())])
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def _message(record: logging.LogRecord) -> str:
    # A log call that is wrong, or an argument that cannot be printed, must not cost the line, nor the work around it;
    # logging would print the arguments to stderr as they are.
    try:
        return record.getMessage()
    except Exception as error:
        return f"{_text(record.msg)} (its arguments could not be formatted: {type(error).__name__})"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"({type(value).__name__} that could not be printed: {type(error).__name__})"


def _clean(text: str) -> str:
    text = redact(text)
    half = MAX_FIELD // 2
    return text if len(text) <= MAX_FIELD else f"{text[:half]} ... {len(text) - MAX_FIELD} characters ... {text[-half:]}"


def _quoted(value: str) -> str:
    """A value that reads as one: quoted where a blank or `=` in it could pass for the next key."""
    return json.dumps(value, ensure_ascii=False) if not value or any(char in value for char in ' ="') else value


def _json_char(char: str) -> str:
    # json.dumps leaves U+0085, U+2028 and what turns text around as they are; some readers end lines there
    return char if char.isprintable() else json.dumps(char)[1:-1]


def configure(level: str, format: Literal["json", "text"], stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr). Replaces what was configured before, so a reload may call it again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))


class Transition:
    """Says that something failed when it begins to, and once when it works again; counts in between.

    `clock` gives seconds that only grow; the time of a failure is told by it.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._failing: dict[Hashable, tuple[float, int]] = {}

    def failed(self, key: Hashable, message: str) -> None:
        """`key` failed; logged only the first time in a row."""
        since, count = self._failing.get(key, (self._clock(), 0))
        if not count:
            self._logger.warning("%s", message)
        self._failing[key] = (since, count + 1)

    def recovered(self, key: Hashable, message: str) -> None:
        """`key` works; logged only after a failure, with how often and how long it did not."""
        found = self._failing.pop(key, None)
        if found is not None:
            since, count = found
            failures = "1 failure" if count == 1 else f"{count} failures"
            self._logger.info("%s (after %s in %.0f s)", message, failures, self._clock() - since)
