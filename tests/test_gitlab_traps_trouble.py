"""What leads astray who asks GitLab for hours: tokens, rights, names, clocks, versions and limits that are not what they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from trio.testing import MockClock

from agent.model import Delivery
from agent.sim import faults
from agent.sim.gitlab.announcements import announcements
from agent.sim.gitlab.faults import ROUGH, shipments
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.limits import Limits
from agent.sim.gitlab.objects import BUILD, FINAL, Pipeline
from agent.sim.gitlab.places import Place, Project, World
from agent.sim.gitlab.profile import CE_16_3
from agent.sim.gitlab.rules import Rules
from agent.sim.gitlab.sender import Sender
from agent.sim.gitlab.world import USER_ONLY
from tests.gitlab_observed import HOUR, SECRET, Observer
from tests.gitlab_trapped import OPTIONS, ended, jobs, made, read, total, wrong

pytestmark = pytest.mark.anyio
STEP = 300.0
BOTH = pytest.mark.parametrize("use_graphql", [True, False], ids=["graphql", "rest"])
ONE = "glpat-of-one-project"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def world() -> World:
    return made(8, 40)


def busiest(world: World) -> Project:
    return max(read(world), key=lambda project: len(project.pipelines))


async def finished(observer: Observer, seconds: float = HOUR) -> Observer:
    await observer.watch(observer.world.end + seconds)
    assert total(observer, "pipeline_run_count") > 10
    return observer


@BOTH
async def test_a_token_that_expires_is_not_used_over_and_over_and_its_successor_finds_everything(
    world: World, use_graphql: bool
) -> None:
    observer = Observer(world, OPTIONS | {"use_graphql": use_graphql}, step=STEP)
    good = world.tokens[TOKEN]
    await observer.watch(world.start + HOUR)
    observer.api.counts.clear()
    world.tokens[TOKEN] = replace(good, expires=1)  # type: ignore[index]
    await observer.watch(world.start + 3 * HOUR)
    refused, others = (
        sum(count for (_, status), count in observer.api.counts.items() if (status == 401) is it) for it in (True, False)
    )
    world.tokens[TOKEN] = good  # type: ignore[index]
    await finished(observer)

    assert (others, 0 < refused <= 60) == (0, True)
    assert any("does not take the token" in problem for problem in observer.problems)
    assert unseen(observer) == set()


def unseen(observer: Observer) -> set[str]:
    """What has ended and did not count. How it ended first cannot be known of what was run again in an absence."""
    until = observer.world.end
    keys = {f"pipeline:{one.id}" for one in ended(observer.world)}
    views = ((job, job.at(until)) for job in jobs(observer.world, BUILD, ended_whole))
    keys |= {f"job:{job.id}" for job, view in views if view and view.status in FINAL}
    return {key for key in keys if f"gitlab:localhost:{key}" not in observer.tally.keys}


def ended_whole(pipeline: Pipeline) -> bool:
    return not pipeline.deleted_at


@BOTH
async def test_a_project_that_cannot_be_seen_for_a_while_is_left_alone_and_then_made_up_for(
    world: World, use_graphql: bool
) -> None:
    good, gone = world.tokens[TOKEN], busiest(world)
    path = gone.path_at(world.start)
    observer = Observer(world, OPTIONS | {"use_graphql": use_graphql, "projects": [{"name": path}]}, step=STEP)
    await observer.watch(world.start + HOUR)
    world.tokens[TOKEN] = replace(good, hidden=good.hidden | {gone.id})  # type: ignore[index]
    await observer.watch(world.start + 3 * HOUR)
    refused = [asked for asked in observer.api.requests if f"/projects/{gone.id}/pipelines" in asked.path and asked.status == 404]
    world.tokens[TOKEN] = good  # type: ignore[index]
    await observer.watch(world.end + 8 * HOUR)

    assert any(path in problem for problem in observer.problems)
    assert len(refused) <= 10  # ever more rarely
    assert total(observer, "pipeline_run_count") > total(observer, "pipeline_run_count", project=path) > 5
    assert unseen(observer) == set()


@BOTH
async def test_a_project_keeps_its_totals_under_another_name(world: World, use_graphql: bool) -> None:
    moved = busiest(world)
    before, at = moved.places[-1], quiet(moved, world)
    moved.places = (before, Place(at, next(group for group in world.groups if group is not before.group), "elsewhere"))
    observer = await finished(Observer(world, OPTIONS | {"use_graphql": use_graphql}, step=150.0))

    both = [total(observer, "pipeline_run_count", project=place.full_path) for place in moved.places]
    assert all(both)
    assert sum(both) == len(ended(world, lambda one: one.project is moved))


def quiet(project: Project, world: World) -> int:
    """A moment in the middle, minutes from any end there."""
    ends = [view.updated_at for pipeline in project.pipelines for view in pipeline.views if view.is_final]
    middle = sorted(ends)[len(ends) // 2]
    return next(at for at in range(middle, world.end, 60) if not any(abs(at - end) < 200 for end in ends))


async def test_a_token_of_too_small_a_scope_counts_nothing_and_says_so(world: World) -> None:
    observer = Observer(world, OPTIONS | {"token": USER_ONLY}, step=STEP)
    await observer.watch(world.start)

    assert observer.tally.keys == set()
    assert any("read_api" in problem for problem in observer.problems)


async def test_a_token_of_one_project_reads_that_one(world: World) -> None:
    observer = Observer(world, OPTIONS | {"token": ONE}, step=STEP)
    await observer.watch(world.end + HOUR)

    only = {world.by_id[number].path_at(world.end) for number in world.tokens[ONE].only}
    assert {dict(pairs)["project"] for name, pairs in observer.tally.counters if name == "pipeline_run_count"} == only


async def test_version_16_3_brings_the_same_counts_without_sources(world: World) -> None:
    observer = await finished(Observer(world, OPTIONS, profile=CE_16_3, step=STEP))

    assert wrong(observer, Rules(tells_source=False)) == []


async def test_where_graphql_is_closed_rest_brings_the_same(world: World) -> None:
    observer = Observer(world, OPTIONS, step=STEP)
    observer.api.has_graphql = False

    assert wrong(await finished(observer)) == []
    assert any(remark.startswith("GitLab is asked by REST") for remark in observer.source.remarks())


async def test_graphql_that_runs_out_of_time_is_asked_for_less_and_loses_nothing(world: World) -> None:
    observer = Observer(world, OPTIONS, step=STEP)
    observer.api.most_nodes = 40

    assert wrong(await finished(observer)) == []


@BOTH
async def test_limits_are_kept_to_and_nothing_is_lost(world: World, use_graphql: bool) -> None:
    observer = Observer(world, OPTIONS | {"use_graphql": use_graphql}, step=STEP)
    observer.api.limits = Limits(per_minute=60)
    await finished(observer)

    too_many = sum(count for (_, status), count in observer.api.counts.items() if status == 429)
    assert too_many <= observer.api.totals.requests / 20
    assert wrong(observer) == []


async def test_html_plain_text_and_silence_for_an_answer_lose_nothing(world: World) -> None:
    observer, rng = Observer(world, OPTIONS, step=STEP), Random(3)
    pages = ("<!DOCTYPE html><html>502</html>", "Retry later\n", "", '{"message":{"error":"Try again later."}}')
    answers = [faults.Answer(rng.choice((500, 502, 503, 429)), (), rng.choice(pages)) for _ in range(60)]
    observer.api.faults.extend([*answers, *[faults.Close(200)] * 10])

    assert wrong(await finished(observer)) == []
    assert observer.api.faults.take() is None


@pytest.mark.parametrize("skew", [-7200.0, 7200.0], ids=["behind", "ahead"])
async def test_a_clock_that_is_wrong_changes_no_total(world: World, skew: float) -> None:
    assert wrong(await finished(Observer(world, OPTIONS, step=STEP, skew=skew))) == []


async def test_webhooks_that_are_lost_doubled_late_and_out_of_order_change_no_total(world: World) -> None:
    options = OPTIONS | {"webhook": {"secret_token": SECRET, "max_per_second": 10_000}}
    observer = await finished(Observer(world, options, step=STEP, heard=heard(world)))

    assert wrong(observer) == []


def heard(world: World) -> Iterator[Delivery]:
    sender = Sender(world, SECRET)
    for shipment in shipments(announcements(world), ROUGH, 2):
        sent = sender.request(shipment)
        yield Delivery(sent.headers, sent.body, shipment.at)


@BOTH
async def test_a_change_of_its_date_alone_does_not_end_a_pipeline_again(world: World, use_graphql: bool) -> None:
    for pipeline in touched(world):
        last = pipeline.views[-1]
        pipeline.views = (*pipeline.views, *(last._replace(updated_at=last.updated_at + late) for late in (1000, 2000, 4000)))
    observer = await finished(Observer(world, OPTIONS | {"use_graphql": use_graphql}, step=STEP))

    assert wrong(observer) == []


def touched(world: World) -> list[Pipeline]:
    found = ended(world, lambda one: one.views[-1].is_final and not one.deleted_at)
    assert len(found) > 10
    return found
