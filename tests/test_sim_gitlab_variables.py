"""What pipelines of a simulated GitLab were given: who is told, by which API, and what an observer makes labels of."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from agent.sim.gitlab.announcements import announcements
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.catalogue import variables
from agent.sim.gitlab.flat import TOKEN, URL
from agent.sim.gitlab.objects import Pipeline
from agent.sim.gitlab.payloads import payload
from agent.sim.gitlab.places import DEVELOPER, MAINTAINER, Project, Token, User, World
from agent.sim.gitlab.profile import CE_16_3
from agent.sim.gitlab.rules import Rules
from agent.sim.gitlab.standing import standing
from agent.sim.gitlab.truth import truth
from agent.sim.inside import Inside
from tests.sim_gitlab_graphql import ask, small
from tests.test_sim_gitlab_truth import GROUP, NOW, USER, job, pipeline

pytestmark = pytest.mark.anyio
GIVEN = (("REGION", "north"), ("TOKEN", "s3cr3t"), ("NOTE", "n" * 120))
OTHER = User(8, "jun-ho", "Jun-Ho")
QUERY = '{project(fullPath:"harbour/p5"){pipeline(id:"gid://gitlab/Ci::Pipeline/9"){manualVariables{nodes{id key value}}}}}'
WHO = pytest.mark.parametrize(
    ("token", "is_told"),
    [
        (Token(TOKEN, OTHER, role=MAINTAINER), True),
        (Token(TOKEN, OTHER, role=DEVELOPER), False),
        (Token(TOKEN, USER, role=DEVELOPER), True),  # who started it
        (Token(TOKEN, OTHER, role=DEVELOPER, is_admin=True), True),
    ],
    ids=["maintainer", "developer", "its starter", "admin"],
)


def given() -> Project:
    """A project with one pipeline that was given something."""
    made = pipeline(job())
    made.variables = GIVEN
    return made.project


def of(token: Token, where: Project | None = None) -> World:
    """A world with it."""
    return World(1, NOW, 100, URL, (GROUP,), (USER, OTHER), (where or given(),), {TOKEN: token})


async def rest(world: World, token: str = TOKEN) -> httpx.Response:
    """What the REST API answers."""
    client = httpx.AsyncClient(transport=Inside(GitlabApi(world, lambda: NOW + 90.0)), base_url=URL)
    headers = {"PRIVATE-TOKEN": token} if token else {}
    return await client.get("/api/v4/projects/5/pipelines/9/variables", headers=headers)


@WHO
async def test_rest_tells_maintainers_and_who_started_it(token: Token, is_told: bool) -> None:
    answer = await rest(of(token))

    assert answer.status_code == (200 if is_told else 403)
    assert not is_told or {one["key"]: one["value"] for one in answer.json()} == dict(GIVEN)


async def test_rest_tells_nobody_who_shows_no_token() -> None:
    where = given()
    where.visibility = "public"

    assert (await rest(of(Token(TOKEN, USER), where), token="")).status_code == 403


@WHO
def test_graphql_tells_all_the_names_and_those_the_values(token: Token, is_told: bool) -> None:
    told = ask(QUERY, world=of(token))
    nodes: list[dict[str, Any]] = told.data["project"]["pipeline"]["manualVariables"]["nodes"]

    assert [(one["key"], one["value"]) for one in nodes] == [(key, value if is_told else None) for key, value in GIVEN]
    assert len({one["id"] for one in nodes}) == len(GIVEN)


def test_an_old_graphql_does_not_know_them() -> None:
    messages = ask(QUERY, world=of(Token(TOKEN, USER)), profile=CE_16_3).messages

    assert messages == ["Field 'manualVariables' doesn't exist on type 'Pipeline'"]


def test_they_cost_what_three_fields_cost() -> None:
    world = of(Token(TOKEN, USER))
    without = QUERY.replace("manualVariables{nodes{id key value}}", "")

    assert ask(QUERY, world=world).complexity - ask(without.replace("{}", "{id}"), world=world).complexity == 4


def test_webhooks_tell_all_of_them() -> None:
    world = of(Token(TOKEN, USER))
    bodies = [payload(world, told) for told in announcements(world) if isinstance(told.thing, Pipeline)]

    assert bodies
    for body in bodies:
        assert body["object_attributes"]["variables"] == [{"key": key, "value": value} for key, value in GIVEN]


@WHO
def test_an_observer_labels_pipelines_with_what_the_token_is_told(token: Token, is_told: bool) -> None:
    found = truth(of(token), rules=Rules(variables=("REGION", "NOTE", "MISSING")))
    labels = dict(next(labels for family, labels in found.counters if family == "pipeline_run_count"))

    assert labels.get("variable_region") == ("north" if is_told else None)
    assert labels.get("variable_note") == ("n" * 100 if is_told else None)
    assert "variable_missing" not in labels
    assert "s3cr3t" not in json.dumps(found.as_json())


def test_jobs_stages_and_environments_have_no_such_labels() -> None:
    world = small()
    rules = Rules(variables=("REGION",))
    found = truth(world, rules=rules)
    with_them = {name for name, labels in (*found.counters, *found.histograms) if "variable_region" in dict(labels)}

    assert with_them == {
        "pipeline_run_count",
        "pipeline_runs_by_status_total",
        "pipeline_duration_seconds",
        "pipeline_queued_duration_seconds",
    }
    stand = standing(world, world.end + 1, rules=rules)
    assert {name for name, labels in stand if "variable_region" in dict(labels)} == {"pipeline_status"}


def test_some_pipelines_are_given_something_and_always_the_same() -> None:
    some = [variables("web", number) for number in range(60)]

    assert some == [variables("web", number) for number in range(60)]
    assert 0 < sum(not each for each in some) < 30
    assert {dict(each)["REGION"] for each in some if each} == {"north", "south", "", "über-see"}
    assert {variables("push", number) for number in range(60)} == {()}
