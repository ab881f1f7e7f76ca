"""Projects, groups, environments and other small things as the REST API tells them.

https://docs.gitlab.com/api/projects/, https://docs.gitlab.com/api/environments/, https://docs.gitlab.com/api/deployments/.
"""

from __future__ import annotations

from agent.sim.gitlab.bodies import Bodies, Json
from agent.sim.gitlab.objects import Pipeline
from agent.sim.gitlab.places import Environment, Group, MergeRequest, Place, Project, Ref, Token

_LEVELS = (
    *("issues", "repository", "merge_requests", "forking", "wiki", "builds", "snippets", "pages", "analytics"),
    *("container_registry", "security_and_compliance", "releases", "environments", "feature_flags", "infrastructure"),
    *("monitor", "model_experiments", "model_registry", "requirements"),
)
_ON = (
    *("packages_enabled", "issues_enabled", "merge_requests_enabled", "snippets_enabled", "container_registry_enabled"),
    *("service_desk_enabled", "can_create_merge_request_in", "emails_enabled", "shared_runners_enabled", "lfs_enabled"),
    *("ci_forward_deployment_enabled", "ci_forward_deployment_rollback_allowed", "ci_separated_caches"),
    *("ci_allow_fork_pipelines_to_run_in_parent_project", "keep_latest_artifact", "group_runners_enabled", "public_jobs"),
    *("remove_source_branch_after_merge", "printing_merge_request_link_enabled", "enforce_auth_checks_on_uploads"),
    *("warn_about_potentially_unwanted_characters", "autoclose_referenced_issues", "security_and_compliance_enabled"),
)
_OFF = (
    *("empty_repo", "resolve_outdated_diff_discussions", "wiki_enabled", "emails_disabled", "ci_job_token_scope_enabled"),
    *("restrict_user_defined_variables", "auto_devops_enabled", "only_allow_merge_if_pipeline_succeeds"),
    *("request_access_enabled", "only_allow_merge_if_all_discussions_are_resolved", "requirements_enabled"),
)
_NULL = (
    *("description", "avatar_url", "readme_url", "import_url", "import_type", "import_error", "ci_config_path"),
    *("runner_token_expiration_interval", "allow_merge_on_skipped_pipeline", "suggestion_commit_message"),
    *("merge_commit_template", "squash_commit_template", "issue_branch_template"),
)
_SIZES = (
    "storage",
    "repository",
    "wiki",
    "lfs_objects",
    "job_artifacts",
    "pipeline_artifacts",
    "packages",
    "snippets",
    "uploads",
)
_LINKS = ("issues", "merge_requests", "repository/branches", "labels", "events", "members", "cluster_agents")


def short_project(bodies: Bodies, project: Project, now: float) -> Json:
    """A project with `simple=true`."""
    place = project.place(now)
    path, url, created = place.full_path, f"{bodies.base}/{place.full_path}", stamp(bodies, project.created, project.id)
    return {
        "id": project.id,
        "description": None,
        "name": place.path,
        "name_with_namespace": f"{place.group.name} / {place.path}",
        "path": place.path,
        "path_with_namespace": path,
        "created_at": created,
        "default_branch": project.default_branch,
        "tag_list": [],
        "topics": [],
        "ssh_url_to_repo": f"git@gitlab.example.com:{path}.git",
        "http_url_to_repo": f"{url}.git",
        "web_url": url,
        "readme_url": None,
        "forks_count": 0,
        "avatar_url": None,
        "star_count": 0,
        "last_activity_at": created,
        "namespace": _namespace(bodies, place),
    }


def full_project(bodies: Bodies, project: Project, now: float, token: Token | None, *, statistics: bool) -> Json:
    """A project as those see it who may see all of it."""
    me = token.user if token else None
    api = f"{bodies.base}/api/v4/projects/{project.id}"
    links = {name.replace("repository/", "repo_"): f"{api}/{name}" for name in _LINKS}
    more: Json = {"statistics": {"commit_count": 12, **{f"{name}_size": 1_024 for name in _SIZES}}} if statistics else {}
    role = token.role if token else 0
    return {
        **dict.fromkeys(_NULL),
        **short_project(bodies, project, now),
        "container_registry_image_prefix": f"registry.example.com/{project.path_at(now)}",
        "_links": {"self": api, **links},
        "archived": project.archived,
        "visibility": project.visibility,
        "owner": bodies.user(me) if me else None,
        "container_expiration_policy": {"cadence": "1d", "enabled": False, "keep_n": 10, "older_than": "90d"},
        "repository_object_format": "sha1",
        "jobs_enabled": project.builds_enabled,
        "service_desk_address": f"desk+{project.id}@incoming.example.com",
        **{f"{name}_access_level": "private" for name in _LEVELS},
        "builds_access_level": "private" if project.builds_enabled else "disabled",
        **dict.fromkeys(_ON, True),
        **dict.fromkeys(_OFF, False),
        **dict.fromkeys(("open_issues_count",), 0),
        "creator_id": 700,
        "import_status": "none",
        "description_html": "",
        "updated_at": stamp(bodies, project.created, project.id),
        "ci_default_git_depth": 20,
        "build_git_strategy": "fetch",
        "runners_token": "GR-simulated",
        "auto_cancel_pending_pipelines": "enabled",
        "build_timeout": 3_600,
        "auto_devops_deploy_strategy": "continuous",
        "shared_with_groups": [],
        "merge_method": "merge",
        "squash_option": "default_off",
        "external_authorization_classification_label": "",
        "compliance_frameworks": [],
        "permissions": {"project_access": {"access_level": role, "notification_level": 3}, "group_access": None},
        **more,
    }


def stamp(bodies: Bodies, at: int, millis: int = 0) -> str:
    """A time as an object of JSON has it."""
    return bodies.stamp(at, millis)[1:-1]


def _namespace(bodies: Bodies, place: Place) -> Json:
    group = place.group
    return {
        "id": group.id,
        "name": group.name,
        "path": group.path.rpartition("/")[2],
        "kind": "user" if group.is_user else "group",
        "full_path": group.path,
        "parent_id": group.parent.id if group.parent else None,
        "avatar_url": None,
        "web_url": f"{bodies.base}/{group.path}" if group.is_user else f"{bodies.base}/groups/{group.path}",
    }


def group(bodies: Bodies, group: Group) -> Json:
    """A group."""
    return {
        "id": group.id,
        "web_url": f"{bodies.base}/groups/{group.path}",
        "name": group.name,
        "path": group.path.rpartition("/")[2],
        "description": "",
        "visibility": "private",
        "full_name": group.path.replace("/", " / "),
        "full_path": group.path,
        "parent_id": group.parent.id if group.parent else None,
        "created_at": "2020-02-01T09:00:00.000Z",
    }


def environment(bodies: Bodies, project: Project, environment: Environment, now: float) -> Json:
    """An environment as lists tell it, without its last deployment."""
    return {
        "id": environment.id,
        "name": environment.name,
        "slug": environment.name.replace("/", "-"),
        "external_url": environment.external_url or None,
        "created_at": stamp(bodies, environment.created, environment.id),
        "updated_at": stamp(bodies, environment.created, environment.id),
        "tier": environment.tier,
        "state": environment.state(now),
        "auto_stop_at": None,
        "description": None,
        "project": short_project(bodies, project, now),
    }


def branch(bodies: Bodies, project: Project, ref: Ref, head: Pipeline | None, now: float) -> Json:
    """A branch and its newest commit: what its newest pipeline ran for, or its first."""
    path = project.path_at(now)
    sha, at = (head.sha, head.created - 300) if head else (first_sha(project, ref.name), ref.created)
    author = head.user if head else None
    commit = bodies.commit(path, sha, at, author) if author else {"id": sha, "committed_date": stamp(bodies, at)}
    is_default = ref.name == project.default_branch
    return {
        "name": ref.name,
        "commit": commit,
        "merged": False,
        "protected": is_default,
        "developers_can_push": False,
        "developers_can_merge": False,
        "can_push": True,
        "default": is_default,
        "web_url": f"{bodies.base}/{path}/-/tree/{ref.name}",
    }


def first_sha(project: Project, name: str) -> str:
    """The commit that a branch begins with, before any pipeline of its own."""
    return f"{sum(name.encode()):08x}{project.id:032x}"


def merge_request(bodies: Bodies, project: Project, request: MergeRequest, now: float) -> Json:
    """A merge request as lists tell it, as far as anybody reads it."""
    merged = bool(request.merged and now >= request.merged)
    closed = bool(request.closed and now >= request.closed)
    return {
        "id": request.id,
        "iid": request.iid,
        "project_id": project.id,
        "title": request.title,
        "state": request.state(now),
        "created_at": stamp(bodies, request.created, request.id),
        "updated_at": stamp(bodies, request.updated(now), request.id),
        "merged_at": stamp(bodies, request.merged, request.id) if merged else None,
        "closed_at": stamp(bodies, request.closed, request.id) if closed else None,
        "target_branch": request.target_branch,
        "source_branch": request.source_branch,
        "author": bodies.user(request.author),
        "draft": False,
        "labels": [],
        "web_url": f"{bodies.base}/{project.path_at(now)}/-/merge_requests/{request.iid}",
    }
