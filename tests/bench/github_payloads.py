"""GitHub's deliveries of runs and jobs, as large as the real ones and as alike."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote_plus
from uuid import UUID

START = 1_790_000_000
"""When the first run began, seconds since the epoch."""
JOBS = 2
"""Jobs of a run."""
PER_RUN = 3 + 3 * JOBS
"""Deliveries of a run."""

_LINKS = (
    "archive assignees blobs branches collaborators comments commits compare contents contributors deployments downloads "
    "events forks git_commits git_refs git_tags hooks issue_comment issue_events issues keys labels languages merges "
    "milestones notifications pulls releases stargazers statuses subscribers subscription tags teams trees clone git ssh "
    "svn html mirror"
)
_OF_ACCOUNTS = ("followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events", "avatar")
_STEPS = ("Set up job", "Check out", "Set up Python", "Restore the cache", "Install", "Lint", "Test", "Upload", "Complete job")


class Sent(NamedTuple):
    """One delivery, before it is a request."""

    event: str
    guid: str
    body: bytes


def deliveries(count: int) -> Iterator[Sent]:
    """So many deliveries of runs that all succeed, each with JOBS jobs; of the last run perhaps not all."""
    for number in range(count):
        run, step = divmod(number, PER_RUN)
        event, payload = _payload(run, step)
        body = json.dumps(payload, separators=(",", ":")).encode()
        yield Sent(event, str(UUID(int=0x11F0_8F0A << 64 | number)), body)


def completed_jobs(count: int) -> int:
    """How many of the first `count` deliveries are jobs that ended."""
    return sum(_order(number % PER_RUN) == ("workflow_job", "completed") for number in range(count))


def completed_runs(count: int) -> int:
    """How many of them are runs that ended."""
    return sum(_order(number % PER_RUN) == ("workflow_run", "completed") for number in range(count))


def request(sent: Sent, path: str, secret: str, as_form: bool) -> bytes:
    """The signed HTTP request."""
    body = b"payload=" + quote_plus(sent.body).encode() if as_form else sent.body
    kind = "application/x-www-form-urlencoded" if as_form else "application/json"
    signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: ci.example\r\nAccept: */*\r\nUser-Agent: GitHub-Hookshot/0000000\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\nX-GitHub-Delivery: {sent.guid}\r\n"
        f"X-GitHub-Event: {sent.event}\r\nX-GitHub-Hook-ID: 1\r\nX-GitHub-Hook-Installation-Target-ID: 1\r\n"
        "X-GitHub-Hook-Installation-Target-Type: organization\r\n"
        f"X-Hub-Signature: sha1={'0' * 40}\r\nX-Hub-Signature-256: sha256={signature}\r\n\r\n"
    )
    return head.encode() + body


def _order(step: int) -> tuple[str, str]:
    """Event and action of a run's delivery number `step`."""
    if step in (0, 1, PER_RUN - 1):
        return "workflow_run", ("requested", "in_progress")[step] if step < 2 else "completed"
    return "workflow_job", ("queued", "in_progress", "completed")[(step - 2) % 3]


def _payload(run: int, step: int) -> tuple[str, dict[str, Any]]:
    event, action = _order(step)
    repository = _repository(run % 200)
    around = {"action": action, "repository": repository, "organization": _account(1), "sender": _account(2)}
    if event == "workflow_run":
        return event, {**around, "workflow_run": _run(run, action, repository), "workflow": _workflow(run)}
    return event, {**around, "workflow_job": _job(run, (step - 2) // 3, action)}


def _stamp(seconds: int) -> str:
    minutes, second = divmod(seconds % 3600, 60)
    return f"2026-09-21T{seconds // 3600 % 24:02d}:{minutes:02d}:{second:02d}Z"


def _run(run: int, action: str, repository: dict[str, Any]) -> dict[str, Any]:
    api = f"{repository['url']}/actions/runs/{run + 1}"
    begun, is_done = START + run, action == "completed"
    return {
        "id": 5_000_000_000 + run,
        "name": f"workflow {run % 5}",
        "node_id": f"WFR_{run:020d}",
        "head_branch": "main",
        "head_sha": f"{run:040x}",
        "path": f".github/workflows/{run % 5}.yml",
        "display_title": "Change something that matters",
        "run_number": run + 1,
        "event": "push",
        "status": "completed" if is_done else "in_progress" if action == "in_progress" else "queued",
        "conclusion": "success" if is_done else None,
        "workflow_id": 100 + run % 5,
        "created_at": _stamp(begun),
        "updated_at": _stamp(begun + (90 if is_done else 5 if action == "in_progress" else 0)),
        "run_started_at": _stamp(begun),
        "run_attempt": 1,
        "pull_requests": [],
        "referenced_workflows": [],
        "actor": _account(2),
        "triggering_actor": _account(2),
        "head_commit": {"id": f"{run:040x}", "message": "Change something that matters", "author": {"name": "Ada"}},
        "repository": repository,
        "head_repository": repository,
        **{
            f"{link}_url": f"{api}/{link}" for link in ("jobs", "logs", "artifacts", "cancel", "rerun", "check_suite", "workflow")
        },
    }


def _job(run: int, place: int, action: str) -> dict[str, Any]:
    number = 9_000_000_000 + run * JOBS + place
    begun, is_done = START + run, action == "completed"
    runner = None if action == "queued" else 7
    return {
        "id": number,
        "run_id": 5_000_000_000 + run,
        "workflow_name": f"workflow {run % 5}",
        "head_branch": "main",
        "run_url": f"https://api.github.com/repos/acme/service-{run % 200}/actions/runs/{run}",
        "run_attempt": 1,
        "node_id": f"CR_{number}",
        "head_sha": f"{run:040x}",
        "status": action,
        "conclusion": "success" if is_done else None,
        "created_at": _stamp(begun),
        "started_at": _stamp(begun + 5),
        "completed_at": _stamp(begun + 80) if is_done else None,
        "name": f"test (3.1{place}, ubuntu)",
        "steps": [] if action == "queued" else [_step(place, name, begun) for place, name in enumerate(_STEPS)],
        "labels": ["ubuntu-latest"],
        "runner_id": runner,
        "runner_name": runner and "GitHub Actions 7",
        "runner_group_id": runner and 0,
        "runner_group_name": runner and "GitHub Actions",
    }


def _step(place: int, name: str, begun: int) -> dict[str, Any]:
    at = _stamp(begun + 5 + place)
    return {
        "name": name,
        "status": "completed",
        "conclusion": "success",
        "number": place + 1,
        "started_at": at,
        "completed_at": at,
    }


def _workflow(run: int) -> dict[str, Any]:
    return {"id": 100 + run % 5, "name": f"workflow {run % 5}", "path": f".github/workflows/{run % 5}.yml", "state": "active"}


def _repository(number: int) -> dict[str, Any]:
    api = f"https://api.github.com/repos/acme/service-{number}"
    return {
        "id": 700_000 + number,
        "name": f"service-{number}",
        "full_name": f"acme/service-{number}",
        "private": True,
        "visibility": "private",
        "owner": _account(1),
        "url": api,
        "default_branch": "main",
        **{f"{link}_url": f"{api}/{link}{{/id}}" for link in _LINKS.split()},
    }


def _account(number: int) -> dict[str, Any]:
    api = f"https://api.github.com/users/account-{number}"
    links = {f"{link}_url": f"{api}/{link}" for link in _OF_ACCOUNTS}
    return {"login": f"account-{number}", "id": number, "type": "User", **links}
