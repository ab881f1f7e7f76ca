"""Whose runner a job is on, and what its minutes cost: nothing where they are free, no price where none is known."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import ConfigError
from agent.sources.github.cost import Prices
from agent.sources.github.options import CostOptions
from agent.sources.github.payload import job_of
from tests.github_payloads import NO_RUNNER, SKIPPED, START, Json, Life, job, repository, requested, told_job

OLD = START - 86_400 * 365
"""In 2025, when prices were others."""
OWN: Json = {"labels": ["self-hosted", "linux"], "runner_name": "iron-3", "runner_group_name": "Default"}
LARGER: Json = {"labels": ["big"], "runner_name": "big_5f2a", "runner_group_name": "Default Larger Runners"}


def prices(**changed: Any) -> Prices:
    return Prices(CostOptions.model_validate(changed))


def runner_type(changed: Json, **configured: Any) -> str:
    return prices(**configured).runner_type(job_of(job(**changed)))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "github-hosted"),
        ({"labels": ["macos-14"]}, "github-hosted"),
        ({"labels": ["some-new-image"]}, "github-hosted"),
        ({"labels": [], "runner_name": "Hosted Agent"}, "github-hosted"),
        ({"labels": ["macos-14-xlarge"], "runner_group_name": "macs"}, "larger"),
        (OWN, "self-hosted"),
        ({**OWN, "labels": ["self-hosted", "ubuntu-latest"]}, "self-hosted"),
        ({**OWN, "labels": ["ubuntu-latest"]}, "unknown"),
        ({**OWN, "labels": ["my-scale-set"]}, "unknown"),
        ({**OWN, "labels": []}, "unknown"),
        (LARGER, "unknown"),
        (SKIPPED, "none"),
        ({**NO_RUNNER, "conclusion": "cancelled"}, "none"),
        ({"conclusion": "skipped"}, "none"),
    ],
)
def test_the_type_of_a_runner(changed: Json, expected: str) -> None:
    assert runner_type(changed) == expected


def test_a_job_that_has_no_runner_yet_is_of_the_type_it_asks_for() -> None:
    waiting = {**NO_RUNNER, "conclusion": None, "status": "queued"}

    assert runner_type(waiting) == "github-hosted"
    assert runner_type({**waiting, "labels": ["self-hosted"]}) == "self-hosted"
    assert runner_type({**waiting, "labels": ["big"]}) == "unknown"


def test_the_first_rule_of_the_configuration_that_matches_holds() -> None:
    rules = [
        {"label": "big", "group": "elsewhere", "sku": "unknown"},
        {"label": "big", "sku": "linux_8_core"},
        {"group": "Default Larger Runners", "sku": "linux_4_core"},
    ]

    assert prices(skus=rules).bill(job_of(job(**LARGER)), 60, private=True).dollars == 0.022
    assert runner_type(LARGER, skus=rules) == "larger"


@pytest.mark.parametrize(
    ("sku", "expected"), [("self-hosted", "self-hosted"), ("unknown", "unknown"), ("linux", "github-hosted")]
)
def test_a_rule_may_say_whose_runner_it_is(sku: str, expected: str) -> None:
    assert runner_type({**OWN, "labels": ["my-scale-set"]}, skus=[{"label": "my-scale-set", "sku": sku}]) == expected


def test_a_rule_does_not_give_a_runner_to_a_job_that_had_none() -> None:
    assert runner_type({**SKIPPED, "labels": ["big"]}, skus=[{"label": "big", "sku": "linux_8_core"}]) == "none"


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 1), (0.5, 1), (59, 1), (60, 1), (60.5, 2), (61, 2), (3600, 60)])
def test_each_job_is_rounded_up_to_whole_minutes(seconds: float, minutes: int) -> None:
    bill = prices().bill(job_of(job()), seconds, private=True)

    assert (bill.minutes, bill.billed, bill.dollars) == (minutes, minutes, minutes * 0.006)


@pytest.mark.parametrize(
    ("labels", "now", "before"),
    [
        (["ubuntu-slim"], 0.002, 0.002),
        (["ubuntu-24.04"], 0.006, 0.008),
        (["windows-latest"], 0.010, 0.016),
        (["macos-15"], 0.062, 0.080),
        (["ubuntu-24.04-arm"], 0.005, 0.005),
        (["macos-14-large"], 0.077, 0.12),
    ],
)
def test_the_price_is_that_of_the_jobs_own_day(labels: list[str], now: float, before: float) -> None:
    new, old = job_of(job(labels=labels)), job_of(job(labels=labels))._replace(completed=OLD)

    assert prices().bill(new, 60, private=True).dollars == now
    assert prices().bill(old, 60, private=True).dollars == before


def test_standard_runners_are_free_for_public_repositories_larger_ones_are_not() -> None:
    standard, larger = job_of(job()), job_of(job(labels=["macos-14-large"]))

    assert prices().bill(standard, 60, private=False) == (1, 0.0, 0)
    assert prices().bill(larger, 60, private=False).dollars == 0.077


def test_a_runner_of_ones_own_costs_what_is_configured() -> None:
    found = job_of(job(**OWN))

    assert prices().bill(found, 90, private=True) == (2, 0.0, 0)
    assert prices(self_hosted_per_minute=0.5).bill(found, 90, private=False) == (2, 1.0, 2)


def test_prices_can_be_others_and_more() -> None:
    rules = [{"label": "big", "sku": "ours"}]
    configured = prices(prices={"linux": 0.004, "ours": 0.1}, skus=rules)

    assert configured.bill(job_of(job()), 60, private=True).dollars == 0.004
    assert configured.bill(job_of(job(**LARGER)), 60, private=False).dollars == 0.1


def test_a_rule_without_a_price_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"linux_7_core has no price.*linux_8_core"):
        prices(skus=[{"label": "big", "sku": "linux_7_core"}])


def bill(changed: Json, **where: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """What a job adds to money and minutes, and the gauge beside it."""
    life = Life()
    life.hear(requested())
    digest = life.hear(told_job("completed", 95, job(**changed), repository=repository(**where)))
    money = {name: value for name, value in life.values("job:70000001").items() if "minutes" in name or "cost" in name}
    return money, {update.family.name: update.value for update in digest.updates}


def test_a_priced_job_adds_to_minutes_and_dollars_and_shows_its_cost() -> None:
    money, shown = bill({})

    assert money == {"job_billed_minutes_total": 2, "job_cost_dollars_total": 0.012}
    assert shown == {"job_cost": 0.012}


def test_a_free_job_shows_that_it_cost_nothing_and_adds_nothing() -> None:
    assert bill({}, private=False) == ({}, {"job_cost": 0})


def test_a_job_without_a_known_price_adds_minutes_without_one_and_never_a_cost_of_zero() -> None:
    assert bill(LARGER) == ({"job_unpriced_minutes_total": 2}, {})


def test_a_standard_runner_without_a_known_label_is_unpriced_where_it_is_not_free() -> None:
    assert bill({"labels": []}) == ({"job_unpriced_minutes_total": 2}, {})


@pytest.mark.parametrize("changed", [SKIPPED, {**NO_RUNNER, "conclusion": "cancelled"}])
def test_a_job_without_a_runner_has_no_minutes(changed: Json) -> None:
    assert bill(changed) == ({}, {})
