"""The sync: everything that ends is counted once, whatever fails on the way, and at little cost."""

from __future__ import annotations

import pytest

from agent.errors import CollectError
from agent.sources.gitlab import sync as module
from agent.sources.gitlab.memory import MAX_TRIES
from agent.sources.gitlab.progress import OVERLAP_SECONDS
from agent.sources.gitlab.survey import FOLLOW_SECONDS, FORGET_SECONDS, HEADS_SECONDS, REFRESH_SECONDS, RETRY_SECONDS
from tests.gitlab_sync import START, Clock, Rig, job, pipeline

pytestmark = pytest.mark.anyio


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
async def rig(wall: Clock) -> Rig:
    """Two projects, read once; the second has a pipeline that runs."""
    found = Rig(wall)
    found.server.add(1, pipeline(11, updated=START - 900))
    found.server.add(2, pipeline(21, "running", updated=START - 60))
    await found.poll_all()
    wall.now += 30
    return found


async def test_what_has_not_ended_is_registered_by_the_first_poll(rig: Rig) -> None:
    assert rig.engine.registered == [21]


async def test_projects_are_counted_from_the_second_of_the_first_answer_on(rig: Rig) -> None:
    assert rig.engine.watched == {1: ("team/p1", START), 2: ("team/p2", START)}


async def test_a_pipeline_that_ended_is_counted_with_its_jobs(rig: Rig) -> None:
    rig.server.put(2, pipeline(21, updated=START + 20))
    rig.server.jobs_of[21] = [job(210), job(211, "failed")]

    assert await rig.poll_all() == ["pipeline:21", "job:210", "job:211"]


async def test_what_is_as_it_was_is_not_read_again(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    await rig.poll_all()
    wall.now += 30
    before = rig.server.asked["jobs"]

    await rig.poll_all()

    assert rig.server.asked["jobs"] == before + 1  # of the one that runs


async def test_a_poll_asks_for_changes_since_the_last_and_a_little_before(rig: Rig) -> None:
    rig.server.after.clear()

    await rig.poll_all()

    assert rig.server.after == [((1, 2), START - OVERLAP_SECONDS)]


async def test_what_a_failed_commit_lost_is_read_again(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.jobs_of[12] = [job(120)]
    await rig.poll(commits=False)
    wall.now += 30

    assert await rig.poll_all() == ["pipeline:12", "job:120"]


async def test_another_process_goes_on_where_the_cursor_is(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 3000))
    wall.now += 4000
    rig.restart()

    assert await rig.poll_all() == ["pipeline:12"]


async def test_a_process_that_starts_again_registers_nothing_anew(rig: Rig, wall: Clock) -> None:
    rig.restart()

    await rig.poll_all()

    assert rig.engine.registered == [21]


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
    await rig.poll_all()
    rig.server.after.clear()
    wall.now += RETRY_SECONDS - 60
    await rig.poll_all()
    wall.now += 120
    await rig.poll_all()

    assert [projects for projects, _ in rig.server.after] == [(2,), (1, 2)]


async def test_a_pipeline_whose_jobs_cannot_be_read_is_read_whole_at_a_later_poll(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.jobs_of[12] = [job(120)]
    rig.server.no_jobs[12] = "timeout"
    assert await rig.poll_all() == []
    wall.now += 3600
    del rig.server.no_jobs[12]

    assert await rig.poll_all() == ["pipeline:12", "job:120"]


async def test_a_pipeline_whose_jobs_can_never_be_read_counts_without_them(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.no_jobs[12] = "json"
    counted: list[str] = []
    for _ in range(MAX_TRIES):
        counted += await rig.poll_all()
        wall.now += 30
    before = rig.server.asked["jobs"]
    wall.now += 30
    await rig.poll_all()

    assert counted == ["pipeline:12"]
    assert rig.sync.errors == {("jobs", "json"): MAX_TRIES}
    assert rig.server.asked["jobs"] - before <= 1  # of the one that runs


async def test_with_nothing_to_be_had_the_poll_fails_and_loses_nothing(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 20))
    rig.server.broken = "rate_limit"
    for _ in range(3):
        with pytest.raises(CollectError):
            await rig.poll_all()
        wall.now += 600
    rig.server.broken = ""

    assert "pipeline:12" in await rig.poll_all()


async def test_much_at_once_is_counted_in_portions_and_asked_for_once(
    rig: Rig, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION", 10)
    monkeypatch.setattr(module, "MAX_OBSERVATIONS", 20)
    rig.server.put(1, *(pipeline(100 + number, updated=START + number % 7) for number in range(55)))
    rig.server.asked.clear()

    portions = [len(await rig.poll())]
    while rig.again:
        portions.append(len(await rig.poll()))

    assert portions == [20, 20, 15]
    assert rig.server.asked["changed"] == 1


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


async def test_a_project_made_later_counts_from_its_first_second(rig: Rig, wall: Clock) -> None:
    rig.server.add(3, pipeline(31, updated=START + 15), created=START + 10)

    assert await rig.poll_all() == ["pipeline:31"]
    assert rig.engine.watched[3] == ("team/p3", START + 10)


async def test_an_old_project_that_appears_later_counts_from_then_on(rig: Rig, wall: Clock) -> None:
    rig.server.add(3, pipeline(31, "running", updated=START + 15), created=START - 9000)
    await rig.poll_all()

    assert rig.engine.watched[3] == ("team/p3", START + 30)
    assert rig.engine.registered == [21, 31]


async def test_a_project_that_is_renamed_goes_on(rig: Rig, wall: Clock) -> None:
    rig.server.add(2, *rig.server.pipelines_of[2], path="other/name")

    await rig.poll_all()

    assert rig.engine.watched[2] == ("other/name", START)


async def test_a_project_that_is_no_longer_there_is_forgotten_after_an_hour(rig: Rig, wall: Clock) -> None:
    del rig.server.projects_by_id[2]

    await rig.poll_all()
    wall.now += FORGET_SECONDS - 60
    await rig.poll_all()
    assert rig.engine.forgotten == []
    wall.now += 120
    await rig.poll_all()

    assert rig.engine.forgotten == [2]
    assert rig.notes.keys() & {"since:1", "since:2"} == {"since:1"}


async def test_a_project_that_one_list_leaves_out_goes_on(rig: Rig, wall: Clock) -> None:
    left_out = rig.server.projects_by_id.pop(2)
    rig.server.put(2, pipeline(21, updated=START + 40))
    await rig.poll_all()
    rig.server.projects_by_id[2] = left_out
    wall.now += RETRY_SECONDS

    assert await rig.poll_all() == ["pipeline:21"]


async def test_nothing_is_forgotten_while_discovery_has_problems(rig: Rig, wall: Clock) -> None:
    del rig.server.projects_by_id[2]
    rig.server.problems_now = ("group team: cannot be read",)

    await rig.poll_all()

    assert rig.engine.forgotten == []


async def test_a_quiet_pipeline_that_was_deleted_is_given_up(rig: Rig, wall: Clock) -> None:
    rig.server.pipelines_of[2] = []
    wall.now += FOLLOW_SECONDS

    await rig.poll_all()

    assert rig.engine.lost == [21]
    assert "open:21" not in rig.notes


async def test_jobs_of_a_running_pipeline_are_read_again_though_it_does_not_change(rig: Rig, wall: Clock) -> None:
    wall.now += 600
    await rig.poll_all()
    rig.server.jobs_of[21] = [job(210)]
    wall.now += REFRESH_SECONDS

    assert await rig.poll_all() == ["job:210"]


async def test_pipelines_of_a_busy_project_are_looked_at_again_as_well(rig: Rig, wall: Clock) -> None:
    for turn in range(3):
        wall.now += 600
        rig.server.put(2, pipeline(30 + turn, updated=int(wall.now) - 5))
        await rig.poll_all()
    rig.server.jobs_of[21] = [job(210)]
    wall.now += REFRESH_SECONDS
    rig.server.put(2, pipeline(40, updated=int(wall.now) - 5))

    assert await rig.poll_all() == ["job:210", "pipeline:40"]


async def test_a_deleted_pipeline_of_a_busy_project_is_given_up(rig: Rig, wall: Clock) -> None:
    rig.server.pipelines_of[2] = []
    for turn in range(4):
        wall.now += 600
        rig.server.put(2, pipeline(30 + turn, updated=int(wall.now) - 5))
        await rig.poll_all()

    assert rig.engine.lost == [21]


async def test_a_hint_looks_at_running_pipelines_again(rig: Rig, wall: Clock) -> None:
    wall.now += 600
    await rig.poll_all()
    rig.server.jobs_of[21] = [job(210)]
    wall.now += 2
    rig.sync.hint(2)

    assert await rig.poll_all() == ["job:210"]


async def test_a_manual_pipeline_is_left_alone_while_it_does_not_change(rig: Rig, wall: Clock) -> None:
    rig.server.put(2, pipeline(21, "manual", updated=START + 20))
    await rig.poll_all()
    wall.now += 600
    before = rig.server.asked["jobs"]

    await rig.poll_all()

    assert rig.server.asked["jobs"] == before


async def test_a_hint_asks_for_its_project_alone(rig: Rig, wall: Clock) -> None:
    await rig.poll_all()
    rig.server.after.clear()
    rig.server.put(1, pipeline(12, updated=START + 31))
    wall.now += 2
    rig.sync.hint(1)

    assert await rig.poll_all() == ["pipeline:12"]
    assert [projects for projects, _ in rig.server.after] == [(1,)]


async def test_branches_and_tags_are_listed_again_after_half_an_hour(rig: Rig, wall: Clock) -> None:
    await rig.poll_all()
    assert rig.server.asked["heads"] == 1
    wall.now += HEADS_SECONDS

    await rig.poll_all()

    assert rig.server.asked["heads"] == 2


async def test_the_stored_cursor_changes_with_what_is_counted(rig: Rig, wall: Clock) -> None:
    before = rig.cursor
    await rig.poll_all()
    idle = rig.cursor
    wall.now += 30
    rig.server.put(1, pipeline(12, updated=START + 50))
    await rig.poll_all()

    assert (idle == before, rig.cursor == before) == (True, False)


async def test_a_cursor_that_cannot_be_read_begins_anew_and_says_so(rig: Rig, wall: Clock) -> None:
    rig.cursor = '{"v":1,"mark":"x"}'
    rig.restart()

    await rig.poll_all()

    assert rig.problem == "the cursor cannot be read; pipelines are read from now on"
