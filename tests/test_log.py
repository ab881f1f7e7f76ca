"""One line a record, whatever is in it; no secret in it; a failure said once."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import log
from agent.secret import Secret

TOKEN = 's3cr3t/with "quotes" & <angles>\n'
FORMATS: tuple[Literal["json", "text"], ...] = ("json", "text")
LINE_ENDS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[None]:
    """Logging belongs to the process: what `configure` changes is put back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


def configured(format: Literal["json", "text"], level: str = "info") -> io.StringIO:
    """Where the lines go from now on."""
    stream = io.StringIO()
    log.configure(level, format, stream)
    return stream


def one_line(stream: io.StringIO) -> str:
    """The only line that was written."""
    text = stream.getvalue()
    assert text.endswith("\n")
    assert not LINE_ENDS.search(text[:-1])
    return text[:-1]


class Unprintable:
    """A value whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError(f"token {TOKEN}")


def test_a_json_line_has_time_level_logger_and_message() -> None:
    stream = configured("json")

    logging.getLogger("agent.x").warning("%d of %s", 3, "four")

    fields = json.loads(one_line(stream))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("ts"))
    assert fields == {"level": "warning", "logger": "agent.x", "msg": "3 of four"}


def test_the_time_is_utc_to_the_millisecond() -> None:
    record = logging.makeLogRecord({"msg": "x", "created": 1_700_000_000.042, "msecs": 42.0})

    assert json.loads(log.JsonFormatter().format(record))["ts"] == "2023-11-14T22:13:20.042Z"


def test_a_text_line_reads_from_left_to_right() -> None:
    stream = configured("text")

    logging.getLogger("agent.x").error("no luck", extra={"sink": "vm", "reason": 'said "no"'})

    assert re.fullmatch(r'\S+Z error    agent\.x: no luck sink=vm reason="said \\"no\\""', one_line(stream))


@pytest.mark.parametrize("format", FORMATS)
@given(text=st.text())
def test_no_message_ends_a_line(format: Literal["json", "text"], text: str) -> None:
    stream = io.StringIO()
    log.configure("info", format, stream)

    logging.getLogger("agent.x").info("%s", text, extra={"field": text})

    one_line(stream)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_json_gives_a_message_back_as_it_was(text: str) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (text,)})

    assert json.loads(log.JsonFormatter().format(record))["msg"] == text


@pytest.mark.parametrize("format", FORMATS)
def test_escapes_of_a_terminal_are_not_passed_on(format: Literal["json", "text"]) -> None:
    stream = configured(format)

    logging.getLogger("agent.x").info("\x1b]0;title\x07\x1b[2Jgone \u202eright to left")

    assert one_line(stream).isprintable()


@pytest.mark.parametrize("format", FORMATS)
def test_a_traceback_is_a_field(format: Literal["json", "text"]) -> None:
    stream = configured(format)

    try:
        raise KeyError("who")
    except KeyError:
        logging.getLogger("agent.x").exception("failed")

    assert "KeyError: 'who'" in one_line(stream)
    assert "traceback" in one_line(stream)


def logged_everywhere() -> None:
    """Log TOKEN in every place a record has."""
    logger = logging.getLogger("agent.x")
    try:
        raise RuntimeError(f"bad token {TOKEN}") from ValueError(repr(TOKEN))
    except RuntimeError:
        logger.exception("with %s", TOKEN, extra={"extra": f"a {TOKEN}", "mapping": {"token": TOKEN}}, stack_info=True)
    logger.warning(f"in the message itself: {TOKEN}")
    logger.warning("json %s, a tuple %s", json.dumps({"token": TOKEN}), (TOKEN,))
    logger.warning("unprintable %s", Unprintable(), extra={"extra": Unprintable()})
    logger.warning("%d", TOKEN)


@pytest.mark.parametrize("format", FORMATS)
def test_a_registered_secret_stands_nowhere(format: Literal["json", "text"], capsys: pytest.CaptureFixture[str]) -> None:
    Secret(TOKEN)
    stream = configured(format)

    logged_everywhere()

    text = stream.getvalue() + capsys.readouterr().err
    assert "s3cr3t" not in text
    assert text.count("****") >= 8


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "text",
    ["http://user:hunter2pass@host/path", "Authorization: Bearer hunter2pass", "PRIVATE-TOKEN: glpat-hunter2pass"],
)
def test_what_looks_like_a_credential_is_left_out(format: Literal["json", "text"], text: str) -> None:
    stream = configured(format)

    logging.getLogger("agent.x").warning("sent %s", text)

    assert "hunter2pass" not in one_line(stream)


@pytest.mark.parametrize("format", FORMATS)
def test_a_wrong_call_costs_neither_the_line_nor_the_work(
    format: Literal["json", "text"], capsys: pytest.CaptureFixture[str]
) -> None:
    stream = configured(format)

    logging.getLogger("agent.x").warning("%d things", "three")

    assert "%d things (its arguments could not be formatted: TypeError)" in one_line(stream)
    assert capsys.readouterr().err == ""


def test_a_long_message_loses_its_middle() -> None:
    stream = configured("json")

    logging.getLogger("agent.x").warning("begin" + "x" * 10**6 + "end")

    said = json.loads(one_line(stream))["msg"]
    assert len(said) < log.MAX_FIELD + 100
    assert said.startswith("begin")
    assert said.endswith("end")


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_below_the_level_is_not_said(format: Literal["json", "text"]) -> None:
    stream = configured(format, "warning")

    logging.getLogger("agent.x").info("quiet")

    assert stream.getvalue() == ""


@pytest.mark.parametrize(("name", "level"), [("httpx", "info"), ("httpcore", "debug"), ("uvicorn.error", "warning")])
def test_libraries_that_say_too_much_are_quiet(name: str, level: str) -> None:
    stream = configured("text", "debug")

    logging.getLogger(name).log(getattr(logging, level.upper()), "GET http://host/?private_token=x")

    assert stream.getvalue() == ""


def test_libraries_are_no_louder_than_the_level() -> None:
    stream = configured("text", "error")

    logging.getLogger("httpx").warning("careful")

    assert stream.getvalue() == ""


def test_configuring_again_does_not_say_things_twice() -> None:
    first = configured("text")
    second = configured("json")

    logging.getLogger("agent.x").info("once")

    assert first.getvalue() == ""
    assert json.loads(one_line(second))["msg"] == "once"


def test_logs_go_to_standard_error() -> None:
    log.configure("info", "text")

    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


def transition() -> tuple[log.Transition, io.StringIO, list[float]]:
    """A transition, its lines, and its clock's present."""
    now = [100.0]
    return log.Transition(logging.getLogger("agent.x"), lambda: now[0]), configured("text"), now


def test_a_failure_is_said_once() -> None:
    tried, stream, _ = transition()

    for _ in range(5):
        tried.failed("vm", "vm: refused")

    assert "warning" in one_line(stream)
    assert "vm: refused" in one_line(stream)


def test_a_recovery_tells_how_often_and_how_long() -> None:
    tried, stream, now = transition()
    tried.failed("vm", "vm: refused")
    now[0] += 90
    tried.failed("vm", "vm: refused")
    stream.truncate(stream.seek(0))

    now[0] += 30
    tried.recovered("vm", "vm: works again")

    assert "vm: works again (after 2 failures in 120 s)" in one_line(stream)


def test_what_never_failed_does_not_recover() -> None:
    tried, stream, _ = transition()

    tried.recovered("vm", "vm: works again")

    assert stream.getvalue() == ""


def test_each_key_has_a_transition_of_its_own() -> None:
    tried, stream, _ = transition()

    tried.failed("vm", "vm: refused")
    tried.failed("gate", "gate: refused")
    tried.recovered("vm", "vm: works again")
    tried.failed("gate", "gate: refused")

    assert [line.split(": ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "vm: refused",
        "gate: refused",
        "vm: works again (after 1 failure in 0 s)",
    ]


def test_a_failure_after_a_recovery_is_said_again() -> None:
    tried, stream, _ = transition()

    for _ in range(2):
        tried.failed("vm", "vm: refused")
        tried.recovered("vm", "vm: works again")

    assert stream.getvalue().count("vm: refused") == 2
