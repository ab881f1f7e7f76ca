"""The command line, in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from agent.cli.verbs import main


def cipush(*arguments: str) -> Result:
    """One call of the command."""
    return CliRunner().invoke(main, arguments)
