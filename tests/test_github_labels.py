"""The labels of runs and jobs: names without what changes, classes of refs, names as configured."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import ConfigError
from agent.model import Kind
from agent.sources.github.families import JOB, families
from agent.sources.github.labels import Labeller
from agent.sources.github.options import BucketsOptions, LabelsOptions
from tests.github_payloads import Life, job, options, repository, run, told_job, told_run


def labeller(**changed: Any) -> Labeller:
    return Labeller(LabelsOptions.model_validate(changed))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("test", "test"),
        ("test (3.12, ubuntu-latest)", "test"),
        ("test (a (b), c)", "test"),
        ("release / build (arm64)", "release / build"),
        ("outer / inner / test (1)", "outer / inner / test"),
        ("test (1) / lint", "test (1) / lint"),
        ("lint(fast)", "lint(fast)"),
        (" (1)", " (1)"),
        ("", ""),
        ("test (open", "test (open"),
    ],
)
def test_a_jobs_name_is_cut_at_its_matrix_values(name: str, label: str) -> None:
    assert labeller().job_name(name) == label


def test_a_name_made_to_be_slow_is_not() -> None:
    assert labeller().job_name(" (" * 120).startswith(" (")


def test_matrix_values_stay_where_that_is_configured() -> None:
    assert labeller(strip_matrix=False).job_name("test (3.12)") == "test (3.12)"


def test_the_first_rewrite_that_matches_the_whole_name_holds() -> None:
    rules = [{"regex": "shard-([a-z]+)-\\d+", "replacement": "shard-\\1"}, {"regex": "shard-.*", "replacement": "shards"}]

    assert [labeller(job_names=rules).job_name(name) for name in ("shard-api-17", "shard-17", "a shard-17")] == [
        "shard-api",
        "shards",
        "a shard-17",
    ]


@pytest.mark.parametrize(
    ("event", "branch", "label"),
    [
        ("push", "main", "default"),
        ("schedule", "main", "default"),
        ("push", "feature", "other"),
        ("push", "release/1.2", "release"),
        ("push", "releases/1.2", "release"),
        ("release", "v1.2.0", "release"),
        ("push", "v1.2.0", "tag"),
        ("push", "1.2.0-rc.1", "tag"),
        ("push", "refs/tags/nightly", "tag"),
        ("push", "v8-engine", "other"),
        ("pull_request", "feature", "pull_request"),
        ("pull_request", "main", "pull_request"),
        ("pull_request_target", "feature", "pull_request"),
        ("workflow_run", "refs/pull/7/merge", "pull_request"),
        ("merge_group", "gh-readonly-queue/main/pr-7-" + "0" * 40, "merge_queue"),
        ("", "gh-readonly-queue/main/pr-7-" + "0" * 40, "merge_queue"),
        ("", "main", "default"),
        ("", "", "other"),
        ("workflow_dispatch", "", "other"),
    ],
)
def test_refs_have_classes(event: str, branch: str, label: str) -> None:
    assert labeller().ref(event, branch, "main") == label


def test_no_branch_is_no_default_branch() -> None:
    assert labeller().ref("push", "", "") == "other"


def test_the_users_own_classes_come_first_in_their_order() -> None:
    rules = [{"regex": "hotfix/.*", "name": "hotfix"}, {"regex": ".*/.*", "name": "topic"}]
    own = labeller(refs=rules)

    assert [own.ref("push", branch, "main") for branch in ("hotfix/7", "feature/7", "main")] == ["hotfix", "topic", "default"]


@pytest.mark.parametrize(("which", "label"), [("name", "Build"), ("path", ".github/workflows/build.yml")])
def test_label_workflow_is_the_name_or_the_file(which: str, label: str) -> None:
    life = Life(labels={"workflow": which})

    life.hear_all([told_run("completed", 101), told_job("completed", 95)])

    assert life.labels("run:9000001:1", "workflow_run_total")["workflow"] == label
    assert life.labels("job:70000001", "job_run_total")["workflow"] == label


def test_a_run_of_a_fork_is_of_a_pull_request_though_it_names_none() -> None:
    life = Life()

    life.hear(told_run("completed", 101, run(event="pull_request", head_branch="main", pull_requests=[])))

    assert life.labels("run:9000001:1", "workflow_run_total")["ref"] == "pull_request"


def test_a_job_has_the_labels_of_its_run_and_its_own() -> None:
    life = Life()

    life.hear_all([told_run("completed", 101, run(event="schedule")), told_job("completed", 95, job(name="test (3.12)"))])

    assert life.labels("job:70000001", "job_run_total") == {
        "repository": "acme/rocket",
        "workflow": "Build",
        "job_name": "test",
        "event": "schedule",
        "ref": "default",
        "runner_type": "github-hosted",
        "runner_group": "GitHub Actions",
        "status": "success",
    }


def test_another_default_branch_is_one_too() -> None:
    life = Life()

    life.hear(told_run("completed", 101, run(head_branch="trunk"), repository=repository(default_branch="trunk")))

    assert life.labels("run:9000001:1", "workflow_run_total")["ref"] == "default"


def test_families_and_labels_can_have_other_names() -> None:
    life = Life(names={"workflow_run_total": "runs_total"}, label_names={"repository": "repo"})

    life.hear(told_run("completed", 101))

    assert life.labels("run:9000001:1", "runs_total")["repo"] == "acme/rocket"


@pytest.mark.parametrize(
    "changed",
    [
        {"names": {"no_such_total": "x"}},
        {"label_names": {"nothing": "x"}},
        {"names": {"job_run_total": "workflow_run_total"}},
        {"label_names": {"repository": "workflow"}},
        {"custom_labels": {"repository": "x"}},
    ],
)
def test_names_that_cannot_be_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        families(options(**changed))


def test_families_fold_over_names_that_people_choose_even_where_labels_are_called_otherwise() -> None:
    declared = families(options(label_names={"job_name": "task", "repository": "repo"}))

    jobs = {family.wide for family in declared.counted if len(family.labels) >= len(JOB)}
    assert (jobs, declared.workflow_run_total.wide) == ({("workflow", "task", "runner_group")}, ("workflow",))
    assert {family.project for family in declared.counted} == {"repo"}


def test_what_is_counted_is_a_counter_or_a_histogram_and_lives_for_a_day() -> None:
    for family in families(options()).counted:
        assert family.kind in (Kind.COUNTER, Kind.HISTOGRAM)
        assert family.ttl_seconds == 86_400
        assert bool(family.buckets) == (family.kind is Kind.HISTOGRAM)


def test_buckets_are_as_configured() -> None:
    declared = families(options(buckets={"job_queue_duration_seconds": [1, 60]}))

    assert declared.job_queue_duration_seconds.buckets == (1, 60)
    assert declared.job_run_duration_seconds.buckets == BucketsOptions().job_run_duration_seconds
