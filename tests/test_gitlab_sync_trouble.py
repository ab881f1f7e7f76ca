"""The sync in trouble: nothing is lost with a commit, a project, an answer or a process, and nothing is asked for ever."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest

from agent.errors import CollectError
from agent.sources.gitlab import sync as module
from agent.sources.gitlab.asking import ALONE_SECONDS
from agent.sources.gitlab.going import FOLLOW_SECONDS, FOLLOWED_AT_ONCE
from agent.sources.gitlab.memory import GIVE_UP_SECONDS
from agent.sources.gitlab.objects import Pipeline, Project, Report
from agent.sources.gitlab.reader import Found
from agent.sources.gitlab.survey import HEADS_SECONDS
from tests.gitlab_sync import START, Clock, Rig, begun, job, pipeline

pytestmark = pytest.mark.anyio


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
async def rig(wall: Clock) -> Rig:
    return await begun(wall)


async def test_what_a_failed_commit_lost_is_read_again(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.jobs_of[12] = [job(120)]
    await rig.poll(commits=False)
    wall.now += 30

    assert await rig.poll_all() == ["pipeline:12", "job:120"]


async def test_a_project_that_failed_is_read_from_where_it_was(rig: Rig, wall: Clock) -> None:
    rig.server.failing[1] = "timeout"
    rig.server.put(1, pipeline(12, updated=START + 20))
    await rig.poll_all()
    wall.now += 900
    await rig.poll_all()
    del rig.server.failing[1]
    rig.restart()
    wall.now += 900

    assert "pipeline:12" in await rig.poll_all()


async def test_a_project_that_fails_is_named(rig: Rig) -> None:
    rig.server.failing[1] = "timeout"

    await rig.poll_all()

    assert rig.problem == "project team/p1: no"


@pytest.mark.parametrize("kind", ["missing", "forbidden"])
async def test_a_project_that_may_not_be_read_is_left_alone_for_hours(rig: Rig, wall: Clock, kind: str) -> None:
    rig.server.failing[1] = kind
    asked = []
    for _ in range(4 * 720):  # a day
        wall.now += 30
        rig.server.after.clear()
        await rig.poll_all()
        asked += [wall.now for projects, _ in rig.server.after if 1 in projects]

    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1], len(gaps) < 15) == (60, ALONE_SECONDS, True)


async def test_a_pipeline_whose_jobs_cannot_be_read_is_read_whole_at_a_later_poll(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.jobs_of[12] = [job(120)]
    rig.server.no_jobs[12] = "timeout"
    assert await rig.poll_all() == []
    wall.now += 3600
    del rig.server.no_jobs[12]

    assert await rig.poll_all() == ["pipeline:12", "job:120"]


async def test_with_nothing_to_be_had_the_poll_fails_and_loses_nothing(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.broken = "rate_limit"
    for _ in range(3):
        with pytest.raises(CollectError):
            await rig.poll_all()
        wall.now += 600
    rig.server.broken = ""

    assert "pipeline:12" in await rig.poll_all()


async def test_a_process_that_ends_in_the_middle_of_much_leaves_nothing_out(
    rig: Rig, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION", 10)
    monkeypatch.setattr(module, "MAX_OBSERVATIONS", 20)
    rig.server.put(1, *(pipeline(100 + number, updated=START + number % 7) for number in range(55)))
    await rig.poll()
    wall.now += 7200
    rig.restart()

    await rig.poll_all()

    assert {f"pipeline:{100 + number}" for number in range(55)} <= set(rig.counted)


async def test_a_project_that_one_list_leaves_out_goes_on(rig: Rig, wall: Clock) -> None:
    left_out = rig.server.projects_by_id.pop(2)
    rig.server.put(2, pipeline(21, updated=START + 40))
    await rig.poll_all()
    rig.server.projects_by_id[2] = left_out
    wall.now += ALONE_SECONDS

    assert await rig.poll_all() == ["pipeline:21"]


async def test_nothing_is_forgotten_while_discovery_has_problems(rig: Rig, wall: Clock) -> None:
    del rig.server.projects_by_id[2]
    rig.server.problems_now = ("group team: cannot be read",)

    await rig.poll_all()

    assert rig.engine.forgotten == []


async def test_a_cursor_that_cannot_be_read_begins_anew_and_says_so(rig: Rig, wall: Clock) -> None:
    rig.cursor = '{"v":1,"mark":"x"}'
    rig.restart()

    await rig.poll_all()

    assert rig.problem == "the cursor cannot be read; pipelines are read from now on"


async def test_a_pipeline_whose_jobs_can_never_be_read_counts_without_them_after_hours(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.no_jobs[12] = "json"
    counted: list[str] = []
    begun = wall.now
    while not counted and wall.now < begun + 2 * GIVE_UP_SECONDS:
        wall.now += 30
        counted = [key for key in await rig.poll_all() if key == "pipeline:12"]

    assert GIVE_UP_SECONDS <= wall.now - begun < 1.2 * GIVE_UP_SECONDS
    assert 10 < rig.sync.errors["jobs", "json"] < 30  # ever more rarely
    assert rig.sync.errors["jobs", "given_up"] == 1


async def test_jobs_that_could_not_be_read_for_minutes_count(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.jobs_of[12] = [job(120)]
    rig.server.no_jobs[12] = "json"
    for _ in range(300):
        wall.now += 1
        rig.sync.hint(1)  # as webhooks do
        await rig.poll_all()
    del rig.server.no_jobs[12]
    wall.now += 600

    assert "job:120" in await rig.poll_all()


async def test_a_project_that_could_not_be_read_stays_behind_though_its_branches_were_listed(
    rig: Rig, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20), pipeline(13, updated=START + 25))
    rig.server.put(2, pipeline(22, updated=START + 3600))
    wall.now += 3600
    rig.restart()  # branches and tags are listed again, and bring pipelines of their own

    async def heads(projects: Sequence[Project]) -> Found:
        return rig.server._found("heads", projects, lambda one: one.id == 13)

    monkeypatch.setattr(rig.server, "heads", heads)
    monkeypatch.setattr(rig.server, "recent", heads)
    with monkeypatch.context() as patched:
        changed = rig.server.changed

        async def refused(projects: Sequence[Project], after: int, before: int, among: int) -> Found:
            rig.server.failing[1] = "json"
            found = await changed(projects, after, before, among)
            del rig.server.failing[1]
            return found

        patched.setattr(rig.server, "changed", refused)
        await rig.poll_all()
    for _ in range(4):
        wall.now += 900
        await rig.poll_all()

    assert "pipeline:12" in rig.counted


async def test_a_project_with_more_changes_than_an_answer_holds_is_read_piece_by_piece(rig: Rig, wall: Clock) -> None:
    ended = {number: START - 900 + 10 * number for number in range(100, 200)}
    rig.server.put(1, *(pipeline(number, updated=updated) for number, updated in ended.items()))
    rig.server.put(2, pipeline(22, updated=START + 1200))
    rig.server.most = 45
    wall.now += 1500

    first = await rig.poll_all()
    for _ in range(6):
        wall.now += 30
        await rig.poll_all()

    assert first == ["pipeline:22"]
    assert sorted(rig.counted) == sorted(["pipeline:11", "pipeline:22", *(f"pipeline:{number}" for number in ended)])
    assert rig.problem == ""


async def test_no_piece_is_taken_for_read_that_is_still_to_come_by_gitlabs_clock(rig: Rig, wall: Clock) -> None:
    rig.server.ahead = -7200.0  # the agent's clock is wrong, or GitLab's
    rig.server.most = 0
    rig.server.put(1, pipeline(12, updated=START + 20))
    wall.now += 7230
    await rig.poll_all()
    rig.server.most = 1000
    wall.now += 30
    await rig.poll_all()
    rig.server.put(1, pipeline(13, updated=START + 400))  # by a clock that is two hours behind
    wall.now += 400

    assert "pipeline:13" in await rig.poll_all()


async def test_a_project_that_cannot_be_read_is_counted_once_a_poll(rig: Rig, wall: Clock) -> None:
    rig.server.failing |= {1: "timeout", 2: "forbidden"}
    for _ in range(3):
        wall.now += HEADS_SECONDS  # they fail there as well
        await rig.poll_all()

    assert rig.survey.errors == {("pipelines", "timeout"): 3, ("pipelines", "forbidden"): 3}


async def test_a_pipeline_that_cannot_be_asked_for_by_its_number_is_told_and_counted(
    rig: Rig, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pipelines(wanted: object) -> dict[int, CollectError]:
        return {21: CollectError("status", "no")}

    monkeypatch.setattr(rig.server, "pipelines", pipelines)
    rig.server.put(1, pipeline(12, updated=START + 1000))
    for _ in range(2):
        wall.now += 1000
        await rig.poll_all()

    assert rig.problem == "project team/p2: no"
    assert rig.survey.errors == {("pipelines", "status"): 1}


@pytest.mark.parametrize("kind", ["auth", "rate_limit", "status"])
async def test_test_reports_that_cannot_be_had_keep_nothing_from_being_counted(
    wall: Clock, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def reports(wanted: object) -> dict[int, Report | CollectError]:
        raise CollectError(kind, "no")

    rig = Rig(wall, collectors={"test_reports": {"enabled": True}})
    rig.server.add(1)
    monkeypatch.setattr(rig.server, "reports", reports)
    await rig.poll_all()
    wall.now += 60
    rig.server.put(1, pipeline(11, updated=START + 20))
    counted = await rig.poll_all()
    said = rig.problem
    wall.now += 30
    await rig.poll_all()

    assert counted == ["pipeline:11"]
    assert "test reports: no" in said
    assert rig.problem == said  # as long as it is so
    assert rig.sync.errors == {("test_reports", kind): 1}


async def test_after_a_look_that_was_broken_off_all_is_looked_at_anew_at_once(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.broken = "connect"
    with pytest.raises(CollectError):
        await rig.poll_all()
    rig.server.broken = ""
    wall.now += 30
    rig.server.put(1, pipeline(13, updated=int(wall.now) - 5))

    assert sorted(await rig.poll_all()) == ["pipeline:12", "pipeline:13"]


async def test_those_of_which_nothing_was_heard_for_longest_are_asked_for_first(rig: Rig, wall: Clock) -> None:
    many = 2 * FOLLOWED_AT_ONCE
    rig.server.put(1, *(pipeline(100 + number, "manual", updated=START + 20) for number in range(many)))
    await rig.poll_all()
    asked: list[int] = []
    pipelines = rig.server.pipelines

    async def noted(wanted: Mapping[Project, Sequence[int]]) -> dict[int, Pipeline | CollectError | None]:
        asked.extend(number for numbers in wanted.values() for number in numbers)
        return await pipelines(wanted)

    rig.server.pipelines = noted  # type: ignore[method-assign]
    for turn in range(5):
        wall.now += FOLLOW_SECONDS
        rig.server.put(2, pipeline(30 + turn, updated=int(wall.now) - 5))
        await rig.poll_all()

    assert 21 in asked  # it is of the second project
    assert {100 + number for number in range(many)} <= set(asked)
