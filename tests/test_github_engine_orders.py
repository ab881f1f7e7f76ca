"""The same deliveries in any order, repeated, late, over restarts or out of the API: the same observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.github_payloads import LOOKALIKE, NO_RUNNER, SKIPPED, START, Json, Life, Told, job, run, told_job, told_run

Numbers = tuple[int, int]
"""Id of the job, seconds after START when its attempt began."""


def early(number: int, begun: int, attempt: int) -> Json:
    return job(
        id=number,
        run_attempt=attempt,
        **{**NO_RUNNER, "status": "queued", "conclusion": None, "created_at": begun + 2, "started_at": begun + 2},
        completed_at=None,
    )


def begun_at(number: int, begun: int, attempt: int, start: int, **changed: Any) -> Json:
    now = {"status": "in_progress", "conclusion": None, "created_at": begun + 2, "started_at": start, "completed_at": None}
    return job(**{"id": number, "run_attempt": attempt, **now, **changed})


def ended_at(number: int, begun: int, attempt: int, **changed: Any) -> Json:
    times = {"created_at": begun + 2, "started_at": begun + 9, "completed_at": begun + 92}
    return job(**{"id": number, "run_attempt": attempt, **times, **changed})


def plain(number: int, begun: int, attempt: int) -> list[Told]:
    return [
        told_job("queued", begun + 2.5, early(number, begun, attempt)),
        told_job("in_progress", begun + 9.5, begun_at(number, begun, attempt, begun + 9)),
        told_job("in_progress", begun + 40, begun_at(number, begun, attempt, begun + 9)),
        told_job("completed", begun + 92.5, ended_at(number, begun, attempt)),
    ]


def backwards(number: int, begun: int, attempt: int) -> list[Told]:
    return [told_job("completed", begun + 92.5, ended_at(number, begun, attempt, created_at=begun + 10))]


def cancelled(number: int, begun: int, attempt: int) -> list[Told]:
    changed = {**NO_RUNNER, "conclusion": "cancelled", "started_at": begun + 2}
    return [
        told_job("queued", begun + 2.5, early(number, begun, attempt)),
        told_job("completed", begun + 60, ended_at(number, begun, attempt, **changed)),
    ]


def skipped(number: int, begun: int, attempt: int) -> list[Told]:
    times = {"created_at": begun + 20, "started_at": begun + 19, "completed_at": begun + 19}
    return [told_job("completed", begun + 21, ended_at(number, begun, attempt, **{**SKIPPED, **times}))]


def lookalike(number: int, begun: int, attempt: int) -> list[Told]:
    times = {"created_at": begun + 40, "started_at": begun + 40, "completed_at": begun + 41}
    return [told_job("completed", begun + 41.5, ended_at(number, begun, attempt, **{**LOOKALIKE, **times}))]


def approved(number: int, begun: int, attempt: int) -> list[Told]:
    late = {"started_at": begun + 208, "completed_at": begun + 298}
    return [
        told_job("queued", begun + 2.5, early(number, begun, attempt), deployment={}),
        told_job("waiting", begun + 3, early(number, begun, attempt), deployment={}),
        told_job("queued", begun + 203, early(number, begun, attempt), deployment={}),
        told_job("in_progress", begun + 208.5, begun_at(number, begun, attempt, begun + 208), deployment={}),
        told_job("completed", begun + 299, ended_at(number, begun, attempt, **late), deployment={}),
    ]


def unclear(number: int, begun: int, attempt: int) -> list[Told]:
    steps = [{"name": "Set up job", "started_at": begun + 62, "completed_at": begun + 64}]
    changed = {"started_at": begun + 2, "steps": steps}
    return [
        told_job("queued", begun + 2.5, early(number, begun, attempt)),
        told_job("in_progress", begun + 62.5, begun_at(number, begun, attempt, begun + 2, steps=steps)),
        told_job("completed", begun + 95, ended_at(number, begun, attempt, **changed)),
    ]


KINDS: tuple[Callable[[int, int, int], list[Told]], ...] = (
    plain, backwards, cancelled, skipped, lookalike, approved, unclear
)  # fmt: skip


@st.composite
def stories(draw: st.DrawFn) -> list[Told]:
    """Everything that is told of a run of one to three attempts, in the order in which it happened."""
    told: list[Told] = []
    done: list[int] = []
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        begun = (attempt - 1) * 1000
        about = {"run_attempt": attempt, "run_started_at": begun}
        if attempt == 1:
            told.append(told_run("requested", begun + 0.5, run(**about, status="queued", conclusion=None, updated_at=begun)))
        moving = run(**about, status="in_progress", conclusion=None, updated_at=begun + 9)
        told += [
            told_run("in_progress", begun + 9.75, moving),
            told_run("completed", begun + 300.5, run(**about, updated_at=begun + 300)),
        ]
        for number in done:  # GitHub tells the end of what it takes over once more
            told.append(told_job("completed", begun + 1, ended_at(number, begun - 1000, attempt)))
        for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)):
            number = 70_000_000 + len(told)
            told += kind(number, begun, attempt)
            done += [number] if kind is plain else []
    return sorted(told, key=lambda one: one.at)


def after(told: Sequence[Told]) -> Life:
    life = Life(events=True)
    life.hear_all(told)
    return life


@st.composite
def troubles(draw: st.DrawFn) -> tuple[list[Told], list[tuple[Told, bool]]]:
    """A story, and how it came in: in any order, some of it twice; True = the agent is killed after it was committed."""
    story = draw(stories())
    twice = draw(st.lists(st.sampled_from(story), max_size=5))
    heard = draw(st.permutations([*story, *twice]))
    kills = draw(st.sets(st.integers(0, len(heard) - 1), max_size=3))
    return story, [(one, place in kills) for place, one in enumerate(heard)]


@settings(max_examples=200, deadline=None)
@given(troubles())
def test_any_order_with_repetitions_and_kills_counts_what_the_true_order_counts(
    trouble: tuple[list[Told], list[tuple[Told, bool]]],
) -> None:
    story, heard = trouble
    life, last = Life(events=True), max(one.at for one in story)

    for place, (one, is_killed) in enumerate(heard):
        life.hear(one, last + place)
        if is_killed:
            life.restart()

    assert life.sums() == after(story).sums()


@settings(max_examples=60, deadline=None)
@given(stories(), st.data())
def test_what_was_lost_and_comes_again_hours_later_counts_as_it_would_have(story: list[Told], data: st.DataObject) -> None:
    ends = [place for place, one in enumerate(story) if one.payload["action"] == "completed"]
    lost = data.draw(st.sets(st.sampled_from(ends)))
    life = Life(events=True)
    life.hear_all(one for place, one in enumerate(story) if place not in lost)
    for hour in range(1, 5):
        life.settle(3000 + 3600.0 * hour)

    for place in sorted(lost):
        life.hear(story[place], START + 20_000)
        life.settle(20_000)

    assert life.sums() == after(story).sums()


@settings(max_examples=60, deadline=None)
@given(stories())
def test_the_same_delivery_again_brings_the_same_observations(story: list[Told]) -> None:
    life = Life(events=True)

    for one in story:
        first = life.hear(one)
        assert life.hear(one).observations == first.observations


@settings(max_examples=60, deadline=None)
@given(stories(), st.data())
def test_a_commit_that_fails_loses_nothing(story: list[Told], data: st.DataObject) -> None:
    """Its deliveries are refused, and come again; what was told by the way is told by the next look at the clock."""
    heard = data.draw(st.permutations(story))
    fails = data.draw(st.sets(st.integers(0, len(heard) - 1)))
    life, now = Life(events=True), max(one.at for one in story)

    for place, one in enumerate(heard):
        if place in fails:
            life.engine.webhook(one.event, one.payload, one.guid, now)
            if data.draw(st.booleans()):
                life.restart()
        life.hear(one, now)
    life.commit(life.engine.settle(now + life.options.join_seconds))

    assert life.sums() == after(story).sums()


@st.composite
def attempts(draw: st.DrawFn) -> tuple[list[Told], Json, list[Json]]:
    """One attempt as webhooks tell it, and as the API lists it."""
    kinds = draw(st.lists(st.sampled_from((plain, backwards, cancelled, skipped, lookalike)), max_size=4))
    stories_ = [kind(70_000_000 + number, 0, 1) for number, kind in enumerate([plain, *kinds])]
    told = [
        told_run("requested", 0.5, run(status="queued", conclusion=None, updated_at=0)),
        told_run("in_progress", 9.75, run(status="in_progress", conclusion=None, updated_at=9)),
        *(one for story in stories_ for one in story),
        told_run("completed", 92.75, run(updated_at=92)),
    ]
    return told, run(updated_at=50_000), [story[-1].payload["workflow_job"] for story in stories_]


@settings(max_examples=60, deadline=None)
@given(attempts(), st.booleans())
def test_the_api_leads_to_the_observations_that_webhooks_lead_to(
    attempt: tuple[list[Told], Json, list[Json]], is_titled: bool
) -> None:
    told, found, jobs = attempt
    life = Life(events=True)

    life.list(found | ({"name": "Fix the fins"} if is_titled else {}), jobs)

    assert life.sums() == after(told).sums()


@settings(max_examples=60, deadline=None)
@given(attempts(), st.data())
def test_both_at_once_count_once(attempt: tuple[list[Told], Json, list[Json]], data: st.DataObject) -> None:
    told, found, jobs = attempt
    life, place = Life(events=True), data.draw(st.integers(0, len(told)))

    life.hear_all(told[:place])
    life.list(found, jobs)
    life.hear_all(told[place:])

    assert life.sums() == after(told).sums()
