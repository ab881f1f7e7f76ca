"""docs/github.md tells of every metric and of nothing that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from agent.sources.github import FAMILIES, Options

PAGE = (Path(__file__).parent.parent / "docs" / "github.md").read_text()


def test_every_metric_is_on_the_page_and_no_other() -> None:
    named = set(re.findall(r"`(github_[a-z_]+)`", PAGE)) - {"github"}

    assert named == {f"github_{family.name}" for family in FAMILIES}


def test_every_key_on_the_page_is_one() -> None:
    keys = set(re.findall(r"`((?:webhook|deliveries|labels|cost|runners)\.[a-z_]+)", PAGE))

    assert keys >= {"webhook.secret", "deliveries.hooks", "labels.refs", "cost.skus"}
    for key in keys:
        section, name = key.split(".")
        assert name in Options.model_fields[section].default_factory().__class__.model_fields, key  # type: ignore[misc, call-arg]
