"""What a simulated GraphQL finds: projects, pipelines and jobs, page by page, as of a moment and as one caller may see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from agent.sim.gitlab.flat import TOKEN, flat
from agent.sim.gitlab.objects import FINAL, Pipeline, PipelineView
from agent.sim.gitlab.places import Project
from agent.sim.gitlab.profile import CE_16_3
from agent.sim.gitlab.world import GUESTS
from tests.sim_gitlab_graphql import ONE, ask, gid, seen, small

Matches = Callable[[Pipeline, PipelineView], bool]


def iso(at: float) -> str:
    """A time as a query has it."""
    return datetime.fromtimestamp(at, UTC).isoformat()


@cache
def middle() -> float:
    """A moment at which some things run and others have ended."""
    return small().start + small().seconds * 0.4


def listed(arguments: str, at: float, **asked: Any) -> dict[str, list[str]]:
    """Ids of all pipelines that a list with these arguments finds, by path of project."""
    told = ask(f"{{projects{{nodes{{fullPath pipelines{arguments}{{nodes{{id}}}}}}}}}}", at=at, **asked)
    assert told.errors == []
    nodes = told.data["projects"]["nodes"]
    return {node["fullPath"]: [one["id"].removeprefix(ONE) for one in node["pipelines"]["nodes"]] for node in nodes}


def expected(matches: Matches, at: float) -> dict[str, list[str]]:
    """The same from the plan."""
    world = small()
    token = world.tokens[TOKEN]
    return {
        project.path_at(at): [str(one.id) for one, view in seen(project, at) if project.builds_enabled and matches(one, view)][
            :100
        ]
        for project in sorted(world.visible(token, at), key=lambda project: -project.id)
    }


MIDDLE = middle()


def zulu(at: int | None) -> str | None:
    """A time as an answer has it."""
    return None if at is None else iso(at).replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("arguments", "matches"),
    [
        ("", lambda one, view: not one.is_child),
        ('(source:"parent_pipeline")', lambda one, view: one.is_child),
        ('(source:"push")', lambda one, view: one.source == "push"),
        ('(source:"PARENT_PIPELINE")', lambda one, view: not one.is_child),
        ("(scope:FINISHED)", lambda one, view: not one.is_child and view.status in FINAL),
        ("(scope:RUNNING)", lambda one, view: not one.is_child and view.status == "running"),
        ("(status:FAILED)", lambda one, view: not one.is_child and view.status == "failed"),
        ('(ref:"main")', lambda one, view: not one.is_child and one.ref == "main"),
        ('(username:"noor")', lambda one, view: not one.is_child and one.user.username == "noor"),
        ('(username:"nobody")', lambda one, view: False),
    ],
)
def test_lists_hold_what_the_arguments_ask_for(arguments: str, matches: Matches) -> None:
    found = listed(arguments, MIDDLE)

    assert found == expected(matches, MIDDLE)


def test_the_cases_above_find_something() -> None:
    for matches in (lambda one, view: one.is_child, lambda one, view: view.status == "running" and not one.is_child):
        assert any(expected(matches, MIDDLE).values())


def test_what_was_updated_since_a_moment_is_listed_and_that_moment_belongs_to_it() -> None:
    project = small().projects[0]
    changed = seen(project, MIDDLE)[2][1].updated_at
    after, before = iso(changed), iso(changed + 3_600)

    found = listed(f'(updatedAfter:"{after}",updatedBefore:"{before}")', MIDDLE)[project.path_at(MIDDLE)]

    there = [
        str(one.id) for one, view in seen(project, MIDDLE) if not one.is_child and changed <= view.updated_at < changed + 3_600
    ]
    assert found == there
    assert found


def test_a_sha_finds_its_pipelines() -> None:
    pipeline = next(one for one, _ in seen(small().projects[0], MIDDLE) if not one.is_child)

    found = listed(f'(sha:"{pipeline.sha}")', MIDDLE)[pipeline.project.path_at(MIDDLE)]

    assert str(pipeline.id) in found
    assert len(found) < len(seen(pipeline.project, MIDDLE))


@pytest.mark.parametrize(("scope", "is_tag"), [("BRANCHES", False), ("TAGS", True)])
def test_scopes_of_refs_hold_the_newest_pipeline_of_each_that_exists(scope: str, is_tag: bool) -> None:
    world = small()
    at = world.end + 1
    newest: dict[str, dict[str, str]] = {}
    for project in world.visible(world.tokens[TOKEN], at):
        refs = {ref.name for ref in (project.tags if is_tag else project.branches) if ref.exists(at)}
        there = newest[project.path_at(at)] = {}
        for one, _ in seen(project, at):
            if not one.is_child and one.tag is is_tag and one.ref in refs and project.builds_enabled:
                there.setdefault(one.ref, str(one.id))

    found = listed(f"(scope:{scope})", at)

    assert {path: sorted(ids) for path, ids in found.items()} == {path: sorted(ids.values()) for path, ids in newest.items()}
    assert any(found.values())


def test_16_3_lists_no_children() -> None:
    assert not any(listed('(source:"parent_pipeline")', MIDDLE, profile=CE_16_3).values())


def test_guests_see_no_pipelines_of_private_projects() -> None:
    told = ask("{projects{nodes{visibility pipelines(first:1){nodes{id}}}}}", token=GUESTS)

    assert {node["visibility"] for node in told.data["projects"]["nodes"] if node["pipelines"]["nodes"]} == {"public"}


def test_a_project_is_known_by_its_id_under_its_new_path_only() -> None:
    world = small()
    moved = next(project for project in world.projects if len(project.places) > 1)
    old, new = moved.places[0].full_path, moved.places[1].full_path
    both = "old:project(fullPath:$old){id} new:project(fullPath:$new){id}"
    text = f"query($old:ID!,$new:ID!,$ids:[ID!]){{{both} projects(ids:$ids){{nodes{{fullPath}}}}}}"
    variables = {"old": old, "new": new, "ids": [gid("Project", moved.id)]}

    before, after = (ask(text, variables, at=moved.places[1].since + shift).data for shift in (-1, 0))

    assert (before["old"], before["new"]) == ({"id": gid("Project", moved.id)}, None)
    assert (after["old"], after["new"]) == (None, {"id": gid("Project", moved.id)})
    assert [each["projects"]["nodes"][0]["fullPath"] for each in (before, after)] == [old, new]


def test_projects_that_cannot_be_seen_are_missing_without_a_word() -> None:
    world = small()
    hidden = min(world.tokens[TOKEN].hidden)
    told = ask("query($ids:[ID!]){projects(ids:$ids){nodes{id}}}", {"ids": [gid("Project", hidden), gid("Project", 41_000)]})

    assert told.errors == []
    assert told.data["projects"]["nodes"] == [{"id": gid("Project", 41_000)}]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("41000", '"41000" is not a valid Global ID'),
        ("gid://gitlab/Group/41000", '"gid://gitlab/Group/41000" does not represent an instance of Project'),
    ],
)
def test_ids_that_are_none_are_named(wrong: str, message: str) -> None:
    told = ask("query($ids:[ID!]){projects(ids:$ids){nodes{id}}}", {"ids": [wrong]})

    assert (told.data, told.messages) == ({"projects": None}, [message])


def test_at_most_fifty_paths_can_be_asked_for_at_once() -> None:
    path = small().projects[0].path_at(MIDDLE)
    text = "query($paths:[String!]){projects(fullPaths:$paths){nodes{fullPath}}}"

    assert ask(text, {"paths": [path, "not/there"]}).data["projects"]["nodes"] == [{"fullPath": path}]
    assert ask(text, {"paths": [f"{path}{number}" for number in range(51)]}).data == {"projects": None}


@pytest.mark.parametrize(
    ("arguments", "matches"),
    [
        ("", lambda project, path: path.rpartition("/")[0] == "harbour"),
        ("(includeSubgroups:true)", lambda project, path: path.startswith("harbour/")),
        (
            '(includeSubgroups:true,search:"web")',
            lambda project, path: path.startswith("harbour/") and "web" in path.rpartition("/")[2],
        ),
    ],
)
def test_a_group_has_projects(arguments: str, matches: Callable[[Project, str], bool]) -> None:
    world = small()
    told = ask(f'{{group(fullPath:"harbour"){{projects{arguments}{{nodes{{fullPath}}}}}}}}')

    found = [node["fullPath"] for node in told.data["group"]["projects"]["nodes"]]
    at = world.end + 1
    there = [project.path_at(at) for project in world.visible(world.tokens[TOKEN], at) if matches(project, project.path_at(at))]
    assert found == there[::-1]
    assert found


def test_archived_projects_can_be_left_out() -> None:
    with_them, without, only = (
        {node["archived"] for node in ask(f"{{projects{arguments}{{nodes{{archived}}}}}}").data["projects"]["nodes"]}
        for arguments in ("", "(archived:EXCLUDE)", "(archived:ONLY)")
    )

    assert (with_them, without, only) == ({True, False}, {False}, {True})


@pytest.mark.parametrize("path", ["nowhere", "ines.q"])
def test_what_is_no_group_is_null(path: str) -> None:
    assert ask(f'{{group(fullPath:"{path}"){{id}}}}').data == {"group": None}


def test_a_projects_token_sees_the_groups_of_that_project_only() -> None:
    told = ask('{a:group(fullPath:"harbour"){projects{count}} b:group(fullPath:"orchard"){id}}', token="glpat-of-one-project")

    assert told.data == {"a": {"projects": {"count": 1}}, "b": None}


def test_pipelines_tell_what_is_planned() -> None:
    fields = "id iid status coverage createdAt startedAt finishedAt updatedAt duration queuedDuration warnings complete"
    for project in small().projects[:5]:
        text = f'{{project(fullPath:"{project.path_at(MIDDLE)}"){{pipelines{{nodes{{{fields}}}}}}}}}'
        told = ask(text, at=MIDDLE).data["project"]["pipelines"]["nodes"]

        assert told == [
            {
                "id": f"{ONE}{one.id}",
                "iid": str(one.iid),
                "status": view.status.upper(),
                "coverage": view.coverage,
                "createdAt": zulu(one.created),
                "startedAt": zulu(view.started_at),
                "finishedAt": zulu(view.finished_at),
                "updatedAt": zulu(view.updated_at),
                "duration": view.duration,
                "queuedDuration": view.queued_duration,
                "warnings": view.warnings,
                "complete": view.status in FINAL,
            }
            for one, view in seen(project, MIDDLE)
            if not one.is_child
        ]


@pytest.mark.parametrize(("kind", "ref_path"), [("branch", "refs/heads/%s"), ("tag", "refs/tags/%s"), ("merge_request", "%s")])
def test_a_pipeline_tells_what_it_ran_for(kind: str, ref_path: str) -> None:
    pipeline = next(one for one in small().pipelines() if one.kind == kind and one.at(small().end + 1) and not one.is_child)
    inside = "pipeline(id:$i){ref refPath type mergeRequest{iid state}}"
    text = f"query($p:ID!,$i:CiPipelineID){{project(fullPath:$p){{{inside}}}}}"

    told = ask(text, {"p": pipeline.project.path_at(small().end + 1), "i": f"{ONE}{pipeline.id}"}).data["project"]["pipeline"]

    request = pipeline.merge_request
    attached = {"iid": str(request.iid), "state": request.state(small().end + 1)} if request else None
    assert told == {"ref": pipeline.ref, "refPath": ref_path % pipeline.ref, "type": kind, "mergeRequest": attached}


@pytest.mark.parametrize(
    ("arguments", "matches"),
    [
        ("", lambda name, state: True),
        ('(name:"staging")', lambda name, state: name == "staging"),
        ('(search:"prod")', lambda name, state: "prod" in name),
        ('(states:["stopped"])', lambda name, state: state == "stopped"),
    ],
)
def test_a_project_has_environments(arguments: str, matches: Callable[[str, str], bool]) -> None:
    project = next(one for one in small().projects if len(one.environments) > 2)
    at = small().end + 1
    told = ask(f'{{project(fullPath:"{project.path_at(at)}"){{environments{arguments}{{nodes{{name state}}}}}}}}')

    found = [(node["name"], node["state"]) for node in told.data["project"]["environments"]["nodes"]]
    there = [(each.name, each.state(at)) for each in sorted(project.environments, key=lambda each: each.id)]
    assert found == [(name, state) for name, state in there if matches(name, state)]
    assert found


def test_a_project_without_ci_has_no_pipelines() -> None:
    world = flat(1, 2, 1)
    world.projects[0].builds_enabled = False
    pipeline = f'pipeline(id:"{ONE}{world.projects[0].pipelines[0].id}"){{id}}'

    told = ask(f"{{projects{{nodes{{pipelines{{count}} {pipeline} jobs{{nodes{{id}}}}}}}}}}", world=world)

    assert told.data["projects"]["nodes"] == [{"pipelines": {"count": 0}, "pipeline": None, "jobs": {"nodes": []}}]


def test_projects_can_be_searched() -> None:
    told = ask('{projects(search:"Bobbin"){nodes{path}} mine:projects(membership:true,first:1){nodes{id}}}')

    assert len(told.data["projects"]["nodes"]) > 3
    assert all("bobbin" in node["path"] for node in told.data["projects"]["nodes"])
    assert told.data["mine"]["nodes"]


def test_strangers_are_members_of_nothing() -> None:
    assert ask("{projects(membership:true){count}}", token=None).data == {"projects": {"count": 0}}


def test_a_project_of_a_users_own_has_no_group_and_only_ultimate_ones_have_dora() -> None:
    told = ask("{projects{nodes{fullPath group{fullPath} dora{metrics{deploymentFrequency}}}}}")

    for node in told.data["projects"]["nodes"]:
        namespace = node["fullPath"].rpartition("/")[0]
        assert node["group"] == (None if namespace in ("ines.q", "jun-ho") else {"fullPath": namespace})
        assert (node["dora"] is not None) is (namespace.split("/")[0] == "harbour")
