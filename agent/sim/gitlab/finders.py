"""Which pipelines and jobs a list holds, and in which order: rules that REST and GraphQL share.

https://docs.gitlab.com/api/pipelines/#list-project-pipelines; children are left out of every list that does not ask for
the source `parent_pipeline` (app/finders/ci/pipelines_finder.rb).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.sim.gitlab.objects import FINAL, Job, JobView, Pipeline, PipelineView
from agent.sim.gitlab.places import Project

CHILD = "parent_pipeline"
SCOPES = ("running", "pending", "finished", "branches", "tags")
ORDERS = ("id", "status", "ref", "updated_at", "user_id")
Row = tuple[Pipeline, PipelineView]


class Wanted(NamedTuple):
    """Which pipelines of a project; empty = whichever."""

    scope: str = ""
    status: str = ""
    source: str = ""
    ref: str = ""
    sha: str = ""
    username: str = ""
    yaml_errors: bool | None = None
    updated_after: float | None = None
    """At that time or after."""
    updated_before: float | None = None
    created_after: float | None = None
    created_before: float | None = None


def pipelines(project: Project, wanted: Wanted, now: float) -> list[Row]:
    """The pipelines that are wanted, the newest first."""
    found = [row for row in _rows(project, wanted, now) if _fits(row, wanted)]
    if wanted.scope in ("branches", "tags"):
        newest: dict[str, Row] = {}
        for row in found:
            newest.setdefault(row[0].ref, row)
        return [row for row in newest.values() if project.ref_exists(row[0], now)]
    return found


def _rows(project: Project, wanted: Wanted, now: float) -> Iterator[Row]:
    is_child, after = wanted.source == CHILD, wanted.updated_after
    for pipeline in reversed(project.pipelines):
        if pipeline.is_child is not is_child or (after is not None and pipeline.last_change + 1 <= after):
            continue
        view = pipeline.at(now)
        if view is not None:
            yield pipeline, view


def _fits(row: Row, wanted: Wanted) -> bool:
    pipeline, view = row
    if wanted.updated_after is not None and updated(row) < wanted.updated_after:
        return False
    if wanted.updated_before is not None and updated(row) > wanted.updated_before:
        return False
    if wanted.created_after is not None and pipeline.created < wanted.created_after:
        return False
    if wanted.created_before is not None and pipeline.created > wanted.created_before:
        return False
    if wanted.yaml_errors is not None and wanted.yaml_errors is not bool(pipeline.yaml_error):
        return False
    asked = (
        (wanted.status, view.status),
        (wanted.source, pipeline.source),
        (wanted.ref, pipeline.ref),
        (wanted.sha, pipeline.sha),
        (wanted.username, pipeline.user.username),
    )
    return all(want in ("", has) for want, has in asked) and _is_in(wanted.scope, row)


def _is_in(scope: str, row: Row) -> bool:
    pipeline, view = row
    if scope == "finished":
        return view.status in FINAL
    if scope in ("running", "pending"):
        return view.status == scope
    if scope in ("branches", "tags"):
        return pipeline.kind == ("branch" if scope == "branches" else "tag")
    return True


def updated(row: Row) -> float:
    """When a pipeline changed last, with the milliseconds that the REST API tells."""
    return row[1].updated_at + row[0].id % 1000 / 1000


def ordered(rows: list[Row], order_by: str, *, ascending: bool) -> list[Row]:
    """Rows that are sorted by id, newest first, in another order."""
    if order_by == "updated_at":
        rows = sorted(rows, key=lambda row: (updated(row), row[0].id), reverse=True)
    elif order_by == "status":
        rows = sorted(rows, key=lambda row: (row[1].status, row[0].id), reverse=True)
    elif order_by == "ref":
        rows = sorted(rows, key=lambda row: (row[0].ref, row[0].id), reverse=True)
    elif order_by == "user_id":
        rows = sorted(rows, key=lambda row: (row[0].user.id, row[0].id), reverse=True)
    return rows[::-1] if ascending else rows


def jobs(pipeline: Pipeline, now: float, *, kind: str, retried: bool, scope: Sequence[str] = ()) -> list[tuple[Job, JobView]]:
    """The jobs of a pipeline of one kind, the newest first; `retried`: also those that others have taken the place of."""
    found = []
    for job in reversed(pipeline.jobs):
        if job.spec.kind == kind:
            view = job.at(now)
            if view is not None and (retried or not view.retried) and (not scope or view.status in scope):
                found.append((job, view))
    return found
