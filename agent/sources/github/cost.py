"""What a job's minutes cost: estimated from its labels, its runner and a dated price table.

GitHub bills each job by the minute, rounded up; standard runners are free for public repositories, larger ones never
(https://docs.github.com/en/billing/concepts/product-billing/github-actions).
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from importlib import resources
from typing import NamedTuple

from agent.errors import ConfigError
from agent.sources.github.options import CostOptions
from agent.sources.github.payload import HOSTED_GROUP, Job

HOSTED, LARGER, SELF_HOSTED, UNKNOWN, NONE = "github-hosted", "larger", "self-hosted", "unknown", "none"
"""Values of label `runner_type`."""
_SELF = "self-hosted"


class Rate(NamedTuple):
    """One kind of GitHub's runners."""

    sku: str
    is_larger: bool
    now: float
    """USD a minute."""
    before: float
    """Until the table's date."""


class Bill(NamedTuple):
    """What one job comes to."""

    minutes: int
    dollars: float | None
    """None = its price is not known."""
    billed: int
    """Of the minutes, those with a price."""


class Prices:
    """Runners and what they cost. Raises ConfigError for a SKU that has no price."""

    def __init__(self, options: CostOptions) -> None:
        table = json.loads(resources.files(__package__).joinpath("prices.json").read_text(encoding="utf-8"))
        self._since = datetime.fromisoformat(table["since"]).replace(tzinfo=UTC).timestamp()
        self._rates = {
            row["sku"]: Rate(row["sku"], row["larger"], row["usd_per_minute"], row["usd_per_minute_before"])
            for row in table["rates"]
        }
        self._standard = {label: self._rates[row["sku"]] for row in table["rates"] for label in row["labels"]}
        for sku, price in options.prices.items():
            old = self._rates.get(sku)
            self._rates[sku] = Rate(sku, old is None or old.is_larger, price, price)
        self._standard = {label: self._rates[row["sku"]] for row in table["rates"] for label in row["labels"]}
        self._rules = options.skus
        self._self_hosted = options.self_hosted_per_minute
        unpriced = sorted({rule.sku for rule in self._rules} - self._rates.keys() - {_SELF, UNKNOWN})
        if unpriced:
            known = ", ".join(self._rates)
            raise ConfigError(
                [f"cost.skus: {sku} has no price; set it in cost.prices, or use one of {known}" for sku in unpriced]
            )

    def runner_type(self, job: Job) -> str:
        """Whose runner a job is on, or asks for while it has none; "none" for one that ended without."""
        if job.conclusion and not job.ran:
            return NONE
        sku = self._configured(job)
        if sku == _SELF:
            return SELF_HOSTED
        if sku == UNKNOWN:
            return UNKNOWN
        rate = self._rates[sku] if sku else self._rate(job)
        if rate is not None:
            return LARGER if rate.is_larger else HOSTED
        if job.group == HOSTED_GROUP:
            return HOSTED
        return SELF_HOSTED if _SELF in job.labels else UNKNOWN

    def bill(self, job: Job, seconds: float, *, private: bool) -> Bill:
        """What a job that ran so long comes to."""
        minutes = max(1, math.ceil(seconds / 60))
        kind, sku = self.runner_type(job), self._configured(job)
        if kind == SELF_HOSTED:
            return Bill(minutes, minutes * self._self_hosted, minutes if self._self_hosted else 0)
        rate = self._rates.get(sku) if sku else self._rate(job)
        if kind == HOSTED and not private:
            return Bill(minutes, 0.0, 0)
        if rate is None:
            return Bill(minutes, None, 0)
        price = rate.now if (job.completed or self._since) >= self._since else rate.before
        return Bill(minutes, minutes * price, minutes if price else 0)

    def _configured(self, job: Job) -> str:
        for rule in self._rules:
            if (not rule.label or rule.label in job.labels) and (not rule.group or rule.group == job.group):
                return rule.sku
        return ""

    def _rate(self, job: Job) -> Rate | None:
        """By GitHub's own labels, which a runner of one's own may have too: then its group is another."""
        if _SELF in job.labels:
            return None
        rate = next((self._standard[label] for label in job.labels if label in self._standard), None)
        if rate is None or rate.is_larger or job.group in ("", HOSTED_GROUP):
            return rate
        return None
