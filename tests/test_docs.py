"""Every command and every configuration in README.md and docs/ does what the text around it says.

A fence may have an HTML comment on the line before it:

- `<!-- not run: reason -->`: the reason is checked to be there, the commands are not run;
- `<!-- until: text -->`: the command runs until `text` appears in its output, then gets SIGTERM and must exit 0;
- `<!-- beside: command -->`: the commands are run while that command runs, once it is ready;
- `<!-- file: name -->`: the fence is written to that file, for the commands further down in the document.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agents import clean_env
from tests.servers import answers, eventually, free_port, running

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
LANGUAGES = {"sh", "yaml", "text", "json", "toml", "promql"}
FENCE = re.compile(r"(?:^<!-- (?P<mark>[a-z ]+): *(?P<note>.*?) *-->\n+)?^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.M | re.S)
COMMAND_SECONDS = 60.0


@dataclass(frozen=True)
class Fence:
    """One fenced block of a document."""

    document: str
    line: int
    language: str
    text: str
    mark: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def fences(text: str, document: str) -> list[Fence]:
    """The fenced blocks of a Markdown text, in order."""
    return [
        Fence(
            document,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["text"],
            found["mark"] or "",
            found["note"] or "",
        )
        for found in FENCE.finditer(text)
    ]


def path_with_cipush() -> str:
    """A PATH on which `cipush` and `python` are those that run the tests."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def make_targets(script: str) -> list[str]:
    """The targets a script asks make for."""
    return re.findall(r"^make ([a-z]+)", script, re.M)


def run(script: str, directory: Path, env: dict[str, str]) -> None:
    """Run a script to its end; the test fails with its output where a command of it fails."""
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def run_until(script: str, expected: str, directory: Path, env: dict[str, str]) -> None:
    """Run a script until it has printed `expected`; SIGTERM must then end it with exit code 0."""
    log = directory / "output"
    with log.open("wb") as out:
        shell = subprocess.Popen(
            ["sh", "-eu", "-c", f"exec {script}"], cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        eventually(
            lambda: expected in log.read_text() or shell.poll() is not None,
            f"{script.strip()} prints {expected!r}, but only:\n{log.read_text()}",
            COMMAND_SECONDS,
        )
        assert expected in log.read_text()
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(COMMAND_SECONDS) == 0, log.read_text()
    finally:
        shell.kill()
        shell.wait()


ALL = [fence for path in DOCUMENTS for fence in fences(path.read_text(), str(path.relative_to(ROOT)))]


def only(language: str, among: Sequence[Fence] = ALL) -> list[Fence]:
    """The fences in one language."""
    return [fence for fence in among if fence.language == language]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fresh directory to run a document's commands in."""
    directory = tmp_path / "fresh"
    directory.mkdir()
    return directory


def environment(home: Path) -> dict[str, str]:
    """The environment of a user who has installed cipush and configured nothing; the port is nobody else's."""
    return clean_env(home, PATH=path_with_cipush(), CIPUSH_SERVER__LISTEN_ADDRESS=f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize("fence", ALL, ids=str)
def test_every_fence_says_what_it_is(fence: Fence) -> None:
    assert fence.language in LANGUAGES, f"name the language, one of {sorted(LANGUAGES)}"
    assert fence.mark in {"", "not run", "until", "beside", "file"}
    assert fence.note or not fence.mark, "say why, or what"


@pytest.mark.parametrize("fence", only("sh"), ids=str)
def test_every_command_does_what_the_text_says(fence: Fence, home: Path) -> None:
    if fence.mark == "not run":
        pytest.skip(fence.note)
    if targets := make_targets(fence.text):
        # The suite runs inside `make test`: that the targets exist is all that can be said here.
        subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return
    for earlier in ALL:
        if earlier.document == fence.document and earlier.line < fence.line and earlier.mark == "file":
            (home / earlier.note).write_text(earlier.text)
    env = environment(home)
    if fence.mark == "until":
        run_until(fence.text, fence.note, home, env)
    elif fence.mark == "beside":
        with running(["sh", "-c", f"exec {fence.note}"], home / "beside.log", env, home) as beside:
            ready = f"http://{env['CIPUSH_SERVER__LISTEN_ADDRESS']}/ready"
            eventually(lambda: answers(beside, ready), f"{fence.note} is ready")
            run(fence.text, home, env)
    else:
        run(fence.text, home, env)


@pytest.mark.parametrize("fence", only("yaml"), ids=str)
def test_every_configuration_is_valid(fence: Fence, home: Path) -> None:
    if fence.mark == "not run":
        pytest.skip(fence.note)
    (home / "cipush.yml").write_text(fence.text)

    run("cipush check --config cipush.yml", home, environment(home))


def test_the_readme_shows_commands_and_configurations() -> None:
    readme = [fence for fence in ALL if fence.document == "README.md"]

    assert len(only("sh", readme)) >= 4
    assert len(only("yaml", readme)) >= 4


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_marks_and_languages_of_fences_are_read() -> None:
    text = "a\n\n<!-- not run: needs a Mac -->\n```sh\nbrew x\n```\n\n```yaml\na: 1\n```\n"

    assert fences(text, "x.md") == [
        Fence("x.md", 4, "sh", "brew x\n", "not run", "needs a Mac"),
        Fence("x.md", 8, "yaml", "a: 1\n"),
    ]


def test_a_failing_command_is_found(home: Path) -> None:
    with pytest.raises(AssertionError, match="no-such-file"):
        run("cat no-such-file\ntrue", home, environment(home))


def test_a_command_that_ends_by_itself_is_not_one_that_runs_until_stopped(home: Path) -> None:
    with pytest.raises(AssertionError):
        run_until("echo hello", "ready", home, environment(home))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on the PATH")
def test_a_make_target_that_does_not_exist_is_found() -> None:
    assert make_targets("make demo\n") == ["demo"]
    assert subprocess.run(["make", "--dry-run", "nonsense"], cwd=ROOT, check=False, capture_output=True).returncode != 0
