"""The simulated schema beside a published one of GitLab, where that lies beside the project, and what it answers in types."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agent.sim.gitlab.graphql.schema import schema
from agent.sim.gitlab.profile import CE_16_3, EE_17, EE_18, Profile
from tests.sim_gitlab_graphql import AROUND, EVERYTHING, JOBS, ask, gid, small

graphql = pytest.importorskip("graphql")

FILES = sorted((Path(__file__).parents[2] / "shared" / "gitlab").glob("*.graphql"))
needs_schema = pytest.mark.skipif(not FILES, reason="no schema of GitLab beside the project")


@cache
def published() -> Any:
    """GitLab's schema."""
    return graphql.build_schema(FILES[-1].read_text(encoding="utf-8"), assume_valid=True)


@needs_schema
@pytest.mark.parametrize("profile", [CE_16_3, EE_17, EE_18], ids=lambda profile: profile.version)
def test_every_simulated_field_is_gitlabs_with_its_type(profile: Profile) -> None:
    wrong = []
    for name, fields in schema(profile).types.items():
        for known in fields.values():
            if not (known.name.startswith("__") or name.startswith("__")):
                there = published().type_map[name].fields.get(known.name)
                if there is None or str(there.type) != known.type:
                    wrong.append(f"{name}.{known.name}: {known.type}")

    assert wrong == []


@needs_schema
def test_every_simulated_argument_is_gitlabs_with_its_type() -> None:
    wrong = []
    for name, fields in schema(EE_18).types.items():
        for known in fields.values():
            if not (known.name.startswith("__") or name.startswith("__")):
                there = {
                    argument: str(found.type) for argument, found in published().type_map[name].fields[known.name].args.items()
                }
                wrong += [
                    f"{name}.{known.name}({argument})"
                    for argument, kind in known.arguments.items()
                    if there.get(argument) != kind
                ]

    assert wrong == []


@needs_schema
def test_simulated_enums_hold_gitlabs_values() -> None:
    for name, values in schema(EE_18).enums.items():
        assert set(values) <= set(published().type_map[name].values), name


@needs_schema
def test_statuses_are_all_there() -> None:
    for name in ("PipelineStatusEnum", "CiJobStatus", "PipelineScopeEnum", "CiJobKind", "CiRunnerType"):
        assert set(schema(EE_18).enums[name]) == set(published().type_map[name].values)


def cases() -> list[tuple[str, dict[str, Any]]]:
    """Queries of every field, with variables under which they find something."""
    world = small()
    everything = {"ids": [gid("Project", project.id) for project in world.projects], "after": "2026-03-02T00:00:00Z"}
    found: list[tuple[str, dict[str, Any]]] = [(EVERYTHING, everything)]
    for project in world.projects[:6]:
        path = project.path_at(world.end)
        found += [(JOBS, {"path": path, "pipeline": gid("Ci::Pipeline", pipeline.id)}) for pipeline in project.pipelines[:4]]
    return [*found, (AROUND, {"path": world.projects[0].path_at(world.end), "group": "harbour"})]


@needs_schema
@pytest.mark.parametrize("text", [EVERYTHING, JOBS, AROUND], ids=["everything", "jobs", "around"])
def test_queries_that_are_valid_here_are_valid_there(text: str) -> None:
    assert graphql.validate(published(), graphql.parse(text)) == []


@needs_schema
def test_answers_are_of_the_types_that_gitlab_promises() -> None:
    for text, variables in cases():
        told = ask(text, variables)
        assert told.errors == []
        again = graphql.execute(published(), graphql.parse(text), root_value=told.data, variable_values=variables)

        assert again.errors is None
        assert again.data == told.data


@needs_schema
def test_what_gitlab_finds_wrong_is_found_wrong_here() -> None:
    for text in (
        "{nothing}",
        "{projects{nodes{nothing}}}",
        "{projects(nothing:1){count}}",
        "{project{id}}",
        "{projects(first:true){count}}",
        "{projects{nodes}}",
        "{metadata{version{text}}}",
        "query($a:Int){metadata{version}}",
        "{project(fullPath:$path){id}}",
        "query($path:Int!){project(fullPath:$path){id}}",
        "query($path:ID){project(fullPath:$path){id}}",
        "{projects{nodes{pipelines(scope:SOME){count}}}}",
        "{...F}",
        "fragment F on Query{metadata{version}} {currentUser{id}}",
        "{...F} fragment F on Project{id}",
        "{...F} fragment F on Query{...F}",
        "{metadata{version @nothing}}",
        "{metadata{version @include}}",
        "{a:metadata{version} a:currentUser{id}}",
    ):
        assert graphql.validate(published(), graphql.parse(text)), text
        assert ask(text).data is None, text
        assert ask(text).errors, text


@pytest.mark.parametrize("profile", [CE_16_3, EE_17, EE_18], ids=lambda profile: profile.version)
def test_introspection_tells_every_field(profile: Profile) -> None:
    for name, fields in schema(profile).types.items():
        if not name.startswith("__"):
            told = ask(f'{{__type(name:"{name}"){{name fields{{name args{{name}}}}}}}}', profile=profile)
            there = {field["name"]: [argument["name"] for argument in field["args"]] for field in told.data["__type"]["fields"]}

            assert there == {known: list(found.arguments) for known, found in fields.items() if not known.startswith("__")}


def test_introspection_tells_the_values_of_enums_and_nothing_of_unknown_types() -> None:
    told = ask('{known:__type(name:"CiJobKind"){fields{name} enumValues{name}} unknown:__type(name:"Nothing"){name}}')

    assert told.data == {"known": {"fields": None, "enumValues": [{"name": "BUILD"}, {"name": "BRIDGE"}]}, "unknown": None}


def test_introspection_tells_of_lists_and_of_what_is_never_null() -> None:
    told = ask('{__type(name:"Dora"){fields{type{kind name ofType{kind ofType{kind name}}}}} __schema{queryType{name}}}')

    element = {"kind": "OBJECT", "name": "DoraMetric"}
    assert told.data["__type"]["fields"] == [
        {"type": {"kind": "LIST", "name": None, "ofType": {"kind": "NON_NULL", "ofType": element}}}
    ]
    assert told.data["__schema"]["queryType"]["name"] == "Query"


@pytest.mark.parametrize("field", ["source", "child", "type", "mergeRequest{iid}", "failureReason"])
def test_16_3_does_not_know_newer_fields_of_pipelines(field: str) -> None:
    told = ask(f"{{projects{{nodes{{pipelines{{nodes{{id {field}}}}}}}}}}}", profile=CE_16_3)

    assert told.messages == [f"Field '{field.partition('{')[0]}' doesn't exist on type 'Pipeline'"]


def test_16_3_does_not_know_full_paths() -> None:
    told = ask('{projects(fullPaths:["harbour/anchor-api"]){count}}', profile=CE_16_3)

    assert told.messages == ["Field 'projects' doesn't accept argument 'fullPaths'"]


def test_the_community_edition_does_not_know_dora() -> None:
    told = ask("{projects{nodes{dora{metrics{date}}}}}", profile=EE_18._replace(is_enterprise=False))

    assert told.messages == ["Field 'dora' doesn't exist on type 'Project'"]


def test_16_3_says_running_where_later_versions_say_canceling() -> None:
    names = [
        value["name"]
        for value in ask('{__type(name:"PipelineStatusEnum"){enumValues{name}}}', profile=CE_16_3).data["__type"]["enumValues"]
    ]

    assert "CANCELING" not in names
    assert "RUNNING" in names


def test_all_types_are_listed_with_their_kinds() -> None:
    kinds = {each["name"]: each["kind"] for each in ask("{__schema{types{name kind}}}").data["__schema"]["types"]}

    assert (kinds["Pipeline"], kinds["CiJobKind"], kinds["Time"]) == ("OBJECT", "ENUM", "SCALAR")
