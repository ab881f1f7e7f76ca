"""The state directory: one agent's at a time, and never a reason not to start because of what stands in it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.errors import ConfigError, TemporaryError
from agent.state import StateDir

Open = Callable[[Path | None], StateDir]


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:

        def start(path: Path | None) -> StateDir:
            state = StateDir(path)
            state.open()
            stack.callback(state.close)
            return state

        yield start


def test_what_was_saved_is_there_after_a_restart(opened: Open, tmp_path: Path) -> None:
    first = opened(tmp_path / "deep" / "state")
    first.settle_instance("me")
    first.save(1234)
    first.close()

    second = opened(tmp_path / "deep" / "state")

    assert (second.state.instance, second.state.last_flush_ms) == ("me", 1234)


def test_the_last_flush_never_goes_back(opened: Open, tmp_path: Path) -> None:
    state = opened(tmp_path)
    state.save(1234)
    state.save(1000)

    assert state.state.last_flush_ms == 1234


def test_a_directory_in_use_names_the_process(opened: Open, tmp_path: Path) -> None:
    opened(tmp_path)

    with pytest.raises(TemporaryError, match=rf"in use by process {os.getpid()};"):
        StateDir(tmp_path).open()


def test_a_closed_directory_can_be_opened_again(opened: Open, tmp_path: Path) -> None:
    opened(tmp_path).close()

    assert opened(tmp_path).path == tmp_path


def test_a_lock_file_of_garbage_is_no_obstacle(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff\xfe" * 100)
    opened(tmp_path)

    assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_path_that_cannot_be_a_directory_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"agent\.state_dir: .*file/x cannot be used"):
        StateDir(tmp_path / "file" / "x").open()


def test_a_lock_that_is_a_directory_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()

    with pytest.raises(ConfigError, match="cannot be used"):
        StateDir(tmp_path).open()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 60_000,
        b" " * 70_000,
        b'{"instance": 5, "last_flush_ms": 5}',
        b'{"instance": "\\ud800", "last_flush_ms": 5}',
        b'{"instance": "a", "last_flush_ms": "x"}',
        b'{"instance": "a", "last_flush_ms": Infinity}',
        b'{"instance": "a", "last_flush_ms": null}',
    ],
)
def test_a_state_that_cannot_be_read_is_set_aside(opened: Open, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "state.json").write_bytes(text)

    state = opened(tmp_path)

    assert (state.state.instance, state.state.last_flush_ms) == ("", 0)
    assert (tmp_path / "state.broken").read_bytes() == text


def test_the_instance_is_the_configured_one(opened: Open) -> None:
    assert opened(None).settle_instance("me") == "me"


def test_the_instance_is_this_hosts_name_where_none_is_configured(opened: Open) -> None:
    assert opened(None).settle_instance("") == socket.gethostname()


def test_the_instance_stays_when_the_host_is_renamed(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"instance": "old-name", "last_flush_ms": 0}))

    assert opened(tmp_path).settle_instance("") == "old-name"


def test_the_instance_is_kept_even_when_the_agent_is_killed(opened: Open, tmp_path: Path) -> None:
    opened(tmp_path).settle_instance("me")

    assert json.loads((tmp_path / "state.json").read_text())["instance"] == "me"


def test_a_changed_instance_is_warned_about(opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"instance": "before", "last_flush_ms": 0}))

    opened(tmp_path).settle_instance("after")

    assert "changes from 'before' to 'after'" in caplog.text


def test_a_state_that_cannot_be_saved_is_logged(opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = opened(tmp_path)
    (tmp_path / "state.json.new").mkdir()

    state.save(5)

    assert "could not be saved" in caplog.text


def test_without_a_directory_nothing_is_kept(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    opened(None).save(5)

    assert "forgotten when the agent stops" in caplog.text
