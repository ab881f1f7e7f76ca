"""Whoever asks for a metric that is off is told which key turns it on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agent.sources.gitlab.absent import absent
from agent.sources.gitlab.families import families
from agent.sources.gitlab.options import Options
from tests.gitlab_rest import options

WHERE = "sources.one"
OFF: dict[str, Any] = {
    "collectors": {
        "pipelines": {"enabled": False, "include_child_pipelines": False},
        "jobs": {"enabled": False},
        "environments": {"enabled": False},
        "test_reports": {"enabled": False, "include_test_cases": False},
    }
}


def turned_on(name: str) -> Options:
    """Where all was off, with what is said to be missing."""
    found: dict[str, Any] = {key: dict(section) for key, section in OFF["collectors"].items()}
    for section, key in re.findall(rf"{WHERE}\.collectors\.(\w+)\.(\w+)", absent(name, WHERE, options(**OFF))):
        found[section][key] = True
    return options(collectors=found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("age_test_report_total_count", "it is off; set sources.one.collectors.test_reports.enabled to true"),
        (
            "age_environment_deployment_duration_seconds_bucket",
            "it is off; set sources.one.collectors.environments.enabled to true",
        ),
        ("age_mr_status", "it is of the collector merge_requests, which this version does not have yet"),
    ],
)
def test_it_is_named_what_a_metric_takes(name: str, said: str) -> None:
    assert absent(name, WHERE, options()) == said


@pytest.mark.parametrize(
    "name", ["age_pipeline_run_count", "age_test_report_totals", "test_report_total_count", "age_", "up", ""]
)
def test_nothing_is_said_of_what_is_on_and_of_names_that_are_none(name: str) -> None:
    assert absent(name, WHERE, options()) == ""


def test_a_prefix_of_ones_own_is_one() -> None:
    assert absent("ci_job_status", WHERE, options(metric_prefix="ci_", collectors={"jobs": {"enabled": False}})) != ""


def test_what_is_said_to_be_missing_is_enough() -> None:
    names = [f"age_{family.name}" for family in families(options())]

    assert [name for name in names if absent(name, WHERE, turned_on(name))] == []
    assert {name for name in names if not absent(name, WHERE, options(**OFF))} == OWN


OWN = {
    *("age_api_requests_total", "age_api_request_duration_seconds", "age_api_rate_limit_remaining"),
    *("age_api_rate_limit_reset_timestamp", "age_projects_tracked", "age_scrape_duration_seconds", "age_scrape_errors_total"),
    *("age_gitlab_tier", "age_collector_enabled", "age_events_ignored_total", "age_webhook_deliveries_total"),
    "age_malformed_objects_total",
}
"""What the source says of itself whatever is off."""
