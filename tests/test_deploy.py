"""The service files start what exists."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import COMMAND, clean_env

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


@pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not on the PATH")
def test_the_demo_script_is_plain_sh() -> None:
    subprocess.run(["dash", "-n", str(DEPLOY / "demo.sh")], check=True)
