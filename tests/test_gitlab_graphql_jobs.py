"""Jobs by GraphQL: all of them, many projects a request, and what comes of pipelines that move or are too large."""

from __future__ import annotations

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.objects import Job
from tests.gitlab_api import NOW, SDL, Instance, Json, child, job, known, moment, pipeline, project, reader, seen

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def ids(found: list[Job] | CollectError) -> list[int]:
    assert isinstance(found, list), found
    return sorted(one.id for one in found)


def with_jobs(number: int, count: int, updated: int = NOW) -> Json:
    return pipeline(number, updated, jobs=[job(number * 1000 + place) for place in range(count)])


async def test_a_job_is_read_whole() -> None:
    instance = Instance(project(1, [pipeline(7, jobs=[job(70)])]))

    found = await reader(instance).jobs({known(1): [seen(7)]})

    assert found[7] == [
        Job(70, "compile", "build", "success", NOW - 70, NOW - 50, NOW - 10, 40, 2, False, "group", "", 1024),
    ]


async def test_what_is_not_told_is_not_made_up() -> None:
    bare = dict.fromkeys(("startedAt", "finishedAt", "duration", "queuedDuration", "stage", "runner", "artifacts", "retried"))
    instance = Instance(project(1, [pipeline(7, jobs=[job(70, status="MANUAL", **bare)])]))

    found = await reader(instance).jobs({known(1): [seen(7)]})

    assert found[7] == [Job(70, "compile", "", "manual", NOW - 70)]


async def test_a_job_that_may_fail_is_told_from_one_that_may_not() -> None:
    jobs = [job(70, status="FAILED"), job(71, status="FAILED", allowFailure=True)]
    instance = Instance(project(1, [pipeline(7, jobs=jobs)]))

    found = await reader(instance).jobs({known(1): [seen(7)]})

    assert isinstance(found[7], list)
    assert [one.status for one in found[7]] == ["failed", "failed_with_warnings"]


async def test_retried_jobs_are_read_as_well_and_trigger_jobs_are_not() -> None:
    jobs = [
        job(70, retried=True),
        job(71),
        job(72, id="gid://gitlab/Ci::Bridge/72"),
        job(73, id="gid://gitlab/GenericCommitStatus/73"),
    ]
    instance = Instance(project(1, [pipeline(7, jobs=jobs)]))
    asking = reader(instance)

    found = await asking.jobs({known(1): [seen(7)]})

    assert isinstance(found[7], list)
    assert [(one.id, one.is_retried) for one in found[7]] == [(70, True), (71, False)]
    assert not asking.malformed


async def test_why_a_job_failed_is_a_word() -> None:
    said = (None, "There has been a runner system failure, please try again", "etwas ganz anderes")
    jobs = [job(70 + place, status="FAILED", failureMessage=message) for place, message in enumerate(said)]
    instance = Instance(project(1, [pipeline(7, jobs=jobs)]))

    found = await reader(instance).jobs({known(1): [seen(7)]})

    assert isinstance(found[7], list)
    assert [one.failure_reason for one in found[7]] == ["script_failure", "runner_system_failure", "other"]


async def test_where_the_version_does_not_tell_why_nothing_is_made_up() -> None:
    instance = Instance(
        project(1, [pipeline(7, jobs=[job(70, status="FAILED")])]), sdl=SDL.replace("failureMessage: String ", "")
    )

    found = await reader(instance).jobs({known(1): [seen(7)]})

    assert isinstance(found[7], list)
    assert found[7][0].failure_reason == ""


async def test_without_runner_details_no_runner_is_asked_for() -> None:
    instance = Instance(project(1, [pipeline(7, jobs=[job(70)])]))

    found = await reader(instance, collectors={"jobs": {"include_runner_details": False}}).jobs({known(1): [seen(7)]})

    assert isinstance(found[7], list)
    assert found[7][0].runner_type == "unknown"
    assert not any("runner" in query for query in instance.queries)


@pytest.mark.parametrize(
    "broken",
    [
        {"id": "seven"},
        {"id": "gid://gitlab/Ci::Build/"},
        {"id": f"gid://gitlab/Ci::Build/{'9' * 30}"},
        {"id": None},
        {"createdAt": "long ago"},
        {"stage": {}},
    ],
)
async def test_a_job_that_is_none_is_left_out_and_counted(broken: Json) -> None:
    instance = Instance(project(1, [pipeline(7, jobs=[job(70, **broken), job(71)])]))
    asking = reader(instance)

    found = await asking.jobs({known(1): [seen(7)]})

    kept = [70, 71] if broken == {"stage": {}} else [71]  # a stage without a name is none
    assert (ids(found[7]), sum(asking.malformed.values())) == (kept, 2 - len(kept))


async def test_all_pages_of_a_large_pipeline_are_read() -> None:
    instance = Instance(project(1, [with_jobs(7, 250), with_jobs(8, 3)]))

    found = await reader(instance).jobs({known(1): [seen(7), seen(8)]})

    assert (ids(found[7]), ids(found[8])) == (list(range(7000, 7250)), [8000, 8001, 8002])


async def test_children_and_their_parents_are_read_together() -> None:
    instance = Instance(project(1, [with_jobs(7, 2), child(8, jobs=[job(80)])]), project(2, [with_jobs(9, 1)]))
    wanted = {known(1): [seen(7), seen(8, source="parent_pipeline")], known(2): [seen(9)]}

    found = await reader(instance).jobs(wanted)

    assert [ids(found[number]) for number in (7, 8, 9)] == [[7000, 7001], [80], [9000]]
    assert len(instance.requests) == 2  # and the schema


async def test_a_pipeline_that_moved_meanwhile_is_asked_for_by_its_id() -> None:
    instance = Instance(project(1, [with_jobs(7, 2, NOW + 500), with_jobs(8, 1)]))

    found = await reader(instance).jobs({known(1): [seen(7), seen(8)]})

    assert (ids(found[7]), ids(found[8])) == ([7000, 7001], [8000])
    assert len(instance.requests) == 3


async def test_one_that_others_push_off_the_page_is_asked_for_by_its_id() -> None:
    others = [with_jobs(number, 1) for number in range(100, 150)]
    instance = Instance(project(1, [with_jobs(7, 2), *others]))

    found = await reader(instance).jobs({known(1): [seen(7)]})

    assert ids(found[7]) == [7000, 7001]
    assert list(found) == [7]


async def test_a_pipeline_that_is_gone_is_said_to_be() -> None:
    instance = Instance(project(1, [with_jobs(7, 1)]))

    found = await reader(instance).jobs({known(1): [seen(7), seen(8)], known(2): [seen(9)]})

    assert ids(found[7]) == [7000]
    assert [getattr(found[number], "kind", "") for number in (8, 9)] == ["missing", "missing"]


async def test_jobs_that_may_not_be_seen_fail_that_pipeline_alone() -> None:
    instance = Instance(project(1, [with_jobs(7, 1), with_jobs(8, 1)]))
    instance.broken["gid://gitlab/Ci::Pipeline/7", "jobs"] = "no such permission"

    found = await reader(instance).jobs({known(1): [seen(7), seen(8)]})

    assert isinstance(found[7], CollectError)
    assert ids(found[8]) == [8000]


async def test_jobs_that_an_error_took_the_place_of_are_asked_for_again_and_then_counted() -> None:
    instance = Instance(project(1, [pipeline(7, jobs=[job(70), job(71, createdAt=None)])]))
    asking = reader(instance)

    found = await asking.jobs({known(1): [seen(7)]})

    assert (ids(found[7]), asking.malformed) == ([70], {"job": 1})
    assert len(instance.requests) == 3


async def test_a_pipeline_without_jobs_has_none() -> None:
    instance = Instance(project(1, [pipeline(7)]))

    assert await reader(instance).jobs({known(1): [seen(7)]}) == {7: []}
    assert await reader(instance).jobs({}) == {}


def jobs_in(data: Json) -> int:
    """How many job nodes an answer has."""
    return sum(
        len(one["jobs"]["nodes"])
        for found in data.get("projects", {}).get("nodes", ())
        for alias in ("main", "children")
        for one in (found.get(alias) or {"nodes": []})["nodes"]
    )


async def test_questions_grow_while_answers_come_quickly() -> None:
    many = 120
    instance = Instance(*(project(number, [with_jobs(number, 50)]) for number in range(1, many + 1)))
    sizes: list[int] = []
    instance.seconds = lambda data: sizes.append(jobs_in(data)) or 0.1  # type: ignore[func-returns-value]
    await anyio.sleep(1000)

    found = await reader(instance, max_concurrent_requests=1).jobs(
        {known(number): [seen(number)] for number in range(1, many + 1)}
    )

    assert len(found) == many
    assert sizes == [0, 1000, 2000, 3000]  # the first is the schema


async def test_questions_shrink_when_an_answer_does_not_come() -> None:
    many = 60
    instance = Instance(*(project(number, [with_jobs(number, 50)]) for number in range(1, many + 1)))
    instance.seconds = lambda data: 0.05 * jobs_in(data)
    instance.most_seconds = 29.0
    asking = reader(instance, max_concurrent_requests=1)
    wanted = {known(number): [seen(number)] for number in range(1, many + 1)}

    assert all(len(ids(one)) == 50 for one in (await asking.jobs(wanted)).values())
    before = len(instance.requests)
    assert len(await asking.jobs(wanted)) == many

    assert len(instance.requests) - before == 6  # 500 jobs each, as was found out the first time


async def test_a_pipeline_that_is_too_much_even_alone_fails_alone() -> None:
    instance = Instance(project(1, [with_jobs(7, 90), with_jobs(8, 1), with_jobs(9, 1)]))
    instance.most_seconds = 29.0
    instance.seconds = lambda data: 99.0 if "7000" in str(data) else 0.1

    found = await reader(instance).jobs({known(1): [seen(7), seen(8), seen(9)]})

    assert isinstance(found[7], CollectError)
    assert (ids(found[8]), ids(found[9])) == ([8000], [9000])


async def test_five_hundred_pipelines_of_one_project_are_read() -> None:
    instance = Instance(project(1, [with_jobs(number, 1, NOW - number) for number in range(1, 501)]))

    found = await reader(instance).jobs({known(1): [seen(number, NOW - number) for number in range(1, 501)]})

    assert {number: ids(one) for number, one in found.items()} == {number: [number * 1000] for number in range(1, 501)}


async def test_a_limit_that_lasts_ends_the_reading() -> None:
    instance = Instance(project(1, [with_jobs(7, 1)]))
    asking = reader(instance)
    await asking.jobs({known(1): [seen(7)]})
    instance.script["/api/graphql"] = [httpx.Response(429, headers={"retry-after": "3000"}) for _ in range(5)]

    with pytest.raises(CollectError) as caught:
        await asking.jobs({known(1): [seen(7)]})

    assert caught.value.kind == "rate_limit"


async def test_times_of_other_clocks_and_fractions_are_understood() -> None:
    instance = Instance(project(1, [pipeline(7, jobs=[job(70, finishedAt=(moment(NOW) or "").replace("Z", ".987+00:00"))])]))

    found = await reader(instance).jobs({known(1): [seen(7)]})

    assert isinstance(found[7], list)
    assert found[7][0].finished == NOW
