"""Pipelines by GraphQL: what has not ended, heads of branches and tags, single pipelines and their reports."""

from __future__ import annotations

import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.objects import Report
from tests.gitlab_api import NOW, Instance, child, known, moment, pipeline, project, reader

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


# -- what has not ended ----------------------------------------------------------------------------------


async def test_everything_that_has_not_ended_is_found_however_old() -> None:
    statuses = ("CREATED", "PENDING", "RUNNING", "MANUAL", "SCHEDULED", "SUCCESS", "FAILED", "CANCELED", "SKIPPED")
    pipelines = [pipeline(number, NOW - 10_000_000, status) for number, status in enumerate(statuses, 1)]
    pipelines.append(child(20, NOW - 10_000_000, status="RUNNING"))
    instance = Instance(project(1, pipelines))

    found = (await reader(instance).unfinished([known(1)])).pipelines[1]

    assert sorted(one.id for one in found) == [1, 2, 3, 4, 5, 20]


async def test_more_than_a_page_of_one_status_is_found() -> None:
    instance = Instance(project(1, [pipeline(number, NOW - 999, "MANUAL") for number in range(1, 101)]))

    found = (await reader(instance).unfinished([known(1)])).pipelines[1]

    assert len(found) == 100


async def test_what_slips_from_one_status_to_another_meanwhile_is_found() -> None:
    running = pipeline(7, NOW - 999, "MANUAL")
    instance = Instance(project(1, [running]))

    def answered(data: object) -> float:
        if "status:RUNNING" in instance.queries[-1]:
            running.update(status="RUNNING", updatedAt=moment(NOW + 1))
        return 0.1

    instance.seconds = answered

    found = (await reader(instance).unfinished([known(1)])).pipelines[1]

    assert [(one.id, one.status) for one in found] == [(7, "running")]


async def test_what_changed_before_a_second_is_found_without_what_changed_after() -> None:
    pipelines = [pipeline(number, NOW - 100 + number) for number in range(1, 41)]
    instance = Instance(project(1, [*pipelines, child(50, NOW - 90), child(51, NOW - 70)]))

    found = (await reader(instance).changed([known(1)], NOW - 95, NOW - 75)).pipelines[1]

    assert sorted(one.id for one in found) == [*range(5, 25), 50]


# -- heads -----------------------------------------------------------------------------------------------


async def test_heads_are_what_ran_last_on_branches_and_tags() -> None:
    instance = Instance(project(1, [pipeline(7), pipeline(8, ref="v1", refPath="refs/tags/v1")]))

    found = await reader(instance).heads([known(1)])

    assert sorted(one.id for one in found.pipelines[1]) == [7, 8]


async def test_of_very_many_branches_some_hundreds_are_read() -> None:
    instance = Instance(project(1, [pipeline(number) for number in range(1, 1001)]))

    found = await reader(instance).heads([known(1)])

    assert [one.id for one in found.pipelines[1]] == list(range(1000, 650, -1))


async def test_of_very_many_pipelines_that_wait_the_newest_are_registered() -> None:
    instance = Instance(project(1, [pipeline(number, status="MANUAL") for number in range(1, 2601)]))

    found = await reader(instance).unfinished([known(1)])

    assert found.failed == {}
    assert [one.id for one in found.pipelines[1]][:2000] == list(range(2600, 600, -1))
    assert len(instance.requests) < 60


# -- pipelines by id, reports ----------------------------------------------------------------------------


async def test_pipelines_by_id_are_there_or_not() -> None:
    instance = Instance(project(1, [pipeline(7), child(8)]))

    found = await reader(instance).pipelines({known(1): [7, 8, 9], known(2): [10]})

    assert {number: getattr(one, "status", None) for number, one in found.items() if number < 10} == {
        7: "success",
        8: "success",
        9: None,
    }
    assert isinstance(found[10], CollectError)
    assert found[10].kind == "missing"


async def test_a_pipeline_by_id_that_could_not_be_read_is_not_taken_for_gone() -> None:
    instance = Instance(project(1, [pipeline(7)]))
    instance.broken["gid://gitlab/Project/1", "pipeline"] = "Timeout on Project.pipeline"

    found = await reader(instance).pipelines({known(1): [7]})

    assert isinstance(found[7], CollectError)
    assert found[7].kind == "timeout"


async def test_each_pipeline_by_id_has_the_error_that_is_about_it() -> None:
    instance = Instance(project(1, [pipeline(7), pipeline(8), pipeline(9)]))
    asking = reader(instance)
    await asking.changed([known(1)], NOW)
    shown = {**pipeline(7), "jobs": None}
    body = {
        "data": {
            "r1": {"nodes": [{"id": "gid://gitlab/Project/1", "fullPath": "acme/shop-1", "p7": shown, "p8": None, "p9": None}]}
        },
        "errors": [{"message": "not you", "path": ["r1", "nodes", 0, "p8"]}, {"message": "x", "path": ["r2"]}],
    }
    instance.script["/api/graphql"] = [httpx.Response(200, json=body)]

    found = await asking.pipelines({known(1): [7, 8, 9]})

    assert getattr(found[7], "id", None) == 7
    assert "not you" in str(found[8])
    assert found[9] is None


def report(count: int) -> dict[str, object]:
    totals = {"time": 2.5, "count": count, "success": count, "failed": 0, "skipped": 0, "error": 0}
    suite = {
        "name": "unit",
        "totalTime": 2.5,
        "totalCount": count,
        "successCount": count,
        "failedCount": 0,
        "skippedCount": 0,
        "errorCount": 0,
    }
    return {"total": totals, "testSuites": {"nodes": [suite]}}


async def test_reports_are_read_where_there_are_any() -> None:
    instance = Instance(
        project(1, [pipeline(7, testReportSummary=report(3)), pipeline(8, testReportSummary=report(0)), pipeline(9)])
    )

    found = await reader(instance).reports({known(1): [7, 8, 9, 10]})

    assert list(found) == [7]
    assert isinstance(found[7], Report)
    assert (found[7].totals.seconds, found[7].totals.total, found[7].suites[0][0], found[7].suites[0][1].success) == (
        2.5,
        3,
        "unit",
        3,
    )
