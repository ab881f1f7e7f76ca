"""Jobs and single pipelines of a simulated GraphQL: kinds, retried ones, durations, and what triggered what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from agent.sim.gitlab.catalogue import FAILURE_REASONS, UNSTARTED_REASONS
from agent.sim.gitlab.flat import TOKEN, flat
from agent.sim.gitlab.objects import BRIDGE, BUILD, Job, Pipeline
from agent.sim.gitlab.profile import CE_16_3, EE_18, Profile
from agent.sources.gitlab.failures import reason_of
from tests.sim_gitlab_graphql import ONE, ask, gid, seen, small


def jobs_of(pipeline: Pipeline, arguments: str, at: float) -> list[dict[str, Any]]:
    """The jobs that a list with these arguments finds."""
    inside = f"jobs{arguments}{{nodes{{id kind retried status}}}}"
    text = f"query($p:ID!,$i:CiPipelineID){{project(fullPath:$p){{pipeline(id:$i){{{inside}}}}}}}"
    told = ask(text, {"p": pipeline.project.path_at(at), "i": f"{ONE}{pipeline.id}"}, at=at)
    found: list[dict[str, Any]] = told.data["project"]["pipeline"]["jobs"]["nodes"]
    return found


@cache
def rich() -> Pipeline:
    """A pipeline with bridges and jobs that were retried."""
    there = (one for one in small().pipelines() if one.at(small().end) and any(job.retried_at for job in one.jobs))
    return next(one for one in there if any(job.spec.kind == BRIDGE for job in one.jobs))


@pytest.mark.parametrize(
    ("arguments", "matches"),
    [
        ("", lambda job: True),
        ("(retried:false)", lambda job: not job.retried_at),
        ("(retried:true)", lambda job: job.retried_at > 0),
        ("(jobKind:BUILD)", lambda job: job.spec.kind == BUILD),
        ("(jobKind:BRIDGE,retried:false)", lambda job: job.spec.kind == BRIDGE and not job.retried_at),
    ],
)
def test_jobs_are_of_all_kinds_with_retried_ones_unless_the_arguments_say_something(
    arguments: str, matches: Callable[[Job], bool]
) -> None:
    found = jobs_of(rich(), arguments, small().end + 1)

    assert [int(job["id"].rpartition("/")[2]) for job in found] == [job.id for job in reversed(rich().jobs) if matches(job)]
    assert found


def test_jobs_can_be_had_by_their_status() -> None:
    found = jobs_of(rich(), "(statuses:[FAILED,CANCELED])", small().end + 1)

    there = [job for job in reversed(rich().jobs) if (view := job.at(small().end + 1)) and view.status in ("failed", "canceled")]
    assert len(found) == len(there)
    assert {job["status"] for job in found} <= {"FAILED", "CANCELED"}


def test_ids_of_jobs_tell_builds_from_bridges() -> None:
    for job in jobs_of(rich(), "", small().end + 1):
        assert job["id"].startswith(f"gid://gitlab/Ci::{job['kind'].title()}/")


def test_jobs_that_have_not_begun_say_nothing_about_their_time() -> None:
    world = flat(1, 1, 3)
    text = "{projects{nodes{pipelines{nodes{duration finishedAt jobs{nodes{status startedAt duration runner{runnerType}}}}}}}}"

    told = ask(text, world=world, at=world.start + 1)

    pipeline = told.data["projects"]["nodes"][0]["pipelines"]["nodes"][0]
    assert (pipeline["duration"], pipeline["finishedAt"]) == (None, None)
    assert pipeline["jobs"]["nodes"] == [{"status": "PENDING", "startedAt": None, "duration": None, "runner": None}] * 3


def test_durations_of_jobs_are_cut_to_whole_seconds() -> None:
    world = flat(1, 1, 4)
    text = "{projects{nodes{pipelines{nodes{jobs{nodes{duration queuedDuration}}}}}}}"

    found = ask(text, world=world).data["projects"]["nodes"][0]["pipelines"]["nodes"][0]["jobs"]["nodes"]

    views = [job.at(world.end) for job in reversed(world.projects[0].pipelines[0].jobs)]
    assert [job["duration"] for job in found] == [int(view.duration) for view in views if view and view.duration]
    assert [job["queuedDuration"] for job in found] == [view.queued_duration for view in views if view]


def test_a_child_tells_of_its_parent_and_of_the_bridge_between_them() -> None:
    child = next(one for one in small().pipelines() if one.is_child and one.upstream)
    assert child.upstream is not None
    text = "query($p:ID!,$i:CiPipelineID){project(fullPath:$p){pipeline(id:$i){child upstream{id ref} sourceJob{id name}}}}"

    told = ask(text, {"p": child.project.path_at(small().end + 1), "i": f"{ONE}{child.id}"})

    assert told.data["project"]["pipeline"] == {
        "child": True,
        "upstream": {"id": f"{ONE}{child.upstream.pipeline.id}", "ref": child.upstream.pipeline.ref},
        "sourceJob": {"id": gid("Ci::Bridge", child.upstream.bridge.id), "name": child.upstream.bridge.spec.name},
    }


def test_an_upstream_in_a_project_that_cannot_be_seen_is_null() -> None:
    one = next(each for each in small().pipelines() if each.upstream and each.upstream.pipeline.project is not each.project)
    narrow = replace(small().tokens[TOKEN], only=frozenset({one.project.id}))
    world = replace(small(), tokens={TOKEN: narrow})
    text = "query($p:ID!,$i:CiPipelineID){project(fullPath:$p){pipeline(id:$i){id source upstream{id} sourceJob{id}}}}"

    told = ask(text, {"p": one.project.path_at(world.end + 1), "i": f"{ONE}{one.id}"}, world=world)

    alone = {"id": f"{ONE}{one.id}", "source": "pipeline", "upstream": None, "sourceJob": None}
    assert told.data["project"]["pipeline"] == alone


def test_a_pipeline_is_found_by_its_number_in_the_project_and_by_its_sha() -> None:
    project = small().projects[0]
    pipeline = next(one for one, _ in seen(project, small().end + 1) if not one.is_child)
    text = (
        "query($p:ID!,$n:ID,$s:String){project(fullPath:$p){a:pipeline(iid:$n){id iid} b:pipeline(sha:$s){sha} c:pipeline{id}}}"
    )

    told = ask(text, {"p": project.path_at(small().end + 1), "n": str(pipeline.iid), "s": pipeline.sha})

    assert told.data["project"]["a"] == {"id": f"{ONE}{pipeline.id}", "iid": str(pipeline.iid)}
    assert told.data["project"]["b"] == {"sha": pipeline.sha}
    assert (told.data["project"]["c"], told.errors[0]["path"]) == (None, ["project", "c"])


def test_deleted_pipelines_are_null() -> None:
    pipeline = next(one for one in small().pipelines() if one.deleted_at)
    text = "query($p:ID!,$i:CiPipelineID){project(fullPath:$p){pipeline(id:$i){id}}}"

    before, after = (
        ask(text, {"p": pipeline.project.path_at(at), "i": f"{ONE}{pipeline.id}"}, at=at).data["project"]["pipeline"]
        for at in (pipeline.deleted_at - 1, pipeline.deleted_at)
    )

    assert (before, after) == ({"id": f"{ONE}{pipeline.id}"}, None)


def test_warnings_show_in_the_group_of_the_status() -> None:
    pipeline, view = next((one, view) for one in small().pipelines() if (view := one.at(small().end)) and view.warnings)
    text = "query($p:ID!,$i:CiPipelineID){project(fullPath:$p){pipeline(id:$i){status warnings detailedStatus{group}}}}"

    told = ask(text, {"p": pipeline.project.path_at(small().end + 1), "i": f"{ONE}{pipeline.id}"})

    assert view.status == "success"
    expected_status = {"status": "SUCCESS", "warnings": True, "detailedStatus": {"group": "success-with-warnings"}}
    assert told.data["project"]["pipeline"] == expected_status


def test_jobs_tell_what_is_planned() -> None:
    fields = "name allowFailure retried stage{name} runner{runnerType} artifacts{nodes{size fileType}} coverage refName tags"
    text = f"query($p:ID!,$i:CiPipelineID){{project(fullPath:$p){{pipeline(id:$i){{jobs{{nodes{{{fields}}}}}}}}}}}"
    at = small().end + 1

    told = ask(text, {"p": rich().project.path_at(at), "i": f"{ONE}{rich().id}"}).data["project"]["pipeline"]["jobs"]["nodes"]

    for node, job in zip(told, reversed(rich().jobs), strict=True):
        view, spec = job.at(at), job.spec
        assert view is not None
        has_run, is_build = view.started_at is not None, spec.kind == BUILD
        files = [{"size": str(each.size), "fileType": each.file_type.upper()} for each in spec.artifacts]
        assert node == {
            "name": spec.name,
            "allowFailure": spec.allow_failure,
            "retried": view.retried,
            "stage": {"name": spec.stage},
            "runner": {"runnerType": f"{spec.runner_type.upper()}_TYPE"} if has_run and is_build else None,
            "artifacts": {"nodes": files if has_run and view.finished_at is not None else []} if is_build else None,
            "coverage": view.coverage,
            "refName": rich().ref,
            "tags": list(spec.tags) if is_build else None,
        }


def test_test_reports_are_summed_up() -> None:
    pipeline = next(one for one in small().pipelines() if one.report_at(small().end + 1))
    inside = "testReportSummary{total{time count failed} testSuites{nodes{name totalCount failedCount buildIds}}}"
    text = f"query($p:ID!,$i:CiPipelineID){{project(fullPath:$p){{pipeline(id:$i){{{inside}}}}}}}"

    told = ask(text, {"p": pipeline.project.path_at(small().end + 1), "i": f"{ONE}{pipeline.id}"})

    cases = [case for suite in pipeline.report for case in suite.cases]
    failed = [case for case in cases if case.status == "failed"]
    summary = told.data["project"]["pipeline"]["testReportSummary"]
    assert summary["total"] == {"time": sum(case.seconds for case in cases), "count": len(cases), "failed": len(failed)}
    assert [(node["name"], node["totalCount"]) for node in summary["testSuites"]["nodes"]] == [
        (suite.name, len(suite.cases)) for suite in pipeline.report
    ]
    assert all(node["buildIds"] for node in summary["testSuites"]["nodes"])


@pytest.mark.parametrize("reason", sorted({*FAILURE_REASONS, *UNSTARTED_REASONS} - {"script_failure"}))
def test_every_reason_of_a_failure_has_its_sentence(reason: str) -> None:
    world = flat(1, 1, 1)
    job = world.projects[0].pipelines[0].jobs[0]
    job.status, job.failure_reason = "failed", reason

    told = ask("{projects{nodes{pipelines{nodes{jobs{nodes{failureMessage}}}}}}}", world=world)

    message = told.data["projects"]["nodes"][0]["pipelines"]["nodes"][0]["jobs"]["nodes"][0]["failureMessage"]
    assert reason_of(message) == reason


def test_a_script_that_failed_has_no_sentence() -> None:
    world = flat(1, 1, 1)
    job = world.projects[0].pipelines[0].jobs[0]
    job.status, job.failure_reason = "failed", "script_failure"

    told = ask("{projects{nodes{pipelines{nodes{jobs{nodes{status failureMessage}}}}}}}", world=world)

    there = told.data["projects"]["nodes"][0]["pipelines"]["nodes"][0]["jobs"]["nodes"]
    assert there == [{"status": "FAILED", "failureMessage": None}]


@pytest.mark.parametrize(("allowed", "group"), [(True, "failed-with-warnings"), (False, "failed")])
def test_jobs_that_may_fail_do_so_with_warnings(allowed: bool, group: str) -> None:
    world = flat(1, 1, 1)
    job = world.projects[0].pipelines[0].jobs[0]
    job.status, job.spec = "failed", replace(job.spec, allow_failure=allowed)

    told = ask("{projects{nodes{pipelines{nodes{jobs{nodes{detailedStatus{group}}}}}}}}", world=world)

    assert told.data["projects"]["nodes"][0]["pipelines"]["nodes"][0]["jobs"]["nodes"] == [{"detailedStatus": {"group": group}}]


@pytest.mark.parametrize(("profile", "said"), [(CE_16_3, "RUNNING"), (EE_18, "CANCELING")], ids=["16.3", "18"])
def test_what_is_being_canceled_still_runs_in_16_3(profile: Profile, said: str) -> None:
    world = flat(1, 1, 1)
    job = world.projects[0].pipelines[0].jobs[0]
    job.canceling = job.started + 5

    inside = "jobs{nodes{status detailedStatus{group}}}"
    told = ask(f"{{projects{{nodes{{pipelines{{nodes{{{inside}}}}}}}}}}}", world=world, at=job.canceling, profile=profile)

    there = told.data["projects"]["nodes"][0]["pipelines"]["nodes"][0]["jobs"]["nodes"]
    assert there == [{"status": said, "detailedStatus": {"group": said.lower()}}]


def test_a_pipeline_counts_its_jobs_without_retried_ones() -> None:
    text = "query($p:ID!,$i:CiPipelineID){project(fullPath:$p){pipeline(id:$i){totalJobs}}}"

    told = ask(text, {"p": rich().project.path_at(small().end + 1), "i": f"{ONE}{rich().id}"})

    assert told.data["project"]["pipeline"]["totalJobs"] == sum(not job.retried_at for job in rich().jobs) < len(rich().jobs)


def test_the_newest_pipeline_of_a_ref_is_the_latest_and_only_what_has_not_ended_is_active() -> None:
    world = flat(1, 3, 1)
    begun = world.projects[0].pipelines[2].created

    told = ask("{projects{nodes{pipelines{nodes{latest active complete}}}}}", world=world, at=begun + 5)

    newest, *older = told.data["projects"]["nodes"][0]["pipelines"]["nodes"]
    assert newest == {"latest": True, "active": True, "complete": False}
    assert older == [{"latest": False, "active": False, "complete": True}] * 2
