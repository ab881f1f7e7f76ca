"""Variables of pipelines as labels: what the configuration may name, what is kept of what GitLab tells, and what is asked."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from graphql import build_schema, parse, validate
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from trio.testing import MockClock

from agent.errors import CollectError, ConfigError
from agent.sources.gitlab.families import PIPELINE, families
from agent.sources.gitlab.objects import Pipeline
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.payload import PIPELINE as PIPELINE_HOOK
from agent.sources.gitlab.queries import MAX_COST, VARIABLES
from agent.sources.gitlab.rest import RestReader
from agent.sources.gitlab.rest_variables import REFUSED_SECONDS, VariableReader
from agent.sources.gitlab.variables import MAX_VALUE, Wanted
from tests.gitlab_api import NOW as GRAPHQL_NOW
from tests.gitlab_api import SDL, Instance, cost_of, known, project, reader
from tests.gitlab_api import pipeline as node
from tests.gitlab_engine import Life, pipeline
from tests.gitlab_rest import NOW, SHOP, GitLab, Run, options
from tests.test_gitlab_payload import body
from tests.test_gitlab_queries import MAX_CHARACTERS, PUBLISHED, asking, every

GIVEN = [{"key": "TOKEN", "value": "s3cr3t"}, {"key": "REGION", "value": "north"}, {"key": "SPEED", "value": "high"}]
LABELS = {"labels": {"variables": ["SPEED", "REGION"]}}
KEPT = (("SPEED", "high"), ("REGION", "north"))
FORBIDDEN = CollectError("forbidden", "HTTP 403")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


# -- the configuration and labels ------------------------------------------------------------------------


def test_totals_and_states_of_pipelines_have_them_and_nothing_else_has() -> None:
    before, after = families(Options.model_validate({})), families(Options.model_validate(LABELS))
    changed = {new.name for old, new in zip(before, after, strict=True) if old.labels != new.labels}

    assert changed == {
        "pipeline_run_count",
        "pipeline_runs_by_status_total",
        "pipeline_retries_total",
        "pipeline_duration_seconds",
        "pipeline_queued_duration_seconds",
        "pipeline_status",
    }
    assert after.pipeline_run_count.labels == (*PIPELINE, "variable_speed", "variable_region")
    assert after.pipeline_status.labels == (*PIPELINE, "variable_speed", "variable_region", "status")


def test_values_fold_where_there_are_too_many_series() -> None:
    found = families(Options.model_validate(LABELS))

    assert found.pipeline_run_count.wide == ("ref", "variable_speed", "variable_region")
    assert families(Options.model_validate({})).pipeline_run_count.wide == ("ref",)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["RE-GION"], "pattern"),
        ([""], "pattern"),
        (["REGION\n"], "pattern"),
        (["RÉGION"], "pattern"),
        (["REGION", "Region"], "variable_region"),
        ([f"V{number}" for number in range(17)], "at most 16"),
    ],
)
def test_names_that_make_no_label_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Options.model_validate({"labels": {"variables": names}})


def test_a_custom_label_of_the_same_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="custom_labels: variable_region"):
        families(Options.model_validate(LABELS | {"custom_labels": {"variable_region": "north"}}))


def test_every_family_of_pipelines_says_them() -> None:
    life = Life(Options.model_validate(LABELS))
    life.take(pipeline(1, variables=KEPT))
    life.take(pipeline(1, finished=pipeline().created + 500, updated=pipeline().created + 500, variables=KEPT))

    own = ("acme/rocket", "main", "branch", "push", "high", "north")
    assert life.total("pipeline_run_count") == {own: 1}
    assert life.total("pipeline_runs_by_status_total") == {(*own, "success"): 1}
    assert life.total("pipeline_duration_seconds") == {(*own, "success"): 1}
    assert life.total("pipeline_queued_duration_seconds") == {own: 1}
    assert life.total("pipeline_retries_total") == {own: 1}
    assert life.gauge("pipeline_status") == {(*own[1:], "success"): 1}


def test_what_a_pipeline_was_not_given_is_empty() -> None:
    life = Life(Options.model_validate(LABELS))
    life.take(pipeline(1, variables=KEPT[1:]))

    assert [labels[4:] for labels in life.total("pipeline_run_count")] == [("", "north")]


# -- what is kept ----------------------------------------------------------------------------------------


def test_only_what_is_named_is_kept_in_the_order_of_the_names() -> None:
    assert Wanted(["SPEED", "REGION"]).of(GIVEN, "acme/shop") == KEPT
    assert Wanted(["REGION", "SPEED"]).of(list(reversed(GIVEN)), "acme/shop") == KEPT[::-1]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", ()),
        ("n" * 101, (("REGION", "n" * MAX_VALUE),)),
        ("é" * 101, (("REGION", "é" * MAX_VALUE),)),
        ("\ud800", (("REGION", "?"),)),
        (5, ()),
        (["north"], ()),
    ],
)
def test_values_are_text_of_a_hundred_characters_at_most(value: object, kept: tuple[tuple[str, str], ...]) -> None:
    assert Wanted(["REGION"]).of([{"key": "REGION", "value": value}], "acme/shop") == kept


def test_names_are_told_apart_by_case() -> None:
    assert Wanted(["REGION"]).of([{"key": "region", "value": "north"}], "acme/shop") == ()


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["REGION", "SPEED"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["key", "value", "nodes"]), inner),
)


@given(ANYTHING)
def test_whatever_comes_becomes_short_texts_of_what_is_named(found: object) -> None:
    for name, value in Wanted(["SPEED", "REGION"]).of(found, "acme/shop"):
        assert name in ("SPEED", "REGION")
        assert 0 < len(value) <= MAX_VALUE


def test_a_webhook_tells_them() -> None:
    life = Life(Options.model_validate(LABELS))
    life.hear(PIPELINE_HOOK, body(variables=GIVEN))

    assert [labels[4:] for labels in life.total("pipeline_run_count")] == [("high", "north")]


def test_that_they_may_not_be_read_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    wanted = Wanted(["REGION"])
    with caplog.at_level(logging.WARNING):
        for name in ("acme/shop", "acme/rocket"):
            assert wanted.of([{"key": "REGION", "value": None}, {"key": "TOKEN", "value": None}], name) == ()

    assert [record.getMessage()[:59] for record in caplog.records] == [
        "variables of pipelines may not be read in 'acme/shop', and "
    ]


# -- GraphQL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 20, 100])
@pytest.mark.parametrize("version", [(16, 3), None])
def test_queries_with_them_cost_no_more_than_others(page: int, version: tuple[int, int] | None) -> None:
    made = asking(build_schema(SDL), version, page=page, variables=True)
    texts = list(every(made))

    assert max(cost_of(parse(text), variables) for text, variables in texts) <= MAX_COST
    assert max(len(text) for text, _ in texts) < MAX_CHARACTERS


def test_every_list_and_every_single_pipeline_asks_for_them() -> None:
    made = asking(build_schema(SDL), variables=True)
    lists = [made.changed(), *made.unfinished(), made.heads(), *made.recent()]

    assert all(made.listed(one).count(VARIABLES) == len(one) for one in lists)
    assert VARIABLES in made.pipelines({1: [2]})
    assert VARIABLES not in made.jobs(main=True, children=True)


def test_they_are_not_asked_for_where_none_is_named_or_known() -> None:
    old = build_schema(SDL.replace("  manualVariables(first: Int): Variables\n", ""))
    texts = [text for text, _ in [*every(asking(build_schema(SDL))), *every(asking(old, variables=True))]]

    assert not any("manualVariables" in text for text in texts)
    assert asking(old, variables=True).pipelines_at_once == asking(old).pipelines_at_once


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published schema is not at hand")
def test_a_published_schema_knows_them() -> None:
    published = build_schema(PUBLISHED.read_text(), assume_valid=True, no_location=True)
    made = asking(published, variables=True)

    for listings in (made.changed(), *made.unfinished(), made.heads(), *made.recent()):
        text = made.listed(listings)
        assert VARIABLES in text
        assert validate(published, parse(text)) == []
        assert cost_of(parse(text), {"n": 100}) <= MAX_COST


@pytest.mark.anyio
async def test_graphql_tells_them_in_lists_and_by_number() -> None:
    instance = Instance(project(1, [node(7, GRAPHQL_NOW, manualVariables={"nodes": GIVEN}), node(8, GRAPHQL_NOW)]))
    asked = reader(instance, **LABELS)

    listed = (await asked.changed([known(1)], GRAPHQL_NOW - 60)).pipelines[1]
    named = await asked.pipelines({known(1): [7, 8]})

    assert {one.id: one.variables for one in listed} == {7: KEPT, 8: ()}
    assert {one.id: one.variables for one in named.values() if isinstance(one, Pipeline)} == {7: KEPT, 8: ()}


# -- REST ------------------------------------------------------------------------------------------------


def path(number: int, of: int = SHOP.id) -> str:
    return f"/projects/{of}/pipelines/{number}/variables"


@pytest.mark.anyio
async def test_rest_tells_them_for_one_request_a_pipeline() -> None:
    gitlab = GitLab(Run(1), Run(2))
    gitlab.more = {path(1): GIVEN, path(2): []}
    asked = RestReader(gitlab, options(**LABELS))

    for _ in range(2):
        found = (await asked.changed([SHOP], NOW - 500)).pipelines[SHOP.id]
        assert {one.id: one.variables for one in found} == {1: KEPT, 2: ()}
    named = await asked.pipelines({SHOP: [1]})

    assert isinstance(named[1], Pipeline)
    assert named[1].variables == KEPT
    assert gitlab.count("/variables") == 2


@pytest.mark.anyio
async def test_rest_is_not_asked_where_none_is_named() -> None:
    gitlab = GitLab(Run(1))
    found = await RestReader(gitlab, options()).changed([SHOP], NOW - 500)

    assert found.pipelines[SHOP.id][0].variables == ()
    assert gitlab.count("/variables") == 0


@pytest.mark.anyio
async def test_a_project_that_refuses_is_asked_again_hours_later() -> None:
    gitlab = GitLab()
    gitlab.more = {path(number): FORBIDDEN for number in (1, 2)} | {path(number): GIVEN for number in (3, 4)}
    variables = VariableReader(gitlab, Wanted(["SPEED", "REGION"]), 100, 1)
    runs = [Pipeline(number, "success", "main", "branch", "push", NOW, NOW) for number in range(5)]

    assert await variables.read([(SHOP, runs[1])], NOW) == {}
    assert await variables.read([(SHOP, runs[2]), (SHOP, runs[3])], NOW + REFUSED_SECONDS - 1) == {}
    assert [asked for asked, _ in gitlab.asked] == [path(1)]
    await variables.read([(SHOP, runs[3]), (SHOP, runs[4])], NOW + REFUSED_SECONDS)

    assert [asked for asked, _ in gitlab.asked] == [path(1), path(3), path(4)]
    assert variables.of(4) == KEPT


@pytest.mark.anyio
async def test_a_project_whose_variables_cannot_be_read_now_is_read_later() -> None:
    gitlab = GitLab(Run(1))
    gitlab.more = {path(1): CollectError("status", "HTTP 502")}
    asked = RestReader(gitlab, options(**LABELS))
    failed = await asked.changed([SHOP], NOW - 500)
    named = await asked.pipelines({SHOP: [1]})
    gitlab.more = {path(1): GIVEN}

    assert failed.failed[SHOP.id].kind == "status"
    assert SHOP.id not in failed.pipelines
    assert isinstance(named[1], CollectError)
    assert (await asked.changed([SHOP], NOW - 500)).pipelines[SHOP.id][0].variables == KEPT


@pytest.mark.anyio
async def test_a_pipeline_that_is_gone_meanwhile_has_none() -> None:
    gitlab = GitLab(Run(1))
    gitlab.more = {path(1): CollectError("missing", "HTTP 404")}

    found = await RestReader(gitlab, options(**LABELS)).changed([SHOP], NOW - 500)

    assert found.pipelines[SHOP.id][0].variables == ()
