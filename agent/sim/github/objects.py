"""The things in GitHub's JSON that know no time: people, organisations, repositories, workflows.

Fields after https://docs.github.com/en/rest/repos/repos and https://docs.github.com/en/webhooks/webhook-events-and-payloads.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

from agent.sim.github.plan import Repository, Workflow

HTML = "https://github.com"
API = "https://api.github.com"

Json = dict[str, Any]

_USER_PATHS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}
_REPOSITORY_PATHS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}


def moment(seconds: float) -> str:
    """A time as GitHub writes it, whole seconds with a Z."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_or_none(seconds: int) -> str | None:
    """The same; 0 = null."""
    return moment(seconds) if seconds else None


def node_id(prefix: str, identity: int) -> str:
    """An opaque id such as `WFR_kwDO...`; that it is unique is all there is to it."""
    return f"{prefix}_sim{identity:x}"


def account(login: str, identity: int = 0, kind: str = "User") -> Json:
    """A person, a bot or an organisation where one may stand for a person."""
    identity = identity or 1_000_000 + zlib.crc32(login.encode()) % 90_000_000
    is_bot = login.endswith("[bot]")
    return {
        "login": login,
        "id": identity,
        "node_id": node_id("U", identity),
        "avatar_url": f"https://avatars.githubusercontent.com/u/{identity}?v=4",
        "gravatar_id": "",
        "url": f"{API}/users/{login}",
        "html_url": f"{HTML}/{login}",
        **{name: f"{API}/users/{login}{path}" for name, path in _USER_PATHS.items()},
        "type": "Bot" if is_bot else kind,
        "user_view_type": "public",
        "site_admin": False,
    }


def organization(login: str, identity: int) -> Json:
    """An organisation at the top of a delivery."""
    url = f"{API}/orgs/{login}"
    paths = {"hooks": "", "issues": "", "repos": "", "events": "", "members": "{/member}", "public_members": "{/member}"}
    return {
        "login": login,
        "id": identity,
        "node_id": node_id("O", identity),
        "url": url,
        **{f"{name}_url": f"{url}/{name}{rest}" for name, rest in paths.items()},
        "avatar_url": f"https://avatars.githubusercontent.com/u/{identity}?v=4",
        "description": "",
    }


def minimal_repository(repository: Repository) -> Json:
    """A repository inside another object."""
    url = f"{API}/repos/{repository.full_name}"
    return {
        "id": repository.id,
        "node_id": node_id("R", repository.id),
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
        "owner": account(repository.owner, repository.owner_id, "Organization"),
        "html_url": f"{HTML}/{repository.full_name}",
        "description": None,
        "fork": False,
        "url": url,
        **{name: f"{url}{path}" for name, path in _REPOSITORY_PATHS.items()},
    }


def full_repository(repository: Repository) -> Json:
    """A repository at the top of a delivery, and as the API lists them."""
    name = repository.full_name
    return {
        **minimal_repository(repository),
        "created_at": "2021-05-11T08:30:00Z",
        "updated_at": "2026-02-20T10:00:00Z",
        "pushed_at": "2026-02-27T16:45:10Z",
        "git_url": f"git://github.com/{name}.git",
        "ssh_url": f"git@github.com:{name}.git",
        "clone_url": f"{HTML}/{name}.git",
        "svn_url": f"{HTML}/{name}",
        "mirror_url": None,
        "homepage": None,
        "language": "Python",
        "license": None,
        "size": 1200,
        "topics": [],
        "visibility": "private" if repository.private else "public",
        "default_branch": repository.default_branch,
        **dict.fromkeys(("stargazers_count", "watchers_count", "forks_count", "open_issues_count"), 0),
        **dict.fromkeys(("forks", "open_issues", "watchers"), 0),
        **dict.fromkeys(("has_issues", "has_projects", "has_downloads", "allow_forking"), True),
        **dict.fromkeys(("has_wiki", "has_pages", "has_discussions", "archived", "disabled"), False),
        **dict.fromkeys(("is_template", "web_commit_signoff_required"), False),
        "custom_properties": {},
    }


def workflow(repository: Repository, file: Workflow) -> Json:
    """A workflow, in a delivery as in the API's list."""
    where = f"{repository.full_name}/actions/workflows"
    return {
        "id": file.id,
        "node_id": node_id("W", file.id),
        "name": file.name,
        "path": file.path,
        "state": "active",
        "created_at": "2024-01-15T12:00:00.000Z",
        "updated_at": "2025-11-03T09:20:00.000Z",
        "url": f"{API}/repos/{where}/{file.id}",
        "html_url": f"{HTML}/{repository.full_name}/blob/{repository.default_branch}/{file.path}",
        "badge_url": f"{HTML}/{repository.full_name}/workflows/{file.id}/badge.svg",
    }
