"""docs/metrics.md is what `cipush metrics` prints."""

from __future__ import annotations

from pathlib import Path

from agent.cli.metrics import markdown

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


def test_the_reference_page_lists_every_declared_family() -> None:
    assert PAGE.read_text() == markdown(), "run: make docs"
