"""docs/gitlab.md tells of nothing that there is not."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path
from typing import Any

from agent.sources.gitlab.families import families
from agent.sources.gitlab.options import Options

PAGE = (Path(__file__).parent.parent / "docs" / "gitlab.md").read_text()
FAMILIES = families(Options.model_validate({}))
BESIDE = re.compile(r"(child_pipeline_|environment_deployment|test_report_)")
"""Families of which one stands for those beside it."""


def test_every_metric_on_the_page_is_one() -> None:
    assert set(re.findall(r"`age_([a-z_]+)", PAGE)) <= {family.name for family in FAMILIES}


def test_every_metric_is_on_the_page_or_beside_one_that_is() -> None:
    named = set(re.findall(r"`age_([a-z_]+)", PAGE))

    assert {family.name for family in FAMILIES if not BESIDE.match(family.name)} - named == set()


def test_every_key_on_the_page_is_one() -> None:
    keys = set(re.findall(r"`((?:webhook|labels|refs|pipelines|collectors)\.[a-z_.]+)", PAGE))
    options = Options.model_validate({})
    sections: dict[str, Any] = {
        "webhook": options.webhook,
        "labels": options.labels,
        "refs": options.project_defaults.refs,
        "pipelines": options.collectors.pipelines,
        "collectors": options.collectors,
    }

    assert keys >= {
        "webhook.secret_token",
        "labels.ref",
        "refs.tags.regexp",
        "collectors.environments",
        "pipelines.interval_seconds",
    }
    for key in keys:
        section, *names = key.split(".")
        attrgetter(".".join(names))(sections[section])  # raises AttributeError
