"""The sync: everything that ends is counted once, whatever fails on the way, and at little cost."""

from __future__ import annotations

import pytest

from agent.sources.gitlab import sync as module
from agent.sources.gitlab.batches import Size
from agent.sources.gitlab.going import FOLLOW_SECONDS
from agent.sources.gitlab.options import JobsOptions
from agent.sources.gitlab.progress import OVERLAP_SECONDS
from agent.sources.gitlab.survey import FORGET_SECONDS, HEADS_SECONDS, HINTED_SECONDS
from tests.gitlab_sync import START, Clock, Rig, begun, job, pipeline

pytestmark = pytest.mark.anyio


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
async def rig(wall: Clock) -> Rig:
    return await begun(wall)


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


async def test_another_process_goes_on_where_the_cursor_is(rig: Rig, wall: Clock) -> None:
    rig.server.put(1, pipeline(12, updated=START + 3000))
    wall.now += 4000
    rig.restart()

    assert await rig.poll_all() == ["pipeline:12"]


async def test_a_process_that_starts_again_registers_nothing_anew(rig: Rig, wall: Clock) -> None:
    rig.restart()

    await rig.poll_all()

    assert rig.engine.registered == [21]


async def test_much_at_once_is_counted_in_portions_and_asked_for_once(
    rig: Rig, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.sync, "_size", Size(10, 1, 10))
    monkeypatch.setattr(module, "MAX_OBSERVATIONS", 20)
    rig.server.put(1, *(pipeline(100 + number, updated=START + number % 7) for number in range(55)))
    rig.server.asked.clear()

    portions = [len(await rig.poll())]
    while rig.again:
        portions.append(len(await rig.poll()))

    assert portions == [20, 20, 15]
    assert rig.server.asked["changed"] == 1


async def test_a_project_made_later_counts_from_its_first_second(rig: Rig, wall: Clock) -> None:
    rig.server.add(3, pipeline(31, updated=START + 15), created=START + 10)

    assert await rig.poll_all() == ["pipeline:31"]
    assert rig.engine.watched[3] == ("team/p3", START + 10)


async def test_a_project_that_says_to_be_made_in_the_future_counts_from_now_on(rig: Rig, wall: Clock) -> None:
    rig.server.add(3, created=START + 10 * 365 * 86400)
    await rig.poll_all()

    assert rig.engine.watched[3] == ("team/p3", int(wall.now))


async def test_a_project_that_was_made_long_ago_and_is_seen_only_now_has_no_past_that_counts(rig: Rig, wall: Clock) -> None:
    wall.now += 3 * 86400
    rig.server.put(1, pipeline(12, updated=int(wall.now) - 5))
    await rig.poll_all()
    wall.now += 200
    rig.server.add(3, pipeline(31, updated=START + 3600), created=START + 600)

    assert await rig.poll_all() == []
    assert rig.engine.watched[3] == ("team/p3", int(wall.now))


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
    wall.now += JobsOptions().interval_seconds

    assert await rig.poll_all() == ["job:210"]


async def test_pipelines_of_a_busy_project_are_looked_at_again_as_well(rig: Rig, wall: Clock) -> None:
    for turn in range(3):
        wall.now += 600
        rig.server.put(2, pipeline(30 + turn, updated=int(wall.now) - 5))
        await rig.poll_all()
    rig.server.jobs_of[21] = [job(210)]
    wall.now += JobsOptions().interval_seconds
    rig.server.put(2, pipeline(40, updated=int(wall.now) - 5))

    assert sorted(await rig.poll_all()) == ["job:210", "pipeline:40"]


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
    wall.now += HINTED_SECONDS
    rig.sync.hint(2)

    assert await rig.poll_all() == ["job:210"]


async def test_hints_do_not_have_jobs_read_all_the_time(rig: Rig, wall: Clock) -> None:
    wall.now += 600
    await rig.poll_all()
    before = rig.server.asked["jobs"]
    for _ in range(60):
        wall.now += 1
        rig.sync.hint(2)
        await rig.poll_all()

    assert rig.server.asked["jobs"] - before <= 60 / HINTED_SECONDS


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


async def test_with_an_interval_of_a_second_one_collect_is_one_look(wall: Clock) -> None:
    rig = Rig(wall, collectors={"pipelines": {"interval_seconds": 1}})
    rig.server.add(1, pipeline(11, updated=START - 900))
    await rig.poll()

    assert rig.server.asked["changed"] == 1


async def test_looks_that_take_longer_than_the_interval_have_pauses_between_them(
    rig: Rig, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION_SECONDS", -1.0)  # each piece is a collect of its own
    rig.server.asked.clear()
    wall.now += 40
    collects, rig.again = 0, True
    while rig.again and collects < 30:
        await rig.poll()
        wall.now += 100
        collects += 1

    assert (rig.again, rig.server.asked["changed"]) == (False, 1)
