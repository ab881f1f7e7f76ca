"""Pipelines, jobs and the rest as the REST API tells them: text, because lists of them have to be quick.

Fields after https://docs.gitlab.com/api/pipelines/ and https://docs.gitlab.com/api/jobs/. Every object has its own
milliseconds, so that times are in order and their seconds are the plan's.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from agent.sim.gitlab.objects import BRIDGE, Artifact, Job, JobView, Pipeline, PipelineView
from agent.sim.gitlab.places import User
from agent.sim.gitlab.profile import Profile

Json = dict[str, Any]
MAX_KEPT = 200_000
KEPT_SECONDS = 30 * 86_400
"""How long artifacts are kept."""
_RUNNERS = {"instance": "saas-small", "group": "group-metal", "project": "box-under-the-desk"}
_TEXTS = {
    "success": ("Passed", "passed"),
    "manual": ("Manual", "waiting for manual action"),
    "scheduled": ("Scheduled", "waiting for delayed job"),
    "waiting_for_resource": ("Waiting", "waiting for resource"),
}


class Around(NamedTuple):
    """What all jobs of a pipeline tell alike."""

    web: str
    """Address of the project."""
    head: str
    """Members up to their own, as text of JSON."""
    user: str
    tail: str


class Bodies:
    """The objects of one instance at one address, in one version."""

    def __init__(self, base: str, profile: Profile) -> None:
        self.base = base
        self.profile = profile
        self._texts: dict[object, str] = {}

    def stamp(self, at: int | None, millis: int = 0) -> str:
        """A time as JSON: ISO 8601 in UTC with milliseconds, or null."""
        return "null" if at is None else f'"{self._second(at)}.{millis % 1000:03}Z"'

    def _second(self, at: int) -> str:
        text = self._texts.get(at)
        if text is None:
            if len(self._texts) > MAX_KEPT:
                self._texts.clear()
            text = self._texts[at] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
        return text

    def text(self, content: str) -> str:
        """A text as JSON."""
        found = self._texts.get(content)
        if found is None:
            found = self._texts[content] = json.dumps(content)
        return found

    def user(self, user: User) -> Json:
        """Somebody in short."""
        return {
            "id": user.id,
            "username": user.username,
            "name": user.name,
            "state": "active",
            "locked": False,
            "avatar_url": None,
            "web_url": f"{self.base}/{user.username}",
        }

    def profile_of(self, user: User) -> Json:
        """Somebody at length, as jobs tell."""
        empty = ("bio", "location", "public_email", "skype", "linkedin", "twitter", "discord", "website_url", "organization")
        return {
            **self.user(user),
            "created_at": "2021-01-05T10:00:00.000Z",
            **dict.fromkeys((*empty, "job_title", "pronouns"), ""),
            "bot": user.username.startswith("project_"),
            "work_information": None,
            "followers": 0,
            "following": 0,
            "local_time": None,
        }

    def commit(self, project: str, sha: str, at: int, author: User) -> Json:
        """A commit, made by somebody in another time zone."""
        made = time.strftime("%Y-%m-%dT%H:%M:%S.000+01:00", time.gmtime(at + 3_600))
        address = f"{author.username}@users.example.com"
        return {
            "id": sha,
            "short_id": sha[:8],
            "created_at": made,
            "parent_ids": [sha[::-1]],
            "title": f"Change {sha[:4]}",
            "message": f"Change {sha[:4]}\n",
            "author_name": author.name,
            "author_email": address,
            "authored_date": made,
            "committer_name": author.name,
            "committer_email": address,
            "committed_date": made,
            "trailers": {},
            "extended_trailers": {},
            "web_url": f"{self.base}/{project}/-/commit/{sha}",
        }

    def pipeline(self, pipeline: Pipeline, view: PipelineView, path: str, *, named: bool = True) -> str:
        """A pipeline as lists tell it; `path`: its project's. Inside jobs it has no name."""
        millis = pipeline.id
        return (
            f'{{"id":{pipeline.id},"iid":{pipeline.iid},"project_id":{pipeline.project.id},"sha":"{pipeline.sha}",'
            f'"ref":{self.text(pipeline.ref)},"status":"{self.profile.says(view.status)}","source":"{pipeline.source}",'
            f'"created_at":{self.stamp(pipeline.created, millis)},"updated_at":{self.stamp(view.updated_at, millis)},'
            f'"web_url":"{self.base}/{path}/-/pipelines/{pipeline.id}"' + (',"name":null}' if named else "}")
        )

    def detail(self, pipeline: Pipeline, view: PipelineView, path: str) -> str:
        """A pipeline by itself."""
        millis = pipeline.id
        coverage = "null" if view.coverage is None else f'"{view.coverage:.2f}"'
        duration, queued = (json.dumps(seconds) for seconds in (view.duration, view.queued_duration))
        return (
            self.pipeline(pipeline, view, path, named=False)[:-1]
            + f',"before_sha":"{pipeline.sha[::-1]}","tag":{json.dumps(pipeline.tag)},'
            f'"yaml_errors":{json.dumps(pipeline.yaml_error or None)},"user":{json.dumps(self.user(pipeline.user))},'
            f'"started_at":{self.stamp(view.started_at, millis)},"finished_at":{self.stamp(view.finished_at, millis)},'
            f'"committed_at":null,"duration":{duration},"queued_duration":{queued},"coverage":{coverage},'
            f'"detailed_status":{json.dumps(self._detailed(pipeline, view, path))},"name":null}}'
        )

    def _detailed(self, pipeline: Pipeline, view: PipelineView, path: str) -> Json:
        status = self.profile.says(view.status)
        text, label = _TEXTS.get(status, (status.capitalize().replace("_", " "), status))
        group, icon = status.replace("_", "-"), status
        if view.warnings and status == "success":
            text, label, group, icon = "Warning", "passed with warnings", "success-with-warnings", "warning"
        return {
            "icon": f"status_{icon}",
            "text": text,
            "label": label,
            "group": group,
            "tooltip": _TEXTS.get(status, ("", status))[1],
            "has_details": bool(pipeline.jobs),
            "details_path": f"/{path}/-/pipelines/{pipeline.id}",
            "illustration": None,
            "favicon": f"/assets/ci_favicons/favicon_status_{status}.png",
        }

    def around(self, pipeline: Pipeline, view: PipelineView, path: str) -> Around:
        """What all jobs of a pipeline tell alike, at that moment."""
        commit = self.commit(path, pipeline.sha, pipeline.created - 300, pipeline.user)
        user = self._texts.get(pipeline.user)
        if user is None:
            user = self._texts[pipeline.user] = json.dumps(self.profile_of(pipeline.user))
        return Around(
            f"{self.base}/{path}",
            f'"ref":{self.text(pipeline.ref)},"tag":{json.dumps(pipeline.tag)},"coverage":',
            f',"user":{user},"commit":{json.dumps(commit)},"pipeline":{self.pipeline(pipeline, view, path, named=False)},',
            ',"project":{"ci_job_token_scope_enabled":false},',
        )

    def job(self, job: Job, view: JobView, around: Around) -> str:
        """A job, or the part of a bridge that is the same."""
        spec, millis = job.spec, job.id
        return (
            f'{{"id":{job.id},"status":"{self.profile.says(view.status)}","stage":{self.text(spec.stage)},'
            f'"name":{self.text(spec.name)},{around.head}{"null" if view.coverage is None else view.coverage},'
            f'"allow_failure":{"true" if spec.allow_failure else "false"},"created_at":{self.stamp(job.created, millis)},'
            f'"started_at":{self.stamp(view.started_at, millis)},"finished_at":{self.stamp(view.finished_at, millis)},'
            f'"erased_at":null,"duration":{_number(view.duration)},"queued_duration":{_number(view.queued_duration)}'
            + (f',"failure_reason":"{view.failure_reason}"' if view.failure_reason else "")
            + f'{around.user}"web_url":"{around.web}/-/jobs/{job.id}"{around.tail}'
            + ("" if spec.kind == BRIDGE else self._files(job, view))
        )

    def _files(self, job: Job, view: JobView) -> str:
        is_over, spec = view.finished_at is not None and view.started_at is not None, job.spec
        key = (spec, is_over, job.runner if view.started_at is not None else -1)
        found = self._texts.get(key)
        if found is None:
            kept: Json = {"artifacts": [_artifact(each) for each in spec.artifacts] if is_over else []}
            archive = next((each for each in spec.artifacts if each.file_type == "archive"), None)
            if is_over and archive:
                kept = {"artifacts_file": {"filename": archive.filename, "size": archive.size}, **kept}
            kept |= {"runner": self._runner(job) if view.started_at is not None else None, "runner_manager": None}
            found = self._texts[key] = json.dumps({**kept, "archived": False, "tag_list": list(spec.tags)})[1:-1]
        expires = view.finished_at + KEPT_SECONDS if is_over and view.finished_at is not None else None
        return f'{found},"artifacts_expire_at":{self.stamp(expires, job.id)}}}'

    def _runner(self, job: Job) -> Json:
        kind = job.spec.runner_type
        return {
            "id": 52_000 + sum(kind.encode()) * 10 + job.runner,
            "description": f"{_RUNNERS[kind]}-{job.runner}",
            "ip_address": f"198.51.100.{job.runner + 1}",
            "active": True,
            "paused": False,
            "is_shared": kind == "instance",
            "runner_type": f"{kind}_type",
            "name": "gitlab-runner",
            "online": True,
            "status": "online",
        }


def _artifact(artifact: Artifact) -> Json:
    forms = {"archive": "zip", "junit": "gzip"}
    return {**artifact._asdict(), "file_format": forms.get(artifact.file_type)}


def _number(seconds: float | None) -> str:
    return "null" if seconds is None else f"{seconds:.6f}"
