"""What happened once counts once, in whatever order, by whichever way, how often and over how many lives it is heard."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.gitlab.payload import PIPELINE
from tests.gitlab_engine import ROCKET, START, Life
from tests.gitlab_plans import Plan, expected, plans

RANDOMS = st.builds(Random, st.integers(0, 1 << 32))


def first_sync(life: Life, made: list[Plan]) -> None:
    there = [plan.at(START) for plan in made if plan.created < START]
    life.commit(life.engine.register(ROCKET.id, [pipeline for pipeline in there if not pipeline.is_final], START))


def is_told(plan: Plan, at: int) -> bool:
    """Whether a webhook brings all that there is to know."""
    return not plan.parent and plan.at(at).is_final


def hear(life: Life, plan: Plan, at: int, *, by_webhook: bool, with_jobs: bool = True, fails: bool = False) -> None:
    """What GitLab said of a pipeline at one moment; `fails`: its commit does."""
    if by_webhook:
        digest, _ = life.engine.webhook(PIPELINE, plan.body(at), at + 1.0)
    else:
        jobs = {plan.id: plan.jobs_at(at)} if with_jobs else {}
        digest = life.engine.take(ROCKET.id, [plan.at(at)], jobs, at + 1.0)
    if not fails:
        life.commit(digest)


def moments(random: Random, plan: Plan) -> list[int]:
    """Some at which something is said of it, the last of them after its end."""
    first, last = max(START, plan.created), max(START, plan.runs[-1].ended)
    return [*(random.randrange(first, last + 2) for _ in range(random.randrange(4))), last + 1]


@settings(max_examples=150)
@given(RANDOMS, st.integers(1, 4))
def test_any_order_repetition_and_way_and_any_lives_and_failed_commits_count_the_same(random: Random, count: int) -> None:
    made, life = plans(random, count, retries=False), Life()
    first_sync(life, made)
    heard = [(plan, at) for plan in made for at in moments(random, plan) * random.randrange(1, 3)]
    random.shuffle(heard)
    for plan, at in heard:
        by_webhook = random.random() < 0.4
        hear(life, plan, at, by_webhook=by_webhook, with_jobs=random.random() < 0.8, fails=random.random() < 0.3)
        if random.random() < 0.2:
            life.again(at + 2.0)
    for plan in made:
        hear(life, plan, plan.runs[-1].ended + 600, by_webhook=False)

    assert life.totals == expected(made)


@settings(max_examples=150)
@given(RANDOMS, st.integers(1, 3))
def test_retries_of_pipelines_count_apart_whatever_fails_or_is_said_again(random: Random, count: int) -> None:
    made, life = plans(random, count, retries=True), Life()
    first_sync(life, made)
    changes = sorted({at for plan in made for run in plan.runs for at in (run.begun, run.ended + 1) if at >= START})
    for at in changes:
        for plan in made:
            if plan.created > at:
                continue
            while random.random() < 0.3:  # a commit fails, and all is read again
                hear(life, plan, at, by_webhook=random.random() < 0.5 and is_told(plan, at), fails=True)
            if is_told(plan, at) and random.random() < 0.5:
                hear(life, plan, at, by_webhook=True)
            hear(life, plan, at, by_webhook=False)
            ended = [run.ended for run in plan.runs if START < run.ended < at]
            if ended and not plan.parent and random.random() < 0.3:
                hear(life, plan, random.choice(ended), by_webhook=True)  # delivered once more
        if random.random() < 0.3:
            life.again(at + 2.0)

    assert life.totals == expected(made)


@settings(max_examples=100)
@given(RANDOMS, st.integers(1, 3))
def test_what_ended_by_webhook_is_what_ended_by_the_api(random: Random, count: int) -> None:
    made = [plan for plan in plans(random, count, retries=False) if not plan.parent]
    by_api, by_webhook = Life(), Life()
    for life in (by_api, by_webhook):
        first_sync(life, made)
        for plan in made:
            hear(life, plan, max(plan.runs[0].ended, START), by_webhook=life is by_webhook)
    replaced = {key for key in by_api.kept if f"{key}:retried" in by_api.kept or key.endswith(":retried")}

    assert {key: adds for key, adds in told(by_api).items() if key not in replaced} == told(by_webhook)


def told(life: Life) -> dict[str, list[tuple[str, tuple[str, ...], float]]]:
    """What each key counts as."""
    return {key: [(add.family.name, add.labels, add.value) for add in kept.increments] for key, kept in life.kept.items()}
