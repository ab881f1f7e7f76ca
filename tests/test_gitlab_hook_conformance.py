"""GitLab's own webhook bodies, where they lie beside the project: each is read as what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.sources.gitlab import payload
from agent.sources.gitlab.engine import Hint
from tests.gitlab_engine import ROCKET, Life

FOLDER = Path(__file__).parents[2] / "shared" / "gitlab" / "webhooks"
needs_bodies = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no bodies in {FOLDER}")
BEFORE = 1_400_000_000
"""2014: before anything in these bodies."""
HEARD = 1_471_100_000.0
"""The day after what happens in them."""
EVENTS = {
    "build": payload.JOB,
    "job": payload.JOB,
    "deployment": payload.DEPLOYMENT,
    "merge_request": payload.MERGE_REQUEST_HOOK,
    "push": payload.PUSH,
    "tag_push": payload.TAG_PUSH,
}

pytestmark = needs_bodies


def body(name: str) -> dict[str, Any]:
    """One of GitLab's."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def life_of(found: dict[str, Any]) -> Life:
    """An agent that counts the project of a body."""
    life = Life(since=BEFORE)
    life.engine.watch(ROCKET._replace(id=payload.project_of(found)), life.rules, BEFORE)
    return life


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_body_that_tells_of_news_hints_at_its_project(name: str) -> None:
    found = body(name)
    digest, hint = life_of(found).hear(EVENTS[name], found)

    assert digest.outcome == "hinted"
    assert hint == Hint(payload.project_of(found), is_deployment=name == "deployment")


def test_a_pipelines_body_is_read_whole() -> None:
    told = payload.pipeline_of(body("pipeline"))

    assert told.is_downstream
    assert (told.pipeline.status, told.pipeline.kind, told.pipeline.merge_request) == ("success", "merge_request", 1)
    assert told.pipeline.finished is not None
    assert told.pipeline.finished - told.pipeline.created == 181
    assert (len(told.jobs), told.lost) == (5, 0)


def test_a_pipeline_that_nothing_triggered_counts_with_its_builds_that_ended() -> None:
    found = body("pipeline") | {"source_pipeline": None}
    digest, hint = life_of(found).hear(payload.PIPELINE, found, now=HEARD)
    keys = {observation.key.split(":", 2)[2] for observation in digest.observations}

    assert hint is None
    assert keys == {"pipeline:31", "pipeline:31:stages", "job:376", "job:377", "job:378", "job:380"}


def test_other_bodies_are_ignored() -> None:
    digest, hint = life_of(body("push")).hear("Release Hook", body("release"))

    assert (digest.outcome, hint) == ("ignored", None)
