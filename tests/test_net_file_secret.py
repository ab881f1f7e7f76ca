"""A secret in a file: what it held last is used while it cannot be read, and the log says so once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.net.credentials import FileSecret


def test_a_file_that_cannot_be_read_any_more_is_told_once_and_its_last_text_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    secret = FileSecret("sources.gitlab.token_file", str(file))

    file.write_text("")
    with caplog.at_level("INFO"):
        held = [secret.current().reveal() for _ in range(3)]
    told = [record.message for record in caplog.records]

    assert held == ["first"] * 3
    assert len(told) == 1
    assert "sources.gitlab.token_file: cannot read" in told[0]
    assert "first" not in told[0]


def test_a_file_that_can_be_read_again_is_told_and_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    secret = FileSecret("sources.gitlab.token_file", str(file))
    file.unlink()
    secret.current()
    file.write_text("second\n")

    with caplog.at_level("INFO"):
        assert secret.current().reveal() == "second"

    assert "can be read again" in caplog.text
