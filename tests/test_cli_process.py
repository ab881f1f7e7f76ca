"""`cipush` as a process: exit codes and streams the way a service manager sees them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import servers
from tests.agents import COMMAND, clean_env
from tests.conftest import StartAgent
from tests.servers import eventually, free_port

HEAVY = ("pydantic", "httpx", "dynaconf", "anyio", "agent.config", "agent.runtime")


def cipush(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    env = clean_env(home, **extra)
    return subprocess.run([*COMMAND, *arguments], cwd=home, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_0_for_a_valid_configuration(tmp_path: Path) -> None:
    done = cipush(tmp_path, "check", CIPUSH_AGENT__JOB="ci")

    assert (done.returncode, done.stderr) == (0, "")


def test_1_for_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cipush(tmp_path, "run", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--set", "agent.state_dir=none")

    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


def test_2_for_wrong_usage(tmp_path: Path) -> None:
    assert cipush(tmp_path, "run", "--nonsense").returncode == 2


def test_75_for_sinks_that_did_not_accept(tmp_path: Path) -> None:
    done = cipush(tmp_path, "once", "--push", f"http://127.0.0.1:{free_port()}", CIPUSH_AGENT__SHUTDOWN_GRACE_SECONDS="0.2")

    assert (done.returncode, done.stdout) == (75, "")


def test_75_for_a_state_directory_in_use(tmp_path: Path, start_agent: StartAgent) -> None:
    start_agent({"agent": {"state_dir": str(tmp_path / "state")}})

    done = cipush(tmp_path, "once", "--set", f"agent.state_dir={tmp_path}/state")

    assert done.returncode == 75
    assert "in use by process" in done.stderr


def test_78_for_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "cipush.yml").write_text("agent: {jobb: 1}\n")

    done = cipush(tmp_path, "run")

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "cipush.yml:1: agent.jobb: unknown key; did you mean job?\n"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_78_for_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert cipush(tmp_path, "run", "--set", f"agent.state_dir={tmp_path}/file/x").returncode == 78


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, agent.cli.verbs; print(sys.modules.keys() & {HEAVY})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_dry_run_prints_data_on_standard_output_only(tmp_path: Path) -> None:
    done = cipush(tmp_path, "once", "--dry-run")

    assert done.returncode == 0
    assert "# TYPE host_cpu_count gauge\n" in done.stdout
    assert not (tmp_path / "state").exists()
    assert all(line.startswith("{") for line in done.stderr.splitlines())


def test_status_and_explain_of_a_running_agent(tmp_path: Path, start_agent: StartAgent) -> None:
    agent = start_agent(
        {
            "agent": {"state_dir": "none", "shutdown_grace_seconds": 0.5},
            "sinks": {"vm": {"type": "vm_import", "url": "http://127.0.0.1:1/api/v1/import"}},
        }
    )
    eventually(lambda: "host_cpu_count" in agent.metrics(), "the host was looked at")

    status = cipush(tmp_path, "status", "--url", agent.url)
    explained = cipush(tmp_path, "explain", "host_cpu_count", "--url", agent.url)

    assert status.returncode == explained.returncode == 0, status.stderr + explained.stderr
    assert "vm" in status.stdout
    assert "host_cpu_count" in explained.stdout


def test_receive_takes_what_run_pushes(tmp_path: Path) -> None:
    listen = f"127.0.0.1:{free_port()}"
    log = tmp_path / "receiver.log"
    with servers.running([*COMMAND, "receive", "--listen", listen], log, clean_env(tmp_path), tmp_path) as receiver:
        eventually(lambda: "receiver on" in receiver.output(), "the receiver listens")
        done = cipush(tmp_path, "once", "--push", f"http://{listen}/api/v1/write")
        page = servers.answers(receiver, f"http://{listen}/")
        code = receiver.terminate()

    assert (done.returncode, page, code) == (0, True, 0), done.stderr


def test_demo_shows_what_arrived_and_leaves_the_configured_sinks_alone(tmp_path: Path) -> None:
    began = time.monotonic()
    env = clean_env(tmp_path, CIPUSH_SINKS__REAL__URL="would be an error")
    with servers.running([*COMMAND, "demo"], tmp_path / "demo.log", env, tmp_path) as demo:
        eventually(lambda: "series read back from" in demo.output(), "the demo reads series back")
        code = demo.terminate()

    assert code == 0, demo.output()
    assert "host_cpu_count" in demo.output()
    assert time.monotonic() - began < 20
