"""What the sync says in the log: once when something begins, once when it is over."""

from __future__ import annotations

import logging

import pytest

from agent.errors import CollectError
from agent.plugin import Context
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.source import build
from tests.gitlab_sync import START, Clock, Rig, begun, pipeline

pytestmark = pytest.mark.anyio


@pytest.fixture
def wall() -> Clock:
    return Clock()


async def test_a_token_of_somebody_else_for_minutes_costs_minutes(wall: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    rig = await begun(wall)
    rig.server.failing |= {1: "missing", 2: "missing"}
    for _ in range(6):
        wall.now += 30
        await rig.poll_all()
    said = rig.survey.away.remark({1: "team/p1"})
    rig.server.failing.clear()
    rig.server.put(1, pipeline(12, updated=START + 20))
    wall.now += 240

    assert "pipeline:12" in await rig.poll_all()
    assert said.startswith("projects that cannot be read, left alone until ")
    assert said.endswith(" or later: team/p1 (no), 2 (no)")
    assert rig.survey.away.remark({}) == ""
    assert caplog.messages == [
        "source gitlab: projects that cannot be read: team/p1 (no), team/p2 (no)",
        "source gitlab: no more of the projects that cannot be read: team/p1, team/p2",
    ]


@pytest.mark.parametrize(("away", "words"), [(3_000.0, ""), (90_000.0, "more than max_gap_seconds (86400) ago is left out")])
async def test_an_absence_that_is_not_made_up_for_is_told_once(
    wall: Clock, caplog: pytest.LogCaptureFixture, away: float, words: str
) -> None:
    rig = Rig(wall, max_gap_seconds=86_400)
    rig.server.add(1, pipeline(11, updated=START - 900))
    await rig.poll_all()
    wall.now += away
    rig.restart()
    for _ in range(2):
        await rig.poll_all()
        wall.now += 30

    assert [words in line for line in caplog.messages] == ([True] if words else [])


async def test_clocks_that_are_apart_are_told_of_once_each_way(wall: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig = await begun(wall)
    for ahead in (7200.0, 7200.0, 0.0, 0.0):
        rig.server.ahead = ahead
        wall.now += 30
        await rig.poll_all()

    words = [(record.levelname, record.getMessage()[:52]) for record in caplog.records]
    assert words == [
        ("WARNING", "source gitlab: GitLab's answers are dated +7200 s fro"[:52]),
        ("INFO", "source gitlab: GitLab's clock and this machine's are together again"[:52]),
    ]


def test_the_status_names_projects_that_cannot_be_read() -> None:
    options = Options.model_validate({"url": "https://gitlab.example.com", "token": "x", "projects": [{"name": "team/p1"}]})
    source = build("gitlab", options, Context(Clock(), "ci", "one", "test"))
    assert source._asking is not None
    source._asking.survey.away.put(1, CollectError("missing", "HTTP 404"), START)

    assert any(remark.startswith("projects that cannot be read") for remark in source.remarks())


@pytest.mark.parametrize(
    ("failing", "words"),
    [({1: "forbidden"}, ""), ({1: "forbidden", 2: "missing"}, "projects that cannot be read, left alone until ")],
)
async def test_a_project_that_cannot_be_read_is_a_problem_when_none_can(wall: Clock, failing: dict[int, str], words: str) -> None:
    rig = await begun(wall)
    rig.server.failing |= failing
    for _ in range(2):
        wall.now += 30
        await rig.poll_all()

    assert (rig.problem.startswith(words), bool(rig.problem)) == (True, bool(words))
