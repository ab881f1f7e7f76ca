"""Queries: what GitLab charges for them, how long and deep they are, and that a published schema knows every field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import FieldNode, GraphQLSchema, SelectionSetNode, build_schema, graphql_sync, parse, validate
from graphql.language import OperationDefinitionNode

from agent.errors import CollectError
from agent.sources.gitlab import queries, schema
from agent.sources.gitlab.queries import MAX_COST, Queries
from tests.gitlab_api import SDL, cost_of

PUBLISHED = Path(__file__).parents[2] / "shared" / "gitlab" / "gitlab_schema_18.4-pre.graphql"
MAX_DEPTH = 15
MAX_CHARACTERS = 10_000


def introspected(sdl: GraphQLSchema) -> schema.Schema:
    found = graphql_sync(sdl, schema.QUERY)
    assert found.data is not None
    return schema.schema_of(found.data)


def asking(sdl: GraphQLSchema, version: tuple[int, int] | None = None, **keys: Any) -> Queries:
    return Queries(introspected(sdl)._replace(version=version), **{"page": 100, "children": True, "runners": True, **keys})


def by_id(count: int) -> dict[int, list[int]]:
    """Each of another project: the dearest way, with the longest numbers there are."""
    return {10**17 + number: [10**17 + number] for number in range(count)}


def every(made: Queries) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every query that is ever sent, as dear as it is sent, with the variables that decide what it costs."""
    for listings in (made.changed(), *made.unfinished(), made.heads(), *made.recent()):
        yield made.listed(listings), {"n": 100}
        for listing in listings:
            yield made.next_page(listing), {"n": 1}
    for main, children in ((True, True), (True, False), (False, True)):
        for pipelines in (3, 12, 40) if main and children else (3, 12, 50, 100):
            fitting = [count for count in range(1, 101) if made.cost(count, pipelines, main + children) <= MAX_COST]
            yield made.jobs(main=main, children=children), {"n": max(fitting), "k": pipelines}
    yield made.jobs_of(by_id(queries.JOB_LISTS_AT_ONCE)), {}
    yield made.more_jobs(10**17, 10**17), {}
    yield made.pipelines(by_id(made.pipelines_at_once)), {}
    yield made.reports(by_id(queries.REPORTS_AT_ONCE)), {}
    yield schema.QUERY, {}


def depth_of(selections: SelectionSetNode | None) -> int:
    fields = [one for one in (selections.selections if selections else ()) if isinstance(one, FieldNode)]
    return max((1 + depth_of(field.selection_set) for field in fields), default=0)


@pytest.mark.parametrize("page", [1, 20, 100])
@pytest.mark.parametrize("version", [(16, 3), None])
def test_no_query_costs_more_than_gitlab_takes(page: int, version: tuple[int, int] | None) -> None:
    made = asking(build_schema(SDL), version, page=page)
    costs = [cost_of(parse(text), variables) for text, variables in every(made)]

    assert max(costs) <= MAX_COST


@pytest.mark.parametrize("runners", [True, False])
@pytest.mark.parametrize("page", [1, 33, 100])
def test_what_is_charged_for_jobs_is_foretold(page: int, runners: bool) -> None:
    made = asking(build_schema(SDL), page=page, runners=runners)
    both, one = parse(made.jobs(main=True, children=True)), parse(made.jobs(main=False, children=True))

    for projects in (1, 10, 31, 100):
        for pipelines in (1, 3, 12, 100):
            variables = {"n": projects, "k": pipelines}
            assert made.cost(projects, pipelines, 2) == cost_of(both, variables)
            assert made.cost(projects, pipelines, 1) == cost_of(one, variables)


def test_no_query_is_too_long_or_too_deep() -> None:
    versions: list[tuple[int, int] | None] = [(16, 3), (18, 4), None]
    texts = [text for version in versions for text, _ in every(asking(build_schema(SDL), version))]
    operations = [parse(text).definitions[0] for text in texts]

    assert max(len(text) for text in texts) < MAX_CHARACTERS
    assert max(depth_of(one.selection_set) for one in operations if isinstance(one, OperationDefinitionNode)) <= MAX_DEPTH


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published schema is not at hand")
def test_a_published_schema_knows_everything_that_is_asked() -> None:
    published = build_schema(PUBLISHED.read_text(), assume_valid=True, no_location=True)
    made = asking(published)

    for text, variables in [*every(made), *every(asking(published, (16, 3)))]:
        assert validate(published, parse(text)) == [], text
        assert cost_of(parse(text), variables) <= MAX_COST
    assert {"CANCELING", "WAITING_FOR_CALLBACK"} <= set(introspected(published).statuses)
    for words in (
        "jobKind:BUILD",
        "archived:INCLUDE",
        "failureMessage",
        "refPath",
        "mergeRequest{state}",
        "artifacts{nodes{size}}",
    ):
        assert any(words in text for text, _ in every(made)), words


@pytest.mark.parametrize(
    ("field", "instead"),
    [
        ("type Query { metadata: Metadata", "type Query { metadata: Metadata } type Unused {"),
        ("projects(ids: [ID!], ", "projects("),
        ("updatedAfter: Time, ", ""),
        ("id: ID name: String", "name: String"),
    ],
)
def test_a_graphql_that_cannot_tell_what_changed_is_refused(field: str, instead: str) -> None:
    assert field in SDL

    with pytest.raises(CollectError, match="this GraphQL") as caught:
        introspected(build_schema(SDL.replace(field, instead)))

    assert caught.value.kind == "graphql"


@pytest.mark.parametrize(
    "data", [{}, {"pipeline": 5}, {"pipeline": {"fields": {"id": 1}}}, {"pipeline": {"fields": [None, {"name": 1}]}}]
)
def test_a_schema_that_is_none_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(CollectError, match="does not show its schema"):
        schema.schema_of(data)
