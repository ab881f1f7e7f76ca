"""The service files start what exists."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import COMMAND, clean_env
from tests.servers import binary, eventually, running

DEPLOY = Path(__file__).parent.parent / "deploy"


def cipush(*arguments: str, home: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run cipush to its end."""
    env = clean_env(home, **extra)
    return subprocess.run([*COMMAND, *arguments], env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on the PATH")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "cipush.service"
    # The unit names a program that is installed on no test machine.
    unit.write_text((DEPLOY / "cipush.service").read_text().replace("/opt/cipush/bin/cipush", sys.executable))

    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["ExecStart", "ExecStartPre"])
def test_the_unit_calls_verbs_and_flags_that_exist(tmp_path: Path, name: str) -> None:
    found = re.search(rf"^{name}=\S+ (\w+) (--\w+)", (DEPLOY / "cipush.service").read_text(), re.M)

    assert found is not None
    assert found[2] in cipush(found[1], "--help", home=tmp_path).stdout


def test_the_daemon_list_calls_a_verb_and_a_flag_that_exist(tmp_path: Path) -> None:
    daemon = plistlib.loads((DEPLOY / "io.cipush.agent.plist").read_bytes())

    program, verb, flag, _ = daemon["ProgramArguments"]

    assert program.endswith("/cipush")
    assert flag in cipush(verb, "--help", home=tmp_path).stdout


def test_the_environment_file_is_a_valid_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "cipush.env").read_text()
    given = dict(re.findall(r"^(CIPUSH_\w+)=(.*)$", text, re.M))

    done = cipush("check", home=tmp_path, **given)

    assert done.returncode == 0, done.stderr
    assert given["CIPUSH_SINKS__VM__URL"] in done.stdout


@pytest.mark.parametrize("key", re.findall(r"^#(CIPUSH_\w+)=", (DEPLOY / "cipush.env").read_text(), re.M))
def test_every_variable_offered_in_the_environment_file_is_known(tmp_path: Path, key: str) -> None:
    text = (DEPLOY / "cipush.env").read_text()
    given = dict(re.findall(r"^#?(CIPUSH_\w+)=(.*)$", text, re.M))
    (tmp_path / "token").write_text("secret\n")
    values = {name: str(tmp_path / "token") if name.endswith("_FILE") else value for name, value in given.items()}
    needed = {name: values[name] for name in values if name.startswith("CIPUSH_SINKS__VM") or name == key}

    done = cipush("check", home=tmp_path, **needed)

    assert done.returncode == 0, done.stderr


def demonstrate(home: Path, path: str) -> str:
    """What the demo script prints until its first series have come back; SIGTERM must then end it with exit code 0."""
    env = clean_env(home, PATH=path, TMPDIR=str(home))
    with running(["sh", str(DEPLOY / "demo.sh")], home / "demo.log", env, home) as process:
        eventually(
            lambda: "series read back" in process.output() or process.popen.poll() is not None,
            "the receiver gives back the first series",
        )
        assert process.popen.poll() is None, process.output()
        assert process.terminate() == 0, process.output()
        return process.output()


def test_the_demo_pushes_to_victoria_metrics_where_it_is_installed(tmp_path: Path) -> None:
    folders = [Path(sys.executable).parent, Path(binary("victoria-metrics")).parent]

    shown = demonstrate(tmp_path, os.pathsep.join([*map(str, folders), os.environ["PATH"]]))

    assert "host_cpu_count{" in shown
    assert "VictoriaMetrics: http://127.0.0.1:" in shown
    assert [left.name for left in tmp_path.iterdir() if left.name.startswith("cipush-demo")] == []


def test_the_demo_brings_its_own_receiver_where_nothing_is_installed(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "cipush"):
        found = shutil.which(tool, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert found is not None
        (tools / tool).symlink_to(found)

    shown = demonstrate(tmp_path, str(tools))

    assert "host_cpu_count{" in shown
    assert "receiver:    http://127.0.0.1:" in shown


@pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not on the PATH")
def test_the_demo_script_is_plain_sh() -> None:
    subprocess.run(["dash", "-n", str(DEPLOY / "demo.sh")], check=True)
