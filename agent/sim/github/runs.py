"""Runs and jobs as GitHub tells them, at one moment of their lives.

Fields after https://docs.github.com/en/rest/actions/workflow-runs and https://docs.github.com/en/rest/actions/workflow-jobs.
"""

from __future__ import annotations

from typing import Any

from agent.sim.github.objects import API, HTML, Json, account, minimal_repository, moment, moment_or_none, node_id
from agent.sim.github.plan import Attempt, Job, Lookalike, Run

SOURCE_OF_FORKS = 620_000_001
"""The id of the fork that pull requests from outside come from."""


def job_status(job: Job, now: float) -> str:
    """What the API calls the state of a job that exists: queued, waiting, in_progress or completed."""
    if now >= job.completed:
        return "completed"
    if job.runner and now >= job.started:
        return "in_progress"
    return "waiting" if job.waiting and job.waiting <= now and not (job.approved and now >= job.approved) else "queued"


def attempt_status(attempt: Attempt, now: float) -> str:
    """The state of a run in this attempt: queued, in_progress or completed."""
    if now >= attempt.completed:
        return "completed"
    return "in_progress" if attempt.first_start and now >= attempt.first_start else "queued"


def current(run: Run, now: float) -> Attempt:
    """The newest attempt that has begun, the first if none has."""
    return next((attempt for attempt in reversed(run.attempts) if attempt.started <= now), run.attempts[0])


def updated_at(attempt: Attempt, now: float) -> int:
    """The run's `updated_at` as the API tells it, which may move long after the run has ended."""
    if attempt.touched and now >= attempt.touched:
        return attempt.touched
    known = [attempt.started, attempt.completed, *(at for job in attempt.jobs for at in (job.created, job.started))]
    return max((at for at in known if at <= now), default=attempt.started)


def run_object(run: Run, attempt: Attempt, status: str, updated: int, *, name: str) -> Json:
    """A run in one of its attempts. `name` is the workflow's, or with `run-name` in the API the run's own."""
    repository = run.repository
    url = f"{API}/repos/{repository.full_name}/actions/runs/{run.id}"
    suite = run.id + 5
    return {
        "id": run.id,
        "name": name,
        "node_id": node_id("WFR", run.id),
        "head_branch": run.head_branch,
        "head_sha": run.head_sha,
        "path": run.workflow.path,
        "display_title": run.title,
        "run_number": run.number,
        "event": run.event,
        "status": status,
        "conclusion": attempt.conclusion if status == "completed" else None,
        "workflow_id": run.workflow.id,
        "check_suite_id": suite,
        "check_suite_node_id": node_id("CS", suite),
        "url": url,
        "html_url": f"{HTML}/{repository.full_name}/actions/runs/{run.id}",
        "pull_requests": _pull_requests(run),
        "created_at": moment(run.created),
        "updated_at": moment(updated),
        "actor": account(run.actor),
        "run_attempt": attempt.number,
        "referenced_workflows": [],
        "run_started_at": moment(attempt.started),
        "triggering_actor": account(run.actor),
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "check_suite_url": f"{API}/repos/{repository.full_name}/check-suites/{suite}",
        "artifacts_url": f"{url}/artifacts",
        "cancel_url": f"{url}/cancel",
        "rerun_url": f"{url}/rerun",
        "previous_attempt_url": f"{url}/attempts/{attempt.number - 1}" if attempt.number > 1 else None,
        "workflow_url": f"{API}/repos/{repository.full_name}/actions/workflows/{run.workflow.id}",
        "head_commit": _commit(run),
        "repository": minimal_repository(repository),
        "head_repository": None if run.fork and run.id % 3 == 0 else _head_repository(run),
    }


def _commit(run: Run) -> Json:
    person = {"name": run.actor, "email": f"{run.actor}@users.noreply.example"}
    return {
        "id": run.head_sha,
        "tree_id": run.head_sha[::-1],
        "message": run.title,
        "timestamp": moment(run.created - 2),
        "author": person,
        "committer": {"name": "GitHub", "email": "noreply@example.com"},
    }


def _head_repository(run: Run) -> Json:
    repository = minimal_repository(run.repository)
    if run.fork:
        full_name = f"{run.actor}/{run.repository.name}"
        repository |= {"id": SOURCE_OF_FORKS, "full_name": full_name, "owner": account(run.actor), "fork": True}
    return repository


def _pull_requests(run: Run) -> list[Json]:
    if run.fork or not run.event.startswith("pull_request"):
        return []
    short = {"id": run.repository.id, "name": run.repository.name, "url": f"{API}/repos/{run.repository.full_name}"}
    number = run.id % 5000
    return [
        {
            "url": f"{API}/repos/{run.repository.full_name}/pulls/{number}",
            "id": run.id + 1,
            "number": number,
            "head": {"ref": run.head_branch, "sha": run.head_sha, "repo": short},
            "base": {"ref": run.repository.default_branch, "sha": run.head_sha[::-1], "repo": short},
        }
    ]


def job_object(run: Run, attempt: int, job: Job, status: str) -> Json:
    """A job at one moment. Its runner is known from when it runs; until then its start is when it was created."""
    is_done, has_begun = status == "completed", status in ("in_progress", "completed")
    found = _base(run, attempt, job.id, job.template.name)
    began = job.started if has_begun and job.runner else job.created
    if job.conclusion == "skipped":
        began = job.started
    return found | {
        "status": status,
        "conclusion": job.conclusion if is_done else None,
        "created_at": moment(job.created),
        "started_at": moment(began),
        "completed_at": moment(job.completed) if is_done else None,
        "steps": _steps(job, is_done) if has_begun and job.runner else [],
        "labels": list(job.template.pool.labels),
        **_runner(job, has_begun),
    }


def lookalike_object(run: Run, attempt: int, check: Lookalike) -> Json:
    """A check run in the shape of a job: no runner, no labels, no steps."""
    return _base(run, attempt, check.id, check.name) | {
        "status": "completed",
        "conclusion": check.conclusion,
        "created_at": moment(check.at),
        "started_at": moment(check.at),
        "completed_at": moment(check.at),
        "steps": [],
        "labels": [],
        "runner_id": None,
        "runner_name": None,
        "runner_group_id": None,
        "runner_group_name": None,
    }


def _base(run: Run, attempt: int, identity: int, name: str) -> Json:
    url = f"{API}/repos/{run.repository.full_name}"
    return {
        "id": identity,
        "run_id": run.id,
        "workflow_name": run.workflow.name,
        "head_branch": run.head_branch,
        "run_url": f"{url}/actions/runs/{run.id}",
        "run_attempt": attempt,
        "node_id": node_id("CR", identity),
        "head_sha": run.head_sha,
        "url": f"{url}/actions/jobs/{identity}",
        "html_url": f"{HTML}/{run.repository.full_name}/actions/runs/{run.id}/job/{identity}",
        "name": name,
        "check_run_url": f"{url}/check-runs/{identity}",
    }


def _runner(job: Job, has_begun: bool) -> dict[str, Any]:
    if job.runner and has_begun:
        pool = job.runner.pool
        return {
            "runner_id": job.runner.id,
            "runner_name": job.runner.name,
            "runner_group_id": pool.group_id,
            "runner_group_name": pool.group,
        }
    absent: dict[str, Any] = {"runner_id": 0, "runner_name": "", "runner_group_id": 0, "runner_group_name": ""}
    return dict.fromkeys(absent) if job.id % 2 else absent  # both are seen


def _steps(job: Job, is_done: bool) -> list[Json]:
    """Three steps; the last ends before it begins, as GitHub's sometimes do."""
    middle = (job.started + job.completed) // 2
    first = ("Set up job", job.started - 1, job.started)
    if not is_done:
        return [_step(1, *first), _step(2, "Run make", job.started, 0)]
    return [_step(1, *first), _step(2, "Run make", job.started, middle), _step(3, "Post checkout", job.completed, middle)]


def _step(number: int, name: str, started: int, completed: int) -> Json:
    return {
        "name": name,
        "status": "completed" if completed else "in_progress",
        "conclusion": "success" if completed else None,
        "number": number,
        "started_at": moment(started),
        "completed_at": moment_or_none(completed),
    }
