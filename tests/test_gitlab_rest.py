"""Pipelines and jobs read by the REST API alone."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.objects import Project, Report, Totals, Upstream
from agent.sources.gitlab.rest import RestReader
from tests.gitlab_rest import NOW, SHOP, GitLab, Run, job, moment, options

pytestmark = pytest.mark.anyio
TILL = Project(8, "acme/till")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


async def test_a_changed_pipeline_is_read_with_what_lists_leave_out() -> None:
    reader = RestReader(GitLab(Run(1, coverage="81.50", group="success-with-warnings")), options())

    found = await reader.changed([SHOP], NOW - 200)

    [pipeline] = found.pipelines[7]
    assert (pipeline.status, pipeline.duration, pipeline.queued, pipeline.coverage) == ("success_with_warnings", 395, 5, 81.5)
    assert (pipeline.kind, pipeline.created, pipeline.finished) == ("branch", NOW - 500, NOW - 100)


async def test_the_second_asked_for_is_part_of_what_is_read_and_what_is_older_is_not() -> None:
    reader = RestReader(GitLab(Run(1, updated=NOW - 51), Run(2, updated=NOW - 50)), options())

    found = await reader.changed([SHOP], NOW - 50)

    assert [pipeline.id for pipeline in found.pipelines[7]] == [2]


async def test_the_servers_clock_is_that_of_the_first_answer() -> None:
    assert (await RestReader(GitLab(Run(1)), options()).changed([SHOP], 0)).date == NOW + 0.05


async def test_nothing_is_lost_when_a_pipeline_changes_while_pages_are_read() -> None:
    gitlab = GitLab(*(Run(number, updated=NOW - 1000 + number) for number in range(1, 31)))

    def change(count: int) -> None:
        if count == 1:  # it was on the first page, and moves to the end: everything behind it moves up
            gitlab.runs[0].updated = NOW

    gitlab.then = change

    found = await RestReader(gitlab, options(rest_page_size=10)).changed([SHOP], NOW - 2000)

    assert [pipeline.id for pipeline in found.pipelines[7]] == list(range(1, 31))


async def test_a_page_of_pipelines_of_one_second_does_not_stop_the_reading() -> None:
    gitlab = GitLab(*(Run(number) for number in range(1, 36)))

    found = await RestReader(gitlab, options(rest_page_size=10)).changed([SHOP], NOW - 2000)

    assert len(found.pipelines[7]) == 35


async def test_a_pipeline_that_has_not_changed_is_not_asked_for_again() -> None:
    gitlab = GitLab(Run(1), Run(2, status="running"))
    reader = RestReader(gitlab, options())
    first = await reader.changed([SHOP], 0)
    gitlab.asked.clear()

    assert (await reader.changed([SHOP], 0)).pipelines == first.pipelines
    assert gitlab.count("/pipelines/1") + gitlab.count("/pipelines/2") == 0


async def test_a_pipeline_that_was_run_again_is_read_anew() -> None:
    gitlab = GitLab(Run(1))
    reader = RestReader(gitlab, options())
    await reader.changed([SHOP], 0)
    gitlab.runs[0].status, gitlab.runs[0].updated = "running", NOW

    assert (await reader.changed([SHOP], 0)).pipelines[7][0].status == "running"


async def test_children_of_children_are_found_with_their_parents_and_bridges() -> None:
    leaf = Run(3, ref="main", source="parent_pipeline")
    child = Run(2, ref="main", source="parent_pipeline", triggers=[("run leaf", leaf)])
    gitlab = GitLab(Run(1, triggers=[("run child", child)]), child, leaf)

    found = (await RestReader(gitlab, options()).changed([SHOP], 0)).pipelines[7]

    assert [(pipeline.id, pipeline.upstream) for pipeline in found] == [
        (1, None),
        (2, Upstream("acme/shop", "main", "run child", "branch", 1)),
        (3, Upstream("acme/shop", "main", "run leaf", "branch", 2)),
    ]


async def test_a_child_that_changes_alone_is_found_and_its_parent_looked_for() -> None:
    child = Run(2, ref="v1", source="parent_pipeline", updated=NOW)
    gitlab = GitLab(Run(1, ref="v1", tag=True, updated=NOW - 400, triggers=[("deploy", child)]), child)

    found = (await RestReader(gitlab, options()).changed([SHOP], NOW - 10)).pipelines[7]

    assert [(pipeline.id, pipeline.upstream) for pipeline in found] == [(2, Upstream("acme/shop", "v1", "deploy", "tag", 1))]


async def test_a_child_whose_parent_cannot_be_found_is_looked_for_once() -> None:
    gitlab = GitLab(Run(2, source="parent_pipeline"))
    reader = RestReader(gitlab, options())
    await reader.changed([SHOP], 0)
    found = (await reader.changed([SHOP], 0)).pipelines[7]

    assert [(pipeline.id, pipeline.upstream) for pipeline in found] == [(2, None)]
    assert sum("sha" in params for _, params in gitlab.asked) == 1


async def test_a_pipeline_triggered_in_another_project_is_that_projects_and_has_its_upstream() -> None:
    down = Run(2, source="pipeline", project=8)
    gitlab = GitLab(Run(1, triggers=[("release", down)]), down)

    found = (await RestReader(gitlab, options()).changed([SHOP, TILL], 0)).pipelines

    assert [pipeline.id for pipeline in found[7]] == [1]
    assert [(pipeline.id, pipeline.upstream) for pipeline in found[8]] == [
        (2, Upstream("acme/shop", "main", "release", "branch", 1))
    ]


async def test_children_are_left_out_where_they_are_not_wanted() -> None:
    child = Run(2, source="parent_pipeline")
    gitlab = GitLab(Run(1, triggers=[("deploy", child)]), child)
    alone = options(collectors={"pipelines": {"include_child_pipelines": False}})

    found = await RestReader(gitlab, alone).changed([SHOP], 0)

    assert [pipeline.id for pipeline in found.pipelines[7]] == [1]


async def test_a_pipeline_deleted_after_it_was_listed_is_left_out_and_the_rest_is_read() -> None:
    gitlab = GitLab(Run(1), Run(2))
    gitlab.more["/projects/7/pipelines/1"] = CollectError("missing", "404 Not found")

    found = await RestReader(gitlab, options()).changed([SHOP], 0)

    assert [pipeline.id for pipeline in found.pipelines[7]] == [2]


async def test_a_malformed_pipeline_is_lost_alone_and_counted() -> None:
    gitlab = GitLab(Run(1), Run(2))
    gitlab.more["/projects/7/pipelines/1"] = gitlab.runs[0].page() | {"created_at": "yesterday"}
    reader = RestReader(gitlab, options())

    found = await reader.changed([SHOP], 0)

    assert [pipeline.id for pipeline in found.pipelines[7]] == [2]
    assert reader.malformed == {"pipeline": 1}


async def test_a_project_that_cannot_be_read_fails_alone() -> None:
    gitlab = GitLab(Run(1), Run(2, project=8))
    gitlab.more["/projects/8/pipelines"] = CollectError("forbidden", "403 Forbidden")

    found = await RestReader(gitlab, options()).changed([SHOP, TILL], 0)

    assert list(found.pipelines) == [7]
    assert found.failed[8].kind == "forbidden"


async def test_a_token_that_is_refused_everywhere_is_an_error_of_all() -> None:
    gitlab = GitLab(Run(1))
    gitlab.more["/projects/7/pipelines"] = gitlab.more["/projects/8/pipelines"] = CollectError("auth", "401 Unauthorized")

    with pytest.raises(CollectError, match="401"):
        await RestReader(gitlab, options()).changed([SHOP, TILL], 0)


async def test_a_limit_that_is_reached_ends_the_asking_and_keeps_what_was_read() -> None:
    others = [Project(number, f"acme/p{number}") for number in range(20, 60)]
    gitlab = GitLab(Run(1))
    gitlab.more |= {f"/projects/{other.id}/pipelines": CollectError("rate_limit", "429") for other in others}

    found = await RestReader(gitlab, options(max_concurrent_requests=2)).changed([SHOP, *others], 0)

    assert [pipeline.id for pipeline in found.pipelines[7]] == [1]
    assert len(found.failed) == 40
    assert gitlab.count("/pipelines") < 10


async def test_a_project_that_was_renamed_is_told_under_its_new_name() -> None:
    found = await RestReader(GitLab(Run(1)), options()).changed([SHOP._replace(path="acme/old")], 0)

    assert found.paths == {7: "acme/shop"}


async def test_a_merge_requests_pipeline_has_its_number_and_state() -> None:
    gitlab = GitLab(Run(1, ref="refs/merge-requests/12/merge", source="merge_request_event"))
    gitlab.requests[12] = "merged"

    [pipeline] = (await RestReader(gitlab, options()).changed([SHOP], 0)).pipelines[7]

    assert (pipeline.kind, pipeline.merge_request, pipeline.merge_request_state) == ("merge_request", 12, "merged")


async def test_merge_requests_that_cannot_be_read_leave_their_state_open() -> None:
    gitlab = GitLab(Run(1, ref="refs/merge-requests/12/head"))
    gitlab.more["/projects/7/merge_requests"] = CollectError("forbidden", "403 Forbidden")

    [pipeline] = (await RestReader(gitlab, options()).changed([SHOP], 0)).pipelines[7]

    assert (pipeline.merge_request, pipeline.merge_request_state) == (12, "")


async def test_jobs_are_read_with_their_retries_and_the_highest_number_of_a_name_is_the_one_that_holds() -> None:
    run = Run(1, jobs=[job(31, "lint"), job(30), job(33, status="failed", failure_reason="script_failure"), job(32)])
    gitlab = GitLab(run)
    reader = RestReader(gitlab, options())
    pipelines = (await reader.changed([SHOP], 0)).pipelines[7]

    jobs = (await reader.jobs({SHOP: pipelines}))[1]

    assert not isinstance(jobs, CollectError)
    assert [(each.id, each.is_retried) for each in jobs] == [(30, True), (31, False), (32, True), (33, False)]
    assert (jobs[0].duration, jobs[0].queued, jobs[0].runner_type, jobs[0].artifacts_bytes) == (50, 7, "group", 1024)
    assert gitlab.asked[-1][1]["include_retried"] == "true"


async def test_runner_types_are_unknown_where_they_are_not_wanted() -> None:
    without = options(collectors={"jobs": {"include_runner_details": False}})
    reader = RestReader(GitLab(Run(1, jobs=[job(30)])), without)
    pipelines = (await reader.changed([SHOP], 0)).pipelines[7]

    [found] = (await reader.jobs({SHOP: pipelines}))[1]  # type: ignore[misc]

    assert found.runner_type == "unknown"


async def test_jobs_that_cannot_be_read_are_an_error_of_their_pipeline() -> None:
    gitlab = GitLab(Run(1, jobs=[job(30)]), Run(2))
    reader = RestReader(gitlab, options())
    pipelines = (await reader.changed([SHOP], 0)).pipelines[7]
    gitlab.more["/projects/7/pipelines/2/jobs"] = CollectError("status", "HTTP 500")

    found = await reader.jobs({SHOP: pipelines})

    assert isinstance(found[1], list)
    assert isinstance(found[2], CollectError)


async def test_a_pipeline_asked_for_by_its_number_is_read_even_if_it_is_known() -> None:
    gitlab = GitLab(Run(1))
    reader = RestReader(gitlab, options())
    await reader.changed([SHOP], 0)
    gitlab.runs[0].status = "failed"

    found = await reader.pipelines({SHOP: [1, 99]})

    assert [None if found[number] is None else found[number].status for number in (1, 99)] == ["failed", None]  # type: ignore[union-attr]


async def test_a_pipeline_is_not_gone_because_its_project_is_out_of_sight() -> None:
    reader = RestReader(GitLab(), options())

    found = (await reader.pipelines({SHOP: [1]}))[1]

    assert isinstance(found, CollectError)


async def test_unfinished_pipelines_of_a_small_project_take_one_list_each_and_of_children_another() -> None:
    child = Run(3, status="manual", source="parent_pipeline")
    gitlab = GitLab(Run(1), Run(2, status="running", triggers=[("deploy", child)]), child)

    found = await RestReader(gitlab, options()).unfinished([SHOP])

    assert [(pipeline.id, pipeline.status) for pipeline in found.pipelines[7]] == [(2, "running"), (3, "manual")]
    assert gitlab.count("/pipelines") == 2


async def test_unfinished_pipelines_below_the_first_page_are_asked_for_by_their_status() -> None:
    gitlab = GitLab(Run(1, status="scheduled"), *(Run(number) for number in range(2, 40)))

    found = await RestReader(gitlab, options(rest_page_size=10)).unfinished([SHOP])

    assert [pipeline.id for pipeline in found.pipelines[7]] == [1]


@pytest.mark.parametrize(("ref", "heads"), [("name", [(2, "branch"), (4, "tag")]), ("class", [(3, "branch"), (4, "tag")])])
async def test_heads_are_the_newest_of_each_ref_that_may_be_shown(ref: str, heads: list[tuple[int, str]]) -> None:
    runs = [Run(1), Run(2), Run(3, ref="feature"), Run(4, ref="v1.0", tag=True), Run(5, ref="nightly", tag=True)]

    found = await RestReader(GitLab(*runs), options(labels={"ref": ref})).heads([SHOP._replace(default_branch="feature")])

    assert [(pipeline.id, pipeline.kind) for pipeline in found.pipelines[7]] == heads


async def test_heads_follow_the_widest_rule_there_is() -> None:
    keys = {"project_defaults": {"refs": {"tags": {"most_recent": 1}}}}
    keys |= {"wildcards": [{"refs": {"branches": {"regexp": "^feature$"}}}]}  # type: ignore[dict-item]
    runs = [Run(3, ref="feature"), Run(4, ref="v1", tag=True), Run(5, ref="v2", tag=True), Run(6, ref="v3", updated=1, tag=True)]

    found = await RestReader(GitLab(*runs), options(**keys)).heads([SHOP])

    assert [pipeline.id for pipeline in found.pipelines[7]] == [3, 5]


async def test_test_reports_are_read_in_summary_and_empty_ones_left_out() -> None:
    counts = {"count": 3, "success": 1, "failed": 1, "skipped": 1, "error": 0, "time": 2.5}
    suite = {"name": "unit", "total_time": 2.5, "total_count": 3, "success_count": 1, "failed_count": 1, "skipped_count": 1}
    report = {"total": counts, "test_suites": [suite | {"error_count": 0}]}
    empty = {"total": dict.fromkeys(counts, 0), "test_suites": []}

    found = await RestReader(GitLab(Run(1, report=report), Run(2, report=empty)), options()).reports({SHOP: [1, 2, 3]})

    missing = found.pop(3)
    assert isinstance(missing, CollectError)
    assert missing.kind == "missing"
    assert found == {1: Report(Totals(2.5, 3, 1, 1, 1, 0), (("unit", Totals(2.5, 3, 1, 1, 1, 0)),))}


async def test_a_job_that_was_allowed_to_fail_has_a_status_of_its_own() -> None:
    run = Run(1, jobs=[job(30, status="failed", allow_failure=True, finished_at=moment(NOW))])
    reader = RestReader(GitLab(run), options())
    pipelines = (await reader.changed([SHOP], 0)).pipelines[7]

    [found] = (await reader.jobs({SHOP: pipelines}))[1]  # type: ignore[misc]

    assert (found.status, found.is_final) == ("failed_with_warnings", True)
