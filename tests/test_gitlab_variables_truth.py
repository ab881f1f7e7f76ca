"""Variables of pipelines as labels, observed in a simulated GitLab: by either API and by webhooks they say the same."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from agent.model import Delivery
from agent.sim.gitlab.announcements import announcements
from agent.sim.gitlab.faults import ROUGH, shipments
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.places import DEVELOPER, User, World
from agent.sim.gitlab.rules import Rules
from agent.sim.gitlab.sender import Sender
from agent.sim.gitlab.standing import standing
from agent.sim.gitlab.world import build
from tests.gitlab_observed import SECRET, Observer
from tests.gitlab_trapped import pipelines, wrong

NAMES = ("REGION", "release_notes", "NOT_GIVEN")
RULES = Rules(variables=NAMES)
OPTIONS: dict[str, Any] = {"metric_prefix": "", "wildcards": [{}], "labels": {"variables": list(NAMES)}}
HOOK = {"secret_token": SECRET, "max_per_second": 10_000}
REGIONS = {"north", "south"}
REFUSED = "variables of pipelines may not be read"
BOTH = pytest.mark.parametrize("use_graphql", [True, False], ids=["graphql", "rest"])


@cache
def world(*, may_read: bool = True) -> World:
    """Some hours; `may_read`: whether the role of the token lets it read variables."""
    made = build(11, projects=5, pipelines=40, seconds=4 * 3600, haste=3.0)
    if may_read:
        return made
    token = replace(made.tokens[TOKEN], role=DEVELOPER, user=User(1, "watcher", "W. Atcher"))
    return replace(made, tokens={**made.tokens, TOKEN: token})


def heard(sent: World) -> Iterator[Delivery]:
    sender = Sender(sent, SECRET)
    for shipment in shipments(announcements(sent), ROUGH, 2):
        request = sender.request(shipment)
        yield Delivery(request.headers, request.body, shipment.at)


def watched(there: World, deliveries: Iterable[Delivery] = (), **options: Any) -> Observer:
    """All that happens there, on a virtual clock."""

    async def watch() -> Observer:
        observer = Observer(there, OPTIONS | options, step=300, heard=deliveries)
        await observer.watch(there.end + 3600)
        return observer

    return anyio.run(watch, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


@cache
def told(*, use_graphql: bool) -> Observer:
    """What an agent saw whose token may read everything."""
    return watched(world(), use_graphql=use_graphql)


def values(observer: Observer, label: str) -> set[str]:
    """What a label says in all totals."""
    totals = (*observer.tally.counters, *observer.tally.histograms)
    return {text for _, labels in totals for name, text in labels if name == label}


@BOTH
def test_what_is_counted_has_the_labels_that_the_world_knows(use_graphql: bool) -> None:
    observer = told(use_graphql=use_graphql)

    assert wrong(observer, RULES) == []
    assert values(observer, "variable_region") == REGIONS
    assert {len(text) for text in values(observer, "variable_release_notes")} == {100}
    assert values(observer, "variable_not_given") == set()


@BOTH
def test_nothing_is_noted_or_shown_of_a_variable_that_is_not_named(use_graphql: bool) -> None:
    observer = told(use_graphql=use_graphql)
    everything = repr((observer.tally, observer.notes, observer.gauges))

    assert any(value.startswith("s3cr3t") for one in pipelines(world()) for _, value in one.variables)
    assert "north" in everything
    assert "s3cr3t" not in everything


@BOTH
def test_the_state_of_refs_has_them_too(use_graphql: bool) -> None:
    observer = told(use_graphql=use_graphql)
    names = ("project", "ref", "kind", "source", *(f"variable_{name.lower()}" for name in NAMES), "status")
    shown = [zip(names, own, strict=True) for own in observer.shown("pipeline_status")]
    found = {tuple(sorted((name, text) for name, text in one if text)) for one in shown}

    assert found == {labels for name, labels in standing(world(), observer.now, rules=RULES) if name == "pipeline_status"}
    assert {text for labels in found for name, text in labels if name == "variable_region"}


def test_each_pipeline_is_asked_for_them_once_by_rest() -> None:
    assert 0 < told(use_graphql=False).api.counts["variables", 200] <= len(pipelines(world()))


def test_by_graphql_they_take_no_request_of_their_own() -> None:
    assert {resource for resource, _ in told(use_graphql=True).api.counts} & {"variables", "pipeline"} == set()


def test_webhooks_tell_the_same() -> None:
    assert wrong(watched(world(), heard(world()), webhook=HOOK), RULES) == []


def test_webhooks_tell_what_the_token_may_not_read() -> None:
    there = world(may_read=False)

    assert values(watched(there, heard(there), webhook=HOOK), "variable_region") & REGIONS


@BOTH
def test_without_the_right_everything_counts_and_the_labels_are_empty(
    use_graphql: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        observer = watched(world(may_read=False), use_graphql=use_graphql)

    assert wrong(observer, RULES) == wrong(observer, Rules()) == []
    assert sum(REFUSED in record.getMessage() for record in caplog.records) == 1
    assert not use_graphql or observer.api.counts["variables", 403] == 0
    assert use_graphql or 0 < observer.api.counts["variables", 403] < len(pipelines(world()))


@BOTH
def test_where_none_is_named_none_is_asked_for(use_graphql: bool) -> None:
    observer = watched(world(), use_graphql=use_graphql, labels={})

    assert wrong(observer) == []
    assert "variables" not in {resource for resource, _ in observer.api.counts}
    assert values(observer, "variable_region") == set()
