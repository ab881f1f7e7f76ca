"""What the simulated GitHub says has the shapes that GitHub publishes; where no schemas are at hand, nothing is checked here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sim.github.deliveries import Announcement, announcements, payload
from agent.sim.github.faults import ROUGH, shipments
from agent.sim.github.log import Log
from agent.sim.github.sender import HOOK_ID, ping
from agent.sim.github.world import World, build
from tests.test_sim_github_api import simulated

SCHEMAS = Path(__file__).parents[2] / "shared" / "github" / "schemas"
YOUNGER = ("startup_failure", "timed_out")
"""Conclusions that the documentation knows and these schemas do not."""
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not SCHEMAS.is_dir(), reason="there are no schemas beside the project"),
]


@pytest.fixture(scope="module")
def world() -> World:
    """A world small enough to look at every object of it."""
    return build(5, repositories=12, jobs=900)


def schema(name: str) -> Any:
    """One of the schema files."""
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


def wrong(root: Any, shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Where a value has not the shape. Fields that a schema does not know are no fault: real payloads are full of them."""
    if "$ref" in shape:
        found = root
        for part in shape["$ref"].removeprefix("#/").split("/"):
            found = found.get(part.replace("~1", "/"), {})  # some files are cut out of larger ones
        yield from wrong(root, found, value, path)
        return
    if value is None and shape.get("nullable"):
        return
    types = shape.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(_is(name, value) for name in types):
        yield f"{path}: {value!r} is no {types}"
        return
    if "enum" in shape and value not in shape["enum"]:
        yield f"{path}: {value!r} is none of {shape['enum']}"
    if "const" in shape and value != shape["const"]:
        yield f"{path}: {value!r} is not {shape['const']!r}"
    yield from _within(root, shape, value, path)


def _is(name: str, value: object) -> bool:
    return isinstance(value, TYPES[name]) and not (isinstance(value, bool) and name != "boolean")


def _within(root: Any, shape: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path}.{name} is missing" for name in shape.get("required", ()) if name not in value)
        for name, inner in shape.get("properties", {}).items():
            if name in value:
                yield from wrong(root, inner, value[name], f"{path}.{name}")
    if isinstance(value, list) and isinstance(shape.get("items"), dict):
        for place, each in enumerate(value):
            yield from wrong(root, shape["items"], each, f"{path}[{place}]")
    for inner in shape.get("allOf", ()):
        yield from wrong(root, inner, value, path)
    for word in ("oneOf", "anyOf"):
        if word in shape:
            failed = [list(wrong(root, inner, value, path)) for inner in shape[word]]
            if all(failed):
                yield from min(failed, key=len)


@pytest.mark.parametrize("event", ["workflow_run", "workflow_job"])
def test_payloads_have_the_published_shape(world: World, event: str) -> None:
    root = schema(f"octokit-7.6.1.{event}.schema.json")
    seen: dict[object, Announcement] = {}
    for announcement in announcements(world):
        job = announcement.job
        conclusion = announcement.attempt.conclusion if job is None else job.conclusion
        if announcement.event == event:
            seen.setdefault((announcement.action, conclusion, type(job), announcement.carried), announcement)

    faulty = {fault for each in seen.values() for fault in wrong(root, root, payload(world, each))}

    assert len(seen) > 6
    assert not {fault for fault in faulty if not any(f"{word!r} is none of" in fault for word in YOUNGER)}


def test_a_ping_has_the_published_shape(world: World) -> None:
    root = schema("octokit-7.6.1.ping.schema.json")

    assert not list(wrong(root, root, ping(world)))


def test_a_payload_that_lacks_a_field_would_be_found(world: World) -> None:
    root = schema("octokit-7.6.1.workflow_run.schema.json")
    broken = payload(world, next(each for each in announcements(world) if each.event == "workflow_run"))
    del broken["workflow_run"]["run_started_at"]

    assert list(wrong(root, root, broken)) == [".workflow_run.run_started_at is missing"]


async def test_what_the_api_lists_has_the_published_shape(world: World) -> None:
    root = schema("openapi-23.0.2.rest-objects.json")
    log = Log(shipments(announcements(world), ROUGH))
    run = next(run for run in world.runs if len(run.attempts) > 1)
    repository, hooks = f"/repos/{run.repository.full_name}", f"/orgs/{world.owner}/hooks/{HOOK_ID}/deliveries"
    asked = {
        f"{repository}/actions/runs": ("workflow_runs", "workflow-run"),
        f"{repository}/actions/runs/{run.id}": ("", "workflow-run"),
        f"{repository}/actions/runs/{run.id}/attempts/2/jobs": ("jobs", "job"),
        f"/orgs/{world.owner}/actions/runners": ("runners", "runner"),
        hooks: ("items", "hook-delivery-item"),
        f"{hooks}/{next(log.seen(world.end)).id}": ("", "hook-delivery"),
    }
    async with simulated(world, log, world.end) as client:
        for path, (key, shape) in asked.items():
            answer = (await client.get(path)).json()
            things = answer if isinstance(answer, list) else answer[key] if key else [answer]

            assert things, path
            assert not [fault for thing in things for fault in wrong(root, root[shape], thing)], path
