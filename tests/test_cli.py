"""The verbs without an agent: flags, what is printed where, exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from agent.cli.ask import explain_text, status_text
from agent.config.docs import example
from tests.cli import cipush
from tests.servers import free_port

STATUS: dict[str, Any] = {
    "version": "0.1.0", "pid": 12, "instance": "ci-3", "uptime_seconds": 7300.5, "ready": True,
    "degraded": ["sink vm: retrying: connect: refused\x1b[31m"],
    "sources": [{"name": "host", "type": "host", "series": 83, "remarks": ["dora is off: free"], "pollers": [
        {"name": "host", "interval_seconds": 15.0, "up": True, "last_success_age_seconds": 3.2, "last_error": ""}]}],
    "sinks": [{"name": "vm", "type": "remote_write", "state": "retrying", "samples_sent": 1234567, "samples_dropped": 0,
               "queue_samples": 40, "oldest_pending_age_seconds": 130.0, "last_error": "connect: refused\nnow\x07"}],
    "store": {"series": 94, "max_series": 1000000},
    "flush": {"interval_seconds": 15.0, "last": "2026-11-21T05:00:00Z"},
}  # fmt: skip


class Answers(BaseHTTPRequestHandler):
    """Says what the test told it to, to whom has the token."""

    body: ClassVar[bytes] = b""
    status: ClassVar[int] = 200
    token: ClassVar[str] = ""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        wrong = self.token and self.headers.get("Authorization") != f"Bearer {self.token}"
        self.send_response(401 if wrong else self.status)
        self.end_headers()
        self.wfile.write(b"{}" if wrong else self.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def agent() -> Iterator[tuple[str, type[Answers]]]:
    """(url, what to answer) of something that looks like an agent."""
    handler = type("Handler", (Answers,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("verb", ["run", "once", "check", "demo", "receive", "status", "explain", "metrics", "config"])
def test_every_verb_explains_itself(verb: str) -> None:
    result = cipush(verb, "--help")

    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_the_version_names_what_matters() -> None:
    assert re.fullmatch(r"cipush \S+, Python 3\.\d+\.\d+, protobuf upb\n", cipush("--version").stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["check", "--set", "agent.job"],
        ["check", "--set", ".a=b"],
        ["check", "--set", "=b"],
        ["explain"],
    ],
)
def test_wrong_usage_is_2(home: Path, arguments: list[str]) -> None:
    result = cipush(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize("verb", [["run"], ["once"], ["once", "--dry-run"], ["check"], ["status"], ["explain", "up"]])
def test_wrong_configuration_is_78_on_standard_error(home: Path, verb: list[str]) -> None:
    (home / "cipush.yml").write_text("agent: {jobb: x}\nlog: {level: loud}\n")

    result = cipush(*verb)

    assert (result.exit_code, result.stdout) == (78, "")
    assert [line[:25] for line in result.stderr.splitlines()] == ["cipush.yml:1: agent.jobb:", "cipush.yml:2: log.level: "]


def test_a_missing_file_is_78(home: Path) -> None:
    result = cipush("check", "--config", "nope.yml")

    assert result.exit_code == 78
    assert result.stderr.startswith("nope.yml: cannot be read: No such file")


def test_metrics_lists_what_sources_and_core_declare() -> None:
    found = {family["name"]: family for family in json.loads(cipush("metrics", "--format", "json").stdout)}

    assert found["host_cpu_count"]["source"] == "host"
    assert found["cipush_build_info"]["source"] == "internal"
    assert found["cipush_sink_up"]["labels"] == ["sink"]
    assert [name for name, family in found.items() if not family["help"]] == []


def test_metrics_is_a_page_by_default() -> None:
    assert "| `host_cpu_count` | gauge |" in cipush("metrics").stdout


def test_config_schema_and_example_are_printed(home: Path) -> None:
    assert json.loads(cipush("config", "schema").stdout)["title"] == "cipush"
    assert cipush("config", "example").stdout == example()


def test_status_says_first_how_things_are(agent: tuple[str, type[Answers]]) -> None:
    url, handler = agent
    handler.body = json.dumps(STATUS).encode()

    result = cipush("status", "--url", url)

    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("degraded  cipush 0.1.0, instance ci-3, up 2 h\n  ! sink vm: retrying: connect: refused")
    assert handler.asked == ["/api/status"]


def test_status_as_json_is_the_answer(agent: tuple[str, type[Answers]]) -> None:
    url, handler = agent
    handler.body = json.dumps(STATUS).encode()

    assert json.loads(cipush("status", "--url", url, "--json").stdout) == STATUS


@pytest.mark.parametrize(
    ("facts", "words"),
    [({"drain_seconds": 75.2}, "empty in 75.2 s"), ({"queue_hours_left": 2.5}, "full in 2 h"), ({}, "-")],
)
def test_status_says_what_becomes_of_a_queue(facts: dict[str, object], words: str) -> None:
    sink = {"name": "vm", "queue_samples": 40, **facts}

    assert f"  {words}  " in status_text({**STATUS, "sinks": [sink]})


def test_status_has_a_line_for_what_a_source_remarks() -> None:
    assert "  host: dora is off: free" in status_text(STATUS).splitlines()


def test_status_has_a_line_for_every_sink_and_poller() -> None:
    lines = status_text(STATUS).splitlines()

    assert any(
        re.match(r"vm +remote_write +retrying +1,234,567 +0 +40 +0 +2 min +- +connect: refused now", line) for line in lines
    )
    assert any(re.match(r"host +host +up +83 +3.2 s ago +-$", line) for line in lines)


def test_control_characters_of_receivers_do_not_reach_the_terminal() -> None:
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", status_text(STATUS)) is None


def test_status_survives_an_answer_with_nothing_in_it() -> None:
    assert status_text({}).startswith("NOT READY")


def test_explain_is_an_outline() -> None:
    text = explain_text("up", {"live": 2, "series": [{"labels": {"job": "x"}, "dropped": None}], "sinks": []})

    assert text == "up\n  live: 2\n  series\n    -\n      labels\n        job: x\n      dropped: none\n  sinks: none"


def test_explain_asks_for_the_name(agent: tuple[str, type[Answers]]) -> None:
    url, handler = agent
    handler.body = b'{"name": "a&b"}'

    assert cipush("explain", "a&b", "--url", url).exit_code == 0
    assert handler.asked == ["/api/explain?name=a%26b"]


def test_no_agent_is_1_with_what_to_do(home: Path) -> None:
    port = free_port()

    result = cipush("status", "--set", f"server.listen_address=0.0.0.0:{port}")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"no agent answers at http://127.0.0.1:{port}/api/status" in result.stderr
    assert "cipush run" in result.stderr


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"<html>", "not a cipush of this version"),
        (200, b"[1]", "not a cipush of this version"),
        (500, b"{}", "HTTP 500"),
        (404, b"no\x1b[2J", "HTTP 404"),
        (403, b"", "wants its token"),
    ],
)
def test_an_answer_that_is_no_answer_is_1(agent: tuple[str, type[Answers]], status: int, body: bytes, expected: str) -> None:
    url, handler = agent
    handler.status, handler.body = status, body

    result = cipush("status", "--url", url)

    assert result.exit_code == 1
    assert expected in result.stderr
    assert "\x1b" not in result.stderr


def test_the_token_comes_from_a_file(agent: tuple[str, type[Answers]], tmp_path: Path) -> None:
    url, handler = agent
    handler.body, handler.token = json.dumps(STATUS).encode(), "s3cret-token"
    (tmp_path / "token").write_text("s3cret-token\n")

    assert cipush("status", "--url", url).exit_code == 1
    assert cipush("status", "--url", url, "--token-file", str(tmp_path / "token")).exit_code == 0


def test_the_configured_token_goes_to_the_configured_address_only(
    home: Path, agent: tuple[str, type[Answers]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, handler = agent
    handler.body, handler.token = json.dumps(STATUS).encode(), "s3cret-token"
    monkeypatch.setenv("CIPUSH_SERVER__AUTH_TOKEN", "s3cret-token")
    monkeypatch.setenv("CIPUSH_SERVER__LISTEN_ADDRESS", url.removeprefix("http://"))

    assert cipush("status").exit_code == 0
    assert cipush("status", "--url", url).exit_code == 1


def test_a_token_file_that_cannot_be_read_is_78(tmp_path: Path) -> None:
    result = cipush("status", "--url", "http://127.0.0.1:1", "--token-file", str(tmp_path / "nope"))

    assert result.exit_code == 78


@pytest.mark.parametrize("arguments", [["run", "--push"], ["status", "--url"]])
def test_an_address_without_its_scheme_does_not_show_its_password(home: Path, arguments: list[str]) -> None:
    result = cipush(*arguments, "user:hunter22@host")

    assert "http://" in result.stderr
    assert "hunter22" not in result.output
