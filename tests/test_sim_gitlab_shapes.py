"""What the simulated GitLab says has every key that real answers have; where none are at hand, nothing is checked here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from agent.sim.gitlab.announcements import announcements
from agent.sim.gitlab.objects import BRIDGE, Pipeline
from agent.sim.gitlab.payloads import payload
from agent.sim.gitlab.places import World
from agent.sim.gitlab.world import build
from tests.test_sim_gitlab_rest import Asking

FOLDER = Path(__file__).parents[2] / "shared" / "gitlab"
RECORDED = FOLDER / "rest-recorded"
NUMBER = "1252248442"
"""A recorded pipeline in which everything happened."""
OF_ONE_KIND = ("container_expiration_policy", "coverage", "recent_failures", "description_html")
"""What differs from project to project, or from run to run."""
YOUNGER = {"runner_manager", "failure_reason", "artifacts_file", "status_changed_at"}
LIFE = {"null": type(None), "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not RECORDED.is_dir(), reason="there is nothing recorded beside the project"),
]


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(scope="module")
def world() -> World:
    """A world in which everything has ended."""
    return build(1, projects=20, pipelines=300)


def recorded(name: str) -> Any:
    """A recorded answer."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def lacking(real: Any, own: Any, path: str = "") -> Iterator[str]:
    """Where `own` has not what `real` has: keys, and types of what is not null."""
    if isinstance(real, dict) and isinstance(own, dict):
        for key in real.keys() - own.keys():
            yield f"{path}.{key} is missing"
        for key in real.keys() & own.keys():
            if key not in OF_ONE_KIND:
                yield from lacking(real[key], own[key], f"{path}.{key}")
    elif isinstance(real, list) and isinstance(own, list):
        for each in own if real else ():
            yield from lacking(real[0], each, f"{path}[]")
    elif real is not None and own is not None and not _alike(real, own):
        yield f"{path}: {own!r} where there is {real!r}"


def _alike(real: object, own: object) -> bool:
    numbers = (int, float)
    if isinstance(real, bool) or isinstance(own, bool):
        return type(real) is type(own)
    return isinstance(own, numbers) if isinstance(real, numbers) else type(real) is type(own)


def a_pipeline(world: World) -> Pipeline:
    """One with tests and jobs."""
    return next(each for each in world.pipelines() if each.report and not each.deleted_at and each.project.ordinal < 10)


@pytest.mark.parametrize("rest", ["", "/jobs", "/test_report", "/test_report_summary"])
async def test_a_pipeline_and_what_belongs_to_it_has_the_keys_of_a_recorded_one(world: World, rest: str) -> None:
    pipeline = a_pipeline(world)
    answer = await Asking(world, world.end)(f"/projects/{pipeline.project.id}/pipelines/{pipeline.id}{rest}")

    assert list(lacking(recorded(f"pipeline_{NUMBER}{rest.replace('/', '_')}"), answer.json())) == []


async def test_lists_of_pipelines_have_the_keys_of_a_recorded_one(world: World) -> None:
    answer = await Asking(world, world.end)(f"/projects/{a_pipeline(world).project.id}/pipelines")
    real = recorded("pipelines")

    assert list(lacking(real, answer.json())) == []
    assert list(answer.json()[0]) == list(real[0])


async def test_a_pipeline_that_gitlab_refused_looks_like_a_recorded_one(world: World) -> None:
    pipeline = next(each for each in world.pipelines() if each.yaml_error and world.tokens["glpat-simulated"].sees(each.project))
    ask, path = Asking(world, world.end), f"/projects/{pipeline.project.id}/pipelines/{pipeline.id}"
    found, real = (await ask(path)).json(), recorded("pipeline_1053714541")

    assert list(lacking(real, found)) == []
    assert {key for key, value in real.items() if value is None} <= {key for key, value in found.items() if value is None}
    assert (await ask(f"{path}/jobs")).json() == []


async def test_a_project_has_the_keys_of_a_recorded_one(world: World) -> None:
    found = (await Asking(world, world.end)(f"/projects/{world.projects[0].id}", statistics="true")).json()

    assert list(lacking(recorded("project_50817395"), found)) == []


@pytest.mark.parametrize("name", ["pipeline/basic", "pipeline/detail", "job", "deployment"])
async def test_objects_fit_gitlabs_own_schemas(world: World, name: str) -> None:
    schema = json.loads((FOLDER / "json-schema" / f"{name}.json").read_text(encoding="utf-8"))
    pipeline = next(each for each in world.pipelines() if each.project.deployments and each.report and not each.deleted_at)
    project = f"/projects/{pipeline.project.id}"
    paths = {
        "pipeline/basic": f"{project}/pipelines",
        "pipeline/detail": f"{project}/pipelines/{pipeline.id}",
        "job": f"{project}/pipelines/{pipeline.id}/jobs?include_retried=true",
        "deployment": f"{project}/deployments",
    }
    answer = (await Asking(world, world.end)(paths[name])).json()

    found = answer if isinstance(answer, list) else [answer]
    assert found
    assert [wrong for each in found for wrong in unfit(schema, each)] == []


def unfit(schema: Any, found: dict[str, Any]) -> Iterator[str]:
    """Where an object does not fit a schema; what that refers to elsewhere is not looked at."""
    yield from (f"{key} is missing" for key in schema.get("required", []) if key not in found)
    properties = schema.get("properties", {})
    for key, value in found.items():
        types = properties.get(key, {}).get("type", [])
        types = types if isinstance(types, list) else [types]
        if types and not any(isinstance(value, LIFE[each]) for each in types):  # type: ignore[arg-type]
            yield f"{key}: {value!r} is none of {types}"
        if schema.get("additionalProperties") is False and key not in properties and key not in YOUNGER:
            yield f"{key} is not known"


async def test_bridges_are_jobs_that_tell_what_they_triggered(world: World) -> None:
    pipeline = next(
        each for each in world.pipelines() if any(job.spec.kind == BRIDGE for job in each.jobs) and not each.deleted_at
    )
    found = (await Asking(world, world.end)(f"/projects/{pipeline.project.id}/pipelines/{pipeline.id}/bridges")).json()
    real = recorded(f"pipeline_{NUMBER}_jobs")[0]
    for key in ("artifacts", "artifacts_expire_at", "runner", "archived", "tag_list"):
        del real[key]

    assert list(lacking([{**real, "downstream_pipeline": {"id": 1}}], found)) == []


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("pipeline", "Pipeline Hook"),
        ("job", "Job Hook"),
        ("deployment", "Deployment Hook"),
        ("merge_request", "Merge Request Hook"),
        ("push", "Push Hook"),
        ("tag_push", "Tag Push Hook"),
    ],
)
async def test_webhooks_have_the_keys_of_published_examples(world: World, name: str, event: str) -> None:
    real = json.loads((FOLDER / "webhooks" / f"{name}.json").read_text(encoding="utf-8"))
    told = [each for each in announcements(world) if each.event == event]
    bodies = [payload(world, each) for each in told[:: max(1, len(told) // 40)]]

    both = [body.keys() & real.keys() for body in bodies]
    assert bodies
    assert all(body["object_kind"] == real["object_kind"] for body in bodies)
    assert all(len(keys) >= 0.7 * len(real) for keys in both)
    wrong = {text for body in bodies for text in lacking(real, body) if "is missing" not in text}
    assert wrong == set()
