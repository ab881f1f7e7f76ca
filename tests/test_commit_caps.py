"""Caps: whatever is counted and shown, a project and a source stay within theirs, and no count is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.commit.committer import FOLDED
from agent.model import Collected, Family, Increment, Kind, Observation, Update
from agent.sources.github import families as github
from agent.sources.github.options import Options as GithubOptions
from agent.sources.gitlab import families as gitlab
from agent.sources.gitlab.options import Options as GitlabOptions
from agent.store.caps import OVERFLOW, folded
from tests import outage
from tests.counting import Rig, committing

pytestmark = pytest.mark.anyio

GITLAB = gitlab.families(GitlabOptions.model_validate({}))
GITHUB = github.families(GithubOptions.model_validate({}))
GITLAB_GAUGES = tuple(family for family in GITLAB if family.kind is Kind.GAUGE and family.project)
CLOSED = {"kind": 3, "source": 20, "status": 16, "runner_type": 4, "failure_reason": 12, "event": 40}
"""Labels that say words of lists, and about how many; the rest is for a cap to bound."""
PROJECT = "acme/shop"

Step = tuple[Family, Sequence[int]]
"""A family, and what its labels say, by number."""


@pytest.fixture
def anyio_backend() -> object:
    return outage.virtual_backend()


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", outage.in_virtual_time)


def labels(family: Family, picks: Sequence[int]) -> tuple[str, ...]:
    """Few words in labels from lists, many in the others, of one project in three or of two others."""
    words = []
    for place, name in enumerate(family.labels):
        pick = picks[place % len(picks)]
        many = 2 if name in CLOSED else 3 if name == family.project else 30
        words.append(f"{name}-{pick % many}")
    return tuple(words)


def rows(rig: Rig) -> dict[tuple[Family, tuple[str, ...]], float]:
    """Every live row, and what it counts."""
    return {
        (family, own): table.values[row * table.width + table.width - 1]
        for (family, _), table in rig.feed.tables.items()
        for own, row in table.index.items()
    }


def width(family: Family) -> int:
    """Series that a row is sent as."""
    return len(family.buckets) + 3 if family.buckets else 1


async def count(rig: Rig, family: Family, own: Sequence[tuple[str, ...]], name: str = "k") -> None:
    """Each once."""
    await rig.count(*(Observation(f"{name}{number}", (Increment(family, each, 1),)) for number, each in enumerate(own)))


def show(rig: Rig, updates: Sequence[tuple[Family, tuple[str, ...]]]) -> None:
    """These gauges and no others."""
    now = rig.wall()
    rig.store.apply(rig.feed, Collected([Update(family, own, 1.0, now, "1") for family, own in updates], ["1"]), now)


def jobs(*numbers: int, status: str = "success") -> list[tuple[Family, tuple[str, ...]]]:
    """The gauges of jobs."""
    return [(GITLAB.job_status, (PROJECT, "main", "test", f"job {number}", status, "")) for number in numbers]


def shown(rig: Rig) -> list[tuple[str, str]]:
    """(job's name, its status) of these."""
    return sorted((own[3], own[4]) for family, own in rows(rig) if family is GITLAB.job_status)


@pytest.mark.parametrize("declared", [*GITLAB.counted, *GITLAB_GAUGES, *GITHUB.counted], ids=lambda family: family.name)
def test_labels_that_a_cap_leaves_alone_say_words_of_lists_classes_or_the_project(declared: Family) -> None:
    classes = {"ref"} if declared in GITHUB.counted else set()

    assert set(declared.labels) - set(declared.wide) <= {declared.project} | CLOSED.keys() | classes
    assert declared.project


STEPS = st.lists(
    st.tuples(st.sampled_from([*GITLAB.counted, *GITLAB_GAUGES]), st.lists(st.integers(0, 29), min_size=3, max_size=6))
)


@settings(max_examples=40)
@given(cap=st.integers(1, 60), batches=st.lists(STEPS, max_size=6))
def test_a_project_stays_within_its_cap_and_every_count_counts(cap: int, batches: list[list[Step]]) -> None:
    counted: Counter[tuple[Family, tuple[str, ...]]] = Counter()

    async def run() -> None:
        async with committing(Rig(limits={"max_series_per_project": cap})) as rig:
            for number, steps in enumerate(batches):
                named = [(family, labels(family, picks)) for family, picks in steps]
                totals = [(family, own) for family, own in named if family.kind is not Kind.GAUGE]
                for place, (family, own) in enumerate(totals):
                    await rig.count(Observation(f"k{number}:{place}", (Increment(family, own, 1),)))
                    counted[family, folded(family, own)] += 1
                show(rig, list(dict.fromkeys(step for step in named if step not in totals)))
                check(rig, cap, counted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio.to_thread, "run_sync", outage.in_virtual_time)
        anyio.run(run, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def check(rig: Rig, cap: int, counted: Counter[tuple[Family, tuple[str, ...]]]) -> None:
    """Series, and sums by what does not fold."""
    own: Counter[str] = Counter()
    sums: Counter[tuple[Family, tuple[str, ...]]] = Counter()
    for (family, found), value in rows(rig).items():
        if found != folded(family, found):
            own[found[family.labels.index(family.project)]] += width(family) if family.wide else 0
        if family.kind is not Kind.GAUGE:
            sums[family, folded(family, found)] += int(value)
            assert found != folded(family, found) or (family, found) in counted
    assert max(own.values(), default=0) <= cap
    assert own == rig.feed.caps.by_project
    assert sums == counted


async def test_no_family_escapes_the_cap_of_its_project() -> None:
    async with committing(Rig(limits={"max_series_per_project": 100})) as rig:
        for family in GITLAB.counted:
            own = [
                tuple(PROJECT if n == "project" else n if n in CLOSED else f"{n}-{k}" for n in family.labels) for k in range(120)
            ]
            await count(rig, family, own, family.name)
        show(rig, jobs(*range(120)))

        found = rows(rig)
        own_series = sum(width(family) for family, own in found if own != folded(family, own))
        assert own_series <= 100
        assert len(found) <= own_series + len(GITLAB.counted)


async def test_what_fills_a_source_does_not_hide_what_is_counted_next() -> None:
    async with committing(Rig(limits={"max_series": 200})) as rig:
        deployments = [(PROJECT, f"review/topic-{number}") for number in range(500)]
        await count(rig, GITLAB.environment_deployment_count, deployments, "d")
        show(rig, jobs(*range(500)))
        await count(rig, GITLAB.job_run_count, [(PROJECT, "main", "test", f"job {number}") for number in range(50)], "j")

        assert rows(rig)[GITLAB.job_run_count, (PROJECT, OVERFLOW, OVERFLOW, OVERFLOW)] == 50
        assert rig.feed.series <= 200


async def test_gauges_leave_room_in_a_source_for_what_overflows() -> None:
    async with committing(Rig(limits={"max_series": 100})) as rig:
        show(rig, jobs(*range(500)))
        await count(rig, GITLAB.job_run_count, [(PROJECT, "main", "test", "build")])

        assert len(shown(rig)) == 90
        assert rows(rig)[GITLAB.job_run_count, (PROJECT, OVERFLOW, OVERFLOW, OVERFLOW)] == 1


async def test_gauges_beyond_the_cap_of_a_project_are_left_out_and_counted() -> None:
    async with committing(Rig(limits={"max_series_per_project": 3})) as rig:
        show(rig, jobs(*range(5)))

        assert (len(shown(rig)), rig.store.counts["refused", "project_limit"]) == (3, 2)


async def test_gauges_that_are_there_stay_whatever_else_is_listed() -> None:
    async with committing(Rig(limits={"max_series_per_project": 3})) as rig:
        show(rig, jobs(5, 6, 7))
        for _ in range(3):
            await anyio.sleep(400)
            show(rig, jobs(*range(10)))

        assert [name for name, _ in shown(rig)] == ["job 5", "job 6", "job 7"]


async def test_a_job_at_the_cap_keeps_its_place_when_its_status_changes() -> None:
    async with committing(Rig(limits={"max_series_per_project": 3})) as rig:
        show(rig, jobs(*range(5), status="running"))
        await anyio.sleep(15)
        show(rig, jobs(0, 1, 2, status="success") + jobs(3, 4, status="running"))

        assert shown(rig) == [("job 0", "success"), ("job 1", "success"), ("job 2", "success")]


async def test_what_ends_makes_room_for_others() -> None:
    async with committing(Rig(limits={"max_series_per_project": 3})) as rig:
        show(rig, jobs(0, 1, 2))
        show(rig, jobs(0))
        await count(rig, GITLAB.job_run_count, [(PROJECT, "main", "test", f"job {number}") for number in range(3)])

        own = [each for family, each in rows(rig) if family is GITLAB.job_run_count]
        assert (len(own), rig.monitor.value(FOLDED, ("s",))) == (3, 1)


async def test_other_projects_do_not_feel_the_cap_of_one() -> None:
    async with committing(Rig(limits={"max_series_per_project": 3})) as rig:
        await count(rig, GITLAB.environment_deployment_count, [(PROJECT, f"e{number}") for number in range(9)], "a")
        await count(rig, GITLAB.environment_deployment_count, [("acme/other", f"e{number}") for number in range(3)], "b")

        assert sum(own[0] == "acme/other" for _, own in rows(rig)) == 3
        assert (GITLAB.environment_deployment_count, ("acme/other", OVERFLOW)) not in rows(rig)


async def test_people_are_told_which_projects_are_over_their_cap_for_as_long_as_they_are() -> None:
    async with committing(Rig(limits={"max_series_per_project": 3})) as rig:
        await count(rig, GITLAB.environment_deployment_count, [(PROJECT, f"e{number}") for number in range(3)])
        before = rig.feed.caps.remarks(rig.wall())
        await count(rig, GITLAB.environment_deployment_count, [(PROJECT, "e3")], "l")
        show(rig, [(GITLAB.environment_behind_commits, ("acme/other", f"e{number}")) for number in range(4)])

        (said,) = rig.feed.caps.remarks(rig.wall())
        assert (before, rig.feed.caps.remarks(rig.wall() + 3601)) == ([], [])
        assert said.startswith("max_series_per_project: more series than 3 in acme/other and 1 more; ")


async def test_gauges_do_not_take_the_place_of_what_is_being_written() -> None:
    async with committing(Rig(limits={"max_series_per_project": 3})) as rig, anyio.create_task_group() as callers:
        callers.start_soon(
            count, rig, GITLAB.job_run_count, [(PROJECT, "main", "test", "build"), (PROJECT, "main", "test", "lint")]
        )
        await anyio.sleep(outage.THREAD_SECONDS / 2)
        show(rig, jobs(0, 1, 2))
        await anyio.sleep(1)

        assert (rig.feed.caps.by_project[PROJECT], len(shown(rig))) == (3, 1)
