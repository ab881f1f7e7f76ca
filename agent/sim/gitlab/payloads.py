"""The bodies of webhooks: GitLab's shapes, with times like `2026-03-02 15:23:28 UTC`.

https://docs.gitlab.com/user/project/integrations/webhook_events/. A pipeline's `builds` are those that no other took the
place of, and no bridges; of a merge request's pipeline `ref` is the source branch.
"""

from __future__ import annotations

import time
from typing import Any

from agent.sim.gitlab import finders
from agent.sim.gitlab.announcements import PUSH, TAG_PUSH, Announcement
from agent.sim.gitlab.objects import BUILD, Job, JobView, Pipeline
from agent.sim.gitlab.places import Deployment, MergeRequest, Project, Ref, User, World

Json = dict[str, Any]
NOWHERE = "0" * 40


def payload(world: World, told: Announcement) -> Json:
    """The body of one announcement, as of its moment."""
    if isinstance(told.thing, Pipeline):
        return _pipeline(world, told, told.thing)
    if isinstance(told.thing, Job):
        return _job(world, told, told.thing)
    if isinstance(told.thing, Deployment):
        return _deployment(world, told, told.thing)
    if isinstance(told.thing, MergeRequest):
        return _merge_request(world, told, told.thing)
    return _push(world, told, told.thing)


def moment(at: int | None) -> str | None:
    """A time as most events have it."""
    return None if at is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _user(user: User) -> Json:
    return {"id": user.id, "name": user.name, "username": user.username, "avatar_url": None, "email": "[REDACTED]"}


def _project(world: World, project: Project, now: float) -> Json:
    place = project.place(now)
    return {
        "id": project.id,
        "name": place.path,
        "description": None,
        "web_url": f"{world.url}/{place.full_path}",
        "avatar_url": None,
        "git_ssh_url": f"git@gitlab.example.com:{place.full_path}.git",
        "git_http_url": f"{world.url}/{place.full_path}.git",
        "namespace": place.group.name,
        "visibility_level": 20 if project.visibility == "public" else 0,
        "path_with_namespace": place.full_path,
        "default_branch": project.default_branch,
        "ci_config_path": None,
    }


def _commit(world: World, pipeline: Pipeline, now: float) -> Json:
    user, path = pipeline.user, pipeline.project.path_at(now)
    return {
        "id": pipeline.sha,
        "message": f"Change {pipeline.sha[:4]}\n",
        "title": f"Change {pipeline.sha[:4]}",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S+01:00", time.gmtime(pipeline.created + 3_300)),
        "url": f"{world.url}/{path}/-/commit/{pipeline.sha}",
        "author": {"name": user.name, "email": f"{user.username}@users.example.com"},
    }


def _pipeline(world: World, told: Announcement, pipeline: Pipeline) -> Json:
    now = told.moment
    view = pipeline.at(now) or pipeline.views[0]
    request = pipeline.merge_request
    warned = view.warnings and view.status == "success"
    label = "passed with warnings" if warned else "passed" if view.status == "success" else view.status
    jobs = finders.jobs(pipeline, now, kind=BUILD, retried=False)
    body = {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": pipeline.id,
            "iid": pipeline.iid,
            "name": None,
            "ref": request.source_branch if request else pipeline.ref,
            "tag": pipeline.tag,
            "sha": pipeline.sha,
            "before_sha": pipeline.sha[::-1],
            "source": pipeline.source,
            "status": view.status,
            "detailed_status": label,
            "stages": list(dict.fromkeys(job.spec.stage for job in pipeline.jobs)),
            "created_at": moment(pipeline.created),
            "finished_at": moment(view.finished_at),
            "duration": view.duration,
            "queued_duration": view.queued_duration,
            "variables": [{"key": key, "value": value} for key, value in pipeline.variables],
            "url": f"{world.url}/{pipeline.project.path_at(now)}/-/pipelines/{pipeline.id}",
        },
        "merge_request": _request(world, pipeline.project, request, now) if request else None,
        "user": _user(pipeline.user),
        "project": _project(world, pipeline.project, now),
        "commit": _commit(world, pipeline, now),
        "builds": [_build(pipeline, job, seen) for job, seen in jobs],
    }
    return body | _source(world, pipeline, now)


def _source(world: World, pipeline: Pipeline, now: float) -> Json:
    if pipeline.upstream is None:
        return {}
    parent, bridge = pipeline.upstream
    path = parent.project.path_at(now)
    project = {"id": parent.project.id, "web_url": f"{world.url}/{path}", "path_with_namespace": path}
    return {"source_pipeline": {"project": project, "pipeline_id": parent.id, "job_id": bridge.id}}


def _build(pipeline: Pipeline, job: Job, seen: JobView) -> Json:
    spec = job.spec
    failed = {"failure_reason": seen.failure_reason} if seen.failure_reason else {}
    archive = next((each for each in spec.artifacts if each.file_type == "archive"), None) if seen.finished_at else None
    return {
        "id": job.id,
        "stage": spec.stage,
        "name": spec.name,
        "status": seen.status,
        "created_at": moment(job.created),
        "started_at": moment(seen.started_at),
        "finished_at": moment(seen.finished_at),
        "duration": seen.duration,
        "queued_duration": seen.queued_duration,
        **failed,
        "when": spec.when,
        "manual": spec.when == "manual",
        "allow_failure": spec.allow_failure,
        "user": _user(pipeline.user),
        "runner": _runner(job) if seen.started_at else None,
        "artifacts_file": {"filename": archive.filename if archive else None, "size": archive.size if archive else None},
        "environment": {"name": spec.environment, "action": "start", "deployment_tier": None} if spec.environment else None,
    }


def _runner(job: Job) -> Json:
    kind = job.spec.runner_type
    return {
        "id": 52_000 + sum(kind.encode()) * 10 + job.runner,
        "description": f"{kind}-{job.runner}",
        "runner_type": f"{kind}_type",
        "active": True,
        "is_shared": kind == "instance",
        "tags": list(job.spec.tags),
    }


def _request(world: World, project: Project, request: MergeRequest, now: float) -> Json:
    """A merge request for which something ran in a project: in its own, or in the fork that it comes from."""
    target = next((each for each in world.projects if request in each.merge_requests), project)
    return {
        "id": request.id,
        "iid": request.iid,
        "title": request.title,
        "source_branch": request.source_branch,
        "source_project_id": project.id,
        "target_branch": request.target_branch,
        "target_project_id": target.id,
        "state": request.state(now),
        "merge_status": "can_be_merged",
        "detailed_merge_status": "mergeable",
        "url": f"{world.url}/{target.path_at(now)}/-/merge_requests/{request.iid}",
    }


def _job(world: World, told: Announcement, job: Job) -> Json:
    pipeline, seen = told.pipeline, job.at(told.moment)
    assert pipeline is not None
    assert seen is not None
    view = pipeline.at(told.moment) or pipeline.views[0]
    commit = {"id": pipeline.id, "name": None, "sha": pipeline.sha, "message": f"Change {pipeline.sha[:4]}\n"}
    retries = [each for each in pipeline.jobs if each.spec is job.spec and each.id < job.id]
    return {
        "object_kind": "build",
        "ref": pipeline.merge_request.source_branch if pipeline.merge_request else pipeline.ref,
        "tag": pipeline.tag,
        "before_sha": pipeline.sha[::-1],
        "sha": pipeline.sha,
        "build_id": job.id,
        "build_name": job.spec.name,
        "build_stage": job.spec.stage,
        "build_status": seen.status,
        "build_created_at": moment(job.created),
        "build_started_at": moment(seen.started_at),
        "build_finished_at": moment(seen.finished_at),
        "build_duration": seen.duration,
        "build_queued_duration": seen.queued_duration,
        "build_allow_failure": job.spec.allow_failure,
        "build_failure_reason": seen.failure_reason or "unknown_failure",
        "retries_count": len(retries),
        "pipeline_id": pipeline.id,
        "project_id": told.project.id,
        "project_name": told.project.path_at(told.moment).replace("/", " / "),
        "user": _user(pipeline.user),
        "commit": {**commit, "status": view.status, "duration": view.duration},
        "runner": _runner(job) if seen.started_at else None,
        "project": _project(world, told.project, told.moment),
        "environment": {"name": job.spec.environment, "action": "start"} if job.spec.environment else None,
    } | _source(world, pipeline, told.moment)


def _deployment(world: World, told: Announcement, made: Deployment) -> Json:
    path = told.project.path_at(told.moment)
    return {
        "object_kind": "deployment",
        "status": made.at(told.moment),
        "status_changed_at": time.strftime("%Y-%m-%d %H:%M:%S +0100", time.gmtime(told.moment + 3_600)),
        "deployment_id": made.id,
        "deployable_id": made.job.id if made.job else None,
        "deployable_url": f"{world.url}/{path}/-/jobs/{made.job.id}" if made.job else None,
        "environment": made.environment.name,
        "environment_tier": made.environment.tier,
        "environment_slug": made.environment.name.replace("/", "-"),
        "environment_external_url": made.environment.external_url or None,
        "project": _project(world, told.project, told.moment),
        "short_sha": made.sha[:8],
        "user": _user(made.user),
        "user_url": f"{world.url}/{made.user.username}",
        "commit_url": f"{world.url}/{path}/-/commit/{made.sha}",
        "commit_title": f"Change {made.sha[:4]}",
        "ref": made.ref,
    }


def _merge_request(world: World, told: Announcement, request: MergeRequest) -> Json:
    action = {request.created: "open", request.merged: "merge", request.closed: "close"}[told.moment]
    times = {"created_at": moment(request.created), "updated_at": moment(told.moment)}
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": _user(request.author),
        "project": _project(world, told.project, told.moment),
        "object_attributes": {**_request(world, told.project, request, told.moment), **times, "action": action, "draft": False},
        "labels": [],
        "changes": {},
    }


def _push(world: World, told: Announcement, ref: Ref) -> Json:
    assert told.event in (PUSH, TAG_PUSH)
    made = told.pipeline
    head = made.sha if made else NOWHERE
    prefix = "refs/tags/" if told.event == TAG_PUSH else "refs/heads/"
    return {
        "object_kind": "push" if told.event == PUSH else "tag_push",
        "event_name": "push" if told.event == PUSH else "tag_push",
        "before": head[::-1] if made else f"{told.project.id:040x}",
        "after": head,
        "ref": prefix + ref.name,
        "ref_protected": ref.name == told.project.default_branch,
        "checkout_sha": made.sha if made else None,
        "user_id": made.user.id if made else None,
        "user_name": made.user.name if made else None,
        "project_id": told.project.id,
        "project": _project(world, told.project, told.moment),
        "commits": [_commit(world, made, told.moment)] if made else [],
        "total_commits_count": 1 if made else 0,
    }
