"""Logs: one line a record on stderr, JSON or text, without secrets; failures on transition, not on every try."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Hashable
from typing import Literal, TextIO

from agent.secret import redact

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access")
"""Their INFO lines print URLs, tokens in queries included."""


class _Formatter(logging.Formatter):
    """Builds the finished line and redacts it whole: message, arguments, extras and traceback alike."""

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """What one record says, in the order of printing."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, object] = {
            "ts": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        fields.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return fields


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        # redacted before it is quoted: quoting could break a secret up
        fields = {key: redact(str(value)) for key, value in self.fields(record).items()}
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(_Formatter):
    """`time level logger: message key=value`, control characters escaped, the traceback too: one line a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = self.fields(record)
        head = f"{fields.pop('ts')} {str(fields.pop('level')):<8} {fields.pop('logger')}: {fields.pop('msg')}"
        line = redact(" ".join([head, *(f"{key}={value}" for key, value in fields.items())]))
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def configure(level: str, format: Literal["json", "text"], stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr). Replaces what was configured before, so a reload may call it again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class Transition:
    """Says that something failed when it begins to, and once when it works again; counts in between."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._failing: dict[Hashable, tuple[float, int]] = {}

    def failed(self, key: Hashable, message: str) -> None:
        """`key` failed; logged only the first time in a row."""
        since, count = self._failing.get(key, (time.monotonic(), 0))
        if not count:
            self._logger.warning("%s", message)
        self._failing[key] = (since, count + 1)

    def recovered(self, key: Hashable, message: str) -> None:
        """`key` works; logged only after a failure, with how often and how long it did not."""
        found = self._failing.pop(key, None)
        if found is not None:
            since, count = found
            self._logger.info("%s (after %d failures in %.0f s)", message, count, time.monotonic() - since)
