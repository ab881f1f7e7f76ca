"""`cipush run` as a process: signals, reloads, hostile receivers. Exit codes stand in test_cli_process.py."""

from __future__ import annotations

import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.cli.metrics import families
from tests.agents import Agent, clean_env
from tests.conftest import StartAgent
from tests.servers import eventually, running
from tests.target import target

FAST = {"flush_interval_seconds": 0.2, "heartbeat_seconds": 0, "state_dir": "none", "shutdown_grace_seconds": 0.2}


@contextmanager
def hostile(answer: bytes | None) -> Iterator[str]:
    """The address of a receiver that answers every request with these bytes and hangs up; None = it never answers."""
    released = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 20)
            if answer is None:
                released.wait(60)
            else:
                self.request.sendall(answer)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            released.set()
            server.shutdown()
            thread.join()


def pushing(url: str, **agent: Any) -> dict[str, Any]:
    """A configuration with one sink."""
    sink = {"type": "remote_write", "url": f"{url}/api/v1/write", "timeout_seconds": 0.3}
    return {"agent": FAST | agent, "sinks": {"vm": sink}, "sources": {"host": {"interval_seconds": 1}}}


def number(agent: Agent, sample: str) -> float:
    """The value of one series of /metrics; 0 while it is not there."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", agent.metrics(), re.M)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"\x00\xff garbage\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "protocol"),
        (b"", "protocol"),
        (None, "timeout"),
    ],
    ids=["garbage", "closes mid-answer", "closes without an answer", "never answers"],
)
def test_a_hostile_receiver_is_counted_and_tried_again(start_agent: StartAgent, answer: bytes | None, code: str) -> None:
    with hostile(answer) as url:
        agent = start_agent(pushing(url))

        eventually(lambda: number(agent, 'cipush_sink_retries_total{sink="vm"}') >= 2, "the second try is counted")

        assert number(agent, f'cipush_sink_requests_total{{sink="vm",code="{code}"}}') >= 2
        assert agent.get("/ready").status_code == 200
        assert "retrying" in agent.get("/ready").text
        assert "Traceback" not in agent.process.output()
        assert agent.process.terminate() == 0


def test_a_second_sigterm_ends_the_process_at_once(start_agent: StartAgent) -> None:
    with hostile(None) as url:
        config = pushing(url, shutdown_grace_seconds=600)
        config["sinks"]["vm"]["timeout_seconds"] = 300
        agent = start_agent(config)
        eventually(lambda: number(agent, 'cipush_sink_queue_samples{sink="vm"}'), "something waits to be sent")
        agent.process.popen.terminate()
        eventually(lambda: agent.logged("stopping: last flush"), "the agent stops")

        code = agent.process.terminate()

    assert code == 128 + signal.SIGTERM
    assert agent.logged("stopped at once")


def with_job(job: str) -> dict[str, Any]:
    return {"agent": FAST | {"job": job}, "sources": {"host": {"interval_seconds": 1}}}


def test_sighup_reloads(start_agent: StartAgent) -> None:
    agent = start_agent(with_job("one"))
    agent.write(with_job("two"))

    agent.process.popen.send_signal(signal.SIGHUP)

    eventually(lambda: 'job: "two"' in agent.get("/config").text, "the new job is in force")


def test_a_post_to_reload_answers_when_the_configuration_is_in_force(start_agent: StartAgent) -> None:
    agent = start_agent(with_job("one"))
    agent.write(with_job("two"))

    answer = httpx.post(f"{agent.url}/-/reload", timeout=10)

    assert (answer.status_code, 'job: "two"' in agent.get("/config").text) == (200, True)


def test_a_bad_reload_is_refused_with_the_reason_and_the_agent_goes_on(start_agent: StartAgent) -> None:
    agent = start_agent(with_job("one"))
    agent.config.write_text('{"agent": {"jobb": "two"}}')

    answer = httpx.post(f"{agent.url}/-/reload", timeout=10)

    assert answer.status_code == 400
    assert f"{agent.config}:1: agent.jobb: unknown key; did you mean job?" in answer.text
    assert 'job: "one"' in agent.get("/config").text
    eventually(lambda: "cipush_config_last_reload_successful 0" in agent.metrics(), "/metrics says so")


def test_a_changed_file_is_noticed_without_a_signal(start_agent: StartAgent) -> None:
    agent = start_agent(with_job("one"))

    agent.write(with_job("two"))

    eventually(lambda: 'job: "two"' in agent.get("/config").text, "the new job is in force")


def test_a_bug_in_the_core_ends_the_process_with_a_traceback(tmp_path: Path) -> None:
    code = (
        "from agent import process; from agent.config import load\n"
        "loaded = load((), {}, [('agent.state_dir', 'none'), ('server.listen_address', '127.0.0.1:0')])\n"
        "process.run(loaded, {}, lambda: 1 / 0)"
    )
    with running([sys.executable, "-c", code], tmp_path / "log", clean_env(tmp_path), tmp_path) as found:
        eventually(lambda: "ready: listening" in found.output(), "the agent is ready")
        found.popen.send_signal(signal.SIGHUP)

        assert found.popen.wait(10) == 1

    assert "ZeroDivisionError" in found.output()


def test_every_number_of_its_own_is_shown_by_a_working_agent(start_agent: StartAgent, tmp_path: Path) -> None:
    with target("x 1\n") as served, hostile(b"HTTP/1.1 204 X\r\nDate: Mon, 16 Nov 2026 12:00:00 GMT\r\n\r\n") as url:
        config = pushing(url, state_dir=str(tmp_path / "kept"))
        config["sources"]["t"] = {"type": "scrape", "interval_seconds": 1, "targets": [{"url": served.url}]}
        config["sources"]["down"] = {"type": "scrape", "interval_seconds": 1, "targets": [{"url": "http://127.0.0.1:1"}]}
        agent = start_agent(config)
        # what counts what did not happen here appears when it happens
        absent = {
            "cipush_config_reloads_total",
            "cipush_flush_held_total",
            "cipush_ledger_commit_duration_seconds",
            "cipush_observations_folded_total",
            "cipush_observations_total",
            "cipush_relabel_dropped_series_total",
            "cipush_sink_samples_dropped_total",
            "cipush_source_errors_total",
            "cipush_store_evicted_total",
            "cipush_store_refused_total",
            "cipush_webhook_requests_total",
        }
        wanted = {family.name for _, family in families() if family.name.startswith("cipush_")} - absent

        def shown() -> set[str]:
            return {line.split()[2] for line in agent.metrics().splitlines() if line.startswith("# TYPE cipush_")}

        eventually(lambda: wanted <= shown(), f"shown are {sorted(wanted)}")


def test_once_without_sinks_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "once", "--set", "agent.state_dir=none"],
        env=clean_env(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert "there are no sinks: nothing is pushed" in done.stderr


def test_a_dry_run_warns_about_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "once", "--dry-run"],
        env=clean_env(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
