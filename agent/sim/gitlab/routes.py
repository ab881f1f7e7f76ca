"""Which path is answered by what."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from agent.sim.gitlab import runs
from agent.sim.gitlab.around import Around
from agent.sim.gitlab.asked import Call, Found
from agent.sim.gitlab.places import World

_PROJECT = r"/projects/(?P<project>[^/]+)"
_PIPELINE = rf"{_PROJECT}/pipelines/(?P<pipeline>\d+)"
_GROUP = r"/groups/(?P<group>[^/]+)"
_COUNTED = "issues_count|merge_requests_count|new_members_count"


class Route(NamedTuple):
    """One endpoint."""

    pattern: re.Pattern[str]
    """Of the path after /api/v4."""
    handler: Callable[[Call], Found]
    name: str
    """For counting and limits."""
    is_open: bool
    """Whether it is there for those who show no token."""
    any_scope: bool
    """Whether a token of any scope opens it."""


def routes(world: World) -> tuple[Route, ...]:
    """The endpoints of a world; the first that fits a path answers it."""
    around = Around(world)
    table: list[tuple[str, Callable[[Call], Found], str]] = [
        ("/projects", around.projects, "projects"),
        (_PROJECT, around.project, "project"),
        (f"{_PROJECT}/pipelines", runs.pipelines, "pipelines"),
        (f"{_PROJECT}/pipelines/latest", runs.latest, "pipeline"),
        (_PIPELINE, runs.pipeline, "pipeline"),
        (f"{_PIPELINE}/jobs", runs.jobs, "jobs"),
        (f"{_PIPELINE}/bridges", runs.bridges, "bridges"),
        (f"{_PIPELINE}/variables", runs.variables, "variables"),
        (f"{_PIPELINE}/test_report", runs.report, "test_report"),
        (f"{_PIPELINE}/test_report_summary", runs.report_summary, "test_report_summary"),
        (f"{_PROJECT}/jobs", runs.project_jobs, "project_jobs"),
        (rf"{_PROJECT}/jobs/(?P<job>\d+)", runs.job, "job"),
        (f"{_PROJECT}/environments", around.environments, "environments"),
        (rf"{_PROJECT}/environments/(?P<environment>\d+)", around.environment, "environment"),
        (f"{_PROJECT}/deployments", around.deployments, "deployments"),
        (f"{_PROJECT}/repository/compare", around.compare, "compare"),
        (f"{_PROJECT}/repository/branches", around.branches, "branches"),
        (f"{_PROJECT}/repository/branches/(?P<branch>[^/]+)", around.branch, "branch"),
        (f"{_PROJECT}/merge_requests", around.merge_requests, "merge_requests"),
        (f"{_PROJECT}/dora/metrics", around.dora, "dora"),
        ("/groups", around.groups, "groups"),
        (_GROUP, around.group, "group"),
        (f"{_GROUP}/projects", around.group_projects, "group_projects"),
        (f"{_GROUP}/dora/metrics", around.dora, "dora"),
        (r"/users/(?P<user>[^/]+)/projects", around.user_projects, "user_projects"),
        (f"/analytics/group_activity/(?P<counted>{_COUNTED})", around.group_activity, "activity"),
        ("/personal_access_tokens/self", around.own_token, "own_token"),
        ("/user", around.user, "user"),
        ("/metadata", around.metadata, "metadata"),
        ("/(?P<what>version)", around.metadata, "version"),
    ]  # fmt: skip
    needs_token = {"own_token", "user", "metadata", "version", "group_projects", "activity"}
    any_scope = {"own_token", "user"}
    return tuple(
        Route(re.compile(pattern), handler, name, name not in needs_token, name in any_scope) for pattern, handler, name in table
    )
