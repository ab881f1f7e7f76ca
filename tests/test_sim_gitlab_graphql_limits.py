"""What a simulated GraphQL lets through: complexity, depth, sizes, tokens, and what becomes of queries that take too long."""

from __future__ import annotations

import json

import pytest

from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.graphql import answer
from agent.sim.gitlab.graphql.api import MAX_QUERY
from agent.sim.gitlab.profile import CE_16_3, EE_18
from agent.sim.gitlab.world import USER_ONLY
from tests.sim_gitlab_graphql import ask, small

DISCOVER = """query($p:ID!,$c:String){group(fullPath:$p){projects(includeSubgroups:true,includeArchived:false,first:100,after:$c){
    nodes{id fullPath archived}pageInfo{hasNextPage endCursor}}}}"""
_OUTSIDE = "query($ids:[ID!],$t:Time){projects(ids:$ids,first:100){nodes{id fullPath %s}}}"
_CHANGED = """pipelines(updatedAfter:$t,first:100){nodes{id iid status source ref type child createdAt
    startedAt finishedAt updatedAt duration queuedDuration coverage mergeRequest{iid}
    upstream{id ref project{fullPath}} sourceJob{name}}
    pageInfo{hasNextPage endCursor}}"""
_CHILDREN = """pipelines(source:"parent_pipeline",updatedAfter:$t,first:50){nodes{id iid status source ref createdAt startedAt
    finishedAt updatedAt duration queuedDuration upstream{id ref project{fullPath}} sourceJob{name}}
    pageInfo{hasNextPage endCursor}}"""
_JOBS = """pipelines(updatedAfter:$t,first:10){nodes{id iid status source ref createdAt finishedAt updatedAt
    duration queuedDuration jobs(first:100,retried:false){nodes{id name status duration queuedDuration finishedAt
    retried stage{name} runner{runnerType}}pageInfo{hasNextPage endCursor}}}pageInfo{hasNextPage endCursor}}"""
_SUMMARIES = """pipelines(updatedAfter:$t,scope:FINISHED,first:10){nodes{id
    testReportSummary{total{time count success failed skipped error}}}}"""
DEEP = "pipelines{nodes{" + "upstream{" * 9 + "jobs{nodes{id}}" + "}" * 9 + "}}"


def expensive(fields: int) -> str:
    """A query of that complexity: so many scalars under one field."""
    return "{metadata{" + " ".join(f"f{number}:version" for number in range(fields - 1)) + "}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DISCOVER, 17),
        (_OUTSIDE % _CHANGED, 120),
        (_OUTSIDE % _CHILDREN, 76),
        (_OUTSIDE % f"a:{_CHANGED} b:{_CHILDREN}", 188),
        (_OUTSIDE % _JOBS, 110),
        (_OUTSIDE % _SUMMARIES, 32),
        (_OUTSIDE % "pipelines(updatedAfter:$t,first:1){count}", 14),
    ],
    ids=["discover", "changed", "children", "both", "jobs", "summaries", "count"],
)
def test_queries_cost_what_was_computed_of_gitlabs_rule(text: str, expected: int) -> None:
    assert abs(ask(text, {"p": "harbour"}).complexity - expected) <= 2


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("{metadata{version}}", 2),
        ("{currentUser{id}}", 2),
        ("{projects(first:0){count}}", 2),
        ("{projects(first:100){count}}", 4),
        ("{projects(first:500){count}}", 4),
        ("{projects{count}}", 4),
        ('{projects(first:100,sort:"id_asc"){count}}', 6),
        ('{projects(first:100,search:"api"){count}}', 14),
        ("{projects(first:50){nodes{id repository{rootRef}}}}", 9),
        ('{project(fullPath:"a"){pipelines(ref:"main",sha:"b",first:1){count}}}', 7),
        ("{a:metadata{version} b:metadata{version}}", 4),
    ],
)
def test_complexity_is_gitlabs(text: str, cost: int) -> None:
    assert ask(text).complexity == cost


def test_complexity_does_not_depend_on_how_many_ids_are_asked() -> None:
    one, many = (
        ask("query($ids:[ID!]){projects(ids:$ids){nodes{id}}}", {"ids": ["gid://gitlab/Project/1"] * n}) for n in (1, 80)
    )

    assert one.complexity == many.complexity


def test_fields_that_are_not_included_cost_nothing() -> None:
    text = "query($with:Boolean!){currentUser{id name @include(if:$with) username @skip(if:$with)}}"

    assert ask(text, {"with": True}).data == {"currentUser": {"id": "gid://gitlab/User/700", "name": "Ines.Q"}}
    assert ask(text, {"with": False}).complexity == 3


@pytest.mark.parametrize(("token", "limit"), [(None, 200), (TOKEN, 250), ("glpat-admin", 300)])
def test_limits_depend_on_who_asks(token: str | None, limit: int) -> None:
    assert ask(expensive(limit), token=token).errors == []
    told = ask(expensive(limit + 1), token=token)

    assert told.data is None
    assert told.messages == [f"Query has complexity of {limit + 1}, which exceeds max complexity of {limit}"]


def test_a_query_can_ask_what_it_costs() -> None:
    told = ask("{queryComplexity{score limit} metadata{version}}")

    assert told.data["queryComplexity"] == {"score": 5, "limit": 250}


def test_queries_in_a_list_have_one_limit_together() -> None:
    half = {"query": expensive(130)}

    found = answer(small(), small().tokens[TOKEN], EE_18, small().end, json.dumps([half, half]).encode())

    assert [each["errors"][0]["message"] for each in json.loads(found.body)] == [
        "Query has complexity of 260, which exceeds max complexity of 250"
    ] * 2


def test_queries_in_a_list_are_answered_in_a_list() -> None:
    body = json.dumps([{"query": "{metadata{version}}"}, {"query": "{nothing}"}]).encode()

    first, second = json.loads(answer(small(), small().tokens[TOKEN], EE_18, small().end, body).body)

    assert first == {"data": {"metadata": {"version": "18.4.2-ee"}}}
    assert "data" not in second


def test_depth_is_limited_and_less_deep_for_strangers() -> None:
    deep = "{projects(first:1){nodes{" + DEEP + "}}}"

    assert ask(deep).errors == []
    assert ask(deep, token=None).messages == ["Query has depth of 16, which exceeds max depth of 15"]


def test_too_deep_a_query_is_refused() -> None:
    deep = "{projects(first:1){nodes{pipelines(first:1){nodes{" + "upstream{" * 17 + "id" + "}" * 17 + "}}}}}"

    assert ask(deep).messages == ["Query has depth of 22, which exceeds max depth of 20"]


def test_too_long_a_text_is_refused() -> None:
    told = ask("{metadata{version}}" + " " * MAX_QUERY)

    assert (told.status, told.messages) == (422, ["Query too large"])


def test_fragments_that_multiply_are_refused() -> None:
    fragments = [f"fragment F{n} on Pipeline{{a:upstream{{...F{n + 1}}} b:upstream{{...F{n + 1}}}}}" for n in range(60)]
    text = "{projects{nodes{pipelines{nodes{...F0}}}}}" + "".join(fragments) + "fragment F60 on Pipeline{id}"

    assert ask(text).data is None


def test_a_token_that_may_not_read_the_api_gets_errors_and_nothing_else() -> None:
    told = ask("{currentUser{username} projects{count}}", token=USER_ONLY)

    assert told.data == {"currentUser": None, "projects": None}
    assert [error["path"] for error in told.errors] == [["currentUser"], ["projects"]]


def test_strangers_see_what_is_public() -> None:
    told = ask("{currentUser{username} projects{nodes{visibility}}}", token=None)

    assert told.data["currentUser"] is None
    assert {node["visibility"] for node in told.data["projects"]["nodes"]} == {"public"}


def test_some_lists_can_be_read_of_one_project_only() -> None:
    told = ask("{projects(first:2){nodes{environments{nodes{name}}}}}")

    assert [node["environments"] is None for node in told.data["projects"]["nodes"]] == [False, True]
    assert told.messages == ['"environments" field can be requested only for 1 Project(s) at a time.']
    assert told.errors[0]["path"] == ["projects", "nodes", 1, "environments"]


def test_what_takes_too_long_is_null_with_an_error_and_the_rest_is_kept() -> None:
    told = ask('{projects(first:3,sort:"id_asc"){nodes{id pipelines{nodes{id jobs{nodes{id}}}}}}}', most_nodes=12)

    assert all(node["id"] for node in told.data["projects"]["nodes"])
    assert told.data["projects"]["nodes"][-1]["pipelines"] is None
    assert set(told.messages) <= {"Timeout on Project.pipelines", "Timeout on Pipeline.jobs"}
    assert told.errors[-1]["path"] == ["projects", "nodes", 2, "pipelines"]


def test_what_fits_into_the_time_is_answered_whole() -> None:
    text = "{projects(first:3){nodes{id pipelines(first:2){nodes{id}}}}}"
    whole = ask(text)

    assert ask(text, most_nodes=whole.nodes) == whole


def test_variables_that_are_none_are_named() -> None:
    told = ask("query($t:Time!,$n:Int){projects(first:$n){nodes{pipelines(updatedAfter:$t){count}}}}", {"t": "yesterday"})

    assert told.messages == ["Variable $t of type Time! was provided invalid value"]
    assert told.errors[0]["extensions"]["problems"][0]["explanation"] == '"yesterday" is not a valid Time'


@pytest.mark.parametrize(
    ("kind", "value"),
    [("Int", "1"), ("Int", 1.5), ("Int", True), ("Int", 2**31), ("String", 1), ("Boolean", "true"), ("Time", 1)],
)
def test_variables_are_of_their_types(kind: str, value: object) -> None:
    field = {"Int": "first", "String": "after", "Boolean": "membership"}.get(kind, "")
    inside = f"projects({field}:$v){{count}}" if field else "projects{nodes{pipelines(updatedAfter:$v){count}}}"

    assert ask(f"query($v:{kind}){{{inside}}}", {"v": value}).messages == [
        f"Variable $v of type {kind} was provided invalid value"
    ]


def test_one_id_does_for_a_list_of_them() -> None:
    text = "query($ids:[ID!]){projects(ids:$ids){count}}"

    assert ask(text, {"ids": f"gid://gitlab/Project/{small().projects[0].id}"}).data == {"projects": {"count": 1}}


def test_what_is_wrong_in_many_places_is_told_of_five() -> None:
    assert len(ask("{" + " ".join(f"nothing{number}" for number in range(9)) + "}").errors) == 5


def test_unknown_fields_are_named_with_their_type_and_place() -> None:
    told = ask("query Poll {\n  projects { nodes { jobz } }\n}", profile=CE_16_3)

    assert told.errors == [
        {
            "message": "Field 'jobz' doesn't exist on type 'Project'",
            "locations": [{"line": 2, "column": 22}],
            "path": ["query Poll", "projects", "nodes", "jobz"],
            "extensions": {"code": "undefinedField", "typeName": "Project", "fieldName": "jobz"},
        }
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mutation {a}", "Schema is not configured for mutations"),
        ("fragment F on Query {metadata{version}}", "Fragment F was defined, but not used"),
        ("fragment F on Nothing {id} {...F}", "No such type Nothing, so it can't be a fragment condition"),
        ("{...on Nothing {id}}", "No such type Nothing, so it can't be a fragment condition"),
        ("{...on Project {id}}", "Fragment on Project can't be spread inside Query"),
        ("query($a:Nothing){projects(search:$a){count}}", "Nothing isn't a defined input type (on $a)"),
        ("query($a:ID!){projects(ids:$a){count}}", "List dimension mismatch on variable $a and argument ids (ID! / [ID!])"),
        ("query($a:[ID]){projects(ids:$a){count}}", "Nullability mismatch on variable $a and argument ids ([ID] / [ID!])"),
        ("query($a:Int){projects(ids:[$a]){count}}", "Type mismatch on variable $a and argument ids (Int / ID!)"),
        ("{projects(ids:[A]){count}}", "Argument 'ids' on Field 'projects' has an invalid value ([A]). Expected type '[ID!]'."),
        (
            "{projects(ids:[null]){count}}",
            "Argument 'ids' on Field 'projects' has an invalid value ([null]). Expected type '[ID!]'.",
        ),
        (
            '{projects(archived:"ONLY"){count}}',
            "Argument 'archived' on Field 'projects' has an invalid value (\"ONLY\"). Expected type 'ProjectArchived'.",
        ),
        ("{a:projects(first:1){count} a:projects(first:2){count}}", "Field 'a' has an argument conflict"),
        ("{projects{nodes{...F}}} fragment F on Project{...F}", "Fragment F contains an infinite loop"),
        ("query A {metadata{version}} query B {metadata{version}}", "An operation name is required"),
        ("fragment F on Query {metadata{version}} {...F x:nothing}", "Field 'nothing' doesn't exist on type 'Query'"),
    ],
)
def test_what_cannot_be_run_is_said(text: str, message: str) -> None:
    assert message in ask(text).messages


def test_an_operation_that_is_not_there_is_named() -> None:
    body = json.dumps({"query": "query A {metadata{version}}", "operationName": "B"}).encode()

    assert json.loads(answer(small(), None, EE_18, 0.0, body).body) == {"errors": [{"message": 'No operation named "B"'}]}


def test_the_operation_that_is_named_is_run() -> None:
    body = json.dumps({"query": "query A {a:metadata{version}} query B {b:metadata{version}}", "operationName": "B"}).encode()

    assert list(json.loads(answer(small(), None, EE_18, 0.0, body).body)["data"]) == ["b"]


def test_selections_of_one_field_are_put_together() -> None:
    told = ask("{a:metadata{version} ...{a:metadata{...on Metadata{enterprise version}}}}")

    assert told.data == {"a": {"version": "18.4.2-ee", "enterprise": True}}


def test_objects_tell_their_types() -> None:
    told = ask("{__typename projects(first:1){__typename nodes{__typename} pageInfo{__typename}}}")

    assert told.data == {
        "__typename": "Query",
        "projects": {
            "__typename": "ProjectConnection",
            "nodes": [{"__typename": "Project"}],
            "pageInfo": {"__typename": "PageInfo"},
        },
    }


def test_what_is_wrong_below_something_that_is_never_null_makes_null_of_what_may_be() -> None:
    inside = 'testReportSummary{testSuites(after:"wrong"){nodes{name}}}'
    told = ask(f'{{projects(first:1,sort:"id_asc"){{nodes{{pipelines(first:2){{nodes{{id {inside}}}}}}}}}}}')

    assert told.data["projects"]["nodes"] == [{"pipelines": {"nodes": [None, None]}}]
    nodes = ["projects", "nodes", 0, "pipelines", "nodes"]
    assert [error["path"] for error in told.errors] == [[*nodes, number, "testReportSummary", "testSuites"] for number in (0, 1)]


def test_variables_have_defaults_and_may_come_as_text() -> None:
    query = "query($n:Int=2,$s:String=null){projects(first:$n,sort:$s){nodes{id}}}"
    for variables, count in (({}, 2), ({"n": 3}, 3), ('{"n":1}', 1), ("", 2), (None, 2)):
        body = json.dumps({"query": query, "variables": variables}).encode()
        told = json.loads(answer(small(), small().tokens[TOKEN], EE_18, small().end, body).body)

        assert len(told["data"]["projects"]["nodes"]) == count


def test_variables_that_are_needed_have_to_be_given() -> None:
    told = ask("query($p:ID!){project(fullPath:$p){id}}", {})

    assert told.messages == ["Variable $p of type ID! was provided invalid value"]
    assert told.errors[0]["extensions"] == {
        "value": None,
        "problems": [{"path": [], "explanation": "Expected value to not be null"}],
    }


def test_variables_that_are_no_object_are_refused() -> None:
    bodies = (json.dumps({"query": "{metadata{version}}", "variables": given}).encode() for given in ([1], "[", "x"))

    for told in (json.loads(answer(small(), None, EE_18, small().end, body).body) for body in bodies):
        assert told == {"errors": [{"message": "Variables are not an object"}]}
